"""The way to the database: connections in transactions, on SQLite or PostgreSQL.

Statements go to the drivers (aiosqlite, asyncpg) as they are; see docs/adr/0005-drivers.md. SQLAlchemy describes the
schema and migrates it, and is not imported otherwise.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from homeserver.storage.dialect import Connection, Sql
from homeserver.storage.sealing import UNSEALED, Sealing


class UnsafeDatabase(Exception):
    """The database is configured in a way that can lose or corrupt acknowledged data."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Bounds of the pools and statements (documented in the configuration reference), and what connections share."""

    pool_size: int = 10
    pool_timeout_s: float = 5.0
    statement_timeout_ms: int = 60_000
    lock_timeout_ms: int = 10_000
    sqlite_readers: int = 4
    sqlite_busy_timeout_ms: int = 5_000
    sealing: Sealing = UNSEALED
    """How what people write is stored."""


class Engine(Protocol):
    """A database. Its context managers raise StoreUnavailable, TransactionConflict, UniqueViolation, StoreBroken.

    What a caller can do nothing about, a fault of ours, comes out as the driver's error, one of `errors`.
    """

    @property
    def is_sqlite(self) -> bool: ...
    @property
    def url(self) -> str: ...
    @property
    def errors(self) -> type[Exception]: ...

    def write(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction, committed at the end of the block and rolled back if that raises."""
        ...

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction on one snapshot that changes nothing."""
        ...

    def read_committed(self) -> AbstractAsyncContextManager[Connection]:
        """Statements that stand alone."""
        ...

    async def dispose(self) -> None:
        """Close every connection."""
        ...


def create_engine(url: str, settings: EngineSettings | None = None) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://user:password@host/name`; connects when it is first used.

    Raises ValueError for any other database.
    """
    settings = settings or EngineSettings()
    scheme = url.partition("://")[0].partition("+")[0]
    # Whoever runs on the one need not load the other's driver.
    if scheme == "sqlite":
        return cast("Engine", import_module("homeserver.storage.sqlite").SqliteEngine(url, settings))
    if scheme == "postgresql":
        return cast("Engine", import_module("homeserver.storage.postgres").PostgresEngine(url, settings))
    raise ValueError(f"{scheme} is not a database this server can use: sqlite or postgresql")


def sqlite_path(url: str) -> Path:
    """The file of an SQLite database."""
    return Path(url.partition(":///")[2])


_FSYNC, _SYNCHRONOUS_COMMIT, _FULL_PAGE_WRITES = (
    Sql(f"SHOW {setting}") for setting in ("fsync", "synchronous_commit", "full_page_writes")
)
_ENCODING = Sql("SHOW server_encoding")
_COLLATION = Sql("SELECT datcollate FROM pg_database WHERE datname = current_database()")


async def check_durability(engine: Engine) -> None:
    """Refuse databases that lose acknowledged commits or sort text by locale.

    Raises UnsafeDatabase with the setting's name.  (reliability: fact 5)
    """
    if engine.is_sqlite:
        return
    async with engine.read_committed() as connection:
        for statement in (_FSYNC, _SYNCHRONOUS_COMMIT, _FULL_PAGE_WRITES):
            if (await statement.first(connection))[0] == "off":
                setting = statement.postgres.removeprefix("SHOW ")
                raise UnsafeDatabase(f"PostgreSQL runs with {setting}=off: acknowledged messages could be lost")
        encoding = (await _ENCODING.first(connection))[0]
        if encoding != "UTF8":
            raise UnsafeDatabase(f"The database encoding is {encoding}; it must be UTF8")
        collation = (await _COLLATION.first(connection))[0]
        if collation not in {"C", "POSIX", "C.UTF-8", "C.utf8"}:
            raise UnsafeDatabase(f"The database collation is {collation}; create it with LC_COLLATE 'C'")
