"""Whose keys a user has to ask for again: one computation for `/sync`, the WebSocket and `/keys/changes`.

`changed` are those whose keys or devices changed and who share a room with the user now or did when the window began,
and those who share one now and did not then. `left` are those who shared one then and share none now. Any room counts,
encrypted or not: clients ask early. Nothing is written per member; who shares what follows from the room lists.
spec: client-server-api#tracking-the-device-list-for-a-user
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.ports.events import EventFlags, Membership, StoredEvent
from homeserver.ports.store import Transaction
from homeserver.services.rooms.lists import RoomLists, Rooms

_FROM_LISTS = 32
"""So many users' room lists are looked at in memory; for more, one statement is cheaper."""


@dataclass(frozen=True, slots=True)
class DeviceListChanges:
    """What a client is told about other users' devices, in order of user ids."""

    changed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.left)


NOTHING = DeviceListChanges()


@dataclass(slots=True)
class KeyWindow:
    """What happened in a stretch of the log that decides whose keys a user must ask for."""

    lists: set[str] = field(default_factory=set)  # users with a change of keys or devices that this one may see
    own: Mapping[str, Sequence[StoredEvent]] = field(default_factory=dict)  # own member events by room, in order
    members: list[StoredEvent] = field(default_factory=list)  # of others, in rooms that the user is or was in
    resettled: Collection[tuple[str, str]] = ()  # (room, user) whose membership, or the user's, state resolution set

    def __bool__(self) -> bool:
        return bool(self.lists or self.own or self.members or self.resettled)


def previous_membership(stored: StoredEvent) -> str | None:
    """The membership that a member event replaced."""
    return None if stored.replaces is None else stored.replaces.membership


class DeviceLists:
    """Computes changes of device lists."""

    def __init__(self, rooms: RoomLists) -> None:
        self._rooms = rooms

    async def without_moves(self, user_id: str, rooms: Rooms, lists: Collection[str]) -> DeviceListChanges:
        """As `changes` of a window in which nobody came or left: what a new device costs each of many readers."""
        now = [room_id for room_id, membership in rooms.items() if membership.membership == "join"]
        changed = [user for user in lists if user == user_id or _common(await self._rooms.of(user), now)]
        return DeviceListChanges(tuple(sorted(changed)))

    async def changes(self, tx: Transaction, user_id: str, rooms: Rooms, window: KeyWindow) -> DeviceListChanges:
        """The changes in a window that ends with the user being in `rooms`."""
        now = {room_id for room_id, membership in rooms.items() if membership.membership == "join"}
        then = set(now)
        for room_id, own in window.own.items():
            (then.add if previous_membership(own[0]) == "join" else then.discard)(room_id)
        first_moves: dict[tuple[str, str], bool] = {}  # (room, user) → whether joined when the window began
        for stored in window.members:
            key = (stored.event.room_id, stored.event.state_key or "")
            if key[0] in now or key[0] in then:
                first_moves.setdefault(key, previous_membership(stored) == "join")
        moved = {user for stored in window.members if (user := stored.event.state_key or "") and not _stayed(stored)}
        candidates = {*window.lists, *moved}
        if now != then:
            ids = {room_id: rooms[room_id].room_nid for room_id in now ^ then if room_id in rooms}
            candidates |= await tx.rooms.joined_members(ids.values())
        unsure = await self._unsure(tx, user_id, rooms, window)
        candidates |= unsure
        candidates.discard(user_id)
        shared_now, shared_then = await self._sharing(tx, candidates, now, then, rooms, first_moves)
        changed = {user for user in window.lists & candidates if user in shared_now or user in shared_then}
        changed |= shared_now - shared_then | unsure & shared_now
        if user_id in window.lists:
            changed.add(user_id)
        left = (shared_then | unsure) - shared_now
        return DeviceListChanges(tuple(sorted(changed)), tuple(sorted(left)))

    async def _unsure(self, tx: Transaction, user_id: str, rooms: Rooms, window: KeyWindow) -> set[str]:
        """With whom the user may have shared a room or not when the window began: no event says how it was.

        State resolution says nothing of before, and an event of a fork replaces what was there and not here. To be
        asked for once too often does no harm, nor to be let go of by whom nobody shares a room with.
        """
        moved = set(window.resettled)
        events = [*window.members, *(stored for own in window.own.values() for stored in own)]
        moved.update(
            (item.event.room_id, item.event.state_key or "") for item in events if item.flags & EventFlags.ASIDE
        )
        unsure = {subject for _, subject in moved}
        own_rooms = {room_id for room_id, subject in moved if subject == user_id and room_id in rooms}
        if own_rooms:
            unsure |= await tx.rooms.joined_members([rooms[room_id].room_nid for room_id in own_rooms])
        unsure.discard(user_id)
        return unsure

    async def _sharing(
        self,
        tx: Transaction,
        candidates: Collection[str],
        now: Collection[str],
        then: Collection[str],
        rooms: Rooms,
        first_moves: Mapping[tuple[str, str], bool],
    ) -> tuple[set[str], set[str]]:
        """Those who share one of the rooms `now`, and those who shared one of `then` when the window began."""
        joined = await self._joined(tx, candidates, {*now, *then}, rooms)
        shared_now: set[str] = set()
        shared_then: set[str] = set()
        for user, theirs in joined.items():
            if any(room_id in now for room_id in theirs):
                shared_now.add(user)
            if any(room_id in then and first_moves.get((room_id, user), True) for room_id in theirs):
                shared_then.add(user)
        for (room_id, user), was_joined in first_moves.items():
            if was_joined and user in candidates and room_id in then:
                shared_then.add(user)
        return shared_now, shared_then

    async def _joined(
        self, tx: Transaction, users: Collection[str], room_ids: Collection[str], rooms: Rooms
    ) -> dict[str, set[str]]:
        """Which of the rooms the users are joined to now, those in none left out."""
        if len(users) <= _FROM_LISTS:
            return {user: shared for user in users if (shared := _common(await self._rooms.of(user), room_ids))}
        nids = {rooms[room_id].room_nid: room_id for room_id in room_ids if room_id in rooms}
        found: dict[str, set[str]] = {}
        for room_nid, user in await tx.rooms.joined_pairs(nids, users):
            found.setdefault(user, set()).add(nids[room_nid])
        return found


def _common(theirs: Mapping[str, Membership], room_ids: Collection[str]) -> set[str]:
    """Those of the rooms that a user is joined to; walks the smaller side."""
    small: Iterable[str] = room_ids if len(room_ids) <= len(theirs) else [room for room in theirs if room in room_ids]
    return {room for room in small if (at := theirs.get(room)) is not None and at.membership == "join"}


def _stayed(stored: StoredEvent) -> bool:
    """Whether the event changes a profile only."""
    return stored.event.membership == "join" and previous_membership(stored) == "join"
