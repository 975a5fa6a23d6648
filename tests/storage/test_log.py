"""The counter that gives positions of the log, on both databases."""

from __future__ import annotations

from typing import Any

import aiosqlite
import pytest

from homeserver.storage.unit import Database


async def test_positions_follow_one_another_however_they_are_reserved(store: Database) -> None:
    async with store.write() as tx:
        start = await tx.log.reserve(0)  # before anything else is asked
        assert await tx.log.reserve(2) == start
        assert await tx.log.reserve(3) == start + 2
        assert await tx.log.position() == start + 4
    async with store.write() as tx:
        await tx.users.any()
        assert await tx.log.reserve(2) == start + 5
        assert await tx.log.position() == start + 6
        assert await tx.log.reserve(1) == start + 7
        assert await tx.log.reserve(0) == start + 8
    with pytest.raises(ZeroDivisionError):
        async with store.write() as tx:
            await tx.users.any()
            assert await tx.log.reserve(5) == start + 8
            raise ZeroDivisionError
    async with store.read() as tx:
        assert await tx.log.position() == start + 7


@pytest.mark.parametrize("tables_url", ["sqlite"], indirect=True)  # PostgreSQL's connections have no such thread
async def test_a_position_costs_no_visit_to_the_connections_thread(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store.write() as tx:
        await tx.users.any()  # there is a connection from now on
    visits = []
    execute = aiosqlite.Connection._execute

    async def counted(connection: aiosqlite.Connection, *work: Any) -> Any:
        visits.append(work)
        return await execute(connection, *work)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
    async with store.write() as tx:
        await tx.users.any()
        await tx.log.reserve(1)
    assert len(visits) == 2, "what was asked, and the commit"
