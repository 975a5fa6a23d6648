"""What administrators did, the rooms that they blocked, and how large rooms are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from homeserver.storage.schema.base import BigId, metadata

acts = Table(
    "acts",
    metadata,
    # Pruned by age and number.
    Column("act_id", BigId, primary_key=True),
    Column("ts", BigInteger, nullable=False, index=True),
    Column("admin", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    Index("ix_acts_target", "target", "act_id"),
)

blocked_rooms = Table(
    "blocked_rooms",
    metadata,
    Column("room_id", Text, primary_key=True),  # of any room, also of one that is not known here
    Column("blocked_by", Text, nullable=False),
    Column("ts", BigInteger, nullable=False),
)

room_sizes = Table(
    "room_sizes",
    metadata,
    # How much the log has brought into each room, up to the position in `counters` (`measured`). Counted behind the
    # log, not by whoever writes: a send costs nothing more.
    Column("room_nid", BigInteger, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # as packed when they were stored
    sqlite_with_rowid=False,
)
