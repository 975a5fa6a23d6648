"""Faults of the database: what callers see, and that the store recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from pathlib import Path

import pytest

from homeserver.ports.events import RoomHead
from homeserver.ports.store import StoreUnavailable, TransactionConflict, UniqueViolation
from homeserver.storage.dialect import Sql
from homeserver.storage.engine import EngineSettings, sqlite_path
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, make_room, message
from tests.support.postgres import PostgresCluster
from tests.support.store import open_store

QUICK = EngineSettings(
    pool_size=3, pool_timeout_s=1.0, statement_timeout_ms=1_000, lock_timeout_ms=700, sqlite_busy_timeout_ms=500
)


async def test_a_full_pool_is_unavailable_not_a_hang(database_url: str) -> None:
    store = await open_store(database_url, settings=QUICK)
    async with store.write(), store.write() if not store.engine.is_sqlite else store.read():
        with pytest.raises(StoreUnavailable):
            async with store.write(), store.write(), store.write():
                pass
    await make_room(store, "!a")
    await store.engine.dispose()


async def test_sqlite_locked_by_another_process_is_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    store, other = await open_store(url, settings=QUICK), await open_store(url, settings=QUICK)
    async with other.write() as tx:
        await tx.log.reserve(1)
        with pytest.raises(StoreUnavailable):
            await make_room(store, "!a")
        async with store.read() as reading:
            assert await reading.log.position() == 0
    await make_room(store, "!a")
    for each in (store, other):
        await each.engine.dispose()


async def test_only_unique_constraints_are_unique_violations(store: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)not.null") as caught:
        async with store.write() as tx:
            await tx.aliases.put("#a:hromada.test", None, "@a:hromada.test")  # type: ignore[arg-type]
    assert not isinstance(caught.value, UniqueViolation | StoreUnavailable)


async def test_errors_of_the_block_pass_unchanged(store: Database) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with store.write():
            raise ValueError("mine")


async def _cancelled_somewhere(store: Database, head: RoomHead, rng: random.Random) -> None:
    task = asyncio.create_task(commit(store, decide(head, message(head.room_id))))
    await asyncio.sleep(rng.random() * 0.004)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_cancelled_transactions_leave_whole_batches_or_nothing(store: Database) -> None:
    rng = random.Random(7)
    await make_room(store, "!a")
    for _ in range(200):
        async with store.read() as tx:
            head = await tx.rooms.head("!a")
        assert head is not None
        await _cancelled_somewhere(store, head, rng)
        if store.engine.is_sqlite:
            with contextlib.closing(sqlite3.connect(sqlite_path(store.engine.url), timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")  # raises if the cancelled transaction still holds the lock
    async with store.read() as tx:
        head = await tx.rooms.head("!a")
        assert head is not None
        page = await tx.events.timeline(head.room_nid, start=None, stop=None, backwards=False, limit=1000)
        position = await tx.log.position()
    assert [item.position for item in page.events] == list(range(1, position + 1))
    assert head.version_no == position - 1
    assert head.extremities[0][0] == page.events[-1].event.event_id
    await commit(store, decide(head, message("!a")))


# ---- PostgreSQL only ----


async def _postgres(cluster: PostgresCluster) -> Database:
    return await open_store(cluster.make_database(), settings=QUICK)


async def test_timeouts_are_unavailable(postgres_cluster: PostgresCluster) -> None:
    store = await _postgres(postgres_cluster)
    async with store.write() as tx:
        await tx.log.reserve(1)
        with pytest.raises(StoreUnavailable):  # lock timeout
            await make_room(store, "!a")
    with pytest.raises(StoreUnavailable):  # statement timeout
        async with store.write() as tx:
            await Sql("SELECT pg_sleep(5)").rows(tx.log._connection)
    await make_room(store, "!a")
    await store.engine.dispose()


async def test_a_deadlock_can_be_tried_again(postgres_cluster: PostgresCluster) -> None:
    settings = EngineSettings(pool_size=3, lock_timeout_ms=20_000)
    store = await open_store(postgres_cluster.make_database(), settings=settings)
    both = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with store.write() as tx:
            update = Sql("UPDATE counters SET value = value WHERE name = :name")
            await update.run(tx.log._connection, name=first)
            await both.wait()
            await update.run(tx.log._connection, name=second)

    outcomes = await asyncio.gather(lock("log", "room"), lock("room", "log"), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "TransactionConflict"]
    assert issubclass(TransactionConflict, StoreUnavailable)
    await store.engine.dispose()


async def test_rooms_are_locked_in_one_order(postgres_cluster: PostgresCluster) -> None:
    """Two processes with the same rooms in opposite orders: one moves each head, none deadlocks."""
    settings = EngineSettings(pool_size=4, lock_timeout_ms=20_000)
    store = await open_store(postgres_cluster.make_database(), settings=settings)
    heads = [await make_room(store, f"!{number}") for number in range(8)]
    for _ in range(15):
        forwards = [decide(head, message(head.room_id)) for head in heads]
        backwards = [decide(head, message(head.room_id)) for head in reversed(heads)]
        one, two = await asyncio.gather(commit(store, *forwards), commit(store, *backwards))
        for mine, theirs in zip(one, reversed(two), strict=True):
            assert mine.moved != theirs.moved
        heads = [(mine.head or theirs.head) for mine, theirs in zip(one, reversed(two), strict=True)]  # type: ignore[misc]
    async with store.read() as tx:
        assert await tx.log.position() == 16 + 15 * 8
    await store.engine.dispose()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restarted_postgres_costs_one_failure(postgres_cluster: PostgresCluster, how: str) -> None:
    store = await open_store(postgres_cluster.make_database())
    head = await make_room(store, "!a")

    async def use() -> None:
        async with store.read() as tx:
            await tx.rooms.head("!a")
            await asyncio.sleep(0.02)

    await asyncio.gather(*(use() for _ in range(8)))  # fills the pool
    getattr(postgres_cluster, how)()
    with pytest.raises(StoreUnavailable):
        await use()
    with pytest.raises(StoreUnavailable):
        await commit(store, decide(head, message("!a")))
    postgres_cluster.start()
    outcomes = await asyncio.gather(*(use() for _ in range(8)), return_exceptions=True)
    assert outcomes == [None] * 8
    await commit(store, decide(head, message("!a")))

    # A restart that nobody noticed: every pooled connection is dead, one request finds out.
    await asyncio.gather(*(use() for _ in range(8)))
    getattr(postgres_cluster, how)()
    postgres_cluster.start()
    failed = 0
    for _ in range(12):
        try:
            await use()
        except StoreUnavailable:
            failed += 1
    assert failed <= 1
    await store.engine.dispose()


async def test_a_connection_lost_before_the_commit_is_answered_writes_once_or_not(
    postgres_cluster: PostgresCluster,
) -> None:
    store = await open_store(postgres_cluster.make_database())
    await make_room(store, "!a")
    with pytest.raises(StoreUnavailable):
        async with store.write() as tx:
            await tx.rooms.advance([])
            await tx.log.reserve(1)
            postgres_cluster.kill()
    postgres_cluster.start()
    async with store.read() as tx:
        assert await tx.log.position() in {2, 3}
    await make_room(store, "!b")
    await store.engine.dispose()


async def test_a_read_begins_with_one_statement(postgres_cluster: PostgresCluster) -> None:
    store = await _postgres(postgres_cluster)
    async with store.read() as tx:
        show = Sql("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
        assert tuple(await show.first(tx.log._connection)) == ("repeatable read", "on")
    async with store.write() as tx:
        assert tuple(await show.first(tx.log._connection)) == ("read committed", "off")
    await store.engine.dispose()
