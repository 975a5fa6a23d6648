"""PostgreSQL: connections, statements, and the three ways of capture that read tables.

The outbox: rows that are visible are read in the order of their numbers and deleted once they are stored by us. There
is no mark of how far we are, so a transaction that commits late loses nothing; and a trigger takes its number while it
holds the row's lock, so the changes of one row have their numbers in the order of their commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from bridges.config import Config, ConfigError, TableMapping, seconds
from bridges.render import parse_image, parse_key
from bridges.sources import (
    Batch,
    Change,
    Feed,
    Finding,
    Key,
    Refused,
    Row,
    Scanned,
    SourceUnavailable,
    Write,
    Written,
)
from bridges.sources.examine import examine_postgres
from bridges.sources.logical import LogicalFeed
from bridges.sources.polling import PollFeed
from bridges.sources.reading import AT_ONCE, fetch_statement, in_order, scan_statement, update_statement
from bridges.sources.statements import Binds, Dialect, equal, with_arguments
from bridges.sources.tls import tls_context

try:
    import asyncpg
except ImportError:  # pragma: no cover - the distribution asks for it
    asyncpg = None

DIALECT = Dialect("postgresql")
_LONGEST_IDLE_S = 3.0
_WAL = "SELECT pg_current_wal_insert_lsn()::text"


class PostgresSource:
    """One database. Connects when it is needed, and again after every failure."""

    dialect = DIALECT

    def __init__(self, config: Config, source_name: str) -> None:
        """Raises ConfigError if asyncpg is missing, or the URL cannot be read."""
        if asyncpg is None:
            raise ConfigError(["PostgreSQL needs asyncpg: pip install 'hromada[bridges]'"])
        self.config = config
        self._settings = config.source[source_name]
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

    def mapping(self, name: str) -> TableMapping:
        """A mapping of this source."""
        return self.config.mapping[name]

    def split(self, table: str) -> tuple[str | None, str]:
        """Schema (None for the connection's own) and table."""
        schema, _, name = table.rpartition(".")
        return schema or None, name

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
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            if getattr(error, "sqlstate", None) in ("42703", "42P01", "42804", "22P02"):
                self._types.clear()  # the table is another one now
            raise SourceUnavailable(f"{type(error).__name__}: {error}") from error

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
            self._watcher.cancel()
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

    async def types(self, table: str) -> dict[str, str]:
        """The same, remembered. Raises SourceUnavailable if there is no such table."""
        if table not in self._types:
            found = await self.columns(table)
            if not found:
                raise SourceUnavailable(f"there is no table {table}")
            self._types[table] = found
        return self._types[table]

    def feed(self, name: str) -> Feed:
        """The changes of a mapping."""
        mode = self.mapping(name).capture.mode
        if mode == "outbox":
            return PostgresOutbox(self, name)
        if mode == "logical":
            return LogicalFeed(self, name)
        return PollFeed(self, name)

    async def scan(self, name: str, after: Key | None, limit: int, chosen: Any = None, ts: str = "") -> list[Scanned]:
        """Rows in the order of the key. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        types = await self.types(mapping.table)
        statement, values = scan_statement(DIALECT, mapping, types, after, limit, chosen, ts)
        rows = await self.fetch_all(statement, *values)
        return [Scanned(parse_key(key), parse_image(image), bool(chosen), at) for key, image, chosen, at in rows]

    async def count(self, name: str) -> int:
        """About how many rows there are. Raises SourceUnavailable."""
        table = DIALECT.name(self.mapping(name).table)
        guess = await self.fetch_all("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)", table)
        if guess and guess[0][0] > 100_000:
            return int(guess[0][0])
        return int((await self.fetch_all(f"SELECT count(*) FROM {table}"))[0][0])

    async def nth_last(self, name: str, n: int) -> Key | None:
        """The key of the n-th row from the end. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        order = ", ".join(f"{DIALECT.name(column)} DESC" for column in mapping.key)
        rows = await self.fetch_all(
            f"SELECT {DIALECT.array(mapping.key)}::text FROM {DIALECT.name(mapping.table)} "
            f"ORDER BY {order} OFFSET {int(n) - 1} LIMIT 1"
        )
        return parse_key(rows[0][0]) if rows else None

    async def fetch(self, name: str, keys: Sequence[Key]) -> list[Row | None]:
        """Rows as they are now. Raises SourceUnavailable."""
        mapping, rows = self.mapping(name), []
        types = await self.types(mapping.table)
        for first in range(0, len(keys), AT_ONCE):
            statement, values = fetch_statement(DIALECT, mapping, types, keys[first : first + AT_ONCE])
            rows += await self.fetch_all(statement, *values)
        return in_order(mapping, keys, rows)

    async def _image(self, connection: Any, name: str, key: Key) -> Row | None:
        mapping = self.mapping(name)
        types, binds = await self.types(mapping.table), Binds(DIALECT)
        where = equal(mapping.key, key, types, binds, DIALECT)
        image = DIALECT.image(mapping.columns)
        statement = f"SELECT {image}::text FROM {DIALECT.name(mapping.table)} WHERE {where}"
        return parse_image(await connection.fetchval(statement, *binds.values))

    async def quiet(self, name: str) -> bool:
        """Whether nothing was written into the whole database server since this was asked for that mapping."""
        position = (await self.fetch_all(_WAL))[0][0]
        before, self._seen_wal[name] = self._seen_wal.get(name), position
        return bool(before == position)

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
                await asyncio.wait_for(self._moved.wait(), max(poll, _LONGEST_IDLE_S))

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
            if (getattr(error.__cause__, "sqlstate", None) or "")[:2] in ("22", "25", "42", "57"):
                raise Refused(str(error.__cause__)) from error
            raise

    async def examine(self, name: str, *, deep: bool) -> list[Finding]:
        """Whether a mapping can be captured from here."""
        return await examine_postgres(self, name, deep=deep)

    # ---- writing ----

    async def write(self, name: str, write: Write, intent: Callable[[Row | None], None]) -> Written:
        """Write in one transaction. Raises SourceUnavailable, Refused."""
        types = await self.types(write.table)
        statement, values = update_statement(DIALECT, write, self.mapping(name), types)
        try:
            return await self._write(name, write, statement, values, intent)
        except Unchanged as unchanged:  # the transaction is rolled back: nothing was applied
            return unchanged.written

    async def _write(
        self, name: str, write: Write, statement: str, values: Sequence[Any], intent: Callable[[Row | None], None]
    ) -> Written:
        async with self.writing() as connection:
            if await self._has_applied(connection):
                once = (
                    f"INSERT INTO {DIALECT.name(self._settings.applied)} (event_id) VALUES ($1) ON CONFLICT DO NOTHING"
                )
                if _count(await connection.execute(once, write.event_id)) == 0:
                    return Written("already", await self._image(connection, name, write.key))
            changed = _count(await connection.execute(statement, *values))
            row = await self._image(connection, name, write.key)
            if not changed:
                raise Unchanged(write, row)
            intent(row)
            return Written("applied", row)

    async def _has_applied(self, connection: Any) -> bool:
        if not self._applied:  # it may be made later
            table = DIALECT.name(self._settings.applied)
            self._applied = bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table))
        return self._applied


async def _leave(_connection: Any) -> None:
    """Nothing is to be reset: nothing outlives a statement or a transaction here."""


class Unchanged(Exception):
    """A guarded statement changed nothing; `written` says why."""

    def __init__(self, write: Write, row: Row | None) -> None:
        super().__init__()
        wanted = write.values or {}
        if write.kind == "insert":
            self.written = Written("already", row)
        elif row is None:
            self.written = Written("gone")
        else:
            same = all(column in row and str(row[column]) == str(value) for column, value in wanted.items())
            self.written = Written("already" if wanted and same else "conflict", row)


def _count(status: str) -> int:
    return int(status.rsplit(" ", 1)[-1])


def _shown(value: Any) -> str:
    return "" if value is None else str(value)[:500]


class PostgresOutbox:
    """The outbox of one mapping."""

    def __init__(self, source: PostgresSource, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = source.mapping(name)
        table = DIALECT.name(self._mapping.capture.outbox("postgresql"))
        columns = "seq, at::text, (extract(epoch FROM at) * 1000)::bigint, old::text, new::text"
        self._read = f"SELECT {columns} FROM {table} WHERE mapping = $1 ORDER BY seq LIMIT $2"
        self._delete = f"DELETE FROM {table} WHERE mapping = $1 AND seq = ANY($2::bigint[])"
        self._idle = False

    async def open(self, position: str | None) -> str:
        """There is nothing to open: what is in the outbox is what is to be told."""
        return position or "outbox"

    async def read(self, position: str, limit: int) -> Batch:
        """The oldest changes that are committed. Raises SourceUnavailable."""
        if await self._source.quiet(self._name) and self._idle:
            return Batch([], position)
        rows = await self._source.fetch_all(self._read, self._name, limit)
        self._idle = not rows
        changes = [outbox_change(self._mapping.key, *row) for row in rows]
        return Batch(changes, position, len(rows) == limit)

    async def acknowledge(self, batch: Batch) -> None:
        """Delete what is stored. Raises SourceUnavailable."""
        seqs = [int(change.position.partition(":")[0]) for change in batch.changes]
        try:
            async with self._source.writing() as connection:
                await connection.execute(self._delete, self._name, seqs)
        except Refused as error:
            raise SourceUnavailable(str(error)) from error


def outbox_change(key: Sequence[str], seq: int, at: str, ts: int, old_text: str | None, new_text: str | None) -> Change:
    """A row of an outbox. With `at` the position names it even if the outbox was made anew."""
    old, new = parse_image(old_text), parse_image(new_text)
    op = "insert" if old is None else "delete" if new is None else "update"
    keys = [None if image is None else [image[column] for column in key] for image in (old, new)]
    now = keys[1] if keys[1] is not None else keys[0] or []
    was = keys[0] if keys[0] != now else None
    return Change(f"{seq}:{at}", op, now, new, old, was, ts)  # type: ignore[arg-type] # `op` is one of the three
