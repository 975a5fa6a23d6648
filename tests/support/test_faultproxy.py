"""The fault proxy loses exactly what it is told to lose, and nothing else."""

from __future__ import annotations

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
