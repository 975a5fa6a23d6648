"""E-mail addresses of accounts, and checks of addresses that are under way.

Anybody can begin a check without an account: they expire, and only the newest are kept. The client's secret and the
code of the link are in no table.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.schema.base import metadata

user_addresses = Table(
    "user_addresses",
    metadata,
    Column("medium", Text, primary_key=True),
    Column("address", Text, primary_key=True),  # canonical: in lower case
    Column("user_id", Text, nullable=False, index=True),
    Column("validated_ms", BigInteger, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

address_checks = Table(
    "address_checks",
    metadata,
    Column("sid", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False, unique=True),  # digest of the secret, purpose, address and user
    Column("purpose", Text, nullable=False),
    Column("medium", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("user_id", Text, index=True),
    Column("send_attempt", BigInteger, nullable=False),
    Column("lang", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    Column("validated_ms", BigInteger),
)
