"""PostgreSQL through asyncpg and its pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from homeserver.ports.store import StoreUnavailable, TransactionConflict, UniqueViolation
from homeserver.storage.dialect import Connection, Rows, Sql
from homeserver.storage.engine import Engine, EngineSettings
from homeserver.storage.sealing import Sealing
from homeserver.storage.slots import Slots

_UNIQUE_VIOLATION = "23505"
_CONFLICTS = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
# Connection lost or refused, not let in, no such database, out of resources, lock timeout, cancelled or shutting
# down, I/O error.
_UNAVAILABLE = ("08", "28", "3D", "53", "55P03", "57", "58")
_LOST = ("08", "57P0")
"""When one connection is lost, the others that were open then are too: nobody else need find out."""
_CLOSE_S = 1.0
_STATEMENTS = 500
"""Statements a connection keeps prepared: more than there are."""
_COPIED = 100
"""So many rows are worth a `COPY`, which costs two messages to the server more than a prepared statement."""
_SNAPSHOT = "repeatable_read"


class PostgresConnection:
    """Implements `storage.engine.Connection`."""

    is_sqlite = False

    def __init__(self, raw: Any, sealing: Sealing) -> None:
        self._raw = raw
        self.sealing = sealing

    def foresee(self, statement: Sql) -> None:
        """See the protocol."""

    def foreseen(self, statement: Sql) -> None:
        """See the protocol."""

    async def prepare(self, statements: Iterable[Sql]) -> None:
        """See the protocol."""
        # Executed for no row at all: `prepare` of the driver would not keep them among those that `execute` uses. The
        # end of the transaction is what ends them for PostgreSQL.
        async with self._raw.transaction():
            for statement in statements:
                await self._raw.executemany(statement.postgres, ())

    async def fetch(self, statement: Sql, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """See the protocol."""
        if statement.values_decide:
            async with self._raw.transaction():
                await self._raw.execute("SET LOCAL plan_cache_mode = force_custom_plan")
                return await self._fetch(statement, parameters)
        return await self._fetch(statement, parameters)

    async def _fetch(self, statement: Sql, parameters: Mapping[str, Any]) -> Sequence[Any]:
        rows: Sequence[Any] = await self._raw.fetch(statement.postgres, *_values(statement, parameters))
        return rows

    async def fetch_last(
        self, statement: Sql, parameters: Mapping[str, Any], accept: Callable[[Sequence[Any]], bool]
    ) -> Sequence[Any]:
        """See the protocol. The commit is a round trip of its own all the same."""
        return await self.fetch(statement, parameters)

    async def execute(self, statement: Sql, parameters: Mapping[str, Any]) -> int:
        """See the protocol."""
        status: str = await self._raw.execute(statement.postgres, *_values(statement, parameters))
        count = status.rpartition(" ")[2]  # "UPDATE 3"
        return int(count) if count.isdecimal() else 0

    async def execute_many(self, statement: Sql, rows: Sequence[Mapping[str, Any]]) -> None:
        """See the protocol."""
        await self._raw.executemany(statement.postgres, [_values(statement, row) for row in rows])

    async def execute_rows(self, statement: Rows, rows: Sequence[Sequence[Any]]) -> None:
        """See the protocol."""
        if statement.table is not None and len(rows) >= _COPIED:
            # Rows are stored a page at a time, and their values encoded without a list of each column's.
            await self._raw.copy_records_to_table(statement.table, records=rows, columns=statement.columns)
        else:
            await self._raw.execute(statement.postgres, *zip(*rows, strict=True))


class PostgresEngine:
    """Implements `storage.engine.Engine`. The connection used last is used next: it has its statements prepared.

    Few are opened (`slots.py`), so that most statements find one that knows them.
    """

    is_sqlite = False
    errors = asyncpg.PostgresError

    def __init__(self, url: str, settings: EngineSettings) -> None:
        scheme, separator, rest = url.partition("://")
        self.url = scheme.partition("+")[0] + separator + rest
        self._settings = settings
        self._pool: Any = None
        self._slots = Slots(settings.pool_size)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """See the protocol."""
        async with self._connection() as raw, raw.transaction():
            yield PostgresConnection(raw, self._settings.sealing)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """See the protocol."""
        async with self._connection() as raw, raw.transaction(isolation=_SNAPSHOT, readonly=True):
            yield PostgresConnection(raw, self._settings.sealing)

    @asynccontextmanager
    async def read_committed(self) -> AsyncIterator[Connection]:
        """See the protocol."""
        async with self._connection() as raw:
            yield PostgresConnection(raw, self._settings.sealing)

    async def dispose(self) -> None:
        """See the protocol. Statements that are still under way after a second are cut off."""
        if self._pool is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            try:
                await self._slots.take(self._settings.pool_timeout_s)
            except TimeoutError:
                raise _no_connection() from None
            try:
                raw = await self._acquired()
                try:
                    self._slots.connected()
                    yield raw
                finally:
                    await self._pool.release(raw)
            finally:
                self._slots.give()
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "").startswith(_LOST):
                await self._pool.expire_connections()
            raise _port_error(error) from error
        except asyncpg.DataError:  # an argument of the wrong type: a fault of ours, whatever its base class
            raise
        # InternalClientError: the server has just said why it goes away, and nobody had asked anything.
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            await self._pool.expire_connections()
            raise StoreUnavailable(str(error)) from error

    async def _acquired(self) -> Any:
        if self._pool is None:
            self._pool = self._new_pool()
        try:
            # The pool needs no time to begin, since it opens connections when they are wanted.
            await self._pool
            return await self._pool.acquire(timeout=self._settings.pool_timeout_s)
        except TimeoutError:
            raise _no_connection() from None
        except OSError as error:
            raise StoreUnavailable(f"The database cannot be reached: {error}") from error

    def _new_pool(self) -> Any:
        settings = self._settings
        return asyncpg.create_pool(
            self.url,
            min_size=0,
            max_size=settings.pool_size,
            max_queries=2**31,
            statement_cache_size=_STATEMENTS,
            max_cached_statement_lifetime=0,  # for ever
            reset=_leave_as_it_is,
            server_settings={
                "application_name": "hromada",
                "statement_timeout": str(settings.statement_timeout_ms),
                "lock_timeout": str(settings.lock_timeout_ms),
                "idle_in_transaction_session_timeout": "60000",
                # JIT compilation costs tens of milliseconds per new plan and never pays for our short statements.
                "jit": "off",
                # One plan is right for all values of nearly every statement (but see `SqlByValues`). To plan the first
                # five executions, or each where `LIMIT` is a parameter, costs more than to execute them.
                "plan_cache_mode": "force_generic_plan",
            },
        )


async def _leave_as_it_is(_connection: object) -> None:
    """No statement of ours changes its session, and undoing nothing would cost a round trip each time."""


def _no_connection() -> StoreUnavailable:
    return StoreUnavailable("No connection to the database became free in time")


def _values(statement: Sql, parameters: Mapping[str, Any]) -> list[Any]:
    return [parameters[name] for name in statement.names]


def _port_error(error: Any) -> Exception:
    state = error.sqlstate or ""
    if state == _UNIQUE_VIOLATION:
        return UniqueViolation(str(error))
    if state in _CONFLICTS:
        return TransactionConflict(str(error))
    if state.startswith(_UNAVAILABLE):
        return StoreUnavailable(str(error))
    refused: Exception = error
    return refused


if TYPE_CHECKING:

    def _is_an_engine(engine: PostgresEngine) -> Engine:
        return engine
