"""What a request wants of one room, where that is not what its filter says of all of them.

`/sync` asks of every room alike and has no wishes; sliding sync asks by list and by room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from homeserver.core.event import StateKey
from homeserver.ports.events import StoredEvent

Event = TypeVar("Event", bound=StoredEvent)

_MEMBER = "m.room.member"


@dataclass(frozen=True, slots=True)
class RequiredState:
    """The wanted state by type and key, where None stands for every one.

    `lazy`: of the members, those whom the timeline and the summary name, beside those wanted by their key.
    """

    keys: frozenset[tuple[str | None, str | None]]
    lazy: bool = False

    def select(self, events: Iterable[Event]) -> list[Event]:
        """Those of the state events that are wanted. Lazy members are chosen by whoever reads them."""
        return [stored for stored in events if self._wants(stored.event.key)]

    def _wants(self, key: StateKey) -> bool:
        event_type, state_key = key
        if self.lazy and event_type == _MEMBER:
            return True
        wanted = self.keys
        return key in wanted or (event_type, None) in wanted or (None, state_key) in wanted or (None, None) in wanted

    @property
    def types(self) -> frozenset[str] | None:
        """The types to be read, but for members; None: all."""
        names = {event_type for event_type, _ in self.keys}
        return None if None in names else frozenset(name for name in names if name not in (None, _MEMBER))

    @property
    def members(self) -> frozenset[str] | None:
        """The members to be read beside those that are loaded lazily; None: all."""
        if self.lazy:
            return frozenset(key for event_type, key in self.keys if event_type == _MEMBER and key is not None)
        if (_MEMBER, None) in self.keys or (None, None) in self.keys:
            return None
        return frozenset(key for event_type, key in self.keys if event_type in (_MEMBER, None) and key is not None)


@dataclass(frozen=True, slots=True)
class RoomWish:
    """What is wanted of one room: at most so many events, bounded by the limits, and this of its state (None: all)."""

    timeline_limit: int
    state: RequiredState | None = None
