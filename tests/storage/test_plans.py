"""PostgreSQL keeps one plan of a statement, except where values decide how it is executed best."""

from __future__ import annotations

from homeserver.storage.dialect import Sql, SqlByValues
from homeserver.storage.engine import create_engine
from homeserver.storage.repos.people import _SEARCH
from homeserver.storage.repos.search import _FIND, _FIND_IN_ROOMS
from tests.support.postgres import PostgresCluster

_PLANS_OF = Sql("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE :text")
_PLAIN = Sql("SELECT relname FROM pg_class WHERE relname = :name LIMIT :count")
_CHOSEN = SqlByValues("SELECT relkind FROM pg_class WHERE relname = :name LIMIT :count")


async def test_statements_are_planned_once_unless_their_values_decide(postgres_cluster: PostgresCluster) -> None:
    engine = create_engine(postgres_cluster.make_database())
    try:
        async with engine.read_committed() as connection:
            for _ in range(10):  # after five, PostgreSQL would settle on one by itself
                assert len(await _PLAIN.rows(connection, name="pg_class", count=1)) == 1
                assert len(await _CHOSEN.rows(connection, name="pg_class", count=1)) == 1
        async with engine.read() as connection:
            await _CHOSEN.rows(connection, name="pg_class", count=1)
        async with engine.read_committed() as connection:
            await _PLAIN.rows(connection, name="pg_class", count=1)
            assert await _PLANS_OF.rows(connection, text="SELECT relname%") == [(11, 0)]
            assert await _PLANS_OF.rows(connection, text="SELECT relkind%") == [(0, 11)]
    finally:
        await engine.dispose()


def test_searches_are_planned_for_what_is_searched() -> None:
    assert _FIND.values_decide
    assert _FIND_IN_ROOMS.values_decide
    assert _SEARCH.values_decide
