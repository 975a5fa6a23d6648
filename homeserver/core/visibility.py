"""History visibility: which events of a room a user may see.

Decides for one event from the room's state before it; the state after it follows from the event itself. Whether the
user may ask about the room at all is the caller's question.
spec: client-server-api#room-history-visibility
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.event import Event

HISTORY_VISIBILITY = ("m.room.history_visibility", "")
_KNOWN = ("world_readable", "shared", "invited", "joined")


@dataclass(frozen=True, slots=True)
class Before:
    """What counts of the room's state before an event."""

    visibility: str
    """As `visibility_in` reads it."""
    membership: str
    """Of the user who wants to see the event; `leave` if there is none."""


def visibility_in(history_visibility: Event | None) -> str:
    """The visibility that a room's m.room.history_visibility event sets.

    It is `shared` where that is missing or not understood.
    """
    return visibility_value(history_visibility.content if history_visibility is not None else {})


def visibility_value(content: Mapping[str, Any]) -> str:
    """As `visibility_in`, of the event's content."""
    value = content.get("history_visibility")
    return value if isinstance(value, str) and value in _KNOWN else "shared"


def may_see(event: Event, user_id: str, before: Before, *, joined_later: bool) -> bool:
    """Whether the user may see `event`.

    `joined_later` says whether the user's membership was `join` at any point after the event was sent.
    """
    # For m.room.history_visibility events themselves, and for the user's own m.room.member events, what holds before
    # or after the event may allow it.
    visibilities = {before.visibility}
    memberships = {before.membership}
    if event.state_key is not None and event.key == HISTORY_VISIBILITY:
        visibilities.add(visibility_in(event))
    elif event.state_key == user_id and event.membership is not None:
        memberships.add(event.membership)
    return allows(visibilities, memberships, joined_later=joined_later)


def allows(visibilities: Collection[str], memberships: Collection[str], *, joined_later: bool) -> bool:
    """The rules, for the values of which any may allow it."""
    return (
        # 1. If the history_visibility was set to world_readable, allow.
        "world_readable" in visibilities
        # 2. If the user's membership was join, allow.
        or "join" in memberships
        # 3. If history_visibility was set to shared, and the user joined the room at any point after the event was
        #    sent, allow.
        or ("shared" in visibilities and joined_later)
        # 4. If the user's membership was invite, and the history_visibility was set to invited, allow.
        or ("invite" in memberships and "invited" in visibilities)
        # 5. Otherwise, deny.
    )
