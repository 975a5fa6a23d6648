"""A fresh store on each database, for tests of services and storage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from homeserver.storage.engine import EngineSettings, create_engine
from homeserver.storage.migrations.upgrade import exclusive
from homeserver.storage.schema import metadata
from homeserver.storage.unit import Database

SERVER_NAME = "hromada.test"


async def open_store(url: str, server_name: str = SERVER_NAME, settings: EngineSettings | None = None) -> Database:
    """A store on the empty database at `url`, with its tables made. Close it with `store.engine.dispose()`."""
    engine = create_engine(url, settings)
    async with exclusive(engine.url) as connection:
        await connection.run_sync(metadata.create_all)
    return Database(engine, server_name)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    """A store with empty tables: once on SQLite, once on PostgreSQL. Local users are `@…:hromada.test`."""
    opened = await open_store(database_url)
    yield opened
    await opened.engine.dispose()
