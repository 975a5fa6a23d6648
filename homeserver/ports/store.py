"""The store: transactions with one repository per subject.

Each repository port stands in the ports module of its subject; a transaction offers them all.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from homeserver.ports.accounts import (
    AccountDataRepo,
    DeviceRepo,
    FilterRepo,
    InteractiveRepo,
    ProfileRepo,
    RegistrationTokenRepo,
    SessionRepo,
    UserRepo,
)
from homeserver.ports.addresses import AddressRepo
from homeserver.ports.administration import AdministrationRepo
from homeserver.ports.aliases import AliasRepo
from homeserver.ports.appservices import AppServiceRepo
from homeserver.ports.atrest import AtRestRepo
from homeserver.ports.backups import BackupRepo
from homeserver.ports.duties import DutyRepo
from homeserver.ports.e2e import KeyRepo, ToDeviceRepo
from homeserver.ports.events import EventMemory, EventRepo, LogRepo, RoomRepo
from homeserver.ports.identity import IdentityRepo
from homeserver.ports.media import MediaRepo
from homeserver.ports.people import PeopleRepo
from homeserver.ports.pushers import PusherRepo
from homeserver.ports.receipts import ReceiptRepo
from homeserver.ports.relations import RelationRepo
from homeserver.ports.reports import ReportRepo
from homeserver.ports.search import SearchRepo
from homeserver.ports.support import SupportRepo
from homeserver.ports.sync import SyncRepo
from homeserver.ports.unread import UnreadRepo


class Transaction(Protocol):
    """One database transaction; repositories are valid until it ends."""

    @property
    def events(self) -> EventRepo: ...
    @property
    def rooms(self) -> RoomRepo: ...
    @property
    def log(self) -> LogRepo: ...
    @property
    def users(self) -> UserRepo: ...
    @property
    def devices(self) -> DeviceRepo: ...
    @property
    def sessions(self) -> SessionRepo: ...
    @property
    def interactive(self) -> InteractiveRepo: ...
    @property
    def registration_tokens(self) -> RegistrationTokenRepo: ...
    @property
    def profiles(self) -> ProfileRepo: ...
    @property
    def account_data(self) -> AccountDataRepo: ...
    @property
    def filters(self) -> FilterRepo: ...
    @property
    def addresses(self) -> AddressRepo: ...
    @property
    def administration(self) -> AdministrationRepo: ...
    @property
    def aliases(self) -> AliasRepo: ...
    @property
    def receipts(self) -> ReceiptRepo: ...
    @property
    def media(self) -> MediaRepo: ...
    @property
    def people(self) -> PeopleRepo: ...
    @property
    def reports(self) -> ReportRepo: ...
    @property
    def search(self) -> SearchRepo: ...
    @property
    def support(self) -> SupportRepo: ...
    @property
    def sync(self) -> SyncRepo: ...
    @property
    def relations(self) -> RelationRepo: ...
    @property
    def identities(self) -> IdentityRepo: ...
    @property
    def keys(self) -> KeyRepo: ...
    @property
    def to_device(self) -> ToDeviceRepo: ...
    @property
    def unread(self) -> UnreadRepo: ...
    @property
    def appservices(self) -> AppServiceRepo: ...
    @property
    def backups(self) -> BackupRepo: ...
    @property
    def pushers(self) -> PusherRepo: ...
    @property
    def duties(self) -> DutyRepo: ...
    @property
    def at_rest(self) -> AtRestRepo: ...


class StoreUnavailable(Exception):
    """The database cannot be reached or gave up; nothing is known about an unfinished commit. Answer 503."""


class TransactionConflict(StoreUnavailable):
    """Another transaction was in the way (deadlock, serialization); nothing was written, so it may be tried again."""


class StoreBroken(StoreUnavailable):
    """The disk failed to keep what was written. What it holds is known only after a restart: nothing may go on."""


class UniqueViolation(Exception):
    """A unique constraint refused a row: somebody else was first."""


class Store(Protocol):
    """Opens transactions. Reads see one consistent snapshot; writes are durable when the block has ended."""

    def write(self) -> AbstractAsyncContextManager[Transaction]:
        """A read-write transaction, committed at the end of the block, rolled back if it raises.

        Raises StoreUnavailable, UniqueViolation.
        """
        ...

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """A read-only transaction on one snapshot."""
        ...

    def read_committed(self) -> AbstractAsyncContextManager[Transaction]:
        """Reads without a transaction around them: each statement sees the database as of its own moment.

        For a single statement, or for several whose rows never change once they are there. It saves the two round
        trips that begin and end a transaction.
        """
        ...

    def remember(self, memory: EventMemory) -> None:
        """From now on, answer reads of events from `memory` where it holds them, and fill it."""
        ...
