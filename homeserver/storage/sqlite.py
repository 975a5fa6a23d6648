"""SQLite through aiosqlite: WAL with synchronous=FULL, one connection that writes and several that read.

Each connection has a thread that does what it is told in order. So whatever a cancelled caller has left behind is
finished, and rolled back, before the next one's first statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiosqlite

from homeserver.ports.store import StoreBroken, StoreUnavailable, UniqueViolation
from homeserver.storage.dialect import Connection, Rows, Sql
from homeserver.storage.engine import Engine, EngineSettings, sqlite_path
from homeserver.storage.sealing import Sealing

_WAL_ATTEMPTS = 100
_READ, _WRITE = "BEGIN", "BEGIN IMMEDIATE"
_STATEMENTS = 500
"""Statements a connection keeps prepared: more than there are."""
_WRITER_CACHE_KIB = 8_192
_READER_CACHE_KIB = 2_048
# After a failed sync the kernel forgets what it could not write and reports success from then on. PostgreSQL ends by
# itself then; SQLite would go on.
_BROKEN = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_UNIQUE = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})


class SqliteConnection:
    """Implements `storage.engine.Connection`.

    A visit to the connection's thread costs as much as a statement, or more. So what has no answer (`BEGIN`,
    `execute_many`) is done in one visit with the next statement that has one, or with the `COMMIT`.
    """

    is_sqlite = True

    def __init__(self, raw: aiosqlite.Connection, sealing: Sealing, begin: str | None = None) -> None:
        self._raw = raw
        self._begin = begin
        self._begun = False
        self._is_over = False
        self._ahead: list[tuple[str, Sequence[Sequence[Any]]]] = []
        self._foresee: str | None = None
        self._foreseen: dict[str, Sequence[Any]] = {}
        self.sealing = sealing

    def foresee(self, statement: Sql) -> None:
        """See the protocol."""
        if not self._begun:
            self._foresee = statement.sqlite

    def foreseen(self, statement: Sql) -> Sequence[Any] | None:
        """See the protocol."""
        return self._foreseen.get(statement.sqlite)

    async def prepare(self, statements: Iterable[Sql]) -> None:
        """See the protocol: in this process it takes some microseconds."""

    async def fetch(self, statement: Sql, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """See the protocol."""
        return cast("Sequence[Any]", await self._visit(_fetch, statement.sqlite, _values(statement, parameters)))

    async def fetch_last(
        self, statement: Sql, parameters: Mapping[str, Any], accept: Callable[[Sequence[Any]], bool]
    ) -> Sequence[Any]:
        """See the protocol. Committed in the same visit."""

        def act(raw: sqlite3.Connection, sql: str, values: Any) -> list[Any]:
            rows = _fetch(raw, sql, values)
            if accept(rows):
                raw.execute("COMMIT")
                self._is_over = True
            return rows

        return cast("Sequence[Any]", await self._visit(act, statement.sqlite, _values(statement, parameters)))

    async def execute(self, statement: Sql, parameters: Mapping[str, Any]) -> int:
        """See the protocol."""
        return cast("int", await self._visit(_execute, statement.sqlite, _values(statement, parameters)))

    async def execute_many(self, statement: Sql, rows: Sequence[Mapping[str, Any]]) -> None:
        """See the protocol. What it raises may come out of the next statement."""
        self._ahead.append((statement.sqlite, [_values(statement, row) for row in rows]))

    async def execute_rows(self, statement: Rows, rows: Sequence[Sequence[Any]]) -> None:
        """See the protocol. As above."""
        self._ahead.append((statement.sqlite, rows))

    async def end(self) -> None:
        """Commit what was begun. Nobody waits for the end of what only reads."""
        if self._is_over and not self._ahead:
            return
        if self._ahead or (self._begun and self._begin == _WRITE):
            await self._visit(_execute, "COMMIT", ())
        elif self._begun and self._begin is not None:
            self._raw._tx.put_nowait((None, self._raw._conn.commit))  # pinned

    async def _visit(self, act: Callable[[sqlite3.Connection, str, Any], Any], sql: str, parameters: Any) -> Any:
        if self._is_over:
            raise RuntimeError("The transaction is over")
        begin, ahead = None if self._begun else self._begin, self._ahead
        foresee, self._foresee = self._foresee, None
        self._begun, self._ahead = True, []

        def work() -> Any:
            raw = self._raw._conn  # pinned
            if begin is not None:
                raw.execute(begin)
            if foresee is not None:
                self._foreseen[foresee] = raw.execute(foresee).fetchall()
            for text, rows in ahead:
                raw.executemany(text, rows)
            return act(raw, sql, parameters)

        return await self._raw._execute(work)  # type: ignore[no-untyped-call]  # pinned; public methods do one thing a visit


def _fetch(raw: sqlite3.Connection, sql: str, parameters: Any) -> list[Any]:
    return raw.execute(sql, parameters).fetchall()


def _execute(raw: sqlite3.Connection, sql: str, parameters: Any) -> int:
    return raw.execute(sql, parameters).rowcount


class SqliteEngine:
    """Implements `storage.engine.Engine`."""

    is_sqlite = True
    errors = sqlite3.Error

    def __init__(self, url: str, settings: EngineSettings) -> None:
        path = sqlite_path(url)
        self.url = f"sqlite:///{path}"
        self._writers = _Connections(path, 1, _WRITER_CACHE_KIB, settings)
        self._readers = _Connections(path, settings.sqlite_readers, _READER_CACHE_KIB, settings)

    def write(self) -> AbstractAsyncContextManager[Connection]:
        """See the protocol."""
        # A deferred transaction would find out at its first change that another process was faster.
        return self._writers.one(_WRITE)

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """See the protocol."""
        return self._readers.one(_READ)

    def read_committed(self) -> AbstractAsyncContextManager[Connection]:
        """See the protocol."""
        return self._readers.one(None)

    async def dispose(self) -> None:
        """See the protocol. Waits for statements under way."""
        await self._writers.close()
        await self._readers.close()


class _Connections:
    """A few connections; the one used last is used next, since its pages are in its cache."""

    def __init__(self, path: Path, size: int, cache_kib: int, settings: EngineSettings) -> None:
        self._path = path
        self._size = size
        self._cache_kib = cache_kib
        self._settings = settings
        self._free = asyncio.Semaphore(size)
        self._idle: list[aiosqlite.Connection] = []
        self._open: set[aiosqlite.Connection] = set()

    @asynccontextmanager
    async def one(self, begin: str | None) -> AsyncIterator[Connection]:
        """A connection for the length of the block, in a transaction if `begin` says how it begins."""
        with _translated():
            await self._turn()
            try:
                raw = self._idle.pop() if self._idle else await self._connected()
                try:
                    connection = SqliteConnection(raw, self._settings.sealing, begin)
                    yield connection
                    await connection.end()
                except BaseException:
                    # Shielded: it must come to its end even if this task is cancelled once more.
                    await asyncio.shield(self._undo(raw))
                    raise
                self._idle.append(raw)
            finally:
                self._free.release()

    async def close(self) -> None:
        """Close every connection, those in use when their statement is done."""
        self._idle.clear()
        while self._open:
            await self._open.pop().close()

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(self._settings.pool_timeout_s):
                await self._free.acquire()
        except TimeoutError:
            raise StoreUnavailable("No connection to the database became free in time") from None

    async def _undo(self, raw: aiosqlite.Connection) -> None:
        """End what may still be running, roll back, and keep the connection only if that can be done."""
        with suppress(sqlite3.Error, ValueError):  # ValueError: closed meanwhile
            await raw.interrupt()
            await raw.rollback()
            if len(self._idle) < self._size:
                self._idle.append(raw)
                return
        self._open.discard(raw)
        with suppress(sqlite3.Error, ValueError):
            await raw.close()

    async def _connected(self) -> aiosqlite.Connection:
        raw = await aiosqlite.connect(
            self._path,
            timeout=self._settings.sqlite_busy_timeout_ms / 1000,
            isolation_level=None,  # we begin transactions ourselves
            cached_statements=_STATEMENTS,
        )
        self._open.add(raw)
        try:
            await _enter_wal(raw)
            for pragma in (
                "synchronous=FULL",
                "foreign_keys=ON",
                f"cache_size=-{self._cache_kib}",
                "temp_store=MEMORY",
                "wal_autocheckpoint=1000",
                # Zeros over what was deleted or replaced: plain values do not outlive their being sealed.
                f"secure_delete={'ON' if self._settings.sealing.is_on else 'OFF'}",
            ):
                await raw.execute(f"PRAGMA {pragma}")
        except BaseException:
            self._open.discard(raw)
            await asyncio.shield(raw.close())
            raise
        return raw


def _values(statement: Sql, parameters: Mapping[str, Any]) -> list[Any]:
    return [parameters[name] for name in statement.sqlite_names]


async def _enter_wal(raw: aiosqlite.Connection) -> None:
    """Turn write-ahead logging on, which stays on in the file.

    While another process does the same, SQLite answers "locked" at once, whatever the busy timeout says.
    """
    for attempt in range(_WAL_ATTEMPTS):
        try:
            await raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if attempt == _WAL_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.02)
        else:
            return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _port_error(error) from error


def _port_error(error: sqlite3.Error) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code in _UNIQUE:
        return UniqueViolation(str(error))
    if code in _BROKEN:
        return StoreBroken(str(error))
    # Busy, out of space, interrupted …; but not a statement that cannot be: a missing table, say.
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return StoreUnavailable(str(error))
    return error


if TYPE_CHECKING:

    def _is_an_engine(engine: SqliteEngine) -> Engine:
        return engine
