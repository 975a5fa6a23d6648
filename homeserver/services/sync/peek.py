"""Listening to one room, by members and by those who only look into it: what guests do in world-readable rooms.

Each answer is a stretch of the room's timeline up to the log position of its `end`, filtered by what the listener
may see; a held request is a bell that rings for the room, and as the register of what is held open says (`held`).
spec: client-server-api#get_matrixclientv3events
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from homeserver.ports.clock import Clock
from homeserver.ports.events import order_of
from homeserver.ports.log import EventEntry, LogEntry, StateEntry
from homeserver.services.log import Log
from homeserver.services.rooms.history import PageRequest, RoomHistory
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.tokens import timeline_order, timeline_token
from homeserver.services.sync.held import HeldOpen
from homeserver.services.sync.waiter import Bell

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """Rendered events, and the tokens around them."""

    start: str
    end: str
    chunk: list[bytes]


class Peeks:
    """Holds requests for single rooms."""

    def __init__(self, log: Log, history: RoomHistory, held: HeldOpen, clock: Clock, *, max_timeout_ms: int) -> None:
        self._log = log
        self._max_timeout_ms = max_timeout_ms
        self._history = history
        self._clock = clock
        self._bells: dict[str, set[Bell]] = {}  # by room
        self._held = held
        log.listen(self._follow, self._ring_all)

    async def events(
        self, who: Recipient, session_id: str | None, room_id: str, start: str | None, timeout_ms: int
    ) -> Heard:
        """What happened in a room after `start` (None: now), as soon as there is something, at the latest in time.

        Raises MatrixError: INVALID_PARAM, FORBIDDEN for a room the user may not see, UNKNOWN_TOKEN if the session
        ends meanwhile.
        """
        order = order_of(self._log.position) if start is None else timeline_order(start)
        deadline = self._clock.monotonic() + min(timeout_ms, self._max_timeout_ms) / 1000
        begin = timeline_token(order)
        with self._listening(who.user_id, session_id, room_id) as bell:
            while True:
                bell.clear()
                high = order_of(self._log.position)
                request = PageRequest(False, timeline_token(order), timeline_token(high), _PAGE)
                page = await self._history.messages(who, room_id, request)
                end = page.end or timeline_token(max(high, order))
                remaining = deadline - self._clock.monotonic()
                if page.chunk or remaining <= 0 or self._held.released:
                    return Heard(begin, end, page.chunk)
                order = timeline_order(end)
                await bell.rung_within(remaining)

    @contextmanager
    def _listening(self, user_id: str, session_id: str | None, room_id: str) -> Iterator[Bell]:
        """Hold a bell for the room while the block runs."""
        bell = Bell(session_id)
        bells = self._bells.setdefault(room_id, set())
        bells.add(bell)
        self._held.add(user_id, bell)
        try:
            yield bell
        finally:
            self._held.remove(user_id, bell)
            bells.discard(bell)
            if not bells and self._bells.get(room_id) is bells:
                del self._bells[room_id]

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            for bell in bells:
                bell.set()

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if not self._bells:
            return
        for entry in entries:
            if isinstance(entry, EventEntry | StateEntry) and entry.room_id in self._bells:
                for bell in self._bells[entry.room_id]:
                    bell.set()
