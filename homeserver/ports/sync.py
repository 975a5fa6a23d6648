"""What sync reads from the store beyond rooms and events: windows of many rooms in one statement each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from homeserver.ports.events import StoredEvent

Bounds = tuple[int, int]
"""(low, high): events with low < order <= high"""


class SyncRepo(Protocol):
    """Reads for incremental syncs older than the in-memory tail, and for rooms a user has just entered."""

    async def own_memberships(self, user_id: str, low: int, high: int) -> list[StoredEvent]:
        """The user's own m.room.member events with `low < position <= high`, in order, of all rooms."""
        ...

    async def visibility_histories(self, room_nids: Collection[int], user_id: str) -> dict[int, list[StoredEvent]]:
        """Per room all history visibility events and the user's member events, in timeline order."""
        ...

    async def state_between(self, rooms: Mapping[int, Bounds]) -> dict[int, list[StoredEvent]]:
        """Per room the last state event of each (type, state_key) inside the bounds, in timeline order."""
        ...
