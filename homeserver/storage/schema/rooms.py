"""Rooms, events, state and the log counter.

Integer ids inside, text ids only at the edge. Three numbers that were one in a smaller world: `events.nid` is a row
id, a log position says when an event was news here, and `ord` where in its room's timeline it belongs. A live event
takes its position as row id and position * 2^20 as `ord`, so that fetched history finds places between live events;
what was no news when it was stored (hidden events, fetched history) takes a negative row id from a counter of its own.
If such an event becomes news after all, `late_events` says at which position (docs/adr/0010-three-numbers.md). State
snapshots are deltas on a parent: snapshot number n (base 16) has as parent n with its lowest non-zero digit
decremented, so a chain is never longer than 15 per digit and each state change is stored at most once per digit.
Snapshot 0 is the empty state: number 0, no row. A large state that comes at once, that of a room that exists
elsewhere, is number 16^8 on snapshot 0: no later number has a parent below it, so it is never written again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, Table, Text, event, text

from homeserver.storage.schema.base import BigId, metadata

counters = Table(
    "counters",
    metadata,
    # `log`: last committed position; `outlier`: last negative event id; `room`, `snapshot`, `key`: last ids given out;
    # `accounts`: changes made beside running servers; `day-…`: the position at the start of a day;
    # `measured`: the position up to which `room_sizes` counts
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "10"},
)

COUNTERS = ("device", "key", "log", "outlier", "room", "snapshot")


log_entries = Table(
    "log_entries",
    metadata,
    # One row for every entry of the log that is not an event: enough to read it back. Pruned by age.
    Column("position", BigId, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("room_id", Text, nullable=False),  # empty: of no room
    Column("key", Text, nullable=False),  # type of account data, type and thread of a receipt, or a device
)


@event.listens_for(counters, "after_create")
def _start_counters(_table: Table, connection: Any, **_options: Any) -> None:
    connection.execute(counters.insert(), [{"name": name, "value": 0} for name in COUNTERS])


rooms = Table(
    "rooms",
    metadata,
    Column("room_nid", BigId, primary_key=True, autoincrement=False),
    Column("room_id", Text, nullable=False, unique=True),
    Column("room_version", Text, nullable=False),
    Column("creator", Text, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("head_version", BigInteger, nullable=False),
    Column("extremities", Text, nullable=False),  # JSON [[event id, depth], …]
    Column("snapshot_nid", BigInteger, nullable=False),
    Column("snapshot_index", BigInteger, nullable=False),
    # Every send updates its room's row: room to do so in place keeps the table from growing.
    postgresql_with={"fillfactor": "70"},
)
Index("ix_rooms_public", rooms.c.room_nid, sqlite_where=text("is_public"), postgresql_where=text("is_public"))

events = Table(
    "events",
    metadata,
    Column("nid", BigId, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("room_nid", BigInteger, nullable=False),
    Column("ord", BigInteger),  # place in the room's timeline; NULL for hidden events
    Column("type", Text, nullable=False),
    Column("state_key", Text),
    Column("sender", Text, nullable=False),
    Column("snapshot_nid", BigInteger, nullable=False),  # room state after the event; 0 for outliers
    Column("flags", SmallInteger, nullable=False),
    Column("push", SmallInteger, nullable=False),  # `core/pushbits`
    Column("json", LargeBinary, nullable=False),  # canonical PDU, pruned once redacted, packed (`packing.py`)
    Column("unsigned", LargeBinary),  # what readers may be shown of it, gone once redacted
    Column("replaces", Text),  # JSON [event id, order, membership] of the state event before: stays for ever
    Column("redacted_by", Text),
    Index("ix_events_timeline", "room_nid", "ord", unique=True),
)
Index(
    "ix_events_state",
    events.c.room_nid,
    events.c.type,
    events.c.state_key,
    events.c.nid,
    sqlite_where=events.c.state_key.isnot(None),
    postgresql_where=events.c.state_key.isnot(None),
)

late_events = Table(
    "late_events",
    metadata,
    # Events with a negative row id that became news. Nearly always empty.
    Column("position", BigId, primary_key=True, autoincrement=False),
    Column("event_nid", BigInteger, nullable=False, unique=True),
)

event_mentions = Table(
    "event_mentions",
    metadata,
    # Local users for whom an event stands out because it mentions them.
    Column("user_id", Text, primary_key=True),
    Column("room_nid", BigInteger, primary_key=True),
    Column("ord", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

auth_graph = Table(
    "auth_graph",
    metadata,
    # Every stored state event, hidden ones too: what state resolution walks, without reading events.
    Column("nid", BigId, primary_key=True, autoincrement=False),
    Column("room_nid", BigInteger, nullable=False, index=True),
    Column("is_power", Boolean, nullable=False),  # m.room.power_levels
    Column("parents", LargeBinary, nullable=False),  # row ids of the auth events, 8 bytes each, big endian
)

gaps = Table(
    "gaps",
    metadata,
    # Events that others name as previous and that are not here.
    Column("room_nid", BigInteger, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("below_ord", BigInteger, nullable=False),  # order of the lowest event that names it
    sqlite_with_rowid=False,
)

redactions_waiting = Table(
    "redactions_waiting",
    metadata,
    # Redactions that came before what they redact.
    Column("room_nid", BigInteger, primary_key=True),
    Column("target_id", Text, primary_key=True),  # an event id
    Column("event_nid", BigInteger, primary_key=True),  # the redaction
    sqlite_with_rowid=False,
)

event_views = Table(
    "event_views",
    metadata,
    # What an event's own state says of who may see it, where that is not what the timeline says at its place: forks.
    Column("room_nid", BigInteger, primary_key=True),
    Column("ord", BigInteger, primary_key=True),
    Column("user_id", Text, primary_key=True),  # a local user's membership; empty: the history visibility
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

state_changes = Table(
    "state_changes",
    metadata,
    # Changes of a room's current state that no event of that log position says: state resolution.
    Column("position", BigInteger, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("state_key", Text, primary_key=True),
    Column("room_nid", BigInteger, nullable=False),
    Column("event_nid", BigInteger),  # what holds the key now; NULL: nothing
    Column("snapshot_nid", BigInteger, nullable=False),  # the room's state afterwards
    Index("ix_state_changes_room", "room_nid", "position"),
    sqlite_with_rowid=False,
)

event_txns = Table(
    "event_txns",
    metadata,
    Column("event_nid", BigId, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False, unique=True),
    Column("device_id", Text, nullable=False),  # of the event's sender
    Column("txn_id", Text, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("snapshot_nid", BigId, primary_key=True, autoincrement=False),
    Column("room_nid", BigInteger, nullable=False),
    Column("parent_nid", BigInteger, nullable=False),  # 0: the empty state
    Column("chain_index", BigInteger, nullable=False),
)

snapshot_deltas = Table(
    "snapshot_deltas",
    metadata,
    Column("snapshot_nid", BigInteger, primary_key=True),
    Column("event_nid", BigInteger, primary_key=True),
    Column("removed", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

current_state = Table(
    "current_state",
    metadata,
    Column("room_nid", BigInteger, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("state_key", Text, primary_key=True),
    Column("event_nid", BigInteger, nullable=False),
    Column("membership", Text),  # of m.room.member, for counts without reading the events
    sqlite_with_rowid=False,
)
Index(
    "ix_current_state_membership",
    current_state.c.room_nid,
    current_state.c.membership,
    current_state.c.event_nid,
    sqlite_where=current_state.c.membership.isnot(None),
    postgresql_where=current_state.c.membership.isnot(None),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", Text, primary_key=True),  # local users only
    Column("room_nid", BigInteger, primary_key=True),
    Column("membership", Text, nullable=False),
    Column("event_nid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),  # of the log entry by which it came about
    Column("sender", Text, nullable=False),
    Column("forgotten", Boolean, nullable=False),
    Index("ix_memberships_room", "room_nid", "membership"),
    sqlite_with_rowid=False,
)

# Whose accounts were erased, by the rooms they had been in: whoever came in later gets their events redacted.
erasures = Table(
    "erasures",
    metadata,
    Column("room_nid", BigInteger, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("ord", BigInteger, nullable=False),  # of the timeline, when it happened
    sqlite_with_rowid=False,
)

room_aliases = Table(
    "room_aliases",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("room_nid", BigInteger, nullable=False, index=True),
    Column("creator", Text, nullable=False, index=True),
    sqlite_with_rowid=False,
)
