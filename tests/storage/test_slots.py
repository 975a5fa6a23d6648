"""Connections are shared while that is cheaper than opening more."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.storage.dialect import Sql
from homeserver.storage.engine import create_engine
from homeserver.storage.postgres import PostgresEngine
from homeserver.storage.slots import Slots
from tests.support.postgres import PostgresCluster

_LONG = 60.0
_SESSIONS = Sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")


async def _use(slots: Slots) -> None:
    await slots.take(_LONG)
    slots.connected()
    await asyncio.sleep(0)
    slots.give()


async def test_who_comes_at_once_takes_turns() -> None:
    slots = Slots(5, patience_s=_LONG)
    await asyncio.gather(*(_use(slots) for _ in range(20)))
    await slots.take(_LONG)  # the only one
    with pytest.raises(TimeoutError):
        await slots.take(0.01)


async def test_more_are_opened_where_one_is_held_for_long() -> None:
    slots = Slots(3, patience_s=0.001)
    for _ in range(3):
        await slots.take(_LONG)
        slots.connected()
    with pytest.raises(TimeoutError):
        await slots.take(0.05)
    waiting = asyncio.create_task(slots.take(_LONG))
    gone = asyncio.create_task(slots.take(_LONG))
    await asyncio.sleep(0)
    gone.cancel()
    slots.give()
    await waiting
    slots.give()
    await slots.take(_LONG)


async def test_one_is_opened_after_the_other() -> None:
    slots = Slots(3, patience_s=0.001)
    await slots.take(_LONG)  # and is still connecting
    with pytest.raises(TimeoutError):
        await slots.take(0.05)
    slots.connected()
    await slots.take(_LONG)


async def test_reads_at_once_share_a_connection(postgres_cluster: PostgresCluster) -> None:
    engine = create_engine(postgres_cluster.make_database())
    assert isinstance(engine, PostgresEngine)
    engine._slots = Slots(10, patience_s=_LONG)

    async def count() -> int:
        async with engine.read_committed() as connection:
            return int((await _SESSIONS.first(connection))[0])

    assert await asyncio.gather(*(count() for _ in range(8))) == [1] * 8
    await engine.dispose()
