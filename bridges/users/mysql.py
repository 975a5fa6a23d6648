"""A users table in MySQL or MariaDB (`pip install 'hromada[mysql]'`). Read only, as the session is told."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from bridges.users.people import BadTable, Row, SourceAway, Table, Tls

_MISSING = (1054, 1109, 1142, 1143, 1146)  # no such column or table, or not for this user
_COLUMNS = "SELECT column_name AS name, data_type AS type FROM information_schema.columns WHERE table_schema = "
# Read only, and no statement works on for somebody who has gone: in MariaDB's words, and in MySQL's. Each server reads
# the other's as a comment.
_SESSION = (
    "SET SESSION /*M!100000 tx_read_only = 1, max_statement_time = {seconds:.1f} */"
    "/*!50720 transaction_read_only = 1, max_execution_time = {milliseconds} */"
)
_NUMBERS = frozenset(("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit", "year"))


class MysqlUsers:
    """Implements `Source`."""

    def __init__(self, table: Table, url: str, *, tls: Tls | None, seconds: float, pool: int) -> None:
        """`url`: `mysql://USER:PASSWORD@HOST:PORT/DATABASE`. Raises ImportError without the driver, ValueError."""
        import aiomysql  # noqa: PLC0415 - an extra

        from bridges.sources.mysql_pool import Pool  # noqa: PLC0415 - as above

        parts = urlsplit(url)
        if not parts.hostname or not parts.path.strip("/"):
            raise ValueError("a url for mysql is mysql://USER:PASSWORD@HOST:PORT/DATABASE")
        self._driver, self._make_pool = aiomysql, Pool
        self._table = table
        self._tls = None if tls is None else tls.context()
        self._seconds = seconds
        self._size = pool
        self._pool: Any = None  # a `Pool`, once somebody asks
        self._types: dict[str, str] = {}
        self._where: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or 3306,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "db": unquote(parts.path.strip("/")),
        }

    async def find(self, login: str, limit: int) -> list[Row]:
        """Rows with this text in a login column, at most `limit`. Raises SourceAway, BadTable."""
        await self._ready()
        tests = " OR ".join(f"{_quoted(name)} = %s" for name in self._table.login)
        rows = await self._rows(f"{self._select()} WHERE {tests} LIMIT {limit:d}", *[login] * len(self._table.login))
        # To MySQL the number 0 equals any text without digits.
        numbers = {name for name in self._table.login if self._types[name] in _NUMBERS}
        texts = set(self._table.login) - numbers
        if not numbers:
            return rows
        return [
            row
            for row in rows
            if any(str(row[name]) == login for name in numbers)
            or any(str(row[name]).casefold() == login.casefold() for name in texts)
        ]

    async def by_keys(self, keys: list[str]) -> list[Row]:
        """Rows with these keys, in any order; those that are gone are left out. Raises SourceAway, BadTable."""
        await self._ready()
        if not keys:
            return []
        wanted = ", ".join(["%s"] * len(keys))
        rows = await self._rows(f"{self._select()} WHERE {_quoted(self._table.key)} IN ({wanted})", *keys)
        known = set(keys)
        return [row for row in rows if str(row[self._table.key]) in known]

    async def page(self, after: Row | None, limit: int) -> list[Row]:
        """At most `limit` rows in the order of their keys, behind a row. Raises SourceAway, BadTable."""
        await self._ready()
        key = _quoted(self._table.key)
        if after is None:
            return await self._rows(f"{self._select()} ORDER BY {key} LIMIT {limit:d}")
        where = f"WHERE {key} > %s ORDER BY {key} LIMIT {limit:d}"
        return await self._rows(f"{self._select()} {where}", after[self._table.key])

    async def check(self) -> str:
        """What there is, in words, once it was looked up. Raises SourceAway, BadTable."""
        self._types = {}
        await self._ready()
        schema, name = self._names()
        found = await self._rows(
            "SELECT table_rows AS n FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            schema,
            name,
        )
        return f"table {self._table.name}, about {(found[0]['n'] if found else 0) or 0:,} rows"

    async def close(self) -> None:
        """End all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    def _names(self) -> tuple[str, str]:
        schema, _, name = self._table.name.rpartition(".")
        return schema or str(self._where["db"]), name

    def _select(self) -> str:
        columns = ", ".join(map(_quoted, self._table.columns))
        table = ".".join(map(_quoted, self._table.name.split(".")))
        return f"SELECT {columns} FROM {table}"  # noqa: S608 - names that are in the schema

    async def _ready(self) -> None:
        """Look names up in the schema, once. Raises BadTable for what is not there."""
        if self._types:
            return
        rows = await self._rows(_COLUMNS + "%s AND table_name = %s", *self._names())
        types = {str(row["name"]): str(row["type"]).lower() for row in rows}
        if not types:
            raise BadTable(f"there is no table {self._table.name}, or the user may not see it")
        if missing := [name for name in self._table.columns if name not in types]:
            raise BadTable(f"table {self._table.name} has no column {', '.join(missing)}")
        self._types = types

    async def _rows(self, statement: str, *values: Any) -> list[Row]:
        from pymysql.err import Error  # noqa: PLC0415 - an extra

        try:
            async with self._opened().acquire() as connection, connection.cursor(self._driver.DictCursor) as cursor:
                await cursor.execute(statement, values)
                return [dict(row) for row in await cursor.fetchall()]
        except Error as error:
            number, text = (*error.args, "", "")[:2]
            if number in _MISSING:
                self._types = {}
                raise BadTable(str(text)) from None
            raise SourceAway(f"{type(error).__name__} {number}: {text}") from None
        except (OSError, RuntimeError) as error:
            raise SourceAway(f"{type(error).__name__}: {error}") from None

    def _opened(self) -> Any:
        if self._pool is None:
            session = _SESSION.format(seconds=self._seconds, milliseconds=int(self._seconds * 1000))
            more = {"charset": "utf8mb4", "autocommit": True, "connect_timeout": self._seconds, "ssl": self._tls}
            self._pool = self._make_pool(self._size, {**self._where, **more, "init_command": session})
        return self._pool


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
