"""MySQL and MariaDB: connections and statements; an outbox that triggers fill, or polling.

As with PostgreSQL, the outbox has no mark of how far we are, and the lock of a row makes the order of its numbers that
of its commits. Sessions speak UTC, InnoDB's consistent reads are one statement long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from bridges.config import Config, ConfigError, TableMapping, seconds
from bridges.render import parse_image, parse_key
from bridges.sources import Batch, Feed, Finding, Key, Refused, Row, Scanned, SourceUnavailable, Write, Written
from bridges.sources.examine import examine_mysql
from bridges.sources.polling import PollFeed
from bridges.sources.postgres import Unchanged, outbox_change
from bridges.sources.reading import AT_ONCE, fetch_statement, in_order, scan_statement, update_statement
from bridges.sources.statements import Binds, Dialect, equal, with_arguments
from bridges.sources.tls import tls_context

try:
    import aiomysql
    import pymysql.err
    from pymysql.constants import CLIENT
except ImportError:  # pragma: no cover - an extra
    aiomysql = None

DIALECT = Dialect("mysql")
_REFUSALS = {1048, 1054, 1062, 1142, 1143, 1146, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 1644, 1690, 4025, 3819, 1064}
"""Constraints, rights, names and values: they would be refused again."""
_TABLE_CHANGED = {1054, 1146}


class MySQLSource:
    """One database. Connects when it is needed, and again after every failure."""

    dialect = DIALECT

    def __init__(self, config: Config, source_name: str) -> None:
        """Raises ConfigError if aiomysql is missing, or the URL cannot be read."""
        if aiomysql is None:
            raise ConfigError(["MySQL and MariaDB need aiomysql: pip install 'hromada[mysql]'"])
        self.config = config
        self._settings = config.source[source_name]
        url = self._settings.url.read()
        parts = urlsplit(url)
        self._database = parts.path.strip("/")
        if parts.scheme not in ("mysql", "mariadb") or not self._database:
            raise ConfigError([f"source.{source_name}.url has the form mysql://user:password@host/database"])
        try:
            self._address = {"host": parts.hostname or "127.0.0.1", "port": parts.port or 3306}
        except ValueError as error:
            raise ConfigError([f"source.{source_name}.url: {error}"]) from None
        self._user = {"user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
        self._tls = tls_context(url, self._settings.tls)
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._types: dict[str, dict[str, str]] = {}
        self._applied: bool | None = None

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
                self._pool = await aiomysql.create_pool(
                    minsize=0,
                    maxsize=self._settings.pool,
                    db=self._database,
                    charset="utf8mb4",
                    autocommit=True,
                    connect_timeout=seconds(self._settings.timeouts.connect),
                    client_flag=CLIENT.FOUND_ROWS,  # an update that changes nothing has found its row all the same
                    ssl=self._tls,
                    init_command="SET time_zone = '+00:00'",
                    **self._address,
                    **self._user,
                )
            return self._pool

    async def _prepare(self, connection: Any) -> None:
        """Limits of a new connection; MySQL and MariaDB have other names for them."""
        if getattr(connection, "prepared_for_bridge", False):
            return
        timeouts = self._settings.timeouts
        statement = seconds(timeouts.statement)
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT version()")
            maria = "mariadb" in str((await cursor.fetchone())[0]).lower()
            limit = f"max_statement_time = {statement}" if maria else f"max_execution_time = {int(statement * 1000)}"
            lock = max(1, round(seconds(timeouts.lock)))
            await cursor.execute(f"SET SESSION {limit}, SESSION innodb_lock_wait_timeout = {lock}")
            await cursor.execute("SET SESSION TRANSACTION READ ONLY")
        connection.prepared_for_bridge = True

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A cursor on a connection out of the pool. Raises SourceUnavailable for whatever goes wrong with it."""
        patience = seconds(self._settings.timeouts.statement) + 5
        try:
            pool = await self._open()
            async with asyncio.timeout(patience), pool.acquire() as connection:
                await self._prepare(connection)
                async with connection.cursor() as cursor:
                    yield cursor
        except (OSError, TimeoutError, pymysql.err.Error, RuntimeError, ValueError) as error:
            if _code(error) in _TABLE_CHANGED:
                self._types.clear()
            raise SourceUnavailable(f"{type(error).__name__}: {error}") from error

    async def fetch_all(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a statement. Raises SourceUnavailable."""
        async with self.connection() as cursor:
            await cursor.execute(statement, values)
            return list(await cursor.fetchall())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        """A transaction that may write. Raises SourceUnavailable, Refused."""
        try:
            async with self.connection() as cursor:
                await cursor.execute("START TRANSACTION READ WRITE")
                try:
                    yield cursor
                except BaseException:
                    if not cursor.connection.closed:
                        await cursor.execute("ROLLBACK")
                    raise
                await cursor.execute("COMMIT")
        except SourceUnavailable as error:
            if _code(error.__cause__) in _REFUSALS:
                raise Refused(str(error.__cause__)) from error
            raise

    async def close(self) -> None:
        """Close the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
            await pool.wait_closed()

    # ---- reading ----

    async def columns(self, table: str) -> dict[str, str]:
        """Column → type of a table; empty if there is none. Raises SourceUnavailable."""
        rows = await self.fetch_all(
            "SELECT column_name, column_type FROM information_schema.columns "
            "WHERE table_schema = coalesce(%s, database()) AND table_name = %s",
            *self.split(table),
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
        return MySQLOutbox(self, name) if self.mapping(name).capture.mode == "outbox" else PollFeed(self, name)

    async def scan(self, name: str, after: Key | None, limit: int, chosen: Any = None, ts: str = "") -> list[Scanned]:
        """Rows in the order of the key. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        types = await self.types(mapping.table)
        statement, values = scan_statement(DIALECT, mapping, types, after, limit, chosen, ts)
        rows = await self.fetch_all(statement, *values)
        return [Scanned(parse_key(key), parse_image(image), bool(picked), at) for key, image, picked, at in rows]

    async def count(self, name: str) -> int:
        """How many rows there are. Raises SourceUnavailable."""
        table = DIALECT.name(self.mapping(name).table)
        return int((await self.fetch_all(f"SELECT count(*) FROM {table}"))[0][0])

    async def nth_last(self, name: str, n: int) -> Key | None:
        """The key of the n-th row from the end. Raises SourceUnavailable."""
        mapping = self.mapping(name)
        order = ", ".join(f"{DIALECT.name(column)} DESC" for column in mapping.key)
        rows = await self.fetch_all(
            f"SELECT {DIALECT.array(mapping.key)} FROM {DIALECT.name(mapping.table)} "
            f"ORDER BY {order} LIMIT 1 OFFSET {int(n) - 1}"
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

    async def _image(self, cursor: Any, name: str, key: Key) -> Row | None:
        mapping = self.mapping(name)
        types, binds = await self.types(mapping.table), Binds(DIALECT)
        where = equal(mapping.key, key, types, binds, DIALECT)
        image = DIALECT.image(mapping.columns)
        await cursor.execute(f"SELECT {image} FROM {DIALECT.name(mapping.table)} WHERE {where}", binds.values)
        row = await cursor.fetchone()
        return parse_image(row[0]) if row else None

    async def quiet(self, name: str) -> bool:
        """Nothing here is cheaper than to look."""
        return False

    async def now(self, type_name: str) -> str:
        """The time at the database. Raises SourceUnavailable."""
        return str((await self.fetch_all("SELECT CAST(now(6) AS CHAR)"))[0][0])

    async def query(self, name: str, values: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
        """A named query. Raises SourceUnavailable, Refused."""
        query = self.config.query[name]
        binds = Binds(DIALECT)
        statement = with_arguments(query.statement, values, query.arguments, binds, DIALECT, query.limit)
        try:
            async with self.connection() as cursor:
                await cursor.execute(statement, binds.values)
                rows = await cursor.fetchall()
                columns = [column[0] for column in cursor.description]
        except SourceUnavailable as error:
            if _code(error.__cause__) in {*_REFUSALS, 1792, 1969, 3024}:
                raise Refused(str(error.__cause__)) from error
            raise
        return columns, [["" if value is None else str(value)[:500] for value in row] for row in rows]

    async def examine(self, name: str, *, deep: bool) -> list[Finding]:
        """Whether a mapping can be captured from here."""
        return await examine_mysql(self, name, deep=deep)

    # ---- writing ----

    async def write(self, name: str, write: Write, intent: Callable[[Row | None], None]) -> Written:
        """Write in one transaction. Raises SourceUnavailable, Refused."""
        mapping = self.mapping(name)
        await self.types(mapping.table)
        statement, values = update_statement(DIALECT, write, mapping, await self.types(write.table))
        try:
            return await self._write(name, write, statement, values, intent)
        except Unchanged as unchanged:  # the transaction is rolled back: nothing was applied
            return unchanged.written

    async def _write(
        self, name: str, write: Write, statement: str, values: Sequence[Any], intent: Callable[[Row | None], None]
    ) -> Written:
        async with self.writing() as cursor:
            if await self._has_applied(cursor):
                table = DIALECT.name(self._settings.applied)
                await cursor.execute(f"SELECT 1 FROM {table} WHERE event_id = %s FOR UPDATE", (write.event_id,))
                if await cursor.fetchone():
                    return Written("already", await self._image(cursor, name, write.key))
                await cursor.execute(f"INSERT INTO {table} (event_id) VALUES (%s)", (write.event_id,))
            changed = await cursor.execute(statement, values)
            row = await self._image(cursor, name, write.key)
            if not changed:
                raise Unchanged(write, row)
            intent(row)
            return Written("applied", row)

    async def _has_applied(self, cursor: Any) -> bool:
        if not self._applied:  # it may be made later
            await cursor.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = coalesce(%s, database()) "
                "AND table_name = %s",
                self.split(self._settings.applied),
            )
            self._applied = bool((await cursor.fetchone())[0])
        return self._applied


def _code(error: BaseException | None) -> int | None:
    code = error.args[0] if error is not None and error.args else None
    return code if isinstance(code, int) else None


class MySQLOutbox:
    """The outbox of one mapping."""

    def __init__(self, source: MySQLSource, name: str) -> None:
        self._source, self._name = source, name
        self._mapping = source.mapping(name)
        table = DIALECT.name(self._mapping.capture.outbox("mysql"))
        columns = "seq, CAST(at AS CHAR), CAST(UNIX_TIMESTAMP(at) * 1000 AS SIGNED), `old`, `new`"
        self._read = f"SELECT {columns} FROM {table} WHERE mapping = %s ORDER BY seq LIMIT %s"
        self._delete = f"DELETE FROM {table} WHERE mapping = %s AND seq IN "

    async def open(self, position: str | None) -> str:
        """There is nothing to open: what is in the outbox is what is to be told."""
        return position or "outbox"

    async def read(self, position: str, limit: int) -> Batch:
        """The oldest changes that are committed. Raises SourceUnavailable."""
        rows = await self._source.fetch_all(self._read, self._name, limit)
        changes = [outbox_change(self._mapping.key, *row) for row in rows]
        return Batch(changes, position, len(rows) == limit)

    async def acknowledge(self, batch: Batch) -> None:
        """Delete what is stored. Raises SourceUnavailable."""
        seqs = [int(change.position.partition(":")[0]) for change in batch.changes]
        if not seqs:
            return
        try:
            async with self._source.writing() as cursor:
                await cursor.execute(f"{self._delete}({', '.join(['%s'] * len(seqs))})", (self._name, *seqs))
        except Refused as error:
            raise SourceUnavailable(str(error)) from error
