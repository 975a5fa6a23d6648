"""Pushers: who is told of events while no client is looking.  spec: client-server-api#push-notifications"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

pushers = Table(
    "pushers",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("app_id", Text, primary_key=True),
    Column("pushkey", Text, primary_key=True, index=True),
    Column("kind", Text, nullable=False),
    Column("device_id", Text),  # that set it and ends it; NULL for an application service without one
    Column("app_display_name", Text, nullable=False),
    Column("device_display_name", Text, nullable=False),
    Column("profile_tag", Text),
    Column("lang", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # JSON object
    Column("set_ms", BigInteger, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("position", BigInteger, nullable=False),  # of the last event it was told of, or of its beginning
    Column("failing_ms", BigInteger),  # since when its gateway does not take anything; NULL: it does
    # Of e-mail addresses:
    Column("confirmed", Boolean, nullable=False),  # their owner has agreed
    Column("mails", BigInteger, nullable=False),  # letters since the user last read or said something
    Column("mailed_ms", BigInteger),
    sqlite_with_rowid=False,
)

push_cursor = Table(
    "push_cursor",
    metadata,
    # Everything up to here has been given to all pushers whose gateway takes it.
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
