"""SQL for `ports.receipts`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from homeserver.ports.receipts import ReceiptChanged, ReceiptRepo
from homeserver.ports.sync import Bounds
from homeserver.storage.dialect import HIGHEST, LOWEST, Connection, Fragment, Sql, json_rows, rows_of

# -2^63 is no literal: the minus is read behind the number.
_HIGHEST = Fragment(str(HIGHEST), str(HIGHEST))
_LOWEST = Fragment(f"({LOWEST + 1} - 1)", f"({LOWEST + 1} - 1)")

_PUT = Sql(
    "INSERT INTO receipts (room_nid, user_id, type, thread_id, event_id, ord, ts, position) "
    "SELECT w.room_nid, w.user_id, w.type, w.thread_id, w.event_id, "
    "(SELECT n.ord FROM events n WHERE n.event_id = w.event_id AND n.room_nid = w.room_nid), w.ts, w.position "
    # Without a condition SQLite would take what follows for one of the join's.
    "FROM {receipts} WHERE w.position > 0 "
    "ON CONFLICT (room_nid, user_id, type, thread_id) "
    "DO UPDATE SET event_id = excluded.event_id, ord = excluded.ord, ts = excluded.ts, position = excluded.position "
    # Only forward: two processes may set it at once, and each sees the other's too late.
    # An event that is not here, of another server, has no place to compare.
    "WHERE coalesce(excluded.ord, {highest}) > coalesce(receipts.ord, {lowest}) RETURNING position",
    receipts=rows_of(
        "receipts",
        "w",
        room_nid="bigint",
        user_id="text",
        type="text",
        thread_id="text",
        event_id="text",
        ts="bigint",
        position="bigint",
    ),
    highest=_HIGHEST,
    lowest=_LOWEST,
)
_GET = Sql(
    "SELECT event_id, ts FROM receipts "
    "WHERE room_nid = :room_nid AND user_id = :user_id AND type = :type AND thread_id = :thread_id"
)
_KEEP_NEWEST = Sql(
    "DELETE FROM receipts WHERE room_nid = :room_nid AND user_id = :user_id AND thread_id <> '' AND position <= "
    "(SELECT o.position FROM receipts o WHERE o.room_nid = :room_nid AND o.user_id = :user_id AND o.thread_id <> '' "
    "ORDER BY o.position DESC LIMIT 1 OFFSET :count)"
)
_BETWEEN = Sql(
    "SELECT o.room_id, c.room_nid, c.user_id, c.type, c.thread_id, c.event_id, c.ts FROM {rooms} "
    "JOIN receipts c ON c.room_nid = w.room_nid AND c.position > w.low AND c.position <= w.high "
    "JOIN rooms o ON o.room_nid = c.room_nid "
    "WHERE c.type <> 'm.read.private' OR c.user_id = :user_id ORDER BY c.position",
    rooms=rows_of("rooms", "w", room_nid="bigint", low="bigint", high="bigint"),
)


def _key(receipt: ReceiptChanged) -> dict[str, Any]:
    return {
        "room_nid": receipt.room_nid,
        "user_id": receipt.user_id,
        "type": receipt.type,
        "thread_id": receipt.thread_id or "",
    }


class SqlReceiptRepo(ReceiptRepo):
    """Implements `ports.receipts.ReceiptRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def put(self, receipts: Sequence[tuple[ReceiptChanged, int]]) -> list[ReceiptChanged]:
        found: list[ReceiptChanged] = []
        waiting = deque(receipts)
        while waiting:
            # A statement may change a row once only.
            now: dict[tuple[Any, ...], tuple[ReceiptChanged, int]] = {}
            while waiting and (key := tuple(_key(waiting[0][0]).values())) not in now:
                now[key] = waiting.popleft()
            found.extend(await self._put_apart(list(now.values())))
        return found

    async def _put_apart(self, receipts: Sequence[tuple[ReceiptChanged, int]]) -> list[ReceiptChanged]:
        """As `put`, of receipts that are all of different rows."""
        rows = [
            {**_key(receipt), "event_id": receipt.event_id, "ts": receipt.ts, "position": position}
            for receipt, position in receipts
        ]
        stored = {row[0] for row in await _PUT.rows(self._connection, receipts=json_rows(rows))}
        found: list[ReceiptChanged] = []
        for receipt, position in receipts:
            if position in stored:
                found.append(receipt)
                continue
            event_id, ts = await _GET.first(self._connection, **_key(receipt))
            found.append(replace(receipt, event_id=event_id, ts=ts))
        return found

    async def get(self, room_nid: int, user_id: str, type_: str, thread_id: str | None) -> str | None:
        row = await _GET.first(
            self._connection, room_nid=room_nid, user_id=user_id, type=type_, thread_id=thread_id or ""
        )
        return None if row is None else row[0]

    async def keep_newest(self, room_nid: int, user_id: str, count: int) -> None:
        await _KEEP_NEWEST.run(self._connection, room_nid=room_nid, user_id=user_id, count=count)

    async def between(self, rooms: Mapping[int, Bounds], user_id: str) -> list[ReceiptChanged]:
        if not rooms:
            return []
        wanted = json_rows({"room_nid": nid, "low": low, "high": high} for nid, (low, high) in rooms.items())
        return [
            ReceiptChanged(row[0], row[1], row[2], row[3], row[4] or None, row[5], row[6])
            for row in await _BETWEEN.rows(self._connection, rooms=wanted, user_id=user_id)
        ]
