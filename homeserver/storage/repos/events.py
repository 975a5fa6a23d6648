"""Events by id and room timelines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from homeserver.ports.events import MAX_POSITION, AppendResult, EventRepo, RoomAppend, StoredEvent, TimelinePage
from homeserver.storage.dialect import (
    HIGHEST,
    LOWEST,
    Connection,
    Fragment,
    Sql,
    json_rows,
    rows_of,
)
from homeserver.storage.repos.append import Appender
from homeserver.storage.repos.rows import EventReader

_BETWEEN = "SELECT nid, ord FROM events WHERE room_nid = :room_nid AND ord > :low AND ord <= :high "
_FORWARDS = Sql(_BETWEEN + "ORDER BY ord LIMIT :count")
_BACKWARDS = Sql(_BETWEEN + "ORDER BY ord DESC LIMIT :count")
_NEWEST = "SELECT i.nid FROM events i WHERE i.room_nid = w.room_nid AND i.ord > w.low AND i.ord <= w.high"
_RECENT = Sql(
    "SELECT e.room_nid, e.nid FROM {rooms} {newest} ORDER BY e.room_nid, e.ord",
    rooms=rows_of("rooms", "w", room_nid="bigint", low="bigint", high="bigint"),
    newest=Fragment(
        f"JOIN events e ON e.nid IN ({_NEWEST} ORDER BY i.ord DESC LIMIT :count)",
        f"""CROSS JOIN LATERAL ({_NEWEST} ORDER BY i.ord DESC LIMIT :count) n JOIN events e ON e.nid = n.nid""",
    ),
)
# SQLite keeps the order of a CROSS JOIN: from the keys to their events, not through the room's timeline.
_AFTER = Sql(
    """SELECT nid, nid AS position FROM events WHERE nid > :position AND nid <= :upto AND ord IS NOT NULL
    UNION ALL SELECT event_nid, position FROM late_events WHERE position > :position AND position <= :upto
    ORDER BY 2 LIMIT :count"""
)
_BY_TXNS = Sql(
    "SELECT t.key, e.event_id FROM {keys} JOIN event_txns t ON t.key = w.key JOIN events e ON e.nid = t.event_nid",
    # The keys travel end to end in one value: they are 16 bytes each, and JSON has no bytes.
    keys=Fragment(
        """(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 16 FROM n WHERE i + 16 < length(:keys))
        SELECT substr(:keys, i + 1, 16) AS key FROM n) AS w""",
        """(SELECT substring(CAST(:keys AS bytea) FROM i + 1 FOR 16) AS key
        FROM generate_series(0, octet_length(CAST(:keys AS bytea)) - 1, 16) AS n(i)) AS w""",
    ),
)
_PRUNE_TXNS = Sql(
    """DELETE FROM event_txns
    WHERE event_nid IN (SELECT event_nid FROM event_txns WHERE event_nid < :position LIMIT :count)"""
)


class SqlEventRepo(EventRepo):
    """Implements `ports.events.EventRepo`."""

    def __init__(self, connection: Connection, appender: Appender, reader: EventReader) -> None:
        self._connection = connection
        self._appender = appender
        self._reader = reader

    async def prepare_append(self) -> None:
        await self._appender.prepare()

    async def append(self, appends: Sequence[RoomAppend], first: int) -> list[AppendResult]:
        """The appends must be those that `RoomRepo.advance` allowed."""
        return await self._appender.write(appends, first)

    async def get_many(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        return await self._reader.by_id(event_ids)

    async def by_nids(self, nids: Sequence[int]) -> list[StoredEvent]:
        return await self._reader.at(nids)

    async def by_txns(self, keys: Collection[bytes]) -> dict[bytes, str]:
        if not keys:
            return {}
        rows = await _BY_TXNS.rows(self._connection, keys=b"".join(keys))
        return {bytes(row[0]): row[1] for row in rows}

    async def timeline(
        self, room_nid: int, *, start: int | None, stop: int | None, backwards: bool, limit: int
    ) -> TimelinePage:
        low, high = (stop, start) if backwards else (start, stop)
        if backwards and start is not None and limit and self._reader.is_unread_before(start):
            found, has_more = await self._reader.backwards(room_nid, LOWEST if low is None else low, start, limit)
            return TimelinePage(found, (found[-1].order or 0) - 1 if has_more else None)
        rows = await (_BACKWARDS if backwards else _FORWARDS).rows(
            self._connection,
            room_nid=room_nid,
            low=LOWEST if low is None else low,
            high=HIGHEST if high is None else high,
            count=limit + 1,
        )
        events = await self._reader.at([row[0] for row in rows[:limit]])
        if len(rows) <= limit:
            return TimelinePage(events)
        if limit == 0:  # nothing was asked for
            return TimelinePage(events, end=start)
        last: int = rows[limit - 1][1]
        return TimelinePage(events, end=last - 1 if backwards else last)

    async def recent(self, rooms: Mapping[int, tuple[int, int]], limit: int) -> dict[int, list[StoredEvent]]:
        found: dict[int, list[StoredEvent]] = {room_nid: [] for room_nid in rooms}
        if not rooms:
            return found
        wanted = json_rows({"room_nid": room_nid, "low": low, "high": high} for room_nid, (low, high) in rooms.items())
        rows = await _RECENT.rows(self._connection, rooms=wanted, count=limit)
        for stored in await self._reader.at([row[1] for row in rows]):
            found[stored.room_nid].append(stored)
        return found

    async def after(self, position: int, limit: int, upto: int = MAX_POSITION) -> list[StoredEvent]:
        rows = await _AFTER.rows(self._connection, position=position, upto=upto, count=limit)
        return await self._reader.at([row[0] for row in rows])

    async def prune_txns(self, before_position: int, limit: int) -> int:
        return await _PRUNE_TXNS.run(self._connection, position=before_position, count=limit)
