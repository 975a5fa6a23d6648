"""Who is waiting, and waking exactly those whom a commit concerns.

A bell is only a hint to look again; the log is the truth. So a bell that rings for nothing costs one look, and
nobody is lost if it rings before they wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import assert_never

from homeserver import faults
from homeserver.core.errors import MatrixError
from homeserver.ports.log import EventEntry, InRoom, LogEntry, OfDevices, OfUser, Sharers, StateEntry
from homeserver.services.log import Log
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.sync.held import HeldOpen

_AT_ONCE = 64
"""So many are told of a ringing before others have their turn."""


class Bell(asyncio.Event):
    """Rings for one held request. `ended` says why there is nothing to wait for any more.

    With `heard`, that is called instead of waking a task, some time after the ringing: whoever rings is not made to
    do the work of all who listen.
    """

    def __init__(self, session_id: str | None, heard: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.session_id = session_id
        self.heard = heard
        self.ended: MatrixError | None = None

    async def rung_within(self, seconds: float) -> None:
        """Wait until it rings, or the time is over: either way, look again. Raises what `ended` says."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait()
        if self.ended is not None:
            raise self.ended

    def end(self, reason: MatrixError) -> None:
        """There is nothing to wait for any more, and `reason` is why."""
        self.ended = reason
        self.set()

    def stop(self) -> None:
        """Ring, for the server stops."""
        self.set()


class Waiters:
    """Held requests by user."""

    def __init__(self, log: Log, rooms: RoomLists, held: HeldOpen) -> None:
        self._rooms = rooms
        self._held = held
        self._bells: dict[str, set[Bell]] = {}
        self._rung: dict[Bell, None] = {}
        # RoomLists listens before us, so its lists already know the entries we are told of.
        log.listen(self._follow, self._wake_all)

    @property
    def count(self) -> int:
        """How many requests are held."""
        return sum(len(bells) for bells in self._bells.values())

    @contextmanager
    def waiting(
        self, user_id: str, session_id: str | None = None, heard: Callable[[], None] | None = None
    ) -> Iterator[Bell]:
        """Hold a bell for the user while the block runs. One that is heard is no request that could be answered."""
        bell = Bell(session_id, heard)
        bells = self._bells.setdefault(user_id, set())
        bells.add(bell)
        if heard is None:
            self._held.add(user_id, bell)
        try:
            yield bell
        finally:
            self._held.remove(user_id, bell)
            bell.heard = None
            bells.discard(bell)
            if not bells and self._bells.get(user_id) is bells:
                del self._bells[user_id]

    def wake(self, user_id: str) -> None:
        """Ring for one user."""
        for bell in self._bells.get(user_id, ()):
            if bell.heard is None:
                bell.set()
            else:
                if not self._rung:
                    asyncio.get_running_loop().call_soon(self._tell)
                self._rung[bell] = None

    def _tell(self) -> None:
        """Call some of those who are to hear; the rest after whatever else waits for its turn."""
        for bell in list(islice(self._rung, _AT_ONCE)):
            del self._rung[bell]
            if bell.heard is not None:
                bell.heard()
        if self._rung:
            asyncio.get_running_loop().call_soon(self._tell)

    def wake_room(self, room_id: str) -> None:
        """Ring for everybody joined to the room."""
        active = self._rooms.active_in(room_id)
        # Walk the smaller side: a big room with few waiting, or a small room among many waiting.
        for user_id in active if len(active) <= len(self._bells) else [user for user in self._bells if user in active]:
            self.wake(user_id)

    def _wake_all(self) -> None:
        self._wake_each(list(self._bells))

    def _wake_each(self, users: Iterable[str]) -> None:
        for user_id in users:
            self.wake(user_id)

    def _follow(self, entries: Sequence[LogEntry]) -> None:
        if not self._bells:
            return
        rooms: set[str] = set()
        for entry in entries:
            if isinstance(entry, EventEntry):
                if entry.subject in self._bells:
                    self.wake(entry.subject)
            elif isinstance(entry, StateEntry):
                self._wake_each(entry.subjects)
            match entry.concern:
                case InRoom(room_id):
                    rooms.add(room_id)
                case OfUser(user_id):
                    self.wake(user_id)
                case OfDevices(devices):
                    self._wake_each({user_id for user_id, _ in devices})
                case Sharers(user_id):
                    self.wake(user_id)
                    rooms.update(self._rooms.joined_by(user_id))
                case unknown:
                    assert_never(unknown)
        if faults.plan is not None:
            faults.plan.touch("waiters.wake")
        for room_id in rooms:
            self.wake_room(room_id)
