"""After a start: the rooms of late are in memory before somebody asks for them.

What a restart makes slow is not the reading of a room but that everybody's first request waits for it. The newest
events say which rooms those are.
"""

from __future__ import annotations

import asyncio

import structlog

from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.event import StateKey
from homeserver.ports.store import StoreUnavailable
from homeserver.services.rooms.guests import GUEST_ACCESS
from homeserver.services.rooms.memory import RoomMemory

_EVENTS = 500
_ROOMS = 50
_LONGEST_S = 5.0
_ASKED: tuple[StateKey, ...] = (CREATE, POWER_LEVELS, JOIN_RULES, GUEST_ACCESS, ("m.room.history_visibility", ""))
"""What most decisions of a room look at."""

_log = structlog.get_logger(__name__)


class RecentRooms:
    """Reads the heads of the rooms that the newest events are in, and what is decided by, once."""

    def __init__(self, memory: RoomMemory, position: int, *, max_rooms: int = _ROOMS) -> None:
        """`position` is the newest event's, as the log had it at the start."""
        self._memory = memory
        self._position = position
        self._max_rooms = max_rooms

    async def run(self) -> None:
        """Read them, within bounds of number and time. A database that does not answer now is left alone."""
        try:
            async with asyncio.timeout(_LONGEST_S):
                await self.read()
        except (StoreUnavailable, TimeoutError) as error:
            _log.info("recent_rooms_not_read", error=str(error) or "the database was too slow")

    async def read(self) -> int:
        """Read them; returns how many rooms are in memory now. Raises StoreUnavailable."""
        memory, known = self._memory, 0
        async with memory.store.read_committed() as tx:
            rooms = await tx.rooms.recently_active(self._position - _EVENTS, self._max_rooms)
        for room_id in rooms:
            try:
                head = await memory.heads.fetch(room_id, memory.store)
                if head is not None:
                    await memory.read_events(head.state, _ASKED)
                    known += 1
            except StoreUnavailable:
                raise
            except Exception as error:  # what cannot be read there concerns those who ask for it, not the whole server
                _log.warning("recent_room_not_read", room_id=room_id, error=str(error))
        return known
