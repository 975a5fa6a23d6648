"""What somebody wants to add to a room, before the writer has decided on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver.core.event import Event
from homeserver.core.versions import RoomVersion
from homeserver.ports.events import RoomAppend, Txn


class RoomView(Protocol):
    """The room as the writer sees it while it decides: committed state and what is decided before this draft."""

    @property
    def version(self) -> RoomVersion:
        """The room's version."""
        ...

    def get(self, event_type: str, state_key: str, /) -> Event | None:
        """The state event at (type, state_key)."""
        ...

    def membership(self, user_id: str) -> str | None:
        """The user's membership; None if they never had one."""
        ...


@dataclass(frozen=True, slots=True)
class Existing:
    """A decision: the room already is as the draft wants it, because of this event."""

    event_id: str


Decider = Callable[[RoomView], dict[str, Any] | Existing]
"""A pure function run under the room's queue: gives the content, says that nothing is to do, or raises MatrixError."""


Successor = Callable[[str], RoomAppend]
"""Gives the new room that takes the place of the draft's, by the id of its event; or raises MatrixError."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be. `decide`, if given, replaces `content` by what it returns on the room's latest state.

    What `successor` gives is committed with the event, or neither is.
    """

    sender: str
    type: str
    content: dict[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    txn: Txn | None = None
    origin_server_ts: int | None = None  # only application services and our own bots choose it
    decide: Decider | None = None
    successor: Successor | None = None
