"""Who may look into a room, and how far: every read of a room goes through here, with the requester *and* the room.

A room that does not exist and one the requester may not see answer with the same bytes.
spec: client-server-api#room-history-visibility, client-server-api#leaving-rooms
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.ids import parse_event_id, parse_room_id
from homeserver.ports.events import Membership, RoomHead, StoredEvent, order_of
from homeserver.ports.state import EMPTY, RoomState, Snapshot
from homeserver.ports.store import Transaction
from homeserver.services.log import Log
from homeserver.services.rooms.visibility import History, Visible
from homeserver.services.rooms.writer import RoomMemory


@dataclass(frozen=True, slots=True)
class RoomWindow:
    """What one user may see of one room: its state for them, and the end of the timeline."""

    room_id: str
    room_nid: int
    head: RoomHead
    user_id: str
    state: RoomState
    until: int | None  # order of the last timeline event for them; None: no end
    as_of: int  # log position of this knowledge: what is newer may have changed what they may see
    history: History

    @property
    def end(self) -> int:
        """Order of the last timeline event that can be shown."""
        now = order_of(self.as_of)
        return now if self.until is None else min(self.until, now)

    def shown(self, events: Iterable[StoredEvent]) -> list[Visible]:
        """Those timeline events of the room that the user may see."""
        return self.history.shown(events, self.end)

    def sees(self, stored: StoredEvent) -> bool:
        """Whether the user may see a timeline event of the room."""
        return stored.order is not None and stored.order <= self.end and self.history.visible(stored)


class RoomAccess:
    """The access functions."""

    def __init__(self, memory: RoomMemory, log: Log) -> None:
        self._memory = memory
        self._log = log

    async def membership(self, head: RoomHead, user_id: str) -> str | None:
        """The user's membership at the room's head."""
        member = await self.member_event(head, user_id)
        return None if member is None else member.event.membership

    async def member_event(self, head: RoomHead, user_id: str) -> StoredEvent | None:
        """The user's member event at the room's head."""
        key = ("m.room.member", user_id)
        return (await self._memory.read_events(head.state, [key])).get(key)

    async def window(self, room_id: str, user_id: str) -> RoomWindow:
        """What the user may see: all of it for members, the past up to their leaving for those who left.

        No statement where memory holds the room's head and the user's history. Ask before opening a transaction: one
        that waits for another one's connection could wait for ever.
        Raises NotAllowed for a room that is unknown or that the user may not see.
        """
        parse_room_id(room_id)
        memory, as_of = self._memory, self._log.position
        head = await memory.heads.fetch(room_id, memory.store)
        if head is None:
            raise _not_a_member()
        history = await memory.histories.fetch(head.room_nid, user_id, memory.store)
        if history.membership == "join" or history.is_world_readable:
            return RoomWindow(room_id, head.room_nid, head, user_id, head.state, None, as_of, history)
        left = history.left
        if left is None:
            raise _not_a_member()
        async with memory.store.read_committed() as tx:
            if await _forgotten(tx, user_id, room_id):
                raise _not_a_member()
        state = RoomState(Snapshot(left.snapshot, 0))
        return RoomWindow(room_id, head.room_nid, head, user_id, state, left.order, as_of, history)

    async def current(self, room_id: str, user_id: str) -> RoomWindow:
        """As `window`, only for those who may see the room as it is now: members, or anyone if world-readable."""
        window = await self.window(room_id, user_id)
        if window.until is not None:
            raise _not_a_member()
        return window

    async def invitation(self, membership: Membership) -> tuple[RoomWindow, Visible] | None:
        """A user's invitation, in a window that shows nothing else; None if it is not to be seen any more."""
        memory, as_of, user_id = self._memory, self._log.position, membership.user_id
        head = await memory.heads.fetch(membership.room_id, memory.store)
        stored = (await memory.events.fetch([membership.event_id], memory.store)).get(membership.event_id)
        if head is None or stored is None or stored.order is None:
            return None
        history = await memory.histories.fetch(head.room_nid, user_id, memory.store)
        seen = history.invitation(stored)
        state = RoomState(EMPTY)
        window = RoomWindow(membership.room_id, head.room_nid, head, user_id, state, stored.order, as_of, history)
        return None if seen is None else (window, seen)

    async def room_of(self, event_id: str) -> str:
        """The room of an event, for `event` to ask whether the requester may see it there: nothing is said by this.

        Raises MatrixError(NOT_FOUND), as for an event that may not be seen.
        """
        parse_event_id(event_id)
        stored = (await self._memory.events.fetch([event_id], self._memory.store)).get(event_id)
        if stored is None:
            raise _no_such_event()
        return stored.event.room_id

    async def event(self, room_id: str, event_id: str, user_id: str) -> tuple[RoomWindow, Visible]:
        """An event of the room that the user may see.

        Raises MatrixError(NOT_FOUND), the same for unknown events, events of other rooms and invisible ones.
        """
        parse_event_id(event_id)
        try:
            window = await self.window(room_id, user_id)
        except NotAllowed:
            raise _no_such_event() from None
        stored = (await self._memory.events.fetch([event_id], self._memory.store)).get(event_id)
        if stored is None or stored.room_nid != window.room_nid:
            raise _no_such_event()
        for visible in window.shown([stored]):
            return window, visible
        raise _no_such_event()


async def _forgotten(tx: Transaction, user_id: str, room_id: str) -> bool:
    return any(m.forgotten for m in await tx.rooms.memberships(user_id) if m.room_id == room_id)


def _not_a_member() -> NotAllowed:
    return NotAllowed("You are not in this room, or it does not exist")


def _no_such_event() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no such event, or you may not see it")
