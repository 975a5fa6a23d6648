"""The presence that an application service is told of: what users do, and what follows from their silence."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from homeserver.ports.clock import Clock
from homeserver.services.personal.presence import PresenceTracker

_MOST_CHANGED = 1_000
_MOST_WATCHED = 10_000


class PresenceNews:
    """Changes of presence for one service. Bounded: what comes while it does not listen is of little use to it."""

    def __init__(self, tracker: PresenceTracker, clock: Clock, wake: Callable[[], None]) -> None:
        """`wake()` is called when there is something to tell."""
        self._tracker = tracker
        self._clock = clock
        self._wake = wake
        self._changed: dict[str, None] = {}
        self._shown: dict[str, str] = {}  # what was told last of those who can still fall silent
        self._due: list[tuple[float, str]] = []  # one for each of these: when to look again (monotonic seconds)
        tracker.on_change(self._note)

    def _note(self, user_id: str) -> None:
        if len(self._changed) < _MOST_CHANGED:
            self._changed[user_id] = None
            self._wake()

    def due_in_s(self) -> float | None:
        """When somebody may have become silent, in seconds from now."""
        return max(self._due[0][0] - self._clock.monotonic(), 0.0) if self._due else None

    def take(self) -> dict[str, dict[str, Any]]:
        """What has changed since the last time, by user."""
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now and len(self._changed) < _MOST_CHANGED:
            _, user_id = heapq.heappop(self._due)
            if self._tracker.of(user_id).state == self._shown[user_id]:
                self._watch(user_id, now)  # heard of meanwhile
            else:
                del self._shown[user_id]
                self._changed[user_id] = None
        changed, self._changed = self._changed, {}
        told = {}
        for user_id in changed:
            presence = self._tracker.of(user_id)
            told[user_id] = presence.to_json()
            is_watched = user_id in self._shown
            self._shown[user_id] = presence.state
            if not is_watched:
                self._watch(user_id, now)
        return told

    def _watch(self, user_id: str, now: float) -> None:
        fades_in_s = self._tracker.fades_in_s(user_id)
        if fades_in_s is None or len(self._due) >= _MOST_WATCHED:
            del self._shown[user_id]
        else:
            heapq.heappush(self._due, (now + fades_in_s, user_id))
