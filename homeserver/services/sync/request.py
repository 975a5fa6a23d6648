"""What one sync asks for, and the helpers of other services that answering it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from homeserver.core.filters import Filter, RoomEventFilter
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import Membership, StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.rooms.filtered import ignores, select
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.visibility import History
from homeserver.services.sync.body import STATE_BEFORE, StateField
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.wishes import RequiredState, RoomWish

Event = TypeVar("Event", bound=StoredEvent)


@dataclass(frozen=True, slots=True)
class SyncLimits:
    """Bounds of what a request may ask for."""

    timeout_ms: int = 180_000
    timeline: int = 10  # events per room if the filter does not say
    max_timeline: int = 100
    look_back: int = 1_000  # events per room among which wanted ones are looked for


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
    session_id: str | None = None
    limits: SyncLimits = field(default_factory=SyncLimits)
    wishes: Mapping[str, RoomWish] = field(default_factory=dict)  # by room, where more or less is wanted than of others

    @property
    def device(self) -> tuple[str, str] | None:
        """The device that asks, if it is one."""
        return None if self.device_id is None else (self.user_id, self.device_id)

    @property
    def counts_threads(self) -> bool:
        """Whether what is unread is told by thread.  spec: client-server-api#receiving-notifications"""
        return self.filter.room.timeline.unread_thread_notifications

    @property
    def timeline_limit(self) -> int:
        """Events per room, bounded however much the client asks for."""
        limit = self.filter.room.timeline.limit
        return self.limits.timeline if limit is None else min(limit, self.limits.max_timeline)

    def timeline_limit_of(self, room_id: str) -> int:
        """Events of one room, bounded however much the client asks for."""
        wish = self.wishes.get(room_id) if self.wishes else None
        return self.timeline_limit if wish is None else min(wish.timeline_limit, self.limits.max_timeline)

    def required_of(self, room_id: str) -> RequiredState | None:
        """The state that is wanted of one room; None: what the filter lets pass."""
        wish = self.wishes.get(room_id) if self.wishes else None
        return None if wish is None else wish.state

    def is_lazy_in(self, room_id: str) -> bool:
        """Whether only the members that a response needs are sent of the room."""
        required = self.required_of(room_id)
        return self.lazy if required is None else required.lazy

    def wanted_state(self, room_id: str, events: Iterable[Event]) -> list[Event]:
        """Those of a room's state events that are wanted."""
        required = self.required_of(room_id)
        passed = select(self.filter.room.state, events)
        return passed if required is None else required.select(passed)

    @property
    def wants_all(self) -> bool:
        """Whether every event of a timeline is wanted, so that nobody need look further back for others."""
        return self.filter.room.timeline.is_open and not self.ignored

    @property
    def lazy(self) -> bool:
        """Whether only the members a response needs are sent.  spec: client-server-api#lazy-loading-room-members"""
        return self.filter.room.state.lazy_load_members


def wants_account_data(event_filter: RoomEventFilter, item: AccountDataChanged) -> bool:
    """Whether the filter lets per-room account data pass. It has no sender, so `senders` does not ask."""
    return (
        item.room_id is not None
        and event_filter.matches_room(item.room_id)
        and event_filter.events.matches(item.type, None)
    )


class RoomReads(Protocol):
    """What sync asks of the rooms services."""

    async def histories(self, tx: Transaction | None, user_id: str, room_nids: Collection[int]) -> dict[int, History]:
        """What the user may see in each of the rooms, from memory where possible."""
        ...

    def known_histories(self, user_id: str, room_nids: Collection[int]) -> dict[int, History] | None:
        """As `histories`, if memory has them all."""
        ...

    async def members(self, rooms: Mapping[str, Collection[str]]) -> dict[str, list[StoredEvent]]:
        """Current member events of some users per room, from memory where possible."""
        ...

    async def is_named(self, room_id: str) -> bool:
        """Whether the room has a name or a canonical alias now."""
        ...

    async def stripped_state(self, membership: Membership) -> list[dict[str, Any]]:
        """Stripped state for an invited or knocking user, their member event included.

        With an invitation comes who invites: clients show their name and avatar.
        spec: client-server-api#stripped-state
        """
        ...

    async def relations(
        self, tx: Transaction, recipient: Recipient, events: Sequence[StoredEvent]
    ) -> dict[str, dict[str, Any]]:
        """`m.relations` by event id of those events that have any, as far as the user may see them.

        spec: client-server-api#aggregations-of-child-events
        """
        ...

    async def blocks_invites(self, user_id: str) -> bool:
        """Whether the user wants to hear of no invites.  spec: client-server-api#minvite_permission_config"""
        ...

    async def events(self, event_ids: Collection[str]) -> Mapping[str, StoredEvent]:
        """Events by id, from memory where possible."""
        ...


def without_ignored(events: Iterable[Event], ignored: frozenset[str]) -> list[Event]:
    """Leave out messages of ignored users; their state events are still sent.

    spec: client-server-api#ignoring-users
    """
    if not ignored:
        return list(events)
    return [stored for stored in events if not ignores(ignored, stored)]
