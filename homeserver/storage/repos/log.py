"""The counter row that gives log positions, and the thin rows from which entries are read back."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, assert_never

import orjson

from homeserver.core.event import StateKey
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import Correction, LogRepo, StoredEvent
from homeserver.ports.log import (
    AccountDataEntry,
    DeviceListEntry,
    EventEntry,
    ForgottenEntry,
    KeyCountsEntry,
    LogEntry,
    PushersEntry,
    ReceiptEntry,
    SessionsEntry,
    StateEntry,
    ToDeviceEntry,
)
from homeserver.ports.receipts import ReceiptChanged
from homeserver.storage.dialect import Connection, Sql
from homeserver.storage.repos.rows import EventReader
from homeserver.storage.sealing import Sealing

RESERVE = Sql("UPDATE counters SET value = value + :count WHERE name = 'log' RETURNING value")
POSITION = Sql("SELECT value FROM counters WHERE name = 'log'")
_ADVANCE = Sql("UPDATE counters SET value = value + :count WHERE name = 'log'")
_MARK = Sql(
    "INSERT INTO counters (name, value) SELECT :name, value FROM counters WHERE name = 'log' "
    "ON CONFLICT (name) DO NOTHING"
)
_MARKED = Sql("SELECT name, value FROM counters WHERE name LIKE 'day-%' AND name <= :name ORDER BY name DESC LIMIT 1")
_FORGET = Sql("DELETE FROM counters WHERE name LIKE 'day-%' AND name < :name")

_RECORD = Sql(
    "INSERT INTO log_entries (position, kind, user_id, room_id, key) "
    "VALUES (:position, :kind, :user_id, :room_id, :key)"
)
_EVENTS = Sql(
    "SELECT nid FROM events WHERE nid > :low AND nid <= :high "
    "UNION ALL SELECT event_nid FROM late_events WHERE position > :low AND position <= :high"
)
_ENTRIES = Sql(
    "SELECT l.position, l.kind, l.user_id, l.room_id, l.key, a.content, r.room_nid, c.event_id, c.ts "
    "FROM log_entries l "
    "LEFT JOIN account_data a ON l.kind = 1 AND a.user_id = l.user_id AND a.room_id = l.room_id AND a.type = l.key "
    "LEFT JOIN rooms r ON l.kind IN (2, 3) AND r.room_id = l.room_id "
    "LEFT JOIN receipts c ON l.kind IN (2, 3) AND c.room_nid = r.room_nid AND c.user_id = l.user_id "
    "AND c.type = CASE l.kind WHEN 2 THEN 'm.read' ELSE 'm.read.private' END AND c.thread_id = l.key "
    "WHERE l.position > :low AND l.position <= :high ORDER BY l.position"
)
_NOTE_CHANGE = Sql(
    "INSERT INTO device_lists (user_id, reader, position) VALUES (:user_id, :reader, :position) "
    "ON CONFLICT (user_id, reader) DO UPDATE SET position = excluded.position"
)
_LISTS = Sql("SELECT position, user_id, reader FROM device_lists WHERE position > :low AND position <= :high")
_CHANGES = Sql(
    "SELECT c.position, c.type, c.state_key, c.event_nid, c.room_nid, r.room_id "
    "FROM state_changes c JOIN rooms r ON r.room_nid = c.room_nid "
    "WHERE c.position > :low AND c.position <= :high ORDER BY c.position"
)
_PRUNE = Sql(
    "DELETE FROM log_entries WHERE position IN "
    "(SELECT position FROM log_entries WHERE position < :position ORDER BY position LIMIT :count)"
)


_ERASED = "erased"


class _Kind(IntEnum):
    """Numbers of kinds in `log_entries`. They are stored: never change one."""

    ACCOUNT_DATA = 1
    RECEIPT = 2
    PRIVATE_RECEIPT = 3
    FORGOTTEN = 4
    SESSIONS = 5
    DEVICE_LIST = 6
    TO_DEVICE = 7
    KEY_COUNTS = 8
    PUSHERS = 9


class SqlLogRepo(LogRepo):
    """Implements `ports.events.LogRepo`."""

    def __init__(self, connection: Connection, reader: EventReader) -> None:
        self._connection = connection
        self._reader = reader
        self._reserved = 0

    async def reserve(self, count: int) -> int:
        if (rows := self._connection.foreseen(POSITION)) is not None:
            # Nobody else writes meanwhile, so the counter need not answer, and what has no answer costs no visit.
            first = int(rows[0][0]) + self._reserved + 1
            self._reserved += count
            await _ADVANCE.run_many(self._connection, [{"count": count}])
            return first
        last = int((await RESERVE.first(self._connection, count=count))[0])
        self._reserved += count
        return last - count + 1

    async def position(self) -> int:
        return int((await POSITION.first(self._connection))[0])

    async def record(self, entries: Sequence[LogEntry]) -> None:
        await _RECORD.run_many(self._connection, [row for entry in entries if (row := _row(entry)) is not None])
        await _NOTE_CHANGE.run_many(
            self._connection,
            [
                {"user_id": entry.user_id, "reader": entry.reader or "", "position": entry.position}
                for entry in entries
                if isinstance(entry, DeviceListEntry)
            ],
        )

    async def between(self, low: int, high: int) -> list[LogEntry] | None:
        entries = await self._read(low, high)
        if len(entries) != high - low:
            return None
        return sorted(entries, key=lambda entry: entry.position)

    async def remaining(self, low: int, high: int) -> list[LogEntry]:
        entries = {entry.position: entry for entry in await self._read(low, high)}
        for position, user_id, reader in await _LISTS.rows(self._connection, low=low, high=high):
            entries.setdefault(position, DeviceListEntry(position, user_id, reader or None))
        return [entries[position] for position in sorted(entries)]

    async def _read(self, low: int, high: int) -> list[LogEntry]:
        nids = await _EVENTS.rows(self._connection, low=low, high=high)
        events = await self._reader.at([row[0] for row in nids])
        entries: list[LogEntry] = [
            EventEntry(stored.position, stored) for stored in events if stored.position is not None
        ]
        for row in await _ENTRIES.rows(self._connection, low=low, high=high):
            if (entry := _entry(row, self._connection.sealing)) is not None:
                entries.append(entry)
        entries.extend(await self._corrections(low, high))
        return entries

    async def _corrections(self, low: int, high: int) -> list[StateEntry]:
        rows = await _CHANGES.rows(self._connection, low=low, high=high)
        nids = {row[3] for row in rows if row[3] is not None}
        events = {stored.nid: stored for stored in await self._reader.at(list(nids))}
        found: dict[int, tuple[str, int, dict[StateKey, StoredEvent | None]]] = {}
        for position, kind, state_key, event_nid, room_nid, room_id in rows:
            _, _, changes = found.setdefault(position, (room_id, room_nid, {}))
            changes[kind, state_key] = None if event_nid is None else events[event_nid]
        return [
            StateEntry(position, Correction(position, room_id, room_nid, changes))
            for position, (room_id, room_nid, changes) in found.items()
        ]

    async def prune(self, before_position: int, limit: int) -> int:
        return await _PRUNE.run(self._connection, position=before_position, count=limit)

    async def mark(self, day: int) -> None:
        await _MARK.run(self._connection, name=_day(day))

    async def marked(self, day: int) -> int | None:
        row = await _MARKED.first(self._connection, name=_day(day))
        if row is None:
            return None
        await _FORGET.run(self._connection, name=row[0])
        return int(row[1])


def _day(day: int) -> str:
    return f"day-{day:08}"


def _row(entry: LogEntry) -> dict[str, Any] | None:
    match entry:
        case EventEntry() | StateEntry():
            return None
        case AccountDataEntry(position, data):
            kind, user_id, room_id, key = _Kind.ACCOUNT_DATA, data.user_id, data.room_id or "", data.type
        case ReceiptEntry(position, receipt):
            kind = _Kind.PRIVATE_RECEIPT if receipt.is_private else _Kind.RECEIPT
            user_id, room_id, key = receipt.user_id, receipt.room_id, receipt.thread_id or ""
        case ForgottenEntry(position, user_id, room_id):
            kind, key = _Kind.FORGOTTEN, ""
        case SessionsEntry(position, user_id, erased):
            kind, room_id, key = _Kind.SESSIONS, "", _ERASED if erased else ""
        case PushersEntry(position, user_id):
            kind, room_id, key = _Kind.PUSHERS, "", ""
        case DeviceListEntry(position, user_id, reader):
            kind, room_id, key = _Kind.DEVICE_LIST, "", reader or ""
        case ToDeviceEntry(position, devices):
            kind, user_id, room_id, key = _Kind.TO_DEVICE, "", "", orjson.dumps(list(devices)).decode()
        case KeyCountsEntry(position, devices):
            kind, user_id, room_id, key = _Kind.KEY_COUNTS, "", "", orjson.dumps(list(devices)).decode()
        case _:
            assert_never(entry)
    return {"position": position, "kind": int(kind), "user_id": user_id, "room_id": room_id, "key": key}


def _entry(row: Any, sealing: Sealing) -> LogEntry | None:
    """The entry of a row of `_ENTRIES`; None if what it was about is gone."""
    position, kind, user_id, room_id, key, content, room_nid, event_id, ts = row
    match _Kind(kind):
        case _Kind.ACCOUNT_DATA:
            plain = sealing.open(content, "account") if content else b"{}"
            return AccountDataEntry(position, AccountDataChanged(user_id, room_id or None, key, plain))
        case _Kind.RECEIPT | _Kind.PRIVATE_RECEIPT as receipt:
            if room_nid is None or event_id is None or ts is None:
                return None
            type_ = "m.read" if receipt is _Kind.RECEIPT else "m.read.private"
            changed = ReceiptChanged(room_id, room_nid, user_id, type_, key or None, event_id, ts)
            return ReceiptEntry(position, changed)
        case _Kind.FORGOTTEN:
            return ForgottenEntry(position, user_id, room_id)
        case _Kind.SESSIONS:
            return SessionsEntry(position, user_id, key == _ERASED)
        case _Kind.DEVICE_LIST:
            return DeviceListEntry(position, user_id, key or None)
        case _Kind.TO_DEVICE:
            return ToDeviceEntry(position, _devices(key))
        case _Kind.KEY_COUNTS:
            return KeyCountsEntry(position, _devices(key))
        case _Kind.PUSHERS:
            return PushersEntry(position, user_id)
        case unknown:
            assert_never(unknown)


def _devices(key: str) -> frozenset[tuple[str, str]]:
    return frozenset((user_id, device_id) for user_id, device_id in orjson.loads(key))
