"""Who is typing where. In memory only: it is worth nothing after a restart.

Every change gets a serial number, which is the ephemeral part of sync tokens. Its upper half is the epoch, the second
in which this tracker began: a serial of another epoch, from before a restart or of another process, says nothing about
what its owner knows.
spec: client-server-api#typing-notifications
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from homeserver.ports.clock import Clock
from homeserver.ports.log import EventEntry, LogEntry

_LONGEST_MS = 120_000
_FIRST_EPOCH_S = 1_577_836_800  # 2020
_EPOCH_BITS = 32


class TypingTracker:
    """Typing users by room, with expiry."""

    def __init__(self, clock: Clock, *, max_rooms: int = 10_000, max_users: int = 100) -> None:
        self._clock = clock
        self._max_rooms = max_rooms
        self._max_users = max_users
        self._typing: dict[str, dict[str, float]] = {}  # room id → user id → end (monotonic seconds)
        self._changed: dict[str, int] = {}  # room id → serial of its last change, oldest first
        self._serial = self._epoch = max(clock.now_ms() // 1000 - _FIRST_EPOCH_S, 1) << _EPOCH_BITS
        self._forgotten = self._epoch  # serial of the last change that is not in `_changed` any more
        self._on_change: list[Callable[[str], None]] = []

    @property
    def serial(self) -> int:
        """Serial of the last change."""
        return self._serial

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call `callback(room_id)` after every change."""
        self._on_change.append(callback)

    def set(self, room_id: str, user_id: str, timeout_ms: int | None) -> None:
        """The user types for `timeout_ms` milliseconds (bounded), or has stopped (None)."""
        users = self._typing.setdefault(room_id, {})
        was_typing = user_id in users
        if timeout_ms is None:
            users.pop(user_id, None)
        elif was_typing or len(users) < self._max_users:
            users[user_id] = self._clock.monotonic() + min(max(timeout_ms, 0), _LONGEST_MS) / 1000
        is_typing = user_id in users
        if not users:
            del self._typing[room_id]
        if was_typing != is_typing:
            self._note(room_id)

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener: nobody types in a room that they have left."""
        for entry in entries:
            if isinstance(entry, EventEntry):
                event = entry.stored.event
                if event.state_key in self._typing.get(event.room_id, ()) and event.membership not in (None, "join"):
                    self.set(event.room_id, event.state_key or "", None)

    def users(self, room_id: str) -> list[str]:
        """Who is typing in the room now."""
        return list(self._typing.get(room_id, ()))

    def changed_since(self, serial: int) -> list[str] | None:
        """Rooms that changed after `serial`; 0 is the serial of who knows nothing yet. None: any room may have."""
        if serial == self._serial:
            return []
        if serial == 0:
            return list(self._typing)
        if not self._forgotten <= serial <= self._serial:
            return None
        return [room_id for room_id, at in self._changed.items() if at > serial]

    async def run(self) -> None:
        """End typing when its time is over, until cancelled."""
        while True:
            await asyncio.sleep(1)
            self.expire()

    def expire(self) -> None:
        """End the typing whose time is over."""
        now = self._clock.monotonic()
        for room_id in list(self._typing):
            users = self._typing[room_id]
            for user_id in [user_id for user_id, end in users.items() if end <= now]:
                self.set(room_id, user_id, None)

    def _note(self, room_id: str) -> None:
        self._serial += 1
        self._changed.pop(room_id, None)
        self._changed[room_id] = self._serial
        if len(self._changed) > self._max_rooms:
            self._forgotten = self._changed.pop(next(iter(self._changed)))
        for callback in self._on_change:
            callback(room_id)
