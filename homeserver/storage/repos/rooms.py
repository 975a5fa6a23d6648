"""Rooms, heads, memberships of local users, and state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import immutables
import orjson

from homeserver.core.event import StateKey
from homeserver.core.resolve.graph import AuthRow
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import Extremity, Membership, RoomAppend, RoomHead, RoomRepo, StoredEvent
from homeserver.ports.state import EMPTY, MAX_WHOLE, RoomState, Snapshot, StateMap
from homeserver.storage.dialect import (
    Connection,
    Fragment,
    Sql,
    in_ints,
    in_texts,
    is_storable,
    json_ints,
    json_rows,
    json_texts,
    rows_of,
)
from homeserver.storage.repos.append import Appender
from homeserver.storage.repos.graph import RoomGraph
from homeserver.storage.repos.rows import EventReader

_HEROES = 5

_ROOM_NIDS = Sql("SELECT room_id, room_nid FROM rooms WHERE {ids}", ids=in_texts("room_id", "ids"))
_HEAD = Sql(
    """SELECT room_nid, room_version, head_version, extremities, snapshot_nid, snapshot_index,
        (SELECT count(*) FROM (SELECT 1 FROM current_state c WHERE c.room_nid = rooms.room_nid LIMIT :most) s),
        EXISTS (SELECT 1 FROM blocked_rooms b WHERE b.room_id = rooms.room_id)
    FROM rooms WHERE room_id = :room_id"""
)
_HEAD_VERSION = Sql("SELECT head_version FROM rooms WHERE room_nid = :room_nid")
_HEAD_STATE = Sql(
    """SELECT c.type, c.state_key, e.event_id FROM current_state c JOIN events e ON e.nid = c.event_nid
    WHERE c.room_nid = :room_nid"""
)
# Each key's row by the primary keys, whatever the planner thinks of the room's size; no row at all if it has moved.
_NEWEST_KEYS = Sql(
    """SELECT w.type, w.state_key, (
        SELECT e.event_id FROM current_state c JOIN events e ON e.nid = c.event_nid
        WHERE c.room_nid = r.room_nid AND c.type = w.type AND c.state_key = w.state_key)
    FROM snapshots s JOIN rooms r ON r.room_nid = s.room_nid AND r.snapshot_nid = s.snapshot_nid CROSS JOIN {keys}
    WHERE s.snapshot_nid = :snapshot""",
    keys=rows_of("keys", "w", type="text", state_key="text"),
)


def _one_by_one(table: str, alias: str, condition: str) -> Fragment:
    """A join in which PostgreSQL looks for each row in turn, by index.

    It takes recursion to give ten times as many rows as it does, and would read whole tables instead. SQLite keeps the
    order of a CROSS JOIN: from the few keys to their events and deltas, not through the whole state.
    """
    return Fragment(
        f"CROSS JOIN {table} {alias} ON {condition}",
        f"CROSS JOIN LATERAL (SELECT * FROM {table} {alias} WHERE {condition} OFFSET 0) {alias}",
    )


_CHAIN = """WITH RECURSIVE chain(snapshot_nid, parent_nid, chain_index) AS (
        SELECT snapshot_nid, parent_nid, chain_index FROM snapshots WHERE snapshot_nid = :snapshot
        UNION ALL
        SELECT s.snapshot_nid, s.parent_nid, s.chain_index FROM chain p {parents})
    SELECT e.type, e.state_key, e.event_id, d.removed """
_PARENTS = _one_by_one("snapshots", "s", "s.snapshot_nid = p.parent_nid")
_STATE_AT = Sql(
    _CHAIN
    + """FROM chain c JOIN snapshot_deltas d ON d.snapshot_nid = c.snapshot_nid JOIN events e ON e.nid = d.event_nid
    ORDER BY c.chain_index""",
    parents=_PARENTS,
)
_STATE_AT_KEYS = Sql(
    _CHAIN + "FROM {keys} {events} CROSS JOIN chain c {deltas} ORDER BY c.chain_index",
    parents=_PARENTS,
    keys=rows_of("keys", "w", type="text", state_key="text"),
    events=_one_by_one(
        "events",
        "e",
        "e.room_nid = (SELECT room_nid FROM snapshots WHERE snapshot_nid = :snapshot) "
        "AND e.type = w.type AND e.state_key = w.state_key",
    ),
    deltas=_one_by_one("snapshot_deltas", "d", "d.snapshot_nid = c.snapshot_nid AND d.event_nid = e.nid"),
)
_CURRENT = "SELECT c.event_nid FROM current_state c WHERE "
_STATE = Sql(
    _CURRENT + "{rooms} AND NOT {excluded}",
    rooms=in_ints("c.room_nid", "rooms"),
    excluded=in_texts("c.type", "excluded"),
)
_STATE_OF_TYPES = Sql(
    _CURRENT + "{rooms} AND {types} AND NOT {excluded}",
    rooms=in_ints("c.room_nid", "rooms"),
    types=in_texts("c.type", "types"),
    excluded=in_texts("c.type", "excluded"),
)
_MEMBERS = Sql(_CURRENT + "c.room_nid = :room_nid AND c.type = 'm.room.member' ORDER BY c.event_nid")
_MEMBERS_OF = Sql(
    _CURRENT + "c.room_nid = :room_nid AND c.type = 'm.room.member' AND {memberships} ORDER BY c.event_nid",
    memberships=in_texts("c.membership", "memberships"),
)
_MEMBER_EVENTS = Sql(
    """SELECT c.event_nid FROM {users} JOIN current_state c ON c.room_nid = w.room_nid AND c.type = 'm.room.member'
    AND c.state_key = w.user_id""",
    users=rows_of("users", "w", room_nid="bigint", user_id="text"),
)
_MEMBER_COUNTS = Sql(
    """SELECT room_nid, membership, count(*) FROM current_state
    WHERE {rooms} AND membership IS NOT NULL GROUP BY room_nid, membership""",
    rooms=in_ints("room_nid", "rooms"),
)
_OLDEST_MEMBERS = """SELECT i.state_key, i.event_nid FROM current_state i
    WHERE i.room_nid = w.room_nid AND i.membership = m.membership AND i.state_key <> :exclude
    ORDER BY i.event_nid LIMIT :count"""
_HERO_ROWS = Sql(
    "SELECT w.room_nid, m.membership, c.state_key, c.event_nid FROM {rooms} CROSS JOIN {memberships} {oldest}",
    rooms=rows_of("rooms", "w", room_nid="bigint"),
    memberships=Fragment(
        '(SELECT value AS membership FROM json_each(\'["join","invite","leave","ban"]\')) AS m',
        "(VALUES ('join'), ('invite'), ('leave'), ('ban')) AS m(membership)",
    ),
    oldest=Fragment(
        # SQLite keeps the order of a CROSS JOIN: the lists of five first, then their rows.
        f"""CROSS JOIN current_state c ON c.room_nid = w.room_nid AND c.type = 'm.room.member'
        AND c.state_key IN (SELECT o.state_key FROM ({_OLDEST_MEMBERS}) o)""",
        f"CROSS JOIN LATERAL ({_OLDEST_MEMBERS}) c",
    ),
)
_MEMBERSHIPS = Sql(
    """SELECT m.room_nid, r.room_id, m.membership, e.event_id, m.sender, m.position, m.forgotten
    FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid JOIN events e ON e.nid = m.event_nid
    WHERE m.user_id = :user_id ORDER BY m.position"""
)
_JOINED = Sql(
    "SELECT DISTINCT c.state_key FROM current_state c "
    "WHERE {rooms} AND c.type = 'm.room.member' AND c.membership = 'join'",
    rooms=in_ints("c.room_nid", "rooms"),
)
_JOINED_LOCAL = Sql("SELECT user_id FROM memberships WHERE room_nid = :room_nid AND membership = 'join'")
_JOINED_GUESTS = Sql(
    "SELECT m.user_id FROM memberships m JOIN users u ON u.user_id = m.user_id "
    "WHERE m.room_nid = :room_nid AND m.membership = 'join' AND u.is_guest"
)
_JOINED_PAIRS = Sql(
    "SELECT c.room_nid, c.state_key FROM current_state c "
    "WHERE {rooms} AND c.type = 'm.room.member' AND c.membership = 'join' AND {users}",
    rooms=in_ints("c.room_nid", "rooms"),
    users=in_texts("c.state_key", "users"),
)
_FORGET = Sql("UPDATE memberships SET forgotten = true WHERE user_id = :user_id AND room_nid = :room_nid")
_SET_PUBLIC = Sql("UPDATE rooms SET is_public = :public WHERE room_nid = :room_nid")
_PUBLIC = Sql("SELECT room_nid, room_id FROM rooms WHERE is_public ORDER BY room_nid")
_RECENT = Sql(
    "SELECT r.room_id FROM (SELECT room_nid, max(nid) AS newest FROM events WHERE nid > :after GROUP BY room_nid) e "
    "JOIN rooms r ON r.room_nid = e.room_nid ORDER BY e.newest DESC LIMIT :count"
)


class SqlRoomRepo(RoomRepo):
    """Implements `ports.events.RoomRepo`."""

    def __init__(self, connection: Connection, appender: Appender, reader: EventReader) -> None:
        self._connection = connection
        self._appender = appender
        self._graph = RoomGraph(connection)
        self._reader = reader

    async def room_nids(self, room_ids: Collection[str]) -> dict[str, int]:
        rows = await _ROOM_NIDS.rows(self._connection, ids=json_texts(room_ids))
        return {row[0]: row[1] for row in rows}

    async def head(self, room_id: str) -> RoomHead | None:
        """Two statements; one for a large room."""
        if not is_storable(room_id):
            return None
        row = await _HEAD.first(self._connection, room_id=room_id, most=MAX_WHOLE + 1)
        if row is None:
            return None
        room_nid, version, version_no, extremities, snapshot_nid, snapshot_index, keys, is_blocked = row
        snapshot = Snapshot(snapshot_nid, snapshot_index)
        state = RoomState(snapshot)
        if keys <= MAX_WHOLE:
            rows = await _HEAD_STATE.rows(self._connection, room_nid=room_nid)
            state = RoomState(snapshot, {(kind, key): event_id for kind, key, event_id in rows}, is_whole=True)
        return RoomHead(
            room_nid=room_nid,
            room_id=room_id,
            room_version=ROOM_VERSIONS[version],
            version_no=version_no,
            extremities=tuple(Extremity(*extremity) for extremity in orjson.loads(extremities)),
            state=state,
            is_blocked=bool(is_blocked),
        )

    async def head_version(self, room_nid: int) -> int | None:
        row = await _HEAD_VERSION.first(self._connection, room_nid=room_nid)
        return None if row is None else row[0]

    async def advance(self, appends: Sequence[RoomAppend]) -> set[int]:
        """Remembers what it decided for `EventRepo.append` in the same transaction."""
        return await self._appender.advance(appends)

    async def auth_graph(self, room_nid: int) -> list[AuthRow[int]]:
        return await self._graph.auth(room_nid)

    async def current_nids(self, room_nid: int) -> list[int]:
        return await self._graph.current(room_nid)

    async def gaps(self, room_nid: int, event_ids: Collection[str]) -> set[str]:
        return await self._graph.gaps(room_nid, event_ids)

    async def redactions_waiting(self, room_nid: int, event_id: str) -> list[int]:
        return await self._graph.redactions_waiting(room_nid, event_id)

    async def snapshots(self, nids: Collection[int]) -> dict[int, Snapshot]:
        indexes = await self._graph.indexes(nids)
        return {nid: Snapshot(nid, indexes[nid]) if nid else EMPTY for nid in nids if nid in indexes or not nid}

    async def differences(self, snapshots: Collection[int]) -> dict[StateKey, dict[int, str | None]]:
        """Up to three statements."""
        base, own, keys = await self._graph.own_deltas(snapshots)
        # What only some have changed since the link they share, the others have from there.
        partly = {key for key in keys if any(key not in changes for changes in own.values())}
        shared = await self.state_at_filtered(base, partly) if base and partly else {}
        return {
            key: {nid: own[nid][key] if key in own.get(nid, {}) else shared.get(key) for nid in snapshots}
            for key in keys
        }

    async def state_at(self, snapshot: int) -> StateMap:
        return immutables.Map(_latest(await _STATE_AT.rows(self._connection, snapshot=snapshot)))

    async def state_at_filtered(self, snapshot: int, keys: Collection[StateKey]) -> dict[StateKey, str]:
        return _latest(await _STATE_AT_KEYS.rows(self._connection, snapshot=snapshot, keys=_json_keys(keys)))

    async def newest_state_filtered(self, snapshot: int, keys: Collection[StateKey]) -> dict[StateKey, str]:
        rows = await _NEWEST_KEYS.rows(self._connection, snapshot=snapshot, keys=_json_keys(keys))
        if not rows:
            return await self.state_at_filtered(snapshot, keys)
        return {(kind, key): event_id for kind, key, event_id in rows if event_id is not None}

    async def current_state(
        self, room_nids: Collection[int], *, types: Collection[str] | None = None, not_types: Collection[str] = ()
    ) -> dict[int, list[StoredEvent]]:
        rooms, excluded = json_ints(room_nids), json_texts(not_types)
        if types is None:
            rows = await _STATE.rows(self._connection, rooms=rooms, excluded=excluded)
        else:
            rows = await _STATE_OF_TYPES.rows(self._connection, rooms=rooms, types=json_texts(types), excluded=excluded)
        return _by_room(room_nids, await self._reader.at([row[0] for row in rows]))

    async def current_members(self, room_nid: int, memberships: Collection[str] | None = None) -> list[StoredEvent]:
        """Oldest first."""
        return await self._reader.at(await self.current_member_nids(room_nid, memberships))

    async def current_member_nids(self, room_nid: int, memberships: Collection[str] | None = None) -> list[int]:
        if memberships is None:
            rows = await _MEMBERS.rows(self._connection, room_nid=room_nid)
        else:
            rows = await _MEMBERS_OF.rows(self._connection, room_nid=room_nid, memberships=json_texts(memberships))
        return [row[0] for row in rows]

    async def member_events(self, room_nids: Mapping[int, Collection[str]]) -> dict[int, list[StoredEvent]]:
        wanted = json_rows(
            {"room_nid": room_nid, "user_id": user_id}
            for room_nid, users in room_nids.items()
            for user_id in users
            if is_storable(user_id)
        )
        rows = await _MEMBER_EVENTS.rows(self._connection, users=wanted)
        return _by_room(room_nids, await self._reader.at([row[0] for row in rows]))

    async def member_counts(self, room_nids: Collection[int]) -> dict[int, dict[str, int]]:
        counts: dict[int, dict[str, int]] = {room_nid: {} for room_nid in room_nids}
        for room_nid, membership, count in await _MEMBER_COUNTS.rows(self._connection, rooms=json_ints(room_nids)):
            counts[room_nid][membership] = count
        return counts

    async def heroes(self, room_nids: Collection[int], exclude: str) -> dict[int, list[str]]:
        """Joined and invited members first come first; those who left only if nobody is there."""
        present: dict[int, list[tuple[int, str]]] = {room_nid: [] for room_nid in room_nids}
        absent: dict[int, list[tuple[int, str]]] = {room_nid: [] for room_nid in room_nids}
        rows = await _HERO_ROWS.rows(
            self._connection,
            rooms=json_rows({"room_nid": room_nid} for room_nid in room_nids),
            exclude=exclude,
            count=_HEROES,
        )
        for room_nid, membership, user_id, event_nid in rows:
            side = present if membership in {"join", "invite"} else absent
            side[room_nid].append((event_nid, user_id))
        return {
            room_nid: [user_id for _, user_id in sorted(present[room_nid] or absent[room_nid])[:_HEROES]]
            for room_nid in room_nids
        }

    async def memberships(self, user_id: str) -> list[Membership]:
        """Oldest membership event first."""
        return [
            Membership(
                user_id=user_id,
                room_id=room_id,
                room_nid=room_nid,
                membership=membership,
                event_id=event_id,
                sender=sender,
                position=position,
                forgotten=bool(forgotten),
            )
            for room_nid, room_id, membership, event_id, sender, position, forgotten in await _MEMBERSHIPS.rows(
                self._connection, user_id=user_id
            )
        ]

    async def joined_local_users(self, room_nid: int) -> list[str]:
        return [row[0] for row in await _JOINED_LOCAL.rows(self._connection, room_nid=room_nid)]

    async def joined_guests(self, room_nid: int) -> list[str]:
        return [row[0] for row in await _JOINED_GUESTS.rows(self._connection, room_nid=room_nid)]

    async def joined_members(self, room_nids: Collection[int]) -> set[str]:
        return {row[0] for row in await _JOINED.rows(self._connection, rooms=json_ints(room_nids))}

    async def joined_pairs(self, room_nids: Collection[int], users: Collection[str]) -> list[tuple[int, str]]:
        rows = await _JOINED_PAIRS.rows(self._connection, rooms=json_ints(room_nids), users=json_texts(users))
        return [(row[0], row[1]) for row in rows]

    async def set_forgotten(self, user_id: str, room_nid: int) -> None:
        await _FORGET.run(self._connection, user_id=user_id, room_nid=room_nid)

    async def set_public(self, room_nid: int, public: bool) -> None:
        await _SET_PUBLIC.run(self._connection, room_nid=room_nid, public=public)

    async def public_rooms(self) -> list[tuple[int, str]]:
        return [(row[0], row[1]) for row in await _PUBLIC.rows(self._connection)]

    async def recently_active(self, after: int, limit: int) -> list[str]:
        return [row[0] for row in await _RECENT.rows(self._connection, after=after, count=limit)]


def _json_keys(keys: Collection[StateKey]) -> str:
    return json_rows({"type": kind, "state_key": key} for kind, key in keys if is_storable(kind) and is_storable(key))


def _latest(rows: Iterable[Any]) -> dict[StateKey, str]:
    """The state that deltas, oldest first, add up to."""
    state: dict[StateKey, str] = {}
    for kind, key, event_id, removed in rows:
        if removed:
            state.pop((kind, key), None)
        else:
            state[(kind, key)] = event_id
    return state


def _by_room(room_nids: Iterable[int], events: Iterable[StoredEvent]) -> dict[int, list[StoredEvent]]:
    found: dict[int, list[StoredEvent]] = {room_nid: [] for room_nid in room_nids}
    for item in events:
        found[item.room_nid].append(item)
    return found
