"""MySQL and MariaDB: connections, and what they say in a way of their own.

Sessions speak UTC, InnoDB's consistent reads are one statement long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from bridges.config import Config, ConfigError, seconds
from bridges.sources import Feed, Finding, Refused, SourceUnavailable
from bridges.sources.examine import examine_mysql
from bridges.sources.polling import PollFeed
from bridges.sources.sql import OutboxFeed, SqlSource
from bridges.sources.statements import Binds, Dialect, with_arguments
from bridges.sources.tls import reason, tls_context

try:
    import pymysql.err
    from pymysql.constants import CLIENT

    from bridges.sources.mysql_pool import Pool
except ImportError:  # pragma: no cover - an extra
    pymysql = None

DIALECT = Dialect("mysql")
_REFUSALS = {1048, 1054, 1062, 1142, 1143, 1146, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 1644, 1690, 4025, 3819, 1064}
"""Constraints, rights, names and values: they would be refused again."""
_TABLE_CHANGED = {1054, 1146}


class MySQLSource(SqlSource):
    """One database. Connects when it is needed, and again after every failure."""

    dialect = DIALECT

    def __init__(self, config: Config, source_name: str) -> None:
        """Raises ConfigError if aiomysql is missing, or the URL cannot be read."""
        if pymysql is None:
            raise ConfigError(["MySQL and MariaDB need aiomysql: pip install 'hromada[mysql]'"])
        super().__init__(config, source_name)
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
        self._pool: Pool | None = None
        self._tails: list[Any] = []

    @property
    def database(self) -> str:
        """The schema of tables that are named without one."""
        return self._database

    def login(self) -> dict[str, Any]:
        """How PyMySQL connects, beside the pool."""
        connect = seconds(self._settings.timeouts.connect)
        options = {"charset": "utf8mb4", "connect_timeout": connect, "ssl": self._tls}
        return {**self._address, **self._user, **options}

    # ---- connections ----

    def _open(self) -> Pool:
        if self._pool is None:
            login = self.login()
            more = {"db": self._database, "autocommit": True, "init_command": "SET time_zone = '+00:00'"}
            # An update that changes nothing has found its row all the same.
            self._pool = Pool(self._settings.pool, {**login, **more, "client_flag": CLIENT.FOUND_ROWS})
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
            # MySQL 8 would tell the size that a table had a day ago.
            fresh = "/*!80003 , SESSION information_schema_stats_expiry = 0 */"
            mysql = f"max_execution_time = {int(statement * 1000)} {fresh}"
            limit = f"max_statement_time = {statement}" if maria else mysql
            lock = max(1, round(seconds(timeouts.lock)))
            await cursor.execute(f"SET SESSION {limit}, SESSION innodb_lock_wait_timeout = {lock}")
            await cursor.execute("SET SESSION TRANSACTION READ ONLY")
        connection.prepared_for_bridge = True

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A cursor on a connection out of the pool. Raises SourceUnavailable for whatever goes wrong with it."""
        patience = seconds(self._settings.timeouts.statement) + 5
        try:
            async with asyncio.timeout(patience), self._open().acquire() as connection:
                await self._prepare(connection)
                async with connection.cursor() as cursor:
                    yield cursor
        except (OSError, TimeoutError, pymysql.err.Error, RuntimeError, ValueError) as error:
            if _code(error) in _TABLE_CHANGED:
                self._types.clear()
            raise SourceUnavailable(reason(error)) from error

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
        for tail in self._tails:
            tail.stop()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    # ---- reading ----

    async def columns(self, table: str) -> dict[str, str]:
        """Column → type of a table; empty if there is none. Raises SourceUnavailable."""
        rows = await self.fetch_all(
            "SELECT column_name, column_type FROM information_schema.columns "
            "WHERE table_schema = coalesce(%s, database()) AND table_name = %s",
            *self.split(table),
        )
        return {row[0]: row[1] for row in rows}

    def feed(self, name: str) -> Feed:
        """The changes of a mapping. Raises ConfigError if the package for its way of capture is missing."""
        mode = self.mapping(name).capture.mode
        if mode == "outbox":
            return OutboxFeed(self, name)
        if mode == "binlog":
            from bridges.sources.binlog import BinlogFeed  # noqa: PLC0415 - an extra

            self._tails.append(tail := BinlogFeed(self, name))
            return tail
        return PollFeed(self, name)

    async def count(self, name: str) -> int:
        """How many rows there are. Raises SourceUnavailable."""
        table = DIALECT.name(self.mapping(name).table)
        return int((await self.fetch_all(f"SELECT count(*) FROM {table}"))[0][0])

    async def quiet(self, name: str) -> bool:
        """Nothing here is cheaper than to look."""
        return False

    async def size(self, table: str) -> int | None:
        """About how many bytes a table and its indexes take. Raises SourceUnavailable."""
        rows = await self.fetch_all(
            "SELECT data_length + index_length FROM information_schema.tables "
            "WHERE table_schema = coalesce(%s, database()) AND table_name = %s",
            *self.split(table),
        )
        return int(rows[0][0]) if rows and rows[0][0] is not None else None

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
            if isinstance(error.__cause__, TimeoutError):
                raise Refused("it took too long") from error  # and would again: whoever waits for it shall know
            if _code(error.__cause__) in {*_REFUSALS, 1792, 1969, 3024}:
                raise Refused(str(error.__cause__)) from error
            raise
        return columns, [["" if value is None else str(value)[:500] for value in row] for row in rows]

    async def examine(self, name: str, *, deep: bool) -> list[Finding]:
        """Whether a mapping can be captured from here."""
        return await examine_mysql(self, name, deep=deep)

    # ---- writing ----

    async def _execute(self, session: Any, statement: str, values: Sequence[Any]) -> int:
        return int(await session.execute(statement, values))

    async def _first(self, session: Any, statement: str, values: Sequence[Any]) -> Any:
        await session.execute(statement, values)
        row = await session.fetchone()
        return row[0] if row else None

    async def _once(self, session: Any, event_id: str) -> bool:
        table = DIALECT.name(self._settings.applied)
        if await self._first(session, f"SELECT 1 FROM {table} WHERE event_id = %s FOR UPDATE", (event_id,)):
            return False
        await session.execute(f"INSERT INTO {table} (event_id) VALUES (%s)", (event_id,))
        return True

    async def _is_there(self, session: Any, table: str) -> bool:
        count = "SELECT count(*) FROM information_schema.tables"
        where = "WHERE table_schema = coalesce(%s, database()) AND table_name = %s"
        return bool(await self._first(session, f"{count} {where}", self.split(table)))


def _code(error: BaseException | None) -> int | None:
    code = error.args[0] if error is not None and error.args else None
    return code if isinstance(code, int) else None
