"""Two processes on one database, without anything that tells one of the other: each follows the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import AccountDataChanged
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
from homeserver.ports.store import Transaction
from homeserver.services.commit import Committer
from homeserver.services.following import LogFollower
from homeserver.services.log import Log
from homeserver.storage.unit import Database
from tests.storage.rooms import decide, make_room, message
from tests.support.statements import counted

ALICE = "@alice:hromada.test"


@dataclass
class Process:
    """What one process has of the log."""

    log: Log
    follower: LogFollower
    committer: Committer
    seen: list[int]
    forgets: int = 0


@asynccontextmanager
async def running(store: Database, *, most_entries: int = 5_000) -> AsyncIterator[Process]:
    own = Database(store.engine, "hromada.test")
    async with own.read() as tx:
        log = Log(await tx.log.position())
    follower = LogFollower(own, log, most_entries=most_entries)
    process = Process(log, follower, Committer(own, log, follower), [])

    def forget() -> None:
        process.forgets += 1

    log.listen(lambda entries: process.seen.extend(entry.position for entry in entries), forget)
    task = asyncio.create_task(process.committer.run())
    try:
        yield process
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass(frozen=True, slots=True)
class Put:
    """One entry of each kind that is not an event."""

    number: int
    room: tuple[str, int, str]  # id, nid, and an event of it
    refuse: bool = False

    async def prepare(self, _tx: Transaction) -> int:
        if self.refuse:
            raise MatrixError(ErrCode.LIMIT_EXCEEDED, "as ordered")
        return 9

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        room_id, room_nid, event_id = self.room
        data = [
            AccountDataChanged(ALICE, where, f"org.example.{self.number}", b'{"number":%d}' % self.number)
            for where in (None, room_id)
        ]
        for offset, one in enumerate(data):
            await tx.account_data.put(one, first + offset)
        receipt = ReceiptChanged(room_id, room_nid, f"@{self.number}:hromada.test", "m.read", None, event_id, 5)
        private = ReceiptChanged(room_id, room_nid, f"@{self.number}:x", "m.read.private", "main", event_id, 6)
        receipts = await tx.receipts.put([(receipt, first + 2), (private, first + 3)])
        return [
            AccountDataEntry(first, data[0]),
            AccountDataEntry(first + 1, data[1]),
            ReceiptEntry(first + 2, receipts[0]),
            ReceiptEntry(first + 3, receipts[1]),
            ForgottenEntry(first + 4, ALICE, room_id),
            DeviceListEntry(first + 5, ALICE, None if self.number % 2 else ALICE),
            ToDeviceEntry(first + 6, frozenset({(ALICE, "DEVICE"), (ALICE, "OTHER")})),
            KeyCountsEntry(first + 7, frozenset({(ALICE, "DEVICE")})),
            PushersEntry(first + 8, ALICE),
        ]


async def room_of(store: Database) -> tuple[str, int, str]:
    head = await make_room(store, "!room")
    return head.room_id, head.room_nid, head.extremities[0][0]


def plain(entries: Sequence[LogEntry] | None) -> list[object]:
    assert entries is not None
    return [
        (entry.position, entry.stored.event.event_id) if isinstance(entry, EventEntry) else entry for entry in entries
    ]


async def test_what_was_committed_is_read_back_as_it_was(store: Database) -> None:
    head = await make_room(store, "!events")
    room = await room_of(store)
    async with running(store) as writer, running(store) as reader:
        start = reader.log.position
        await writer.committer.append(decide(head, message(head.room_id)))
        for number in range(3):
            await writer.committer.commit(Put(number, room))
        assert reader.log.position == start
        await reader.follower.catch_up()
        assert plain(reader.log.since(start)) == plain(writer.log.since(start))
        assert reader.seen == writer.seen and reader.forgets == 0


async def test_writers_in_both_are_seen_by_both_once_and_in_order(store: Database) -> None:
    heads = [await make_room(store, f"!{number}") for number in range(2)]
    room = await room_of(store)
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(running(store)) for _ in range(2)]
        start = both[0].log.position

        async def write(process: Process, number: int) -> None:
            for turn in range(4):
                await process.committer.commit(Put(10 * number + turn, room))
            await process.committer.append(decide(heads[number], message(heads[number].room_id)))

        await asyncio.gather(*(write(process, number) for number, process in enumerate(both)))
        for process in both:
            await process.follower.catch_up()
            assert process.seen == list(range(start + 1, start + 2 * (4 * 9 + 1) + 1))
            assert process.forgets == 0
        assert plain(both[0].log.since(start)) == plain(both[1].log.since(start))


async def test_who_is_told_of_a_change_finds_it_in_the_log(store: Database) -> None:
    room = await room_of(store)
    async with running(store) as one, running(store) as other:
        await one.committer.commit(Put(1, room))
        entries = await other.committer.commit(Put(2, room))
        assert other.log.position == entries[-1].position, "what the other process committed before came with it"
        assert other.seen == list(range(one.log.position - 8, entries[-1].position + 1))


async def test_too_many_or_missing_entries_are_left_out(store: Database) -> None:
    room = await room_of(store)
    async with running(store) as writer, running(store, most_entries=8) as few, running(store) as gone:
        await writer.committer.commit(Put(1, room))
        await few.follower.catch_up()
        assert (few.seen, few.forgets, few.log.position) == ([], 1, writer.log.position)
        async with store.write() as tx:
            assert await tx.log.prune(writer.log.position, 100) == 8
        await gone.follower.catch_up()
        assert (gone.seen, gone.forgets, gone.log.position) == ([], 1, writer.log.position)


async def test_a_refused_change_is_refused_alone(store: Database) -> None:
    room = await room_of(store)
    async with running(store) as process:
        start = process.log.position
        results = await asyncio.gather(
            *(process.committer.commit(Put(number, room, refuse=number == 1)) for number in range(3)),
            return_exceptions=True,
        )
        assert isinstance(results[1], MatrixError) and results[1].code == "M_LIMIT_EXCEEDED"
        assert process.seen == list(range(start + 1, start + 19))


async def test_a_position_of_another_process_is_waited_for(store: Database) -> None:
    room = await room_of(store)
    async with running(store) as writer, running(store) as reader:
        await writer.committer.commit(Put(1, room))
        await reader.follower.reach(writer.log.position)
        assert reader.log.position == writer.log.position
        with pytest.raises(MatrixError) as refused:
            await reader.follower.reach(writer.log.position + 1)
        assert refused.value.code == "M_INVALID_PARAM"


def test_the_kinds_are_all_tried() -> None:
    tried = {
        AccountDataEntry,
        ReceiptEntry,
        ForgottenEntry,
        DeviceListEntry,
        ToDeviceEntry,
        KeyCountsEntry,
        PushersEntry,
    }
    assert tried | {EventEntry, SessionsEntry, StateEntry} == set(LogEntry.__args__)


async def test_where_nothing_is_new_one_statement_says_so(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(store) as process:

        def refuse() -> None:
            raise AssertionError("a transaction was begun")

        monkeypatch.setattr(process.follower._store, "read", refuse)
        with counted(store) as statements:
            await process.follower.catch_up()
    assert len(statements) == 1
