"""Commits whose answer is lost: they are in sync as soon as anybody is told that they happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.log import LogEntry
from homeserver.ports.store import StoreUnavailable, Transaction
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.services.personal.account_data import SetAccountData
from homeserver.services.personal.ignored import IGNORED_USER_LIST, IgnoredUsers
from homeserver.storage.unit import Database, SqlTransaction

ALICE, BOB = "@alice:hromada.test", "@bob:hromada.test"


class Unlucky(Database):
    """A store that loses the answer to a COMMIT when told to, and is away when told to."""

    lose = False
    away = False

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        if self.away:
            raise StoreUnavailable("as ordered")
        async with super().write() as tx:
            yield tx
        if self.lose:
            self.lose = False
            raise StoreUnavailable("the answer to COMMIT is lost, as ordered")


@asynccontextmanager
async def committing(store: Database) -> AsyncIterator[tuple[Unlucky, Log, Committer]]:
    unlucky = Unlucky(store.engine, "hromada.test")
    log = Log(0)
    committer = Committer(unlucky, log)
    task = asyncio.create_task(committer.run())
    try:
        yield unlucky, log, committer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def ignoring(*users: str) -> SetAccountData:
    content = "{" + ",".join(f'"{user}":{{}}' for user in users) + "}"
    return SetAccountData(AccountDataChanged(ALICE, None, IGNORED_USER_LIST, f'{{"ignored_users":{content}}}'.encode()))


async def test_a_lost_answer_moves_the_log_before_the_caller_hears_of_it(store: Database) -> None:
    async with committing(store) as (unlucky, log, committer):
        await committer.commit(ignoring())
        unlucky.lose = True
        with pytest.raises(StoreUnavailable):
            await committer.commit(ignoring(BOB))
        assert log.position == 2
        assert [entry.position for entry in log.since(1) or ()] == [2], "read back from the database"
        await committer.commit(ignoring())
        assert [entry.position for entry in log.since(2) or ()] == [3]


async def test_memories_made_of_the_log_are_read_again_after_a_lost_answer(store: Database) -> None:
    async with committing(store) as (unlucky, log, committer):
        ignored = IgnoredUsers(unlucky, log)
        assert await ignored.of(ALICE) == frozenset()
        unlucky.lose = True
        with pytest.raises(StoreUnavailable):
            await committer.commit(ignoring(BOB))
        assert await ignored.of(ALICE) == {BOB}


async def test_the_log_catches_up_by_itself_when_the_database_returns(store: Database) -> None:
    async with committing(store) as (unlucky, log, committer):

        class LostAndAway(SetAccountData):
            async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
                written = await super().write(tx, first)
                unlucky.lose = unlucky.away = True
                return written

        with pytest.raises(StoreUnavailable):
            await committer.commit(LostAndAway(ignoring(BOB).data))
        assert log.position == 0
        with pytest.raises(StoreUnavailable):
            await committer.outcome_known()
        unlucky.away = False
        async with asyncio.timeout(60):
            while log.position == 0:
                await asyncio.sleep(0.01)
        assert log.position == 1


async def test_a_failure_that_wrote_nothing_leaves_the_tail_alone(store: Database) -> None:
    async with committing(store) as (unlucky, log, committer):
        await committer.commit(ignoring())
        unlucky.away = True
        with pytest.raises(StoreUnavailable):
            await committer.commit(ignoring(BOB))
        unlucky.away = False
        await committer.outcome_known()
        assert [entry.position for entry in log.since(0) or ()] == [1]
