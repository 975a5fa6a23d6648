"""Room event filters applied to stored events.  spec: client-server-api#filtering"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from homeserver.core.filters import RoomEventFilter
from homeserver.ports.events import StoredEvent

Event = TypeVar("Event", bound=StoredEvent)
"""What may be seen may still be seen when some of it was left out."""


def passes(event_filter: RoomEventFilter, stored: StoredEvent) -> bool:
    """Whether the filter lets an event pass."""
    event = stored.event
    # Content is parsed only for filters that ask about it.
    has_url = event_filter.contains_url is not None and isinstance(event.content.get("url"), str)
    return event_filter.matches(event.type, event.sender, event.room_id, has_url)


def lets_all_pass(event_filter: RoomEventFilter) -> bool:
    """Whether the filter asks nothing of an event."""
    return event_filter.is_open and event_filter.rooms is None and not event_filter.not_rooms


def select(event_filter: RoomEventFilter, events: Iterable[Event]) -> list[Event]:
    """The events that the filter lets pass."""
    if lets_all_pass(event_filter):
        return list(events)
    return [stored for stored in events if passes(event_filter, stored)]


def ignores(ignored: frozenset[str], stored: StoredEvent) -> bool:
    """Whether the event is one of those that a reader who ignores these users does not get; state is still sent.

    spec: client-server-api#ignoring-users
    """
    return bool(ignored) and not stored.event.is_state and stored.event.sender in ignored
