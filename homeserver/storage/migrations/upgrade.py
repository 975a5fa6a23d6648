"""Applies revisions with Alembic. Imported only when the schema is not the newest: SQLAlchemy and Alembic cost memory
and time, and nothing else at run time needs them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, NullPool, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from homeserver import faults
from homeserver.ports.store import StoreUnavailable
from homeserver.storage.engine import sqlite_path

FOLDER = Path(__file__).parent

# Any constant will do, as long as every process uses the same.
_LOCK = 7_471_305_968


def scripts(connection: Connection | None = None) -> tuple[Config, ScriptDirectory]:
    """Alembic's view of our revisions."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config, ScriptDirectory.from_config(config)


def is_known(revision: str) -> bool:
    """Whether this release has the revision."""
    return revision in {known.revision for known in scripts()[1].walk_revisions()}


async def to_newest(url: str) -> None:
    """Apply what is missing, in one transaction. Raises StoreUnavailable."""
    try:
        async with exclusive(url) as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        raise StoreUnavailable(str(error.orig)) from error


@asynccontextmanager
async def exclusive(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction of SQLAlchemy's on an engine's database, in which nobody else changes the schema."""
    if url.startswith("sqlite"):
        engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(sqlite_path(url))), poolclass=NullPool)
        event.listen(engine.sync_engine, "connect", _begin_nothing)
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    else:
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=partial(asyncpg.connect, url), poolclass=NullPool
        )
    async with engine.begin() as connection:
        if connection.dialect.name != "sqlite":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection
    await engine.dispose()


def _begin_nothing(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN would come late, and not at all before a change of the schema.
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection) -> None:
    if faults.plan is not None:
        faults.plan.touch("migrations.begin")
    command.upgrade(scripts(connection)[0], "head")
    if faults.plan is not None:
        faults.plan.touch("migrations.done")
