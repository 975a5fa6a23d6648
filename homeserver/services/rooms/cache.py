"""Committed events in memory, bounded by bytes.

Follows the log: every committed event enters, and a redaction takes effect on the cached event at once, whichever
process made it. Readers share the entries, so the client form that one of them rendered serves all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from homeserver import faults
from homeserver.ports.events import EventFlags, StoredEvent
from homeserver.ports.log import EntryKind, LogEntry
from homeserver.ports.store import Store, Transaction

_PER_EVENT = 2_000
"""Parsed JSON and objects weigh about this much besides three times the canonical bytes."""


class EventCache:
    """Stored events by id, the least recently used forgotten first."""

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._events: OrderedDict[str, StoredEvent] = OrderedDict()
        self._successors: dict[str, str] = {}  # replaced state event → its successor in memory
        self._bytes = 0
        self._max_bytes = max_bytes

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener: take in committed events and forget what they redact."""
        for entry in entries:
            if entry.kind is EntryKind.EVENT:
                stored: StoredEvent = entry.payload
                if stored.event.redacts is not None:
                    # The store has the pruned form now; it is read again when somebody asks.
                    self.forget(stored.event.redacts)
                    # Its content also stands in `prev_content` of the event that replaced it.
                    if (successor := self._successors.get(stored.event.redacts)) is not None:
                        self.forget(successor)
                self.put(stored)

    def get(self, event_id: str) -> StoredEvent | None:
        """The event if it is in memory."""
        stored = self._events.get(event_id)
        if stored is not None:
            self._events.move_to_end(event_id)
        return stored

    def put(self, stored: StoredEvent) -> None:
        """Keep an event that was read or committed. Rejected events may change their verdict and are not kept."""
        event_id = stored.event.event_id
        if event_id in self._events or stored.flags & EventFlags.REJECTED:
            return
        self._events[event_id] = stored
        self._bytes += _weight(stored)
        if (replaced := _replaced(stored)) is not None:
            self._successors[replaced] = event_id
        while self._bytes > self._max_bytes and len(self._events) > 1:
            self.forget(next(iter(self._events)))

    def forget(self, event_id: str) -> None:
        """Drop an event whose stored form has changed."""
        stored = self._events.pop(event_id, None)
        if stored is not None:
            self._bytes -= _weight(stored)
            if (replaced := _replaced(stored)) is not None:
                self._successors.pop(replaced, None)

    def share(self, events: Iterable[StoredEvent]) -> list[StoredEvent]:
        """Events read from the store, each replaced by the cached object if there is one."""
        shared = []
        for stored in events:
            self.put(stored)
            shared.append(self._events.get(stored.event.event_id, stored))
        return shared

    async def load(self, event_ids: Collection[str], tx: Transaction) -> dict[str, StoredEvent]:
        """Events by id, from memory or in one statement; unknown ids are absent."""
        found: dict[str, StoredEvent] = {}
        missing: list[str] = []
        for event_id in event_ids:
            stored = self.get(event_id)
            if stored is None:
                missing.append(event_id)
            else:
                found[event_id] = stored
        if missing:
            loaded = await tx.events.get_many(missing)
            if faults.plan is not None:
                await faults.plan.reach("events.load")
            for event_id, stored in loaded.items():
                found[event_id] = stored
                self.put(stored)
        return found

    async def fetch(self, event_ids: Collection[str], store: Store) -> dict[str, StoredEvent]:
        """As `load`, opening a transaction only if something is missing."""
        found = {event_id: stored for event_id in event_ids if (stored := self.get(event_id)) is not None}
        missing = [event_id for event_id in event_ids if event_id not in found]
        if missing:
            async with store.read() as tx:
                found.update(await self.load(missing, tx))
        return found


def _replaced(stored: StoredEvent) -> str | None:
    return None if stored.unsigned is None else stored.unsigned.get("replaces_state")


def _weight(stored: StoredEvent) -> int:
    return _PER_EVENT + 3 * len(stored.event.canonical)
