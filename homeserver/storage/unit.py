"""The unit of work: `Database.write()` and `Database.read()` give a transaction with its repositories."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property

from homeserver import faults
from homeserver.ports.events import EventMemory
from homeserver.ports.store import Store, StoreBroken, StoreUnavailable
from homeserver.storage.dialect import Connection
from homeserver.storage.engine import Engine
from homeserver.storage.ids import IdBlocks, TransactionIds
from homeserver.storage.repos.accounts import SqlDeviceRepo, SqlUserRepo
from homeserver.storage.repos.addresses import SqlAddressRepo
from homeserver.storage.repos.administration import SqlAdministrationRepo
from homeserver.storage.repos.aliases import SqlAliasRepo
from homeserver.storage.repos.append import Appender
from homeserver.storage.repos.appservices import SqlAppServiceRepo
from homeserver.storage.repos.backups import SqlBackupRepo
from homeserver.storage.repos.duties import SqlDutyRepo
from homeserver.storage.repos.events import SqlEventRepo
from homeserver.storage.repos.identity import SqlIdentityRepo
from homeserver.storage.repos.keys import SqlKeyRepo
from homeserver.storage.repos.log import POSITION, SqlLogRepo
from homeserver.storage.repos.media import SqlMediaRepo
from homeserver.storage.repos.people import SqlPeopleRepo
from homeserver.storage.repos.personal import SqlAccountDataRepo, SqlFilterRepo, SqlProfileRepo
from homeserver.storage.repos.pushers import SqlPusherRepo
from homeserver.storage.repos.receipts import SqlReceiptRepo
from homeserver.storage.repos.relations import SqlRelationRepo
from homeserver.storage.repos.reports import SqlReportRepo
from homeserver.storage.repos.rooms import SqlRoomRepo
from homeserver.storage.repos.rows import EventReader, NoMemory
from homeserver.storage.repos.sealing import SqlAtRestRepo
from homeserver.storage.repos.search import SqlSearchRepo
from homeserver.storage.repos.sessions import SqlInteractiveRepo, SqlRegistrationTokenRepo, SqlSessionRepo
from homeserver.storage.repos.support import SqlSupportRepo
from homeserver.storage.repos.sync import SqlSyncRepo
from homeserver.storage.repos.to_device import SqlToDeviceRepo
from homeserver.storage.repos.unread import SqlUnreadRepo


class SqlTransaction:
    """One database transaction; implements `ports.store.Transaction`. Repositories are made when asked for."""

    def __init__(
        self, connection: Connection, server_name: str, blocks: IdBlocks, memory: EventMemory, *, searchable: bool
    ) -> None:
        self._connection = connection
        self._searchable = searchable
        self._server_name = server_name
        self._reader = EventReader(connection, memory)
        self.ids = TransactionIds(connection, blocks)

    @cached_property
    def _appender(self) -> Appender:
        return Appender(self._connection, self.ids, self._server_name, self._reader, searchable=self._searchable)

    @cached_property
    def events(self) -> SqlEventRepo:
        return SqlEventRepo(self._connection, self._appender, self._reader)

    @cached_property
    def rooms(self) -> SqlRoomRepo:
        return SqlRoomRepo(self._connection, self._appender, self._reader)

    @cached_property
    def log(self) -> SqlLogRepo:
        return SqlLogRepo(self._connection, self._reader)

    @cached_property
    def users(self) -> SqlUserRepo:
        return SqlUserRepo(self._connection)

    @cached_property
    def devices(self) -> SqlDeviceRepo:
        return SqlDeviceRepo(self._connection, self.ids)

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
        return SqlRelationRepo(self._connection, self._reader)

    @cached_property
    def addresses(self) -> SqlAddressRepo:
        return SqlAddressRepo(self._connection)

    @cached_property
    def administration(self) -> SqlAdministrationRepo:
        return SqlAdministrationRepo(self._connection)

    @cached_property
    def aliases(self) -> SqlAliasRepo:
        return SqlAliasRepo(self._connection)

    @cached_property
    def receipts(self) -> SqlReceiptRepo:
        return SqlReceiptRepo(self._connection)

    @cached_property
    def media(self) -> SqlMediaRepo:
        return SqlMediaRepo(self._connection)

    @cached_property
    def people(self) -> SqlPeopleRepo:
        return SqlPeopleRepo(self._connection)

    @cached_property
    def reports(self) -> SqlReportRepo:
        return SqlReportRepo(self._connection)

    @cached_property
    def identities(self) -> SqlIdentityRepo:
        return SqlIdentityRepo(self._connection)

    @cached_property
    def duties(self) -> SqlDutyRepo:
        return SqlDutyRepo(self._connection)

    @cached_property
    def keys(self) -> SqlKeyRepo:
        return SqlKeyRepo(self._connection, self.ids)

    @cached_property
    def pushers(self) -> SqlPusherRepo:
        return SqlPusherRepo(self._connection)

    @cached_property
    def appservices(self) -> SqlAppServiceRepo:
        return SqlAppServiceRepo(self._connection)

    @cached_property
    def backups(self) -> SqlBackupRepo:
        return SqlBackupRepo(self._connection)

    @cached_property
    def to_device(self) -> SqlToDeviceRepo:
        return SqlToDeviceRepo(self._connection)

    @cached_property
    def unread(self) -> SqlUnreadRepo:
        return SqlUnreadRepo(self._connection)

    @cached_property
    def search(self) -> SqlSearchRepo:
        return SqlSearchRepo(self._connection, self._reader)

    @cached_property
    def support(self) -> SqlSupportRepo:
        return SqlSupportRepo(self._connection)

    @cached_property
    def at_rest(self) -> SqlAtRestRepo:
        return SqlAtRestRepo(self._connection)

    @cached_property
    def sync(self) -> SqlSyncRepo:
        return SqlSyncRepo(self._connection, self._reader)


class Database(Store):
    """Implements `ports.store.Store` on an engine."""

    def __init__(self, engine: Engine, server_name: str, *, searchable: bool = True) -> None:
        """`searchable`: keep the index of words that `POST /search` asks."""
        self.engine = engine
        self._searchable = searchable
        self._server_name = server_name
        self._blocks = IdBlocks()
        self._memory: EventMemory = NoMemory()
        self._failure: StoreBroken | None = None
        self._failed = asyncio.Event()

    def remember(self, memory: EventMemory) -> None:
        self._memory = memory

    async def run(self) -> None:
        """Wait, without an end, for the disk to fail. Raises StoreBroken then, and so ends the process."""
        await self._failed.wait()
        self._refuse_if_broken()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        """A read-write transaction (see the port)."""
        try:
            with _lost_is_unavailable():
                if faults.plan is not None:
                    await faults.plan.reach("store.write.begin")
                async with self.engine.write() as connection:
                    self._refuse_if_broken()
                    transaction = self._transaction(connection, NoMemory())
                    connection.foresee(POSITION)
                    yield transaction
                    if faults.plan is not None:
                        await faults.plan.reach("store.write.before_commit")
                transaction.ids.committed()
                if faults.plan is not None:
                    await faults.plan.reach("store.write.committed")
        except StoreBroken as error:
            self._failure = error
            self._failed.set()
            raise

    def _transaction(self, connection: Connection, memory: EventMemory) -> SqlTransaction:
        return SqlTransaction(connection, self._server_name, self._blocks, memory, searchable=self._searchable)

    def _refuse_if_broken(self) -> None:
        if self._failure is not None:
            raise StoreBroken(str(self._failure))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlTransaction]:
        """A read-only transaction on one snapshot (see the port)."""
        with _lost_is_unavailable():
            if faults.plan is not None:
                await faults.plan.reach("store.read.begin")
            async with self.engine.read() as connection:
                yield self._transaction(connection, self._memory)

    @asynccontextmanager
    async def read_committed(self) -> AsyncIterator[SqlTransaction]:
        """Reads without a transaction (see the port)."""
        with _lost_is_unavailable():
            if faults.plan is not None:
                await faults.plan.reach("store.read_committed.begin")
            async with self.engine.read_committed() as connection:
                yield self._transaction(connection, self._memory)


@contextmanager
def _lost_is_unavailable() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise StoreUnavailable(str(error)) from error
