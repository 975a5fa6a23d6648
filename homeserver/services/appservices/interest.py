"""Which events concern an application service.

It is told of what happens in rooms that one of its users is in, or whose id or alias is in one of its namespaces, and
of what its users do or what is done to them. Memory holds its users in rooms *as of the cursor* and moves on with it,
so a service that is far behind is told of exactly what it would have been told of at the time.
spec: application-service-api#registration
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from homeserver.core.ids import domain_of
from homeserver.ports.events import StoredEvent, order_of
from homeserver.ports.log import EventEntry, LogEntry, StateEntry
from homeserver.ports.store import Transaction
from homeserver.services.appservices.registration import Registration
from homeserver.services.rooms.visibility import load_history

_MEMBER = "m.room.member"
_MOST_ROOMS = 20_000
_MOST_USERS = 50_000


@dataclass(slots=True)
class WatchedRoom:
    """What makes a room interesting to a service."""

    is_named: bool
    """Its id is in a namespace."""
    users: set[str] = field(default_factory=set)
    """The service's users who are joined, as of the cursor."""


class Interest:
    """The interest of one application service. Needs `load` before it is asked about rooms."""

    def __init__(self, service: Registration, server_name: str) -> None:
        self._service = service
        self._server_name = server_name
        self._rooms: OrderedDict[int, WatchedRoom] = OrderedDict()
        self._covered: OrderedDict[str, bool] = OrderedDict()
        self._aliased: set[int] = set()

    def covers(self, user_id: str) -> bool:
        """Whether a user is a local one of the service's."""
        known = self._covered.get(user_id)
        if known is None:
            is_local = domain_of(user_id) == self._server_name
            known = self._covered[user_id] = is_local and self._service.covers(user_id)
            if len(self._covered) > _MOST_USERS:
                self._covered.popitem(last=False)
        return known

    def knows(self, rooms: Mapping[int, str]) -> bool:
        """Whether `load` would have nothing to read."""
        return not self._service.aliases and all(room_nid in self._rooms for room_nid in rooms)

    async def load(self, tx: Transaction, rooms: Mapping[int, str], position: int) -> None:
        """Get ready for rooms (by internal id), as they were at `position`; what is known stays."""
        missing = [room_nid for room_nid in rooms if room_nid not in self._rooms]
        for room_nid in rooms:
            if room_nid in self._rooms:
                self._rooms.move_to_end(room_nid)
        if missing:
            found = {room_nid: WatchedRoom(self._service.watches(rooms[room_nid])) for room_nid in missing}
            for room_nid, user_id, membership, since in await tx.appservices.local_memberships(missing):
                if not self.covers(user_id):
                    continue
                then = membership if since <= position else await _membership_at(tx, room_nid, user_id, position)
                if then == "join":
                    found[room_nid].users.add(user_id)
            self._rooms.update(found)
        while len(self._rooms) > max(_MOST_ROOMS, len(rooms)):
            self._rooms.popitem(last=False)
        self._aliased = set()
        if self._service.aliases and rooms:
            # Read each time: aliases are no part of the log, and an alias that is new counts at once.
            self._aliased = {nid for nid, alias in await tx.aliases.of_rooms(rooms) if self._service.owns(alias)}

    def room(self, room_nid: int) -> WatchedRoom | None:
        """What is known of a room, if anything in it concerns the service."""
        room = self._rooms.get(room_nid)
        if room is None or not (room.users or room.is_named or room_nid in self._aliased):
            return None
        return room

    def wants(self, stored: StoredEvent) -> bool:
        """Whether the service is told of an event."""
        event = stored.event
        if self.room(stored.room_nid) is not None or self.covers(event.sender):
            return True
        return event.type == _MEMBER and event.state_key is not None and self.covers(event.state_key)

    def observer(self, stored: StoredEvent) -> str | None:
        """One of the service's users to whom the event is shown; None if it is the room that the service watches."""
        event = stored.event
        room = self._rooms.get(stored.room_nid)
        if room is not None and (room.is_named or stored.room_nid in self._aliased):
            return None
        if room is not None and room.users:
            return event.sender if event.sender in room.users else next(iter(room.users))
        if event.type == _MEMBER and event.state_key is not None and self.covers(event.state_key):
            return event.state_key
        return event.sender

    def move_on(self, entry: LogEntry) -> None:
        """The cursor passes an entry."""
        if isinstance(entry, EventEntry):
            event = entry.stored.event
            if event.type == _MEMBER and event.state_key is not None:
                self._set(entry.stored.room_nid, event.state_key, event.membership)
        elif isinstance(entry, StateEntry):
            for user_id, member in entry.subjects.items():
                self._set(entry.correction.room_nid, user_id, None if member is None else member.event.membership)

    def _set(self, room_nid: int, user_id: str, membership: str | None) -> None:
        room = self._rooms.get(room_nid)
        if room is not None and self.covers(user_id):
            (room.users.add if membership == "join" else room.users.discard)(user_id)

    def forget(self, room_nids: Iterable[int]) -> None:
        """What is known of these rooms may be wrong: entries were left out."""
        for room_nid in list(room_nids):
            self._rooms.pop(room_nid, None)

    def forget_all(self) -> None:
        """As `forget`, for all rooms."""
        self._rooms.clear()


async def _membership_at(tx: Transaction, room_nid: int, user_id: str, position: int) -> str | None:
    """The membership of a user just after a log position."""
    course = (await load_history(tx, room_nid, user_id)).memberships
    after = bisect_right(course.orders, order_of(position))
    return course.values[after - 1] if after else None
