"""The fault proxy loses exactly what it is told to lose, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.faultproxy import FaultProxy
from tests.support.postgres import PostgresCluster


async def _connect(cluster: PostgresCluster, proxy: FaultProxy, database: str) -> asyncpg.Connection:
    return await asyncpg.connect(cluster.url(database, proxy.port).replace("+asyncpg", ""))


async def test_a_lost_commit_is_a_commit(postgres_cluster: PostgresCluster) -> None:
    database = postgres_cluster.make_database().rsplit("/", 1)[-1]
    postgres_cluster.sql("CREATE TABLE t (x int)", database)
    with FaultProxy.running(postgres_cluster.port) as proxy:
        connection = await _connect(postgres_cluster, proxy, database)
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
        proxy.lose_commits(1)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (2)")
        connection.terminate()
        again = await _connect(postgres_cluster, proxy, database)
        assert [row["x"] for row in await again.fetch("SELECT x FROM t ORDER BY x")] == [1, 2]
        assert proxy.lost_commits == 1
        await again.close()


async def test_cutting_spares_new_connections(postgres_cluster: PostgresCluster) -> None:
    database = postgres_cluster.make_database().rsplit("/", 1)[-1]
    with FaultProxy.running(postgres_cluster.port) as proxy:
        connection = await _connect(postgres_cluster, proxy, database)
        proxy.cut()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            for _ in range(100):
                await connection.fetchval("SELECT pg_sleep(0.05)")
        connection.terminate()
        again = await _connect(postgres_cluster, proxy, database)
        assert await again.fetchval("SELECT 1") == 1
        await again.close()


@contextlib.asynccontextmanager
async def _echoing() -> AsyncIterator[FaultProxy]:
    """A proxy before a server that sends back what it gets."""

    ended: list[asyncio.Event] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        end.set()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    with FaultProxy.running(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()
    for end in ended:
        await end.wait()


async def test_what_is_held_arrives_late_and_whole() -> None:
    async with _echoing() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.hold()
        await asyncio.sleep(0.05)
        writer.write(b"x" * 1000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        proxy.flow()
        assert await reader.readexactly(1000) == b"x" * 1000
        writer.close()


async def test_what_drips_arrives_in_pieces() -> None:
    async with _echoing() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.drip(10)
        writer.write(b"x" * 100)
        assert 1 <= len(await reader.read(100)) <= 20
        proxy.flow()
        writer.close()


async def test_a_reset_is_a_reset() -> None:
    async with _echoing() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        await reader.readexactly(1)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()


async def test_a_connection_is_reset_in_the_middle_of_an_answer() -> None:
    async with _echoing() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.reset_after(700)
        writer.write(b"x" * 1000)
        with pytest.raises(ConnectionResetError):
            while await reader.read(100):
                pass
        assert proxy.resets == 1
        writer.close()
