"""PostgreSQL: connections, and what it says in a way of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from bridges.config import Config, ConfigError, seconds
from bridges.ending import end
from bridges.sources import Feed, Finding, Refused, SourceUnavailable
from bridges.sources.examine import examine_postgres
from bridges.sources.logical import LogicalFeed
from bridges.sources.polling import PollFeed
from bridges.sources.sql import OutboxFeed, SqlSource
from bridges.sources.statements import Binds, Dialect, with_arguments
from bridges.sources.tls import reason, tls_context

try:
    import asyncpg
except ImportError:  # pragma: no cover - the distribution asks for it
    asyncpg = None

DIALECT = Dialect("postgresql")
_LONGEST_IDLE_S = 3.0
_WAL = "SELECT pg_current_wal_insert_lsn()::text"


class PostgresSource(SqlSource):
    """One database. Connects when it is needed, and again after every failure."""

    dialect = DIALECT

    def __init__(self, config: Config, source_name: str) -> None:
        """Raises ConfigError if asyncpg is missing, or the URL cannot be read."""
        if asyncpg is None:
            raise ConfigError(["PostgreSQL needs asyncpg: pip install 'hromada[bridges]'"])
        super().__init__(config, source_name)
        self._url = self._settings.url.read()
        self._tls = tls_context(self._url, self._settings.tls)
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._types: dict[str, dict[str, str]] = {}
        self._applied: bool | None = None
        self._seen_wal: dict[str, str] = {}
        self._moves, self._moved = 0, asyncio.Event()
        self._watch_every = 1.0
        self._watcher: asyncio.Task[None] | None = None

    # ---- connections ----

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                timeouts = self._settings.timeouts
                milliseconds = {
                    "statement_timeout": seconds(timeouts.statement),
                    "lock_timeout": seconds(timeouts.lock),
                    "idle_in_transaction_session_timeout": 60.0,
                }
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._settings.pool,
                    timeout=seconds(timeouts.connect),
                    command_timeout=seconds(timeouts.statement) + 5,
                    ssl=self._tls,
                    reset=_leave,
                    server_settings={
                        "timezone": "UTC",
                        "datestyle": "ISO",
                        "intervalstyle": "postgres",
                        "application_name": "hromada bridges",
                        "default_transaction_read_only": "on",
                        **{name: str(int(value * 1000)) for name, value in milliseconds.items()},
                    },
                )
            return self._pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection out of the pool. Raises SourceUnavailable for whatever goes wrong with it."""
        try:
            pool = await self._open()
            async with pool.acquire(timeout=seconds(self._settings.timeouts.connect) + 5) as connection:
                yield connection
        # InternalClientError: the server said why it goes away while nobody had asked anything.
        except (asyncpg.InternalClientError, asyncpg.InterfaceError) as error:
            if self._pool is not None:
                await self._pool.expire_connections()
            _unless_cancelled(error)
            raise SourceUnavailable(reason(error)) from error
        except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:
            if getattr(error, "sqlstate", None) in ("42703", "42P01", "42804", "22P02"):
                self._types.clear()  # the table is another one now
            _unless_cancelled(error)
            raise SourceUnavailable(reason(error)) from error

    async def fetch_all(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a statement. Raises SourceUnavailable."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(statement, *values)
            return rows

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        """A transaction that may write. Raises SourceUnavailable, Refused."""
        try:
            async with self.connection() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION READ WRITE")
                yield connection
        except SourceUnavailable as error:
            state = getattr(error.__cause__, "sqlstate", None) or ""
            if state[:2] in ("22", "23", "42", "44", "P0"):
                raise Refused(str(error.__cause__)) from error
            raise

    async def close(self) -> None:
        """Close the connections."""
        if self._watcher is not None:
            await end([self._watcher])
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    # ---- reading ----

    async def columns(self, table: str) -> dict[str, str]:
        """Column → type of a table; empty if there is none. Raises SourceUnavailable."""
        rows = await self.fetch_all(
            "SELECT attname, atttypid::regtype::text FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            DIALECT.name(table),
        )
        return {row[0]: row[1] for row in rows}

    def feed(self, name: str) -> Feed:
        """The changes of a mapping."""
        mode = self.mapping(name).capture.mode
        if mode == "outbox":
            return OutboxFeed(self, name)
        if mode == "logical":
            return LogicalFeed(self, name)
        return PollFeed(self, name)

    async def count(self, name: str) -> int:
        """About how many rows there are. Raises SourceUnavailable."""
        table = DIALECT.name(self.mapping(name).table)
        guess = await self.fetch_all("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)", table)
        if guess and guess[0][0] > 100_000:
            return int(guess[0][0])
        return int((await self.fetch_all(f"SELECT count(*) FROM {table}"))[0][0])

    async def quiet(self, name: str) -> bool:
        """Whether nothing was written into the whole database server since this was asked for that mapping."""
        position = (await self.fetch_all(_WAL))[0][0]
        before, self._seen_wal[name] = self._seen_wal.get(name), position
        return bool(before == position)

    async def size(self, table: str) -> int | None:
        """Bytes that a table and its indexes take. Raises SourceUnavailable."""
        rows = await self.fetch_all("SELECT pg_total_relation_size(to_regclass($1))", DIALECT.name(table))
        return None if rows[0][0] is None else int(rows[0][0])

    def mark(self) -> int:
        """How often the log was seen to grow."""
        return self._moves

    async def idle(self, mark: int, poll: float) -> None:
        """Wait until it grew. However many mappings wait, one of them asks."""
        self._watch_every = min(self._watch_every, poll)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        await asyncio.sleep(min(poll, 1.0) / 2)
        if mark == self._moves:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(poll, _LONGEST_IDLE_S)):  # `wait_for` can forget that it was cancelled
                    await self._moved.wait()

    async def _watch(self) -> None:
        last = ""
        while True:
            with suppress(SourceUnavailable):
                if (position := (await self.fetch_all(_WAL))[0][0]) != last:
                    last = position
                    self._moves += 1
                    moved, self._moved = self._moved, asyncio.Event()
                    moved.set()
            await asyncio.sleep(self._watch_every)

    async def now(self, type_name: str) -> str:
        """The time at the database, as its type is written. Raises SourceUnavailable."""
        return str((await self.fetch_all(f"SELECT clock_timestamp()::{type_name}::text"))[0][0])

    async def query(self, name: str, values: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
        """A named query. Raises SourceUnavailable, Refused."""
        query = self.config.query[name]
        binds = Binds(DIALECT)
        statement = with_arguments(query.statement, values, query.arguments, binds, DIALECT, query.limit)
        try:
            async with self.connection() as connection, connection.transaction(readonly=True):
                prepared = await connection.prepare(statement)
                rows = await prepared.fetch(*binds.values)
                return [column.name for column in prepared.get_attributes()], [[_shown(v) for v in r] for r in rows]
        except SourceUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise Refused("it took too long") from error  # and would again: whoever waits for it shall know
            if (getattr(error.__cause__, "sqlstate", None) or "")[:2] in ("22", "25", "42", "57"):
                raise Refused(str(error.__cause__)) from error
            raise

    async def examine(self, name: str, *, deep: bool) -> list[Finding]:
        """Whether a mapping can be captured from here."""
        return await examine_postgres(self, name, deep=deep)

    # ---- writing ----

    async def _execute(self, session: Any, statement: str, values: Sequence[Any]) -> int:
        return int((await session.execute(statement, *values)).rsplit(" ", 1)[-1])

    async def _first(self, session: Any, statement: str, values: Sequence[Any]) -> Any:
        return await session.fetchval(statement, *values)

    async def _once(self, session: Any, event_id: str) -> bool:
        table = DIALECT.name(self._settings.applied)
        once = f"INSERT INTO {table} (event_id) VALUES ($1) ON CONFLICT DO NOTHING"
        return bool(await self._execute(session, once, (event_id,)))

    async def _is_there(self, session: Any, table: str) -> bool:
        return bool(await session.fetchval("SELECT to_regclass($1) IS NOT NULL", DIALECT.name(table)))


async def _leave(_connection: Any) -> None:
    """Nothing is to be reset: nothing outlives a statement or a transaction here."""


def _unless_cancelled(error: Exception) -> None:
    """What is given back while it is closed fails, and the failure takes the place of the cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _shown(value: Any) -> str:
    return "" if value is None else str(value)[:500]
