"""The in-memory tail of the log and its followers.

Keeps the newest entries, contiguous and bounded by bytes. Followers (sync waiters, sockets, senders) are cursors:
they read the tail first and the database behind it. Listeners are plain callbacks that keep caches true; they run
in commit order, before the change is acknowledged. See docs/subsystems/log.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from homeserver.ports.log import LogEntry

Listener = Callable[[Sequence[LogEntry]], None]
Forget = Callable[[], None]

_MAX_EARLY = 64


class Log:
    """The newest part of the commit-ordered log, in memory."""

    def __init__(self, position: int, *, max_bytes: int = 32 * 1024 * 1024, max_entries: int = 50_000) -> None:
        """`position` is the last committed position in the database; the tail starts empty behind it."""
        self._entries: deque[LogEntry] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._position = position
        self._start = position
        self._listeners: list[Listener] = []
        self._forgetters: list[Forget] = []
        self._early: dict[int, Sequence[LogEntry]] = {}  # by first position: they came before their predecessors

    @property
    def position(self) -> int:
        """The last committed position known here."""
        return self._position

    @property
    def start(self) -> int:
        """The tail holds every entry after this position."""
        return self._start

    def listen(self, listener: Listener, forget: Forget) -> None:
        """Call `listener` with every batch of committed entries, in order. It must not raise or block.

        `forget` is called where entries are left out before the next batch: whatever was learnt from the log may
        be out of date and must be read again.
        """
        self._listeners.append(listener)
        self._forgetters.append(forget)

    def publish(self, entries: Sequence[LogEntry]) -> bool:
        """Take in committed entries, which follow one another, and tell listeners and followers.

        What is known already is passed over. Where entries before them are missing (another process committed in
        between), these wait for them: nobody sees entries out of order, and the position never goes back. Returns
        whether the log has come as far as these entries; if not, somebody has to read what is missing from the
        database (`LogFollower.catch_up`).
        """
        if not entries:
            return True
        first, last = entries[0].position, entries[-1].position
        if first > self._position + 1:
            if len(self._early) < _MAX_EARLY:  # what is not kept is read from the database with the rest
                self._early[first] = entries
            return False
        if last > self._position:
            self._append(entries[self._position + 1 - first :])
        while self._early and (first := min(self._early)) <= self._position + 1:
            waiting = self._early.pop(first)
            if waiting[-1].position > self._position:
                self._append(waiting[self._position + 1 - first :])
        return True

    def _append(self, entries: Sequence[LogEntry]) -> None:
        self._entries.extend(entries)
        self._bytes += sum([entry.size for entry in entries])
        self._position = entries[-1].position
        while len(self._entries) > self._max_entries or (self._bytes > self._max_bytes and len(self._entries) > 1):
            oldest = self._entries.popleft()
            self._bytes -= oldest.size
            self._start = oldest.position
        for listener in self._listeners:
            listener(entries)

    def skip_to(self, position: int) -> None:
        """Everything up to `position` is committed, but its entries are too many or gone: the tail is empty.

        Followers read the database, and whoever learnt something from the log forgets it.
        """
        if position <= self._position:
            return
        self._entries.clear()
        self._bytes = 0
        self._start = self._position = position
        for forget in self._forgetters:
            forget()

    def since(self, position: int, upto: int | None = None) -> list[LogEntry] | None:
        """Entries with `position < entry.position <= upto`, or None if the tail no longer reaches back so far."""
        if position < self._start:
            return None
        # Positions are contiguous, so the place of an entry in the tail is plain arithmetic.
        # It is counted from the end, because that is where nearly everybody reads, and a deque is walked to get there.
        count = len(self._entries)
        first = max(self._position - position, 0)
        last = 0 if upto is None else min(max(self._position - upto, 0), count)
        newest = list(islice(reversed(self._entries), last, max(first, last)))
        newest.reverse()
        return newest
