"""What one sync asks for, and the helpers of other services that answering it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeserver.core.filters import Filter
from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.sync.body import STATE_BEFORE, StateField
from homeserver.services.sync.positions import SyncToken


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """One request: who asks, from where on, and how."""

    user_id: str
    device_id: str | None
    filter: Filter
    since: SyncToken | None = None
    full_state: bool = False
    state_field: StateField = STATE_BEFORE
    ignored: frozenset[str] = field(default_factory=frozenset)
    echoes: dict[int, str] = field(default_factory=dict)  # event position → this device's transaction id

    @property
    def timeline_limit(self) -> int:
        """Events per room, bounded however much the client asks for."""
        return self.filter.room.timeline.limit_or(10, maximum=100)

    @property
    def lazy(self) -> bool:
        """Whether only the members a response needs are sent.  spec: client-server-api#lazy-loading-room-members"""
        return self.filter.room.state.lazy_load_members


class RoomReads(Protocol):
    """What sync asks of the rooms services."""

    async def visible(
        self, tx: Transaction, room_nid: int, user_id: str, events: Sequence[StoredEvent]
    ) -> list[StoredEvent]:
        """The events that the user may see.  spec: client-server-api#room-history-visibility"""
        ...

    async def members(self, rooms: Mapping[str, Collection[str]]) -> dict[str, list[StoredEvent]]:
        """Current member events of some users per room, from memory where possible."""
        ...

    async def stripped_state(self, room_id: str, own: str) -> list[dict[str, Any]]:
        """Stripped state for an invited or knocking user, their member event `own` (an event id) included.

        spec: client-server-api#stripped-state
        """
        ...

    async def events(self, event_ids: Collection[str]) -> Mapping[str, StoredEvent]:
        """Events by id, from memory where possible."""
        ...


def without_ignored(events: Iterable[StoredEvent], ignored: frozenset[str]) -> list[StoredEvent]:
    """Leave out messages of ignored users; their state events are still sent.

    spec: client-server-api#ignoring-users
    """
    if not ignored:
        return list(events)
    return [stored for stored in events if stored.event.is_state or stored.event.sender not in ignored]
