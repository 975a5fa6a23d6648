"""SQL for `ports.sync`: windows of many rooms, one statement each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import itemgetter
from sys import intern
from typing import Any

from homeserver.core.event import StateKey, membership_value
from homeserver.core.visibility import visibility_value
from homeserver.ports.events import ORDER_BITS, StoredEvent
from homeserver.ports.sync import Bounds, SyncRepo, ViewChange
from homeserver.storage.dialect import Connection, Fragment, Sql, in_ints, json_ints, json_rows, rows_of
from homeserver.storage.repos.rows import EventReader

_DECISIVE_AT_ONCE = 500
"""More than most rooms and users have; whoever comes and goes all the time has any number."""

_STEP = 1 << ORDER_BITS

_OWN_MEMBERSHIPS = Sql(
    "SELECT e.nid, e.nid AS position FROM events e WHERE e.room_nid IN "
    "(SELECT m.room_nid FROM memberships m WHERE m.user_id = :user_id AND m.position > :low) "
    "AND e.type = 'm.room.member' AND e.state_key = :user_id "
    "AND e.nid > :low AND e.nid <= :high AND e.ord IS NOT NULL "
    "UNION ALL SELECT e.nid, l.position FROM late_events l JOIN events e ON e.nid = l.event_nid "
    "WHERE l.position > :low AND l.position <= :high "
    "AND e.type = 'm.room.member' AND e.state_key = :user_id AND e.ord IS NOT NULL ORDER BY 2"
)
_OTHER_MEMBERSHIPS = Sql(
    "SELECT e.nid FROM events e WHERE {rooms} AND e.type = 'm.room.member' AND e.state_key IS NOT NULL "
    "AND e.state_key <> :user_id AND e.ord IS NOT NULL AND (e.nid > :low AND e.nid <= :high "
    "OR e.nid IN (SELECT l.event_nid FROM late_events l WHERE l.position > :low AND l.position <= :high)) "
    "ORDER BY e.ord",
    rooms=in_ints("e.room_nid", "rooms"),
)
_CORRECTED_MEMBERS = Sql(
    "SELECT DISTINCT s.state_key, s.room_nid FROM state_changes s "
    "WHERE {rooms} AND s.type = 'm.room.member' AND s.position > :low AND s.position <= :high",
    rooms=in_ints("s.room_nid", "rooms"),
)
_VISIBILITY_HISTORIES = Sql(
    "SELECT e.nid, e.room_nid, e.ord, e.snapshot_nid, e.type = 'm.room.member', NULL, NULL FROM {decisive} "
    # What state resolution has set, at the position where it did; without an event the value is the default.
    f"UNION ALL SELECT c.event_nid, c.room_nid, c.position * {_STEP}, c.snapshot_nid, "
    "c.type = 'm.room.member', NULL, NULL "
    "FROM state_changes c WHERE {changed} AND ("
    "(c.type = 'm.room.history_visibility' AND c.state_key = '') OR "
    "(c.type = 'm.room.member' AND c.state_key = :user_id)) "
    "UNION ALL SELECT NULL, v.room_nid, v.ord, 0, v.user_id <> '', NULL, v.value FROM event_views v "
    "WHERE {apart} AND v.user_id IN ('', :user_id) "
    "UNION ALL SELECT NULL, x.room_nid, x.ord, 0, false, x.user_id, NULL FROM erasures x WHERE {erased}",
    # Asked for one kind or the other, or for an order, SQLite reads the rooms' whole timelines.
    decisive=Fragment(
        "json_each(:rooms) w CROSS JOIN (SELECT 'm.room.history_visibility' AS type, '' AS state_key "
        "UNION ALL SELECT 'm.room.member', :user_id) k CROSS JOIN events e ON e.room_nid = w.value "
        "AND e.type = k.type AND e.state_key = k.state_key AND e.ord IS NOT NULL",
        f"events e WHERE {in_ints('e.room_nid', 'rooms').postgres} AND e.ord IS NOT NULL AND ("
        "(e.type = 'm.room.history_visibility' AND e.state_key = '') OR "
        "(e.type = 'm.room.member' AND e.state_key = :user_id))",
    ),
    changed=in_ints("c.room_nid", "rooms"),
    apart=in_ints("v.room_nid", "rooms"),
    erased=in_ints("x.room_nid", "rooms"),
)
_LAST_OF_EACH_KEY = (
    "SELECT MAX(i.ord) AS ord FROM events i WHERE i.room_nid = w.room_nid AND i.ord > w.low AND i.ord <= w.high "
    "AND i.state_key IS NOT NULL GROUP BY i.type, i.state_key"
)
_STATE_BETWEEN = Sql(
    "SELECT e.nid FROM {rooms} {last} ORDER BY e.room_nid, e.ord",
    rooms=rows_of("rooms", "w", room_nid="bigint", low="bigint", high="bigint"),
    last=Fragment(
        f"JOIN events e ON e.room_nid = w.room_nid AND e.ord IN ({_LAST_OF_EACH_KEY})",
        f"CROSS JOIN LATERAL ({_LAST_OF_EACH_KEY}) n JOIN events e ON e.room_nid = w.room_nid AND e.ord = n.ord",
    ),
)


_SETTLED = Sql(
    # Oldest first: of several at one key the last one counts.
    "SELECT c.room_nid, c.type, c.state_key, c.event_nid FROM {rooms} "
    "JOIN state_changes c ON c.room_nid = w.room_nid AND c.position > w.low AND c.position <= w.high "
    "WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.room_nid = c.room_nid AND e.type = c.type "
    f"AND e.state_key = c.state_key AND e.ord > c.position * {_STEP} AND e.ord <= w.high * {_STEP}) "
    "ORDER BY c.position",
    rooms=rows_of("rooms", "w", room_nid="bigint", low="bigint", high="bigint"),
)


_NO_EVENT = ("leave", "shared")
_ORD = itemgetter(2)


def _membership_and_visibility(content: Mapping[str, Any]) -> tuple[str, str]:
    """What an event sets, if it is of the one type or of the other."""
    return intern(membership_value(content) or "leave"), visibility_value(content)


class SqlSyncRepo(SyncRepo):
    """Implements `ports.sync.SyncRepo`."""

    def __init__(self, connection: Connection, reader: EventReader) -> None:
        self._connection = connection
        self._reader = reader

    async def own_memberships(self, user_id: str, low: int, high: int) -> list[StoredEvent]:
        rows = await _OWN_MEMBERSHIPS.rows(self._connection, user_id=user_id, low=low, high=high)
        return await self._reader.at([row[0] for row in rows])

    async def other_memberships(
        self, room_nids: Collection[int], user_id: str, low: int, high: int
    ) -> list[StoredEvent]:
        if not room_nids:
            return []
        rows = await _OTHER_MEMBERSHIPS.rows(
            self._connection, rooms=json_ints(room_nids), user_id=user_id, low=low, high=high
        )
        return await self._reader.at([row[0] for row in rows])

    async def corrected_members(self, room_nids: Collection[int], low: int, high: int) -> list[tuple[str, int]]:
        if not room_nids:
            return []
        rows = await _CORRECTED_MEMBERS.rows(self._connection, rooms=json_ints(room_nids), low=low, high=high)
        return [(user_id, room_nid) for user_id, room_nid in rows]

    async def visibility_histories(self, room_nids: Collection[int], user_id: str) -> dict[int, list[ViewChange]]:
        found: dict[int, list[ViewChange]] = {room_nid: [] for room_nid in room_nids}
        if not room_nids:
            return found
        rows = await _VISIBILITY_HISTORIES.rows(self._connection, rooms=json_ints(room_nids), user_id=user_id)
        rows = sorted(rows, key=_ORD)
        for first in range(0, len(rows), _DECISIVE_AT_ONCE):
            some = rows[first : first + _DECISIVE_AT_ONCE]
            nids = [row[0] for row in some if row[0] is not None]
            values = await self._reader.picked(nids, _membership_and_visibility)
            for nid, room_nid, order, snapshot, is_member, erased, view in some:
                membership, visibility = _NO_EVENT if nid is None else values[nid]
                value = view or (membership if is_member else visibility)
                found[room_nid].append(ViewChange(order, snapshot, bool(is_member), value, erased, view is not None))
        return found

    async def settled(self, rooms: Mapping[int, Bounds]) -> dict[int, dict[StateKey, StoredEvent | None]]:
        """One statement where nothing was resolved."""
        if not rooms:
            return {}
        wanted = json_rows({"room_nid": nid, "low": low, "high": high} for nid, (low, high) in rooms.items())
        rows = await _SETTLED.rows(self._connection, rooms=wanted)
        found: dict[int, dict[StateKey, StoredEvent | None]] = {}
        if not rows:
            return found
        events = {item.nid: item for item in await self._reader.at([row[3] for row in rows if row[3] is not None])}
        for room_nid, kind, state_key, event_nid in rows:
            found.setdefault(room_nid, {})[kind, state_key] = None if event_nid is None else events[event_nid]
        return found

    async def state_between(self, rooms: Mapping[int, Bounds]) -> dict[int, list[StoredEvent]]:
        found: dict[int, list[StoredEvent]] = {room_nid: [] for room_nid in rooms}
        if not rooms:
            return found
        wanted = json_rows({"room_nid": nid, "low": low, "high": high} for nid, (low, high) in rooms.items())
        rows = await _STATE_BETWEEN.rows(self._connection, rooms=wanted)
        for stored in await self._reader.at([row[0] for row in rows]):
            found[stored.room_nid].append(stored)
        return found
