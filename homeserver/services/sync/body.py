"""The sync response as data, and its bytes.

Sections are plain dataclasses that the computations fill; `template` turns them into JSON, taking every event's
client form as the bytes rendered once for all recipients.
spec: client-server-api#get_matrixclientv3sync
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.core.canonical import trimmed
from homeserver.ports.accounts import AccountDataChanged
from homeserver.services.e2e.counts import NO_KEYS
from homeserver.services.e2e.devicelists import NOTHING, DeviceListChanges
from homeserver.services.push.unread import RoomUnread
from homeserver.services.rooms.visibility import History, Visible, has_quotes
from homeserver.services.sync.holes import Template
from homeserver.services.sync.positions import prev_batch
from homeserver.services.sync.shared import Forms, SharedKey, SharedSections, finished

RenderEvents = Callable[[Sequence[Visible]], Forms]
"""The client forms of some events of a room, in timeline order, for the requesting device."""


@dataclass(slots=True)
class Timeline:
    """The newest events of a room; `limited` if some before them were left out."""

    events: list[Visible] = field(default_factory=list)
    limited: bool = False
    before: int = 0  # order just behind which the events begin, for prev_batch when there are none
    read_from: int | None = None  # order of the oldest event looked at, if the search for wanted ones ended there


@dataclass(slots=True)
class RoomSection:
    """A joined or a left room."""

    timeline: Timeline = field(default_factory=Timeline)
    state: list[Visible] = field(default_factory=list)
    account_data: list[AccountDataChanged] = field(default_factory=list)
    ephemeral: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] | None = None
    counts_moved: bool = False  # what is unread may be another number than the client knows

    @property
    def is_empty(self) -> bool:
        return not (
            self.timeline.events
            or self.timeline.read_from is not None  # what is wanted may stand further back
            or self.state
            or self.account_data
            or self.ephemeral
            or self.summary
            or self.counts_moved
        )


@dataclass(slots=True)
class SyncBody:
    """One sync response."""

    next_batch: str
    joined: dict[str, RoomSection] = field(default_factory=dict)
    left: dict[str, RoomSection] = field(default_factory=dict)
    invited: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # stripped state
    knocked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    account_data: list[AccountDataChanged] = field(default_factory=list)
    relations: dict[str, dict[str, Any]] = field(default_factory=dict)  # `m.relations` by event id
    to_device: list[bytes] = field(default_factory=list)  # events
    device_lists: DeviceListChanges = NOTHING
    key_counts: bytes = NO_KEYS  # members of the response
    counts_changed: bool = False  # an idle client must hear of them
    unread: dict[str, RoomUnread] = field(default_factory=dict)  # by joined room
    with_threads: bool = False  # whether unread counts are told by thread
    histories: dict[int, History] = field(default_factory=dict)  # of rooms whose events quote others, by room_nid

    def quoting(self) -> set[int]:
        """Rooms whose events quote others, of which not every reader may see all, and whose history is not here yet."""
        return {
            stored.room_nid
            for section in (*self.joined.values(), *self.left.values())
            for events in (section.timeline.events, section.state)
            if events and events[0].room_nid not in self.histories
            for stored in events
            if has_quotes(stored)
        }

    @property
    def is_empty(self) -> bool:
        """Nothing to tell: a long poll goes on waiting."""
        return not (
            self.joined
            or self.left
            or self.invited
            or self.knocked
            or self.account_data
            or self.to_device
            or self.device_lists
            or self.counts_changed
        )


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


def template(
    body: SyncBody,
    render: RenderEvents,
    render_state: RenderEvents,
    state_field: StateField = STATE_BEFORE,
    shared: SharedSections | None = None,
) -> Template:
    """The JSON of a response, but for what is told to one user or device only."""
    renderers = render, render_state
    shared = shared if shared is not None else SharedSections()
    rooms: dict[str, Any] = {}
    if body.invited:
        rooms["invite"] = {room_id: {"invite_state": {"events": state}} for room_id, state in body.invited.items()}
    if body.knocked:
        rooms["knock"] = {room_id: {"knock_state": {"events": state}} for room_id, state in body.knocked.items()}
    if body.left:
        rooms["leave"] = {
            room_id: orjson.Fragment(_section(room, renderers, state_field, shared) + _left_part(room))
            for room_id, room in body.left.items()
        }
    response: dict[str, Any] = {}
    if rooms and not body.joined:
        response["rooms"] = rooms
    if body.account_data:
        response["account_data"] = {"events": [_account_data(changed) for changed in body.account_data]}
    if body.to_device:
        response["to_device"] = {"events": _fragments(body.to_device)}
    if body.device_lists:
        response["device_lists"] = {"changed": body.device_lists.changed, "left": body.device_lists.left}
    rest = orjson.dumps(response)[1:]
    if response:
        rest = b"," + rest
    head = b'{"next_batch":' + orjson.dumps(body.next_batch) + b","
    if not body.joined:
        return Template((head, trimmed(rest)), (), body.with_threads)
    pieces = [head]
    piece = b',"rooms":{"join":{'
    for room_id, room in body.joined.items():
        section = _section(room, renderers, state_field, shared) + _joined_part(room)
        pieces.append(b"".join((piece, orjson.dumps(room_id), b":", section)))
        piece = b',"summary":' + orjson.dumps(room.summary or {}) + b"},"
    others = b"," + orjson.dumps(rooms)[1:] if rooms else b"}"
    pieces.append(b"".join((piece[:-1], b"}", others, rest)))
    return Template(tuple(pieces), tuple(body.joined), body.with_threads)


def _section(
    room: RoomSection, renderers: tuple[RenderEvents, RenderEvents], state_field: StateField, shared: SharedSections
) -> bytes:
    """A room's section up to where recipients differ; one of the `_part`s below completes it."""
    timeline = room.timeline
    render, render_state = renderers
    first = timeline.read_from
    if first is None and timeline.events:
        first = timeline.events[0].order
    key = (
        render(timeline.events),
        render_state(room.state),
        timeline.limited,
        prev_batch(first if first is not None else timeline.before + 1),
        state_field.name,
    )
    return shared.get(key, _shared_part)


def _shared_part(key: SharedKey) -> bytes:
    events, state, limited, before, state_name = key
    part = {
        "timeline": {"events": _fragments(finished(events)), "limited": limited, "prev_batch": before},
        state_name: {"events": _fragments(finished(state))},
    }
    return orjson.dumps(part)[:-1]


def _joined_part(room: RoomSection) -> bytes:
    """Up to where the unread counts go; the summary stands behind them."""
    if not (room.account_data or room.ephemeral):
        return _PLAIN
    part = {
        "account_data": {"events": [_account_data(changed) for changed in room.account_data]},
        "ephemeral": {"events": room.ephemeral},
    }
    return b"," + orjson.dumps(part)[1:-1] + b","


def _left_part(room: RoomSection) -> bytes:
    part = {"account_data": {"events": [_account_data(changed) for changed in room.account_data]}}
    return b"," + orjson.dumps(part)[1:]


_PLAIN = b',"account_data":{"events":[]},"ephemeral":{"events":[]},'


def _fragments(events: Iterable[bytes]) -> list[orjson.Fragment]:
    return [orjson.Fragment(event) for event in events]


def _account_data(changed: AccountDataChanged) -> dict[str, Any]:
    return {"type": changed.type, "content": orjson.Fragment(changed.content)}
