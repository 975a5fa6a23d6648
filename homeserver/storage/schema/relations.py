"""Relations between events: one row per event that relates to another one."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from homeserver.storage.schema.base import BigId, metadata

event_relations = Table(
    "event_relations",
    metadata,
    Column("event_nid", BigId, primary_key=True, autoincrement=False),  # the child
    Column("room_nid", BigInteger, nullable=False),
    Column("target_event_id", Text, nullable=False),
    Column("rel_type", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("key", Text),  # of m.annotation
    Column("recency", Text),  # of m.replace: time and event id, the greatest of which is the edit that holds
    Index("ix_event_relations_target", "target_event_id", "rel_type", "event_nid"),
    Index("ix_event_relations_room", "room_nid", "rel_type", "event_nid"),
)
