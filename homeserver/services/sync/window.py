"""What happened in (since, now]: gathered from the log's tail, or from the database when the tail is too short.

Both ways give the same `Window`; the rest of sync does not know which one it was. From the tail it costs no
statement at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from homeserver.core.event import StateKey
from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import StoredEvent, order_of
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
from homeserver.ports.receipts import ReceiptChanged
from homeserver.ports.store import Transaction
from homeserver.services.e2e.devicelists import KeyWindow
from homeserver.services.personal.pushrules import PUSH_RULES, push_rules_content
from homeserver.services.rooms.lists import Rooms
from homeserver.services.sync.newest import newest
from homeserver.services.sync.request import SyncRequest


@dataclass(slots=True)
class RoomNews:
    """One room's part of a window."""

    events: list[StoredEvent] = field(default_factory=list)  # in timeline order; only the newest if `more`
    more: bool = False  # there were events before `events` inside the window
    earlier_state: dict[StateKey, StoredEvent] = field(default_factory=dict)  # set before `events` began
    settled: dict[StateKey, StoredEvent | None] = field(default_factory=dict)
    """State at the window's end that is not what the window's events make of it: state resolution has decided."""


@dataclass(slots=True)
class Window:
    """Everything in (low, high] that can concern one user."""

    low: int
    high: int
    own_members: dict[str, list[StoredEvent]] = field(default_factory=dict)  # room id → own member events, in order
    rooms: dict[str, RoomNews] = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)  # rooms where state resolution set the user's own membership
    renamed: set[str] = field(default_factory=set)  # rooms where an event of their summary was redacted
    account_data: list[AccountDataChanged] = field(default_factory=list)  # last per room and type
    receipts: dict[str, list[ReceiptChanged]] = field(default_factory=dict)  # by room, of joined rooms
    typing: dict[str, list[str]] = field(default_factory=dict)  # who types now, in joined rooms where that changed
    members: list[StoredEvent] = field(default_factory=list)  # member events of others in rooms the user is or was in
    resettled: set[tuple[str, str]] = field(default_factory=set)  # (room, user) whose membership was set so
    device_lists: set[str] = field(default_factory=set)  # users whose keys or devices changed
    to_device: bool = False  # there may be messages for the device
    key_counts: bool = False  # those of the device have changed

    @property
    def concerns_keys(self) -> bool:
        """Whether it takes the store to say what the device must be told of messages and of others' keys."""
        return bool(self.to_device or self.members or self.own_members or self.resettled)

    @property
    def keys(self) -> KeyWindow:
        """What decides whose keys the user must ask for."""
        return KeyWindow(self.device_lists, self.own_members, self.members, self.resettled)


def _is_told(entry: EventEntry, user_id: str, rooms: Rooms) -> bool:
    """Whether the event belongs into the user's window."""
    membership = rooms.get(entry.room_id)
    if (membership is not None and membership.membership == "join") or entry.subject == user_id:
        return True
    # A room the user has left inside the window still owes them what came before they left.
    return membership is not None and entry.position < membership.position


def _is_shown(receipt: ReceiptChanged, user_id: str, rooms: Rooms) -> bool:
    """Whether the receipt belongs into the user's window."""
    if receipt.is_private:
        return receipt.user_id == user_id
    membership = rooms.get(receipt.room_id)
    return membership is not None and membership.membership == "join"


def from_tail(  # noqa: C901, PLR0912 - one case for each kind of entry
    entries: Iterable[LogEntry], who: tuple[str, str | None], rooms: Rooms, low: int, high: int
) -> Window:
    """The window of `who` (user id, device id) out of log entries. `rooms` are the user's memberships at `high`."""
    user_id, device_id = who
    window = Window(low, high)
    account_data: dict[tuple[str | None, str], AccountDataChanged] = {}
    for entry in entries:
        match entry:
            case EventEntry(_, stored):
                if entry.subject not in (None, user_id) and entry.room_id in rooms:
                    window.members.append(stored)
                if not _is_told(entry, user_id, rooms):
                    continue
                if entry.subject == user_id:
                    window.own_members.setdefault(entry.room_id, []).append(stored)
                room = window.rooms.get(entry.room_id)
                if room is None:
                    room = window.rooms[entry.room_id] = RoomNews()
                room.events.append(stored)
                if room.settled and stored.event.is_state:
                    room.settled.pop(stored.event.key, None)
            case StateEntry():
                _take_correction(window, entry, user_id, rooms)
            case ReceiptEntry(_, receipt):
                if _is_shown(receipt, user_id, rooms):
                    window.receipts.setdefault(receipt.room_id, []).append(receipt)
            case AccountDataEntry(_, data):
                if data.user_id == user_id:
                    account_data[data.room_id, data.type] = data
            case ForgottenEntry() | SessionsEntry() | PushersEntry():
                pass  # nothing that clients are told: who forgets a room was told that they had left it
            case DeviceListEntry(_, subject, reader):
                if reader in (None, user_id):
                    window.device_lists.add(subject)
            case ToDeviceEntry(_, devices):
                window.to_device = window.to_device or (user_id, device_id) in devices
            case KeyCountsEntry(_, devices):
                window.key_counts = window.key_counts or (user_id, device_id) in devices
            case _:
                assert_never(entry)
    window.account_data = list(account_data.values())
    return window


def _take_correction(window: Window, entry: StateEntry, user_id: str, rooms: Rooms) -> None:
    membership = rooms.get(entry.room_id)
    is_own = user_id in entry.subjects
    if is_own:
        window.corrected.add(entry.room_id)
    if membership is None or not (membership.membership == "join" or is_own or entry.position < membership.position):
        return
    room = window.rooms.setdefault(entry.room_id, RoomNews())
    room.settled.update(entry.correction.changes)
    window.resettled.update((entry.room_id, subject) for subject in entry.subjects)


async def from_the_beginning(tx: Transaction, request: SyncRequest, rooms: Rooms, high: int) -> Window:
    """The window of an initial sync. Its rooms are told whole, so it holds what belongs to the user only."""
    window = Window(0, high)
    joined = {at.room_nid: (0, high) for at in rooms.values() if at.membership == "join"}
    for receipt in await tx.receipts.between(joined, request.user_id):
        window.receipts.setdefault(receipt.room_id, []).append(receipt)
    window.account_data = list(await tx.account_data.after(request.user_id, 0))
    if not any(item.room_id is None and item.type == PUSH_RULES for item in window.account_data):
        # Everybody has push rules, also those who never changed one.
        defaults = push_rules_content(request.user_id, None)
        window.account_data.append(AccountDataChanged(request.user_id, None, PUSH_RULES, defaults))
    return window


async def from_store(tx: Transaction, request: SyncRequest, rooms: Rooms, low: int, high: int) -> Window:
    """The window out of the database: as many timeline events per room as the request may need, in a number of
    statements that does not depend on how many rooms there are.
    """
    user_id = request.user_id
    window = Window(low, high, to_device=True, key_counts=False)
    await add_key_changes(tx, window, user_id, rooms)
    window.corrected = {
        room_id
        for room_id, membership in rooms.items()
        if low < membership.position <= high and room_id not in window.own_members
    }
    bounds = _room_bounds(rooms, window, low, high)
    orders = {room_nid: (order_of(first), order_of(last)) for room_nid, (first, last) in bounds.items()}
    ids = {membership.room_nid: room_id for room_id, membership in rooms.items()}
    before: dict[int, tuple[int, int]] = {}
    for room_nid, (events, more) in (await newest(tx, request, orders, ids)).items():
        if not events and not more:
            continue
        room = window.rooms[ids[room_nid]] = RoomNews(events, more)
        if room.more:
            first = room.events[0].order if room.events else orders[room_nid][1] + 1
            before[room_nid] = (orders[room_nid][0], (first or 0) - 1)
    if before:
        for room_nid, states in (await tx.sync.state_between(before)).items():
            window.rooms[ids[room_nid]].earlier_state = {stored.event.key: stored for stored in states}
    for room_nid, settled in (await tx.sync.settled(bounds)).items():
        window.rooms.setdefault(ids[room_nid], RoomNews()).settled = settled
    window.account_data = await tx.account_data.after(user_id, low)
    joined = {nid: span for nid, span in bounds.items() if rooms[ids[nid]].membership == "join"}
    for receipt in await tx.receipts.between(joined, user_id):
        window.receipts.setdefault(receipt.room_id, []).append(receipt)
    return window


async def add_key_changes(tx: Transaction, window: Window, user_id: str, rooms: Rooms) -> None:
    """Put into the window what decides whose keys the user must ask for: memberships and changed device lists."""
    for stored in await tx.sync.own_memberships(user_id, window.low, window.high):
        window.own_members.setdefault(stored.event.room_id, []).append(stored)
    nids = [
        membership.room_nid
        for room_id, membership in rooms.items()
        if membership.membership == "join" or room_id in window.own_members
    ]
    window.members = await tx.sync.other_memberships(nids, user_id, window.low, window.high)
    ids = {membership.room_nid: room_id for room_id, membership in rooms.items()}
    for subject, room_nid in await tx.sync.corrected_members(list(ids), window.low, window.high):
        window.resettled.add((ids[room_nid], subject))
    window.device_lists = set(await tx.keys.changed_lists(user_id, window.low))


def redactions(window: Window) -> list[StoredEvent]:
    """The redactions of the window."""
    return [stored for room in window.rooms.values() for stored in room.events if stored.event.redacts is not None]


def redacted_ids(window: Window) -> set[str]:
    """Events of the window whose content is no longer what the log's tail remembers.

    Those that the window itself redacts, and state events that replaced one and still quote it in `unsigned`.
    """
    events = [stored for room in window.rooms.values() for stored in room.events]
    targets = {stored.event.redacts for stored in events if stored.event.redacts is not None}
    if not targets:
        return set()
    return {
        stored.event.event_id
        for stored in events
        if stored.event.event_id in targets or (stored.replaces is not None and stored.replaces.event_id in targets)
    }


def replace_events(window: Window, fresh: Mapping[str, StoredEvent]) -> None:
    """Put `fresh` events in the place of those remembered."""
    for room in window.rooms.values():
        room.events = [fresh.get(stored.event.event_id, stored) for stored in room.events]


def _room_bounds(rooms: Rooms, window: Window, low: int, high: int) -> dict[int, tuple[int, int]]:
    bounds: dict[int, tuple[int, int]] = {}
    for room_id, membership in rooms.items():
        if membership.membership == "join":
            bounds[membership.room_nid] = (low, high)
        elif (room_id in window.own_members or room_id in window.corrected) and not membership.forgotten:
            bounds[membership.room_nid] = (low, min(high, membership.position))
    return bounds
