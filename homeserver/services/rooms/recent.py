"""After a start: the rooms of late are in memory before somebody asks for them.

What a restart makes slow is not the reading of a room but that everybody's first request waits for it. The newest
events say which rooms those are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.errors import MatrixError
from homeserver.core.event import StateKey
from homeserver.ports.store import StoreUnavailable
from homeserver.services.rooms.guests import GUEST_ACCESS
from homeserver.services.rooms.history import PageRequest, RoomHistory
from homeserver.services.rooms.memory import RoomMemory
from homeserver.services.rooms.present import Recipient

_EVENTS = 500
_ROOMS = 50
_LATEST = 20
_LONGEST_S = 5.0
_RUSH_S = 0.1
"""All that a server does at its start takes several connections to the database. After it one is used, mostly the same,
and that is the one which is to know the statements of history and of storing events."""
_ASKED: tuple[StateKey, ...] = (CREATE, POWER_LEVELS, JOIN_RULES, GUEST_ACCESS, ("m.room.history_visibility", ""))
"""What most decisions of a room look at."""

_log = structlog.get_logger(__name__)


class RecentRooms:
    """Reads the heads of the rooms that the newest events are in, what is decided by, and what was said last, once."""

    def __init__(
        self,
        memory: RoomMemory,
        history: RoomHistory,
        position: int,
        *,
        max_rooms: int = _ROOMS,
        rush_s: float = _RUSH_S,
    ) -> None:
        """`position` is the newest event's, as the log had it at the start; `rush_s` lie between heads and history."""
        self._memory = memory
        self._history = history
        self._position = position
        self._max_rooms = max_rooms
        self._rush_s = rush_s

    async def run(self) -> None:
        """Read them, within bounds of number and time. A database that does not answer now is left alone."""
        try:
            async with asyncio.timeout(_LONGEST_S):
                rooms = await self.read()
            await asyncio.sleep(self._rush_s)
            async with asyncio.timeout(_LONGEST_S):
                await self.read_latest(rooms)
                # What is said first is then stored as quickly as what follows.
                async with self._memory.store.read_committed() as tx:
                    await tx.events.prepare_append()
        except (StoreUnavailable, TimeoutError) as error:
            _log.info("recent_rooms_not_read", error=str(error) or "the database was too slow")

    async def read(self) -> list[str]:
        """Read their heads; returns the rooms that are in memory now. Raises StoreUnavailable."""
        memory, known = self._memory, list[str]()
        async with memory.store.read_committed() as tx:
            rooms = await tx.rooms.recently_active(self._position - _EVENTS, self._max_rooms)
        for room_id in rooms:
            try:
                head = await memory.heads.fetch(room_id, memory.store)
                if head is not None:
                    await memory.read_events(head.state, _ASKED)
                    known.append(room_id)
            except StoreUnavailable:
                raise
            except Exception as error:  # what cannot be read there concerns those who ask for it, not the whole server
                _log.warning("recent_room_not_read", room_id=room_id, error=str(error))
        return known

    async def read_latest(self, rooms: Sequence[str]) -> None:
        """Read the newest events of these rooms, as whoever spoke last there does. Raises StoreUnavailable."""
        for number, room_id in enumerate(rooms):
            try:
                await self._read_latest(room_id, 2 if number == 0 else 1)
            except StoreUnavailable:
                raise
            except MatrixError:
                continue  # they have left
            except Exception as error:  # as above
                _log.warning("recent_room_not_read", room_id=room_id, error=str(error))

    async def _read_latest(self, room_id: str, pages: int) -> None:
        """The second page is read by another statement than the first."""
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        newest = () if head is None else [one.event_id for one in head.extremities[:1]]
        for stored in (await self._memory.events.fetch(newest, self._memory.store)).values():
            reader, start = Recipient(stored.event.sender), None
            for _ in range(pages):
                page = await self._history.messages(reader, room_id, PageRequest(True, start=start, limit=_LATEST))
                if (start := page.end) is None:
                    break
