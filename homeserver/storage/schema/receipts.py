"""Read receipts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from homeserver.storage.schema.base import metadata

receipts = Table(
    "receipts",
    metadata,
    Column("room_nid", BigInteger, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("thread_id", Text, primary_key=True),  # empty: unthreaded
    Column("event_id", Text, nullable=False),
    # The event's place in the timeline, which it keeps when the event is gone. NULL: the event was never here.
    Column("ord", BigInteger, nullable=True),
    Column("ts", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Index("ix_receipts_room_position", "room_nid", "position"),
    sqlite_with_rowid=False,
)
