"""Which rooms the syncing users are in, held in memory and kept true by the log.

Loaded from the store when a user first syncs, then moved on by every committed member event, so an incremental
sync asks no database which rooms it is about, and a commit knows at once whom to wake. Bounded: the users who
have not synced for longest are forgotten and loaded again when they return.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import assert_never

import immutables

from homeserver import faults
from homeserver.ports.events import Membership
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
from homeserver.ports.store import Store
from homeserver.services.log import Log

Rooms = immutables.Map[str, Membership]
"""room id → the user's membership. Persistent: a sync keeps the version it started with."""


def rooms_of(memberships: Iterable[Membership]) -> Rooms:
    """Memberships by room."""
    return immutables.Map({membership.room_id: membership for membership in memberships})


class RoomLists:
    """Memberships of the users who are syncing."""

    def __init__(self, store: Store, log: Log, *, max_users: int = 20_000) -> None:
        self._store = store
        self._log = log
        self._max_users = max_users
        self._rooms: OrderedDict[str, Rooms] = OrderedDict()
        self._active: dict[str, set[str]] = {}  # room id → users of `_rooms` joined to it
        log.listen(self._follow, self._forget)

    async def of(self, user_id: str) -> Rooms:
        """All memberships of the user as of now, forgotten rooms included."""
        known = self._rooms.get(user_id)
        if known is not None:
            self._rooms.move_to_end(user_id)
            return known
        while True:
            before = self._log.position
            async with self._store.read() as tx:
                loaded = await tx.rooms.memberships(user_id)
            if faults.plan is not None:
                await faults.plan.reach("roomlists.load")
            rooms = rooms_of(loaded)
            # What was committed while we read comes from the tail, so that no change falls between the two.
            missed = self._log.since(before)
            if missed is not None:
                break
        if (raced := self._rooms.get(user_id)) is not None:
            return raced
        for entry in missed:
            rooms = _moved_on(rooms, user_id, entry)
        self._keep(user_id, rooms)
        return rooms

    def peek(self, user_id: str) -> Rooms | None:
        """The memberships if they are in memory."""
        return self._rooms.get(user_id)

    def joined_by(self, user_id: str) -> list[str]:
        """Rooms that the user is joined to, if they are in memory; else every room with somebody in memory.

        For those who must not miss anybody who shares a room with the user, and may disturb others.
        """
        rooms = self._rooms.get(user_id)
        if rooms is None:
            return list(self._active)
        return [room_id for room_id, membership in rooms.items() if membership.membership == "join"]

    def active_in(self, room_id: str) -> set[str]:
        """Users in memory who are joined to the room. Do not change the set."""
        return self._active.get(room_id, _NOBODY)

    def _keep(self, user_id: str, rooms: Rooms) -> None:
        self._rooms[user_id] = rooms
        for membership in rooms.values():
            if membership.membership == "join":
                self._active.setdefault(membership.room_id, set()).add(user_id)
        while len(self._rooms) > self._max_users:
            oldest, theirs = self._rooms.popitem(last=False)
            for room_id in theirs:
                self._inactive(room_id, oldest)

    def _inactive(self, room_id: str, user_id: str) -> None:
        users = self._active.get(room_id)
        if users is not None:
            users.discard(user_id)
            if not users:
                del self._active[room_id]

    def _forget(self) -> None:
        self._rooms.clear()
        self._active.clear()

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            for user_id, room_id in _changes(entry):
                if (rooms := self._rooms.get(user_id)) is None:
                    continue
                self._rooms[user_id] = moved = _moved_on(rooms, user_id, entry)
                membership = moved.get(room_id)
                if membership is not None and membership.membership == "join":
                    self._active.setdefault(room_id, set()).add(user_id)
                else:
                    self._inactive(room_id, user_id)


_NOBODY: set[str] = set()
_NOTHING: tuple[tuple[str, str], ...] = ()


def _changes(entry: LogEntry) -> Sequence[tuple[str, str]]:
    """The users whose room lists the entry changes, each with the room."""
    match entry:
        case EventEntry():
            return _NOTHING if entry.subject is None else ((entry.subject, entry.room_id),)
        case StateEntry():
            return [(user_id, entry.room_id) for user_id in entry.subjects]
        case ForgottenEntry():
            return ((entry.user_id, entry.room_id),)
        case AccountDataEntry() | ReceiptEntry() | SessionsEntry() | PushersEntry():
            return _NOTHING
        case DeviceListEntry() | ToDeviceEntry() | KeyCountsEntry():
            return _NOTHING
        case _:
            assert_never(entry)


def _moved_on(rooms: Rooms, user_id: str, entry: LogEntry) -> Rooms:
    """`rooms` after the entry, which may or may not concern this user."""
    room_id = next((room_id for subject, room_id in _changes(entry) if subject == user_id), None)
    if room_id is None:
        return rooms
    known = rooms.get(room_id)
    if isinstance(entry, StateEntry):
        stored = entry.subjects[user_id]
        if stored is None:  # state resolution took the membership away: they have left
            return rooms if known is None else rooms.set(room_id, _left(known, entry.position))
    elif isinstance(entry, EventEntry):
        stored = entry.stored
    else:
        # Only a room that is still left is forgotten: a rejoin may have come in between.
        if known is None or known.membership in {"join", "invite"}:
            return rooms
        return rooms.set(room_id, replace(known, forgotten=True))
    event = stored.event
    if (known is not None and known.position >= entry.position) or event.membership is None:
        return rooms
    membership = Membership(
        user_id, room_id, stored.room_nid, event.membership, event.event_id, event.sender, entry.position
    )
    return rooms.set(room_id, membership)


def _left(known: Membership, position: int) -> Membership:
    return known if known.position >= position else replace(known, membership="leave", position=position)
