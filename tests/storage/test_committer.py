"""The committer on a real store: order, isolation of faults, conflicts tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from homeserver.ports.log import ForgottenEntry, LogEntry
from homeserver.ports.store import StoreUnavailable, Transaction, TransactionConflict
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.storage.unit import Database
from tests.storage.rooms import decide, make_room, message


class Note:
    """A change that takes one position."""

    def __init__(self, fault: Exception | None = None, times: int = 1000) -> None:
        self.fault = fault
        self.times = times

    async def prepare(self, _tx: Transaction) -> int:
        return 1

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        if self.fault is not None and self.times > 0:
            self.times -= 1
            raise self.fault
        return [ForgottenEntry(first, "@alice:hromada.test", "!room")]


@asynccontextmanager
async def committing(store: Database) -> AsyncIterator[tuple[Committer, Log]]:
    async with store.read() as tx:
        log = Log(await tx.log.position())
    committer = Committer(store, log)
    task = asyncio.create_task(committer.run())
    try:
        yield committer, log
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_everything_waiting_is_one_gapless_batch(store: Database) -> None:
    heads = [await make_room(store, f"!{number}") for number in range(5)]
    async with committing(store) as (committer, log):
        appended = [committer.append(decide(head, message(head.room_id))) for head in heads]
        results = await asyncio.gather(*appended, *(committer.commit(Note()) for _ in range(3)))
        entries = log.since(10)
    assert entries is not None
    assert [entry.position for entry in entries] == list(range(11, 19))
    assert len(results) == 8


async def test_a_faulty_change_fails_alone(store: Database) -> None:
    head = await make_room(store, "!a")
    async with committing(store) as (committer, log):
        good, bad = await asyncio.gather(
            committer.append(decide(head, message("!a"))),
            committer.commit(Note(ValueError("broken"))),
            return_exceptions=True,
        )
        assert log.position == 3
    assert not isinstance(good, BaseException)
    assert isinstance(bad, ValueError)


async def test_conflicts_are_tried_again_and_not_for_ever(store: Database) -> None:
    async with committing(store) as (committer, log):
        await committer.commit(Note(TransactionConflict("deadlock"), times=4))
        assert log.position == 1
        with pytest.raises(StoreUnavailable):
            await committer.commit(Note(TransactionConflict("deadlock")))
        await committer.commit(Note())
        assert log.position == 2


async def test_nobody_waits_for_ever_when_the_committer_stops(store: Database) -> None:
    async with committing(store) as (committer, _log):
        waiting = [asyncio.create_task(committer.commit(Note(ValueError("broken")))) for _ in range(600)]
        await asyncio.sleep(0.05)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {ValueError, StoreUnavailable}


async def test_nobody_waits_for_a_committer_that_has_ended(store: Database) -> None:
    async with committing(store) as (committer, _log):
        await committer.commit(Note())
    with pytest.raises(StoreUnavailable):
        await committer.commit(Note())


async def test_an_unavailable_database_is_told_to_all_who_wait(store: Database) -> None:
    """Not to the first batch only: each of the following might wait as long for the same lock."""
    async with committing(store) as (committer, log):
        committer._max_batch = 1
        notes = [Note(StoreUnavailable("locked"), times=1), *(Note() for _ in range(5))]
        outcomes = await asyncio.gather(*map(committer.commit, notes), return_exceptions=True)
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        assert log.position == 0
        await committer.commit(Note())
