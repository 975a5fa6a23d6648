"""Read receipts as the store knows them.  spec: client-server-api#receipts"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeserver.ports.sync import Bounds


@dataclass(frozen=True, slots=True)
class ReceiptChanged:
    """The newest receipt of a user.

    `thread_id` is None for an unthreaded receipt, `main` or a thread root's event id otherwise. A receipt of type
    `m.read.private` is for its owner only.
    """

    room_id: str
    room_nid: int
    user_id: str
    type: str
    thread_id: str | None
    event_id: str
    ts: int

    @property
    def is_private(self) -> bool:
        return self.type == "m.read.private"


class ReceiptRepo(Protocol):
    """Receipts: one row per room, user, type and thread."""

    async def put(self, receipts: Sequence[tuple[ReceiptChanged, int]]) -> list[ReceiptChanged]:
        """Store receipts at log positions, over the users' older ones; returns what is stored now for each of them.

        One for a later event of the timeline stays, whoever comes last. One statement, unless one stays or several
        are of the same user, room, type and thread.
        """
        ...

    async def get(self, room_nid: int, user_id: str, type_: str, thread_id: str | None) -> str | None:
        """Event id of the stored receipt."""
        ...

    async def keep_newest(self, room_nid: int, user_id: str, count: int) -> None:
        """Forget all but the newest threaded receipts of the user in the room."""
        ...

    async def between(self, rooms: Mapping[int, Bounds], user_id: str) -> list[ReceiptChanged]:
        """Receipts of many rooms inside log bounds, private ones of others left out, in one statement."""
        ...
