"""What users reported."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.schema.base import BigId, metadata

reports = Table(
    "reports",
    metadata,
    Column("report_id", BigId, primary_key=True),
    Column("ts", BigInteger, nullable=False, index=True),
    Column("reporter", Text, nullable=False),
    Column("user_id", Text),
    Column("room_id", Text),
    Column("event_id", Text),
    Column("reason", Text, nullable=False),
)
