"""A users table in PostgreSQL. Read only: the session may not write, whatever its role may."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from bridges.users.people import BadTable, Row, SourceAway, Table, Tls

_TEXTS = frozenset(("text", "character varying", "character", "citext", "name"))
_COLUMNS = """SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"""
_SLOW_ANSWERS = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)


class PostgresUsers:
    """Implements `Source`."""

    def __init__(self, table: Table, url: str, *, tls: Tls | None, seconds: float, pool: int) -> None:
        """`seconds` bounds each statement at the database, too."""
        self._table = table
        self._url = url
        self._tls = None if tls is None else tls.context()
        self._seconds = seconds
        self._size = pool
        self._pool: Any = None
        self._types: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def find(self, login: str, limit: int) -> list[Row]:
        """Rows with this text in a login column, at most `limit`. Raises SourceAway, BadTable."""
        await self._ready()
        tests = " OR ".join(
            f"{_quoted(name)} = $1" if self._types[name] in _TEXTS else f"{_quoted(name)}::text = $1"
            for name in self._table.login
        )
        return await self._rows(f"{self._select()} WHERE {tests} LIMIT {limit:d}", login)

    async def by_keys(self, keys: list[str]) -> list[Row]:
        """Rows with these keys, in any order; those that are gone are left out. Raises SourceAway, BadTable."""
        await self._ready()
        key, kind = _quoted(self._table.key), self._types[self._table.key]
        # Keys come from this column: text that is no value of its type has been somebody's once, and is nobody's now.
        return await self._rows(f"{self._select()} WHERE {key} = ANY ($1::text[]::{kind}[])", keys)

    async def page(self, after: Row | None, limit: int) -> list[Row]:
        """At most `limit` rows in the order of their keys, behind a row. Raises SourceAway, BadTable."""
        await self._ready()
        key = _quoted(self._table.key)
        if after is None:
            return await self._rows(f"{self._select()} ORDER BY {key} LIMIT {limit:d}")
        where = f"WHERE {key} > $1 ORDER BY {key} LIMIT {limit:d}"
        return await self._rows(f"{self._select()} {where}", after[self._table.key])

    async def check(self) -> str:
        """What there is, in words, once it was looked up. Raises SourceAway, BadTable."""
        self._types = {}
        await self._ready()
        estimate = await self._rows(
            "SELECT greatest(reltuples, 0)::bigint AS n FROM pg_class WHERE oid = to_regclass($1)",
            _table_name(self._table.name),
        )
        return f"table {self._table.name}, about {estimate[0]['n']:,} rows"

    async def close(self) -> None:
        """End all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    def _select(self) -> str:
        columns = ", ".join(map(_quoted, self._table.columns))
        return f"SELECT {columns} FROM {_table_name(self._table.name)}"  # noqa: S608 - names that are in the schema

    async def _ready(self) -> None:
        """Look names up in the schema, once. Raises BadTable for what is not there."""
        if self._types:
            return
        rows = await self._rows(_COLUMNS, _table_name(self._table.name))
        types = {row["attname"]: row["format_type"] for row in rows}
        if not types:
            raise BadTable(f"there is no table {self._table.name}, or the role may not see it")
        if missing := [name for name in self._table.columns if name not in types]:
            raise BadTable(f"table {self._table.name} has no column {', '.join(missing)}")
        self._types = types

    async def _rows(self, statement: str, *values: Any) -> list[Row]:
        try:
            pool = await self._opened()
            async with pool.acquire() as connection:
                return [dict(row) for row in await connection.fetch(statement, *values)]
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InsufficientPrivilegeError) as error:
            self._types = {}
            raise BadTable(str(error)) from None
        except asyncpg.DataError:
            return []
        except _SLOW_ANSWERS as error:
            raise SourceAway(str(error)) from None
        # InternalClientError: the server said why it goes away while nobody had asked anything.
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            OverflowError,
            ValueError,
        ) as error:
            raise SourceAway(_said(error)) from None

    async def _opened(self) -> Any:
        async with self._lock:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    ssl=self._tls,
                    min_size=0,
                    max_size=self._size,
                    timeout=self._seconds,
                    command_timeout=self._seconds,
                    max_inactive_connection_lifetime=60,
                    server_settings={
                        "application_name": "hromada",
                        "default_transaction_read_only": "on",
                        "statement_timeout": str(int(self._seconds * 1000)),
                    },
                )
            return self._pool


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else "its url is not usable"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table_name(name: str) -> str:
    return ".".join(map(_quoted, name.split(".")))
