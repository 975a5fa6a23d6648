"""The throwaway PostgreSQL is what it claims to be: durable settings, separate databases, alive after kill -9."""

from __future__ import annotations

import pytest

from homeserver.storage.dialect import Sql
from homeserver.storage.engine import create_engine
from tests.support.fixtures import unavailable
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster


def test_the_cluster_is_durable_and_sorts_bytewise(postgres_cluster: PostgresCluster) -> None:
    settings = [postgres_cluster.sql(f"SHOW {name}") for name in ("fsync", "synchronous_commit", "server_encoding")]
    assert settings == ["on", "on", "UTF8"]
    assert postgres_cluster.sql("SELECT 'Z' < 'a'") == "t"


def test_databases_are_separate_and_cloned_from_templates(postgres_cluster: PostgresCluster) -> None:
    template = postgres_cluster.make_database()
    postgres_cluster.sql("CREATE TABLE found (x int)", template.rsplit("/", 1)[-1])
    clone = postgres_cluster.make_database(template=template)
    assert postgres_cluster.sql("SELECT count(*) FROM found", clone.rsplit("/", 1)[-1]) == "0"
    postgres_cluster.drop_database(template)
    with pytest.raises(RuntimeError, match="found"):
        postgres_cluster.sql("SELECT * FROM found", postgres_cluster.make_database().rsplit("/", 1)[-1])


def test_a_killed_cluster_restarts_with_its_data() -> None:
    try:
        with running_cluster() as cluster:
            port = cluster.port
            cluster.sql("CREATE TABLE kept AS SELECT 7 AS x")
            cluster.kill()
            cluster.start()
            assert cluster.sql("SELECT x FROM kept") == "7"
            assert cluster.port == port
    except PostgresUnavailable as reason:
        unavailable(str(reason))


async def test_the_fixture_gives_a_usable_empty_database(database_url: str) -> None:
    engine = create_engine(database_url)
    async with engine.write() as connection:
        await Sql("CREATE TABLE t (x int)").run(connection)
    await engine.dispose()
