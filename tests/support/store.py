"""A fresh store on each database, for tests of services and storage."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from homeserver.storage.engine import EngineSettings, create_engine
from homeserver.storage.migrations.upgrade import exclusive
from homeserver.storage.schema import metadata
from homeserver.storage.unit import Database
from tests.support.fixtures import DATABASES
from tests.support.postgres import PostgresCluster

SERVER_NAME = "hromada.test"


async def open_store(url: str, server_name: str = SERVER_NAME, settings: EngineSettings | None = None) -> Database:
    """A store on the empty database at `url`, with its tables made. Close it with `store.engine.dispose()`."""
    engine = create_engine(url, settings)
    async with exclusive(engine.url) as connection:
        await connection.run_sync(metadata.create_all)
    return Database(engine, server_name)


@pytest.fixture(params=DATABASES)
def tables_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with empty tables: once SQLite, once PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "homeserver.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    url = cluster.make_database(request.getfixturevalue("postgres_template"))
    yield url
    cluster.drop_database(url)


@pytest.fixture
async def store(tables_url: str) -> AsyncIterator[Database]:
    """A store with empty tables: once on SQLite, once on PostgreSQL. Local users are `@…:hromada.test`."""
    opened = Database(create_engine(tables_url), SERVER_NAME)
    yield opened
    await opened.engine.dispose()
