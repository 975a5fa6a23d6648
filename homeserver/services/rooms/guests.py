"""Guests in rooms: they join only where m.room.guest_access lets them, and leave when it does no more.

spec: client-server-api#guest-access
"""

from __future__ import annotations

import asyncio

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.event import StateKey
from homeserver.services.rooms.drafts import Draft, RoomView
from homeserver.services.rooms.writer import RoomMemory, RoomWriter

_log = structlog.get_logger(__name__)

GUEST_ACCESS: StateKey = ("m.room.guest_access", "")
_AT_ONCE = 50
_MAX_REMEMBERED = 20_000


class GuestAccess:
    """What rooms say about guests."""

    def __init__(self, memory: RoomMemory, writer: RoomWriter) -> None:
        self._memory = memory
        self._writer = writer
        self._no_guests: set[str] = set()  # some who are asked about often; nobody becomes a guest later

    async def is_guest(self, user_id: str) -> bool:
        """Whether the user is a guest of this server."""
        if user_id in self._no_guests:
            return False
        async with self._memory.store.read_committed() as tx:
            user = await tx.users.get(user_id)
        if user is None or user.is_guest:
            return user is not None
        if len(self._no_guests) >= _MAX_REMEMBERED:
            self._no_guests.clear()
        self._no_guests.add(user_id)
        return False

    def check(self, room: RoomView) -> None:
        """Raise MatrixError(GUEST_ACCESS_FORBIDDEN) unless guests may join; asked under the room's queue."""
        said = room.get(*GUEST_ACCESS)
        if said is None or said.content.get("guest_access") != "can_join":
            raise MatrixError(ErrCode.GUEST_ACCESS_FORBIDDEN, "Guests may not join this room")

    async def changed(self, room_id: str) -> None:
        """Let the guests leave if the room no longer wants any.

        Whoever joined by what held before is found here: joins are decided under the queue that the change went
        through.
        """
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is None:
            return
        said = (await self._memory.read_events(head.state, [GUEST_ACCESS])).get(GUEST_ACCESS)
        if said is not None and said.event.content.get("guest_access") == "can_join":
            return
        async with self._memory.store.read() as tx:
            guests = await tx.rooms.joined_guests(head.room_nid)
        for start in range(0, len(guests), _AT_ONCE):
            await asyncio.gather(*(self._leave(room_id, guest) for guest in guests[start : start + _AT_ONCE]))

    async def redacted(self, room_id: str, event_id: str) -> None:
        """As `changed`, if the redacted event was what the room said."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if head is not None and (await self._memory.read(head.state, [GUEST_ACCESS])).get(GUEST_ACCESS) == event_id:
            await self.changed(room_id)

    async def _leave(self, room_id: str, guest: str) -> None:
        try:
            await self._writer.send(room_id, Draft(guest, "m.room.member", {"membership": "leave"}, guest))
        except MatrixError as error:
            _log.info("guest_stays", room_id=room_id, user_id=guest, error=error.message)
