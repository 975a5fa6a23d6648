"""What sync reads from the store beyond rooms and events: windows of many rooms in one statement each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from homeserver.core.event import StateKey
from homeserver.ports.events import StoredEvent

Bounds = tuple[int, int]
"""(low, high): events with low < order <= high"""


@dataclass(frozen=True, slots=True)
class ViewChange:
    """What one event decides about who may see what in its room."""

    order: int
    """Its place in the room's timeline."""
    snapshot: int
    """The room's state after it."""
    is_member: bool
    """Whether it sets the user's membership; else it sets the room's history visibility."""
    value: str
    erased: str | None = None
    """Instead of both: the user whose account was erased at this point. It is no event."""
    apart: bool = False
    """Not from this point on, but for the event at it alone, which stands aside."""


class SyncRepo(Protocol):
    """Reads for incremental syncs older than the in-memory tail, for rooms a user has just entered, and of what decides
    who may see what.
    """

    async def own_memberships(self, user_id: str, low: int, high: int) -> list[StoredEvent]:
        """The user's own m.room.member events with `low < position <= high`, in order, of all rooms."""
        ...

    async def other_memberships(
        self, room_nids: Collection[int], user_id: str, low: int, high: int
    ) -> list[StoredEvent]:
        """Member events of everybody but the user with `low < position <= high`, in order, in some rooms."""
        ...

    async def corrected_members(self, room_nids: Collection[int], low: int, high: int) -> list[tuple[str, int]]:
        """Whose membership of which of the rooms state resolution has set with `low < position <= high`."""
        ...

    async def visibility_histories(self, room_nids: Collection[int], user_id: str) -> dict[int, list[ViewChange]]:
        """Per room all history visibility events, the user's member events and whose accounts were erased when, in
        timeline order.

        The events themselves stay out of memory: there may be thousands, and one value of each is wanted.
        """
        ...

    async def settled(self, rooms: Mapping[int, Bounds]) -> dict[int, dict[StateKey, StoredEvent | None]]:
        """Per room the state that resolution has set inside the bounds, here log positions, and no later event.

        Only rooms that have such state; None: the room has none at the key any more.
        """
        ...

    async def state_between(self, rooms: Mapping[int, Bounds]) -> dict[int, list[StoredEvent]]:
        """Per room the last state event of each (type, state_key) inside the bounds, in timeline order."""
        ...
