"""The unit of work: `Database.write()` and `Database.read()` give a transaction with its repositories."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncConnection

from homeserver.ports.store import StoreBroken
from homeserver.storage.engine import WRITE_OPTION, Engines
from homeserver.storage.failures import translated
from homeserver.storage.ids import IdBlocks, TransactionIds
from homeserver.storage.repos.accounts import SqlDeviceRepo, SqlUserRepo
from homeserver.storage.repos.aliases import SqlAliasRepo
from homeserver.storage.repos.append import Appender
from homeserver.storage.repos.events import SqlEventRepo
from homeserver.storage.repos.log import SqlLogRepo
from homeserver.storage.repos.personal import SqlAccountDataRepo, SqlFilterRepo, SqlProfileRepo
from homeserver.storage.repos.receipts import SqlReceiptRepo
from homeserver.storage.repos.relations import SqlRelationRepo
from homeserver.storage.repos.rooms import SqlRoomRepo
from homeserver.storage.repos.sessions import SqlInteractiveRepo, SqlRegistrationTokenRepo, SqlSessionRepo
from homeserver.storage.repos.sync import SqlSyncRepo

if TYPE_CHECKING:
    from homeserver.ports.store import Store


class SqlTransaction:
    """One database transaction; implements `ports.store.Transaction`. Repositories are made when asked for."""

    def __init__(self, connection: AsyncConnection, server_name: str, blocks: IdBlocks) -> None:
        self._connection = connection
        self._server_name = server_name
        self.ids = TransactionIds(connection, blocks)

    @cached_property
    def _appender(self) -> Appender:
        return Appender(self._connection, self.ids, self._server_name)

    @cached_property
    def events(self) -> SqlEventRepo:
        return SqlEventRepo(self._connection, self._appender)

    @cached_property
    def rooms(self) -> SqlRoomRepo:
        return SqlRoomRepo(self._connection, self._appender)

    @cached_property
    def log(self) -> SqlLogRepo:
        return SqlLogRepo(self._connection)

    @cached_property
    def users(self) -> SqlUserRepo:
        return SqlUserRepo(self._connection)

    @cached_property
    def devices(self) -> SqlDeviceRepo:
        return SqlDeviceRepo(self._connection)

    @cached_property
    def sessions(self) -> SqlSessionRepo:
        return SqlSessionRepo(self._connection)

    @cached_property
    def interactive(self) -> SqlInteractiveRepo:
        return SqlInteractiveRepo(self._connection)

    @cached_property
    def registration_tokens(self) -> SqlRegistrationTokenRepo:
        return SqlRegistrationTokenRepo(self._connection)

    @cached_property
    def profiles(self) -> SqlProfileRepo:
        return SqlProfileRepo(self._connection)

    @cached_property
    def account_data(self) -> SqlAccountDataRepo:
        return SqlAccountDataRepo(self._connection)

    @cached_property
    def filters(self) -> SqlFilterRepo:
        return SqlFilterRepo(self._connection)

    @cached_property
    def relations(self) -> SqlRelationRepo:
        return SqlRelationRepo(self._connection)

    @cached_property
    def aliases(self) -> SqlAliasRepo:
        return SqlAliasRepo(self._connection)

    @cached_property
    def receipts(self) -> SqlReceiptRepo:
        return SqlReceiptRepo(self._connection)

    @cached_property
    def sync(self) -> SqlSyncRepo:
        return SqlSyncRepo(self._connection)


class Database:
    """Implements `ports.store.Store` on a pair of engines."""

    def __init__(self, engines: Engines, server_name: str) -> None:
        self.engines = engines
        self._server_name = server_name
        self._blocks = IdBlocks()
        self._failure: StoreBroken | None = None
        self._failed = asyncio.Event()

    async def run(self) -> None:
        """Wait, without an end, for the disk to fail. Raises StoreBroken then, and so ends the process."""
        await self._failed.wait()
        self._refuse_if_broken()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        """A read-write transaction (see the port)."""
        try:
            with translated():
                async with self.engines.writer.connect() as connection:
                    self._refuse_if_broken()
                    await connection.execution_options(**{WRITE_OPTION: True})
                    transaction = SqlTransaction(connection, self._server_name, self._blocks)
                    driver = (await connection.get_raw_connection()).driver_connection
                    try:
                        async with connection.begin():
                            yield transaction
                    except asyncio.CancelledError:
                        if self.engines.is_sqlite and driver is not None:
                            await asyncio.shield(_let_go(driver))
                        raise
                    transaction.ids.committed()
        except StoreBroken as error:
            self._failure = error
            self._failed.set()
            raise

    def _refuse_if_broken(self) -> None:
        if self._failure is not None:
            raise StoreBroken(str(self._failure))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        """A read-only transaction on one snapshot (see the port)."""
        with translated():
            async with self.engines.reader.connect() as connection:
                if not self.engines.is_sqlite:
                    await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin():
                    yield SqlTransaction(connection, self._server_name, self._blocks)


async def _let_go(driver: Any) -> None:
    """Close an interrupted SQLite connection for certain: the pool forgets it, and with it the lock it may hold."""
    with suppress(ValueError, sqlite3.Error):  # closed already
        await driver.close()


if TYPE_CHECKING:

    def _database_is_a_store(database: Database) -> Store:
        return database
