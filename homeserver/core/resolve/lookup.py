"""How resolution reads events, and the state it authorises them against.

spec: rooms/v2#definitions (iterative auth checks)
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, MutableMapping
from typing import Protocol

from homeserver.core.auth.rules import check
from homeserver.core.auth.select import auth_types_of
from homeserver.core.auth.state import CREATE, MappingState
from homeserver.core.errors import NotAllowed
from homeserver.core.event import Event, StateKey


class EventLookup(Protocol):
    """Events by id; a dict is one."""

    def __getitem__(self, event_id: str, /) -> Event:
        """The event. Raises KeyError if it is not at hand."""
        ...

    def __contains__(self, event_id: object, /) -> bool: ...


def create_id_of_v12(event: Event) -> str | None:
    """The id of the create event that the room id implies; None to v11.  spec: rooms/v12#event-format"""
    return "$" + event.room_id[1:] if event.version.auth.room_id_is_create_hash else None


def create_of_v12(event: Event, events: EventLookup) -> Event | None:
    """The create event that the room id implies; None to v11."""
    create_id = create_id_of_v12(event)
    return None if create_id is None else events[create_id]


def is_allowed(
    event: Event, state: Mapping[StateKey, str], events: EventLookup, substitutes: Iterable[Event] = ()
) -> bool:
    """Whether the rules allow `event` in `state`, where a substitute stands in for each key the state lacks."""
    view: dict[StateKey, Event] = {}
    wanted = {CREATE, *auth_types_of(event)}
    for substitute in substitutes:
        if substitute.is_state and substitute.key in wanted:
            view[substitute.key] = substitute
    create = create_of_v12(event, events)
    if create is not None:
        view[CREATE] = create
    for key in wanted:
        if key in state:
            view[key] = events[state[key]]
    try:
        check(event, MappingState(view))
    except NotAllowed:
        return False
    return True


def apply_allowed(
    ordered: Iterable[Event], state: MutableMapping[StateKey, str], events: EventLookup, rejected: Container[str]
) -> None:
    """The iterative auth checks: put each event into `state` if the rules allow it in what is there so far.

    State that the rules ask for and `state` lacks comes from the event's own auth events, unless they were rejected.
    """
    for event in ordered:
        if is_allowed(event, state, events, _accepted_auth_events(event, events, rejected)):
            state[event.key] = event.event_id


def _accepted_auth_events(event: Event, events: EventLookup, rejected: Container[str]) -> Iterator[Event]:
    return (events[auth_event] for auth_event in event.auth_events if auth_event not in rejected)
