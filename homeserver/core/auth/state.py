"""The state an event is authorised against, and the questions every rule asks of it.

A view yields events, not ids: where they come from (a cached head, a snapshot, the event's own auth events) is the
caller's. In v12 the create event is no auth event, so whoever builds a view adds it.
spec: server-server-api#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from homeserver.core.event import Event, StateKey

CREATE: StateKey = ("m.room.create", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")


class StateView(Protocol):
    """Read access to the state of a room at some point."""

    def get(self, event_type: str, state_key: str, /) -> Event | None:
        """The event that holds this piece of state, or None."""
        ...


class MappingState:
    """A StateView over a mapping that is already there."""

    __slots__ = ("_events",)

    def __init__(self, events: Mapping[StateKey, Event]) -> None:
        """`events` is not copied."""
        self._events = events

    @classmethod
    def of(cls, events: Iterable[Event]) -> MappingState:
        """The state made of these state events; of two with one key, the later."""
        return cls({event.key: event for event in events})

    def get(self, event_type: str, state_key: str, /) -> Event | None:
        """The event that holds this piece of state, or None."""
        return self._events.get((event_type, state_key))


def content_of(state: StateView, key: StateKey) -> Mapping[str, Any]:
    """The content of a piece of state, empty if the room has none."""
    event = state.get(*key)
    return event.content if event is not None else {}


def membership_of(state: StateView, user_id: str) -> str:
    """The membership of a user; `leave` for one who never was here."""
    event = state.get("m.room.member", user_id)
    return (event.membership if event is not None else None) or "leave"


def join_rule_of(state: StateView) -> str:
    """The join rule of the room, `invite` by default.  spec: client-server-api#mroomjoin_rules"""
    rule = content_of(state, JOIN_RULES).get("join_rule", "invite")
    return rule if isinstance(rule, str) else ""
