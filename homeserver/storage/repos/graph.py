"""What federation and state resolution need of a room's graph: auth edges, gaps, and state changes without an event."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any

from homeserver.core.event import StateKey
from homeserver.core.resolve.graph import AuthRow
from homeserver.ports.events import NewEvent, StoredEvent
from homeserver.storage.dialect import (
    Connection,
    Sql,
    in_ints,
    in_texts,
    json_ints,
    json_texts,
)

INSERT_AUTH = Sql(
    "INSERT INTO auth_graph (nid, room_nid, is_power, parents) VALUES (:nid, :room_nid, :is_power, :parents)"
)
INSERT_GAP = Sql(
    """INSERT INTO gaps (room_nid, event_id, below_ord) VALUES (:room_nid, :event_id, :below_ord)
    ON CONFLICT (room_nid, event_id) DO UPDATE SET below_ord = excluded.below_ord
    WHERE excluded.below_ord < gaps.below_ord"""
)
DROP_GAP = Sql("DELETE FROM gaps WHERE room_nid = :room_nid AND event_id = :event_id")
INSERT_REDACTION_WAITING = Sql(
    """INSERT INTO redactions_waiting (room_nid, target_id, event_nid) VALUES (:room_nid, :target_id, :event_nid)
    ON CONFLICT (room_nid, target_id, event_nid) DO NOTHING"""
)
DROP_REDACTIONS_WAITING = Sql("DELETE FROM redactions_waiting WHERE room_nid = :room_nid AND target_id = :event_id")
INSERT_CHANGE = Sql(
    """INSERT INTO state_changes (position, type, state_key, room_nid, event_nid, snapshot_nid)
    VALUES (:position, :type, :state_key, :room_nid, :event_nid, :snapshot_nid)"""
)
INSERT_VIEW = Sql("INSERT INTO event_views (room_nid, ord, user_id, value) VALUES (:room_nid, :ord, :user_id, :value)")
INSERT_LATE = Sql("INSERT INTO late_events (position, event_nid) VALUES (:position, :event_nid)")
SET_PLACE = Sql(
    """UPDATE events SET ord = :ord, snapshot_nid = :snapshot_nid, flags = :flags, unsigned = :unsigned,
        push = :push, replaces = :replaces
    WHERE nid = :nid"""
)
_AUTH = Sql("SELECT nid, is_power, parents FROM auth_graph WHERE room_nid = :room_nid")
_GAPS = Sql("SELECT event_id FROM gaps WHERE room_nid = :room_nid AND {ids}", ids=in_texts("event_id", "ids"))
_REDACTIONS_WAITING = Sql(
    """SELECT w.event_nid FROM redactions_waiting w JOIN events e ON e.nid = w.event_nid
    WHERE w.room_nid = :room_nid AND w.target_id = :event_id ORDER BY e.ord LIMIT 20"""
)
_SNAPSHOTS = Sql("SELECT snapshot_nid, chain_index FROM snapshots WHERE {nids}", nids=in_ints("snapshot_nid", "nids"))
_CURRENT_NIDS = Sql("SELECT event_nid FROM current_state WHERE room_nid = :room_nid")
_CHAINS = Sql(
    """WITH RECURSIVE chain(start, snapshot_nid, parent_nid) AS (
        SELECT s.snapshot_nid, s.snapshot_nid, s.parent_nid FROM snapshots s WHERE {nids}
        UNION ALL
        SELECT c.start, s.snapshot_nid, s.parent_nid FROM chain c JOIN snapshots s ON s.snapshot_nid = c.parent_nid)
    SELECT start, snapshot_nid FROM chain""",
    nids=in_ints("s.snapshot_nid", "nids"),
)
_DELTAS = Sql(
    """SELECT d.snapshot_nid, e.type, e.state_key, e.event_id, d.removed
    FROM snapshot_deltas d JOIN events e ON e.nid = d.event_nid WHERE {nids}""",
    nids=in_ints("d.snapshot_nid", "nids"),
)


def auth_row(stored: StoredEvent, nid_of: Callable[[str], int]) -> dict[str, Any]:
    """The row of a state event."""
    event = stored.event
    parents = [nid_of(event_id) for event_id in dict.fromkeys(event.auth_events)]
    return {
        "nid": stored.nid,
        "room_nid": stored.room_nid,
        "is_power": event.type == "m.room.power_levels",
        "parents": struct.pack(f">{len(parents)}q", *parents),
    }


def gap_rows(item: NewEvent, stored: StoredEvent) -> list[dict[str, Any]]:
    """Rows of the previous events that an event lacks."""
    return [{"room_nid": stored.room_nid, "event_id": event_id, "below_ord": stored.order} for event_id in item.gaps]


def view_rows(item: NewEvent, stored: StoredEvent) -> list[dict[str, Any]]:
    """Rows of what the event's own state says of who may see it."""
    place = {"room_nid": stored.room_nid, "ord": stored.order}
    return [place | {"user_id": user_id, "value": value} for user_id, value in item.views.items()]


class RoomGraph:
    """Reads of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def auth(self, room_nid: int) -> list[AuthRow[int]]:
        """See `RoomRepo.auth_graph`."""
        return [
            (nid, struct.unpack(f">{len(parents) // 8}q", parents), bool(is_power))
            for nid, is_power, parents in await _AUTH.rows(self._connection, room_nid=room_nid)
        ]

    async def gaps(self, room_nid: int, event_ids: Collection[str]) -> set[str]:
        """See `RoomRepo.gaps`."""
        rows = await _GAPS.rows(self._connection, room_nid=room_nid, ids=json_texts(event_ids))
        return {row[0] for row in rows}

    async def redactions_waiting(self, room_nid: int, event_id: str) -> list[int]:
        """See `RoomRepo.redactions_waiting`."""
        return [
            row[0] for row in await _REDACTIONS_WAITING.rows(self._connection, room_nid=room_nid, event_id=event_id)
        ]

    async def indexes(self, nids: Collection[int]) -> dict[int, int]:
        """The number that each snapshot has in its chain."""
        rows = await _SNAPSHOTS.rows(self._connection, nids=json_ints(nids))
        return {row[0]: row[1] for row in rows}

    async def current(self, room_nid: int) -> list[int]:
        """See `RoomRepo.current_nids`."""
        return [row[0] for row in await _CURRENT_NIDS.rows(self._connection, room_nid=room_nid)]

    async def own_deltas(
        self, nids: Collection[int]
    ) -> tuple[int, dict[int, dict[StateKey, str | None]], set[StateKey]]:
        """The newest link that the chains of all share (0: none), what each has changed since, and the keys of that."""
        chains: dict[int, list[int]] = {nid: [] for nid in nids}
        for start, nid in await _CHAINS.rows(self._connection, nids=json_ints(nids)):
            chains[start].append(nid)  # newest first: the recursion goes breadth first, one parent each
        shared = set.intersection(*(set(chain) for chain in chains.values())) if chains else set()
        base = next((nid for nid in next(iter(chains.values()), []) if nid in shared), 0)
        outside = {nid for chain in chains.values() for nid in chain} - shared
        deltas: dict[int, dict[StateKey, str | None]] = {}
        keys: set[StateKey] = set()
        if outside:
            for nid, kind, state_key, event_id, removed in await _DELTAS.rows(
                self._connection, nids=json_ints(outside)
            ):
                deltas.setdefault(nid, {})[kind, state_key] = None if removed else event_id
                keys.add((kind, state_key))
        own: dict[int, dict[StateKey, str | None]] = {}
        for start, chain in chains.items():
            merged = own.setdefault(start, {})
            for nid in reversed(chain):
                merged.update(deltas.get(nid, {}))
        return base, own, keys
