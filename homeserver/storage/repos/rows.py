"""Events between rows and objects: one column list, and the reader through which every event comes.

A statement that looks for events finds row ids; the reader gives the objects, from the process's memory where it
holds them and otherwise in one further statement. So an event that many people read is unpacked, parsed and rendered
once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from homeserver import faults
from homeserver.core.canonical import trimmed
from homeserver.core.event import Event
from homeserver.core.relations import BUNDLED
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import ORDER_BITS, EventFlags, EventMemory, Replaced, StoredEvent, Txn
from homeserver.storage.dialect import Connection, Fragment, Sql, in_ints, in_texts, json_ints, json_texts
from homeserver.storage.packing import pack, unpack
from homeserver.storage.sealing import Sealing

T = TypeVar("T")


def _same(sql: str) -> Fragment:
    return Fragment(sql, sql)


# A stretch of an index, which one look finds empty; three names would take three. What else lies in it does no harm.
_BUNDLED = f"rel_type BETWEEN '{min(BUNDLED)}' AND '{max(BUNDLED)}'"
_RELATED = f"""EXISTS (SELECT 1 FROM event_relations c WHERE c.target_event_id = e.event_id AND c.{_BUNDLED})"""
_SELECT = """SELECT e.nid, e.ord, e.event_id, e.room_nid, e.snapshot_nid, e.flags, e.json, e.unsigned, e.redacted_by,
        e.replaces, x.ord, {room_id}, {room_version}, x.json, t.key, t.device_id, t.txn_id, {related},
        CASE WHEN e.nid > 0 THEN e.nid ELSE (SELECT l.position FROM late_events l WHERE l.event_nid = e.nid) END,
        e.push
    FROM {events} LEFT JOIN events x ON x.event_id = e.redacted_by
    LEFT JOIN event_txns t ON t.event_nid = e.nid
    WHERE {wanted}"""
_ANYWHERE = {
    "room_id": _same("r.room_id"),
    "room_version": _same("r.room_version"),
    "related": _same(_RELATED),
    "events": _same("events e JOIN rooms r ON r.room_nid = e.room_nid"),
}
_BY_NID = Sql(_SELECT, wanted=in_ints("e.nid", "nids"), **_ANYWHERE)
_BY_ID = Sql(_SELECT, wanted=in_texts("e.event_id", "ids"), **_ANYWHERE)
# What is the same for all events of the room is asked once: what it is, and whether anything is related in it at all.
_ROOM = "(SELECT {} FROM rooms r WHERE r.room_nid = :room_nid)"
_ANY_RELATED = f"EXISTS (SELECT 1 FROM event_relations a WHERE a.room_nid = :room_nid AND a.{_BUNDLED})"
_NEWEST = """(SELECT * FROM events n WHERE n.room_nid = :room_nid AND n.ord > :low AND n.ord <= :high
        ORDER BY n.ord DESC LIMIT :count) e"""
_BACKWARDS = Sql(
    _SELECT + " ORDER BY e.ord DESC",
    room_id=_same(_ROOM.format("r.room_id")),
    room_version=_same(_ROOM.format("r.room_version")),
    related=_same(f"({_ANY_RELATED} AND {_RELATED})"),
    events=_same(_NEWEST),
    wanted=Fragment("1 = 1", "true"),
)
_CONTENT = Sql("SELECT e.nid, e.json FROM events e WHERE {wanted}", wanted=in_ints("e.nid", "nids"))
_FLAGS = [EventFlags(value) for value in range(2 * EventFlags.APART)]
READ_BY_SQL = frozenset({"m.room.join_rules", "m.room.history_visibility"})
"""Types of events that statements look into (`people.py`); they are few, say nothing of people, and stay plain."""


class NoMemory(EventMemory):
    """The `EventMemory` of a transaction that must see what it has written itself."""

    def mark(self) -> int:
        return 0

    def at(self, nid: int) -> StoredEvent | None:
        return None

    def those_of(self, nids: Iterable[int]) -> dict[int, StoredEvent]:
        return {}

    def get(self, event_id: str) -> StoredEvent | None:
        return None

    def keep(self, stored: StoredEvent, since: int) -> StoredEvent:
        return stored


class EventReader:
    """The events of one transaction."""

    def __init__(self, connection: Connection, memory: EventMemory) -> None:
        """Make it before the transaction's first statement: what memory learns later may not be in its snapshot."""
        self._connection = connection
        self._memory = memory
        self._since = memory.mark()

    async def at(self, nids: Sequence[int]) -> list[StoredEvent]:
        """The events of these row ids, in their order."""
        found = self._memory.those_of(nids)
        if missing := [nid for nid in nids if nid not in found]:
            for stored in await self._kept(await _BY_NID.rows(self._connection, nids=json_ints(missing))):
                found[stored.nid] = stored
        return [found[nid] for nid in nids if nid in found]

    def is_unread_before(self, order: int) -> bool:
        """Whether memory is likely to lack the events up to `order`, by the one behind it and what that follows."""
        behind = self._memory.at((order + 1) >> ORDER_BITS)
        return behind is not None and not any(map(self._memory.get, behind.event.prev_events))

    async def backwards(self, room_nid: int, low: int, high: int, count: int) -> tuple[list[StoredEvent], bool]:
        """The newest events of a stretch of a room's timeline, newest first, and whether there are more.

        One statement, for what memory is not likely to have: of the others it fetches rows that nobody needs.
        """
        rows = await _BACKWARDS.rows(self._connection, room_nid=room_nid, low=low, high=high, count=count + 1)
        # Of what comes next memory learns nothing, or the next page would look as if it were there.
        return await self._kept(rows[:count]), len(rows) > count

    async def by_id(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        """Events by id; unknown ids are absent."""
        memory = self._memory
        found: dict[str, StoredEvent] = {}
        missing: list[str] = []
        for event_id in event_ids:
            stored = memory.get(event_id)
            if stored is None:
                missing.append(event_id)
            else:
                found[event_id] = stored
        if missing:
            for stored in await self._kept(await _BY_ID.rows(self._connection, ids=json_texts(missing))):
                found[stored.event.event_id] = stored
        return found

    async def picked(self, nids: Collection[int], pick: Callable[[Mapping[str, Any]], T]) -> dict[int, T]:
        """What `pick` takes from the content of each of these events, by row id. Memory takes none of them in."""
        found = {nid: pick(stored.event.content) for nid, stored in self._memory.those_of(nids).items()}
        if missing := [nid for nid in nids if nid not in found]:
            sealing = self._connection.sealing
            for nid, json in await _CONTENT.rows(self._connection, nids=json_ints(missing)):
                found[nid] = pick(orjson.loads(opened(json, sealing))["content"])
        return found

    async def _kept(self, rows: Iterable[Any]) -> list[StoredEvent]:
        if faults.plan is not None:
            await faults.plan.reach("events.load")
        return [self._memory.keep(_stored_event(row, self._connection.sealing), self._since) for row in rows]


def _stored_event(row: Any, sealing: Sealing) -> StoredEvent:
    nid, order, event_id, room_nid, snapshot, flags, json, unsigned, redacted_by = row[:9]
    replaces, redaction_order, room_id, version, redaction, key, device_id, txn_id, related = row[9:18]
    position, push = row[18:]
    room_version = ROOM_VERSIONS[version]
    redaction_json = None
    if redaction is not None:
        redaction_json = client_form(Event.stored(opened(redaction, sealing), room_version, redacted_by, room_id))
    # In the order of the fields, since names cost as much again as the object, and pages are read by the hundred.
    return StoredEvent(
        Event.stored(opened(json, sealing), room_version, event_id, room_id),
        nid,
        position,
        order,
        room_nid,
        snapshot,
        _FLAGS[flags],
        redacted_by,
        redaction_json,
        redaction_order,
        None if unsigned is None else orjson.loads(sealing.open(unsigned, "unsigned")),
        None if replaces is None else Replaced(*orjson.loads(replaces)),
        None if key is None else Txn(key, device_id, txn_id),
        None,  # client_json
        bool(related),
        push,
    )


def column_json(event_type: str, canonical: bytes, sealing: Sealing) -> bytes:
    """What `events.json` holds of an event's canonical JSON."""
    return canonical if event_type in READ_BY_SQL else sealing.seal(pack(canonical), "event")


def column_unsigned(unsigned: Mapping[str, Any] | None, sealing: Sealing) -> bytes | None:
    """What `events.unsigned` holds."""
    return None if unsigned is None else sealing.seal(orjson.dumps(dict(unsigned)), "unsigned")


def opened(json: bytes, sealing: Sealing) -> bytes:
    """The canonical JSON that a row of `events` holds. Raises UnknownKey, PackingError."""
    return unpack(sealing.open(json, "event"))


def client_form(event: Event) -> bytes:
    """The redaction as clients see it in `unsigned.redacted_because`.

    Old clients look for `redacts` beside `content`, new ones inside it: both get it.
    spec: rooms/v11#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    """
    form: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "room_id": event.room_id,
        "sender": event.sender,
        "type": event.type,
    }
    if event.redacts is not None:
        form["redacts"] = event.redacts
        form["content"] = {**event.content, "redacts": event.redacts}
    return trimmed(orjson.dumps(form, option=orjson.OPT_SORT_KEYS))
