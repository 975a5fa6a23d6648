"""The sync response as data, and its bytes.

Sections are plain dataclasses that the computations fill; `encode` turns them into JSON, taking every event's
client form as the bytes rendered once for all recipients.
spec: client-server-api#get_matrixclientv3sync
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import StoredEvent
from homeserver.services.sync.positions import prev_batch

RenderEvent = Callable[[StoredEvent], bytes]
"""The client form of an event for the requesting device."""


@dataclass(slots=True)
class Timeline:
    """The newest events of a room; `limited` if some before them were left out."""

    events: list[StoredEvent] = field(default_factory=list)
    limited: bool = False
    before: int = 0  # order just behind which the events begin, for prev_batch when there are none


@dataclass(slots=True)
class RoomSection:
    """A joined or a left room."""

    timeline: Timeline = field(default_factory=Timeline)
    state: list[StoredEvent] = field(default_factory=list)
    account_data: list[AccountDataChanged] = field(default_factory=list)
    ephemeral: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.timeline.events or self.state or self.account_data or self.ephemeral or self.summary)


@dataclass(slots=True)
class SyncBody:
    """One sync response."""

    next_batch: str
    joined: dict[str, RoomSection] = field(default_factory=dict)
    left: dict[str, RoomSection] = field(default_factory=dict)
    invited: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # stripped state
    knocked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    account_data: list[AccountDataChanged] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing to tell: a long poll goes on waiting."""
        return not (self.joined or self.left or self.invited or self.knocked or self.account_data)


@dataclass(frozen=True, slots=True)
class StateField:
    """Under which name a room's state goes out: before the timeline (`state`) or after it."""

    name: str = "state"

    @property
    def is_after(self) -> bool:
        return self.name != "state"


STATE_BEFORE = StateField()
STATE_AFTER = StateField("state_after")
STATE_AFTER_UNSTABLE = StateField("org.matrix.msc4222.state_after")


def encode(body: SyncBody, render: RenderEvent, state_field: StateField = STATE_BEFORE) -> bytes:
    """The JSON of a response. Key counts are always there: clients break without them (matrix-org/synapse#10456)."""
    rooms: dict[str, Any] = {}
    if body.joined:
        rooms["join"] = {room_id: _joined(room, render, state_field) for room_id, room in body.joined.items()}
    if body.invited:
        rooms["invite"] = {room_id: {"invite_state": {"events": state}} for room_id, state in body.invited.items()}
    if body.knocked:
        rooms["knock"] = {room_id: {"knock_state": {"events": state}} for room_id, state in body.knocked.items()}
    if body.left:
        rooms["leave"] = {room_id: _left(room, render, state_field) for room_id, room in body.left.items()}
    response: dict[str, Any] = {
        "next_batch": body.next_batch,
        "device_one_time_keys_count": {"signed_curve25519": 0},
        "org.matrix.msc2732.device_unused_fallback_key_types": [],
        "device_unused_fallback_key_types": [],
    }
    if rooms:
        response["rooms"] = rooms
    if body.account_data:
        response["account_data"] = {"events": [_account_data(changed) for changed in body.account_data]}
    return orjson.dumps(response)


def _joined(room: RoomSection, render: RenderEvent, state_field: StateField) -> dict[str, Any]:
    section = _left(room, render, state_field)
    section["ephemeral"] = {"events": room.ephemeral}
    section["unread_notifications"] = {"highlight_count": 0, "notification_count": 0}
    section["summary"] = room.summary or {}
    return section


def _left(room: RoomSection, render: RenderEvent, state_field: StateField) -> dict[str, Any]:
    timeline = room.timeline
    first = timeline.events[0].order if timeline.events else None
    return {
        "timeline": {
            "events": [orjson.Fragment(render(stored)) for stored in timeline.events],
            "limited": timeline.limited,
            "prev_batch": prev_batch(first if first is not None else timeline.before + 1),
        },
        state_field.name: {"events": [orjson.Fragment(render(stored)) for stored in room.state]},
        "account_data": {"events": [_account_data(changed) for changed in room.account_data]},
    }


def _account_data(changed: AccountDataChanged) -> dict[str, Any]:
    return {"type": changed.type, "content": orjson.Fragment(changed.content)}
