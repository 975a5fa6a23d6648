"""The commit-ordered log: what a committed change looks like to everyone who follows it.

Every change that a client can ever see in `/sync` is an entry at one 64-bit position. Positions have no gaps in
commit order, so a reader at N can never miss N-1 (docs/adr/0003-one-commit-ordered-log.md).

An entry is one of the frozen dataclasses below (docs/adr/0007-typed-entries.md). Whoever treats entries differently
by kind matches `LogEntry` and ends with `assert_never`, so that the type checker names every place that has to learn
of a new kind. Whoever only has to know whom an entry concerns asks its `concern`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import Correction, StoredEvent
from homeserver.ports.receipts import ReceiptChanged

if TYPE_CHECKING:
    from homeserver.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class InRoom:
    """Everybody who is joined to a room."""

    room_id: str


@dataclass(frozen=True, slots=True)
class OfUser:
    """All devices of one user."""

    user_id: str


@dataclass(frozen=True, slots=True)
class OfDevices:
    """Some devices of some users, each (user id, device id)."""

    devices: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sharers:
    """The user, and everybody who shares a room with them."""

    user_id: str


Concern: TypeAlias = InRoom | OfUser | OfDevices | Sharers
"""Whom an entry may be told to."""


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event was added to a room. One of membership also concerns the user whom it names."""

    position: int
    stored: StoredEvent

    @property
    def room_id(self) -> str:
        """The event's room."""
        return self.stored.event.room_id

    @property
    def concern(self) -> Concern:
        """Those in the room."""
        return InRoom(self.stored.event.room_id)

    @property
    def subject(self) -> str | None:
        """The user whose membership the event is about."""
        event = self.stored.event
        return event.state_key if event.type == "m.room.member" else None

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 1024 + 3 * len(self.stored.event.canonical)


@dataclass(frozen=True, slots=True)
class StateEntry:
    """A room's current state changed by state resolution, without an event that says so.

    Whoever folds the state of a room out of the log applies it behind all events at lower positions.
    """

    position: int
    correction: Correction

    @property
    def room_id(self) -> str:
        """The room."""
        return self.correction.room_id

    @property
    def concern(self) -> Concern:
        """Those in the room; whose membership it changes besides."""
        return InRoom(self.correction.room_id)

    @property
    def subjects(self) -> dict[str, StoredEvent | None]:
        """The users whose membership changed, with the member event that holds now; None if there is none any more."""
        changes = self.correction.changes
        return {user_id: stored for (kind, user_id), stored in changes.items() if kind == "m.room.member"}

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 256 + 1024 * len(self.correction.changes)


@dataclass(frozen=True, slots=True)
class AccountDataEntry:
    """A user's account data was set, globally or for a room."""

    position: int
    data: AccountDataChanged

    @property
    def concern(self) -> Concern:
        """Its owner."""
        return OfUser(self.data.user_id)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 512 + len(self.data.content)


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """A user has read up to an event."""

    position: int
    receipt: ReceiptChanged

    @property
    def concern(self) -> Concern:
        """Those in the room; of a private receipt its owner."""
        receipt = self.receipt
        return OfUser(receipt.user_id) if receipt.is_private else InRoom(receipt.room_id)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 512


@dataclass(frozen=True, slots=True)
class ForgottenEntry:
    """A user forgot a room that they had left. Nobody is told; room lists follow it."""

    position: int
    user_id: str
    room_id: str

    @property
    def concern(self) -> Concern:
        """The user."""
        return OfUser(self.user_id)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 256


@dataclass(frozen=True, slots=True)
class SessionsEntry:
    """Sessions of a user have ended, or the account was locked. No client is told; each process looks again.

    `erased`: the account was erased, so that other people see its events differently from now on.
    """

    position: int
    user_id: str
    erased: bool = False

    @property
    def concern(self) -> Concern:
        """The user."""
        return OfUser(self.user_id)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 256


@dataclass(frozen=True, slots=True)
class DeviceListEntry:
    """The identity keys of a user, or the list of their devices, have changed.

    `reader` is the only one who is told of it, where what changed is a signature that nobody else sees.
    spec: client-server-api#tracking-the-device-list-for-a-user
    """

    position: int
    user_id: str
    reader: str | None = None

    @property
    def concern(self) -> Concern:
        """Everybody who may encrypt for the user."""
        return Sharers(self.user_id) if self.reader is None else OfUser(self.reader)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 256


@dataclass(frozen=True, slots=True)
class ToDeviceEntry:
    """A message was put into the queue of each of some devices, one request's: they share its position.

    spec: client-server-api#send-to-device-messaging
    """

    position: int
    devices: frozenset[tuple[str, str]]

    @property
    def users(self) -> set[str]:
        """Whose devices they are."""
        return {user_id for user_id, _ in self.devices}

    @property
    def concern(self) -> Concern:
        """The devices, and no others of their users'."""
        return OfDevices(self.devices)

    @property
    def size(self) -> int:
        """Estimated bytes in memory; the messages themselves stay in the database."""
        return 256 + 256 * len(self.devices)


@dataclass(frozen=True, slots=True)
class KeyCountsEntry:
    """Some devices have other one-time keys: claimed ones are gone, a fallback key was used, or new ones came."""

    position: int
    devices: frozenset[tuple[str, str]]

    @property
    def users(self) -> set[str]:
        """Whose devices they are."""
        return {user_id for user_id, _ in self.devices}

    @property
    def concern(self) -> Concern:
        """The devices, and no others of their users'."""
        return OfDevices(self.devices)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 256 + 256 * len(self.devices)


@dataclass(frozen=True, slots=True)
class PushersEntry:
    """A user has set or deleted a pusher. No client is told; whoever sends pushes looks again."""

    position: int
    user_id: str

    @property
    def concern(self) -> Concern:
        """The user."""
        return OfUser(self.user_id)

    @property
    def size(self) -> int:
        """Estimated bytes in memory."""
        return 256


LogEntry: TypeAlias = (
    EventEntry
    | StateEntry
    | AccountDataEntry
    | ReceiptEntry
    | ForgottenEntry
    | SessionsEntry
    | DeviceListEntry
    | ToDeviceEntry
    | KeyCountsEntry
    | PushersEntry
)
"""One committed change at its `position`."""


class Change(Protocol):
    """Something to commit: it says how many positions it needs, and how to write itself.

    The committer gives changes of many callers to one transaction, in their order. Both methods may be called again,
    in a new transaction, after one that failed: they must not build on the first call.
    """

    def prepare(self, tx: Transaction) -> Awaitable[int]:
        """Decide, and write what needs no position. Returns how many log positions `write` takes (0 or more).

        Raises MatrixError, before anything is written, to refuse this change and no other of the transaction.
        """
        ...

    def write(self, tx: Transaction, first: int) -> Awaitable[Sequence[LogEntry]]:
        """Write rows in `tx` at positions `first`, `first + 1`, …; return the entries in that order."""
        ...


class JointChange(Change):
    """A change that is written together with the others of its class in a transaction: in one statement for all."""

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        (entries,) = await self.write_all(tx, [(self, first)])
        return entries

    @classmethod
    @abstractmethod
    def write_all(cls, tx: Transaction, changes: Sequence[tuple[Self, int]]) -> Awaitable[Sequence[Sequence[LogEntry]]]:
        """As `write` for each of the changes with its first position, in their order."""
