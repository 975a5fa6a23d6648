"""Listening to one room, by members and by those who only look into it: what guests do in world-readable rooms.

Each answer is a stretch of the room's timeline up to the log position of its `end`, filtered by what the listener
may see; a held request is a bell that rings for the room, for the end of its session, and at shutdown.
spec: client-server-api#get_matrixclientv3events
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.events import order_of
from homeserver.ports.log import EventEntry, LogEntry, StateEntry
from homeserver.services.log import Log
from homeserver.services.rooms.history import PageRequest, RoomHistory
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.tokens import timeline_order, timeline_token
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

    def __init__(self, log: Log, history: RoomHistory, clock: Clock, *, max_timeout_ms: int) -> None:
        self._log = log
        self._max_timeout_ms = max_timeout_ms
        self._history = history
        self._clock = clock
        self._bells: dict[str, dict[Bell, str]] = {}  # by room; whose each is
        self._released = False
        log.listen(self._follow, self._ring_all)

    def release(self) -> None:
        """Answer all held requests now and hold none from here on (shutdown)."""
        self._released = True
        self._ring_all()

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
                if page.chunk or remaining <= 0 or self._released:
                    return Heard(begin, end, page.chunk)
                order = timeline_order(end)
                await bell.rung_within(remaining)

    def end_session(self, user_id: str, session_id: str) -> None:
        """Answer the held requests of a session that was ended with M_UNKNOWN_TOKEN, now."""
        self._end(user_id, session_id, MatrixError(ErrCode.UNKNOWN_TOKEN, "The session has ended"))

    def end_user(self, user_id: str, reason: MatrixError) -> None:
        """Answer all held requests of a user with `reason`, now."""
        self._end(user_id, None, reason)

    def _end(self, user_id: str, session_id: str | None, reason: MatrixError) -> None:
        for bells in self._bells.values():
            for bell, listener in bells.items():
                if listener == user_id and session_id in (None, bell.session_id):
                    bell.ended = reason
                    bell.set()

    @contextmanager
    def _listening(self, user_id: str, session_id: str | None, room_id: str) -> Iterator[Bell]:
        """Hold a bell for the room while the block runs."""
        bell = Bell(session_id)
        bells = self._bells.setdefault(room_id, {})
        bells[bell] = user_id
        try:
            yield bell
        finally:
            del bells[bell]
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
