"""Updates that many get alike: recognised without looking at each recipient's affairs, made once, handed to all.

A stretch of the log, (low, high], is *plain* when all it holds for a recipient follows from which of its rooms they
are in: messages, state that changes nobody's membership or summary, public receipts, typing. Two users whose requests
have the same form (`audience`) and who are in the same of its rooms then get the same bytes. Whoever has more coming,
or something else, is answered one by one (`service.respond`); the two ways must agree, which the tests of sync check
after every action.

Whatever makes responses differ between two users or devices belongs into one of three places: into `audience`, into
`Stretch.personal`, or it makes a stretch not plain.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from homeserver.ports.events import EventFlags, StoredEvent
from homeserver.ports.log import (
    AccountDataEntry,
    DeviceListEntry,
    EventEntry,
    ForgottenEntry,
    KeyCountsEntry,
    LogEntry,
    PushersEntry,
    ReceiptEntry,
    SessionsEntry,
    StateEntry,
    ToDeviceEntry,
)
from homeserver.services.push.unread import RoomUnread
from homeserver.services.rooms.visibility import has_quotes
from homeserver.services.sync.holes import Template
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.request import SyncRequest

Audience = tuple[str, frozenset[str], str, int]
"""The form of a request: its filter, ignored users, name of the state's field, and events per room."""

UpdateKey = tuple[Audience, tuple[str, ...], tuple[tuple[str, ...], ...]]
"""For whom, the rooms of the stretch they are joined to, and what they see of what its events quote."""

MAX_ENTRIES = 256
"""Longer stretches are for those who come back after a while, and hardly ever two at the same point."""

_MAX_STRETCHES = 32
_MAX_UPDATES = 64  # in a stretch, and their bytes
_MAX_BYTES = 64 * 1024
_PERSONAL_STATE = {"m.room.member", "m.room.name", "m.room.canonical_alias"}


@dataclass(frozen=True, slots=True)
class Update:
    """What a recipient is told: a response but for what is their own, None if there is nothing; and the position that
    it leads to.
    """

    template: Template | None
    token: SyncToken


@dataclass(frozen=True, slots=True)
class Delivery:
    """An update as one recipient gets it."""

    update: Update
    key_counts: bytes
    unread: Mapping[str, RoomUnread]

    @property
    def json(self) -> bytes:
        """The JSON of a response, empty if there is nothing to tell."""
        template = self.update.template
        return b"" if template is None else template.filled(self.key_counts, self.unread)

    @property
    def token(self) -> SyncToken:
        """The position it leads to."""
        return self.update.token


@dataclass(slots=True)
class Stretch:
    """A plain part of the log with what its updates have in common."""

    entries: list[LogEntry]
    rooms: tuple[str, ...]  # with something for those who are joined to them
    personal: frozenset[str]  # users who must be answered one by one
    senders: frozenset[tuple[str, str]]  # (room id, user id) of events, for those who load members lazily
    quoting: tuple[StoredEvent, ...] = ()  # the events that quote others
    updates: dict[UpdateKey, Update] = field(default_factory=dict)

    def keep(self, key: UpdateKey, update: Update) -> None:
        """Remember an update for its other recipients, unless it would weigh."""
        if (update.template is None or update.template.size <= _MAX_BYTES) and len(self.updates) < _MAX_UPDATES:
            self.updates[key] = update


StretchKey = tuple[int, int, int, int]
"""Low and high position; serial of typing before and after."""


def audience(request: SyncRequest) -> Audience:
    """Requests with equal audiences ask for the same; to be made once for a stream, not for each update."""
    # As one interned text, a filter is compared by looking whether it is the same object.
    form = sys.intern(repr(request.filter))
    return form, request.ignored, request.state_field.name, request.timeline_limit


class Stretches:
    """The newest stretches, by where they begin and end. None stands for one that is not plain."""

    def __init__(self) -> None:
        self._known: OrderedDict[StretchKey, Stretch | None] = OrderedDict()

    def get(
        self, key: StretchKey, read: Callable[[], list[LogEntry] | None], typing: Callable[[], Iterable[str] | None]
    ) -> Stretch | None:
        """The stretch at `key`, from the log's entries and the rooms whose typing changed if it is not known."""
        try:
            return self._known[key]
        except KeyError:
            pass
        entries = read() if key[1] - key[0] <= MAX_ENTRIES else None
        stretch = None if entries is None else _stretch(entries, typing())
        self._known[key] = stretch
        if len(self._known) > _MAX_STRETCHES:
            self._known.popitem(last=False)
        return stretch


def _stretch(entries: list[LogEntry], typing: Iterable[str] | None) -> Stretch | None:
    if typing is None:
        return None  # what has changed depends on whom one asks for
    rooms: dict[str, None] = {}
    personal: set[str] = set()
    senders: set[tuple[str, str]] = set()
    for entry in entries:
        match entry:
            case EventEntry(_, stored):
                event = stored.event
                is_apart = stored.flags and stored.flags & EventFlags.APART  # not everybody may see it
                if event.redacts is not None or is_apart or (event.is_state and event.type in _PERSONAL_STATE):
                    return None
                rooms[event.room_id] = None
                personal.add(event.sender)  # their devices get it with its transaction id
                senders.add((event.room_id, event.sender))
            case ReceiptEntry(_, receipt):
                personal.add(receipt.user_id)  # for them, other events are unread from now on
                if not receipt.is_private:
                    rooms[receipt.room_id] = None
            case AccountDataEntry(_, data):
                personal.add(data.user_id)
            case ForgottenEntry():
                personal.add(entry.user_id)
            case ToDeviceEntry() | KeyCountsEntry():
                personal.update(entry.users)
            case SessionsEntry() | PushersEntry():
                pass  # no client is told
            case DeviceListEntry() | StateEntry():
                return None
            case _:
                assert_never(entry)
    rooms.update(dict.fromkeys(typing))
    told = (entry.stored for entry in entries if isinstance(entry, EventEntry))
    quoting = tuple(stored for stored in told if has_quotes(stored))
    return Stretch(entries, tuple(rooms), frozenset(personal), frozenset(senders), quoting)
