"""Engines and connection settings for SQLite and PostgreSQL.

SQLite: WAL with synchronous=FULL, one writer connection, several readers. PostgreSQL: one pool; durability
settings are checked at start, since `synchronous_commit=off` would acknowledge what a crash can lose.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from sqlite3 import Error, OperationalError
from typing import Any

import orjson
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_WAL_ATTEMPTS = 100
WRITE_OPTION = "hromada_write"
GLANCE_OPTION = "hromada_glance"


class UnsafeDatabase(Exception):
    """The database is configured in a way that can lose or corrupt acknowledged data."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Bounds of the pools and statements (documented in the configuration reference)."""

    pool_size: int = 10
    pool_timeout_s: float = 5.0
    statement_timeout_ms: int = 60_000
    lock_timeout_ms: int = 10_000
    sqlite_readers: int = 4
    sqlite_busy_timeout_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Engines:
    """The writing and the reading engine; on PostgreSQL they are one."""

    writer: AsyncEngine
    reader: AsyncEngine

    @property
    def is_sqlite(self) -> bool:
        return self.writer.dialect.name == "sqlite"

    @property
    def no_transaction(self) -> dict[str, Any]:
        """The execution options of a connection on which statements stand alone."""
        return {GLANCE_OPTION: True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}

    async def dispose(self) -> None:
        """Close every pooled connection."""
        await self.writer.dispose()
        if self.reader is not self.writer:
            await self.reader.dispose()


def create_engines(url: str | URL, settings: EngineSettings | None = None) -> Engines:
    """Engines for `url` (`sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`)."""
    settings = settings or EngineSettings()
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        writer = _sqlite_engine(parsed, 1, settings)
        return Engines(writer, _sqlite_engine(parsed, settings.sqlite_readers, settings))
    engine = create_async_engine(
        parsed,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_s,
        pool_pre_ping=False,
        pool_use_lifo=True,  # the connection used last has its statements prepared
        json_serializer=lambda value: orjson.dumps(value).decode(),
        connect_args={
            "server_settings": {
                "application_name": "hromada",
                "statement_timeout": str(settings.statement_timeout_ms),
                "lock_timeout": str(settings.lock_timeout_ms),
                "idle_in_transaction_session_timeout": "60000",
                # JIT compilation costs tens of milliseconds per new plan and never pays for our short statements.
                "jit": "off",
            },
        },
    )
    return Engines(engine, engine)


def _sqlite_engine(url: URL, size: int, settings: EngineSettings) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_s,
        connect_args={"timeout": settings.sqlite_busy_timeout_ms / 1000},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # We emit BEGIN ourselves: the driver's own would start deferred transactions for writers.
        connection.isolation_level = None
        cursor = connection.cursor()
        _enter_wal(cursor)
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={settings.sqlite_busy_timeout_ms}",
            "cache_size=-16384",
            "temp_store=MEMORY",
            "wal_autocheckpoint=1000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def roll_back(connection: Any, _record: Any, _reason: Any) -> None:
        # SQLite keeps a closed connection, and its lock, until the last statement is finished, and one that was
        # interrupted between its execution and the reading of its rows never is.
        with suppress(ValueError, Error):
            connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if not options.get(GLANCE_OPTION, False):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITE_OPTION, False) else "BEGIN")

    return engine


def _enter_wal(cursor: Any) -> None:
    """Turn write-ahead logging on, which stays on in the file.

    While another process does the same, SQLite answers "locked" at once, whatever the busy timeout says.
    """
    for attempt in range(_WAL_ATTEMPTS):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError:
            if attempt == _WAL_ATTEMPTS - 1:
                raise
            time.sleep(0.02)
        else:
            return


async def check_durability(engines: Engines) -> None:
    """Refuse databases that lose acknowledged commits or sort text by locale.

    Raises UnsafeDatabase with the setting's name.  (reliability: fact 5)
    """
    if engines.is_sqlite:
        return
    async with engines.reader.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            value = (await connection.execute(text(f"SHOW {setting}"))).scalar_one()
            if value == "off":
                raise UnsafeDatabase(f"PostgreSQL runs with {setting}=off: acknowledged messages could be lost")
        encoding = (await connection.execute(text("SHOW server_encoding"))).scalar_one()
        if encoding != "UTF8":
            raise UnsafeDatabase(f"The database encoding is {encoding}; it must be UTF8")
        collation = (
            await connection.execute(text("SELECT datcollate FROM pg_database WHERE datname = current_database()"))
        ).scalar_one()
        if collation not in {"C", "POSIX", "C.UTF-8", "C.utf8"}:
            raise UnsafeDatabase(f"The database collation is {collation}; create it with LC_COLLATE 'C'")
