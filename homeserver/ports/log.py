"""The commit-ordered log: what a committed change looks like to everyone who follows it.

Every change that a client can ever see in `/sync` is an entry at one 64-bit position. Positions have no gaps in
commit order, so a reader at N can never miss N-1 (docs/adr/0003-one-commit-ordered-log.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from homeserver.ports.store import Transaction


class EntryKind(StrEnum):
    """What an entry is about; the payload type follows from it."""

    EVENT = "event"  # StoredEvent
    ACCOUNT_DATA = "account_data"  # AccountDataChanged
    RECEIPT = "receipt"  # owned by services/personal/receipts
    TO_DEVICE = "to_device"
    DEVICE_LIST = "device_list"
    FORGOTTEN = "forgotten"  # the user forgot a room: (no payload)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One committed change. `room_id` or `user_id` say whom it can concern; `size` is its weight in bytes."""

    position: int
    kind: EntryKind
    room_id: str | None
    user_id: str | None
    payload: Any
    size: int = 256


class Change(Protocol):
    """Something to commit: it knows how many positions it needs and how to write itself.

    The committer gives changes of many callers to one transaction. `write` may be called again, in a new
    transaction, after one that failed: it must not keep anything from the first call.
    """

    @property
    def positions(self) -> int:
        """How many log positions this change takes (0 or more)."""
        ...

    def write(self, tx: Transaction, first: int) -> Awaitable[Sequence[LogEntry]]:
        """Write rows in `tx` at positions `first`, `first + 1`, …; return the entries in that order."""
        ...


class HeadMoved(Exception):
    """The room's head is no longer the one a batch was decided on; decide again on a fresh head."""
