"""Migrations: they make exactly the schema that the modules describe, once, and refuse what they do not know."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.storage.dialect import Sql
from homeserver.storage.engine import Engine, check_durability, create_engine
from homeserver.storage.migrations import NEWEST, UnknownSchema, migrate
from homeserver.storage.migrations.upgrade import exclusive, scripts
from homeserver.storage.schema import metadata
from homeserver.storage.unit import Database
from tests.storage.rooms import make_room
from tests.support.store import SERVER_NAME

_SQLITE = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' ORDER BY name"
_POSTGRES = (
    """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2""",
    """SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1""",
    """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%' ORDER BY 1""",
    """SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    AND relname <> 'alembic_version' ORDER BY 1""",
    "SELECT name, value FROM counters ORDER BY name",
)


async def _described(engine: Engine) -> list[object]:
    queries = (_SQLITE, _POSTGRES[-1]) if engine.is_sqlite else _POSTGRES
    async with engine.read_committed() as connection:
        found = [[tuple(row) for row in await Sql(query).rows(connection)] for query in queries]
    if engine.is_sqlite:
        found[0] = [(kind, name, _clauses(sql)) for kind, name, sql in found[0]]
    return list(found)


def _clauses(sql: str | None) -> list[str]:
    """The lines of a definition without regard to layout and order of clauses."""
    return sorted(line.strip(" ,\t") for line in (sql or "").splitlines())


async def test_migrations_make_the_schema_of_the_modules(database_url: str) -> None:
    engine = create_engine(database_url)
    async with exclusive(engine.url) as connection:
        await connection.run_sync(metadata.create_all)
    expected = await _described(engine)
    async with exclusive(engine.url) as connection:
        await connection.run_sync(metadata.drop_all)
    await migrate(engine)
    assert await _described(engine) == expected, "run `python -m homeserver.storage.migrations.draft`"
    await engine.dispose()


async def test_migrating_twice_or_at_once_changes_nothing(database_url: str) -> None:
    engines = [create_engine(database_url) for _ in range(3)]
    revisions = await asyncio.gather(*(migrate(each) for each in engines))
    assert len(set(revisions)) == 1
    await check_durability(engines[0])
    store = Database(engines[0], SERVER_NAME)
    head = await make_room(store, "!a")
    await migrate(engines[0])
    async with store.read() as tx:
        assert await tx.rooms.head("!a") == head
    for each in engines:
        await each.dispose()


@pytest.mark.parametrize(
    ("found", "named"),
    [("9999", f"schema 9999; this release knows schemas up to {NEWEST}"), ("0001", "of a development version")],
)
async def test_an_unknown_schema_is_refused(database_url: str, found: str, named: str) -> None:
    engine = create_engine(database_url)
    await migrate(engine)
    async with engine.write() as connection:
        await Sql("UPDATE alembic_version SET version_num = :found").run(connection, found=found)
    with pytest.raises(UnknownSchema, match=named):
        await migrate(engine)
    await engine.dispose()


def test_the_newest_revision_is_the_one_named() -> None:
    assert scripts()[1].get_current_head() == NEWEST
