"""Committed events in memory, bounded by bytes.

Follows the log: every committed event enters, and a redaction takes effect on the cached event at once, whichever
process made it. The store's reads answer from here and put in what they had to fetch, so all readers share one
object and the client form that one of them rendered serves all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from homeserver.core.relations import BUNDLED, relation_of
from homeserver.ports.events import EventFlags, EventMemory, StoredEvent
from homeserver.ports.log import EventEntry, LogEntry
from homeserver.ports.store import Store

_PER_EVENT = 700
"""Objects and identifiers of an event weigh about this much besides twice the canonical bytes (client form)."""
_UNSETTLED = EventFlags.REJECTED | EventFlags.OUTLIER
"""Rejected events may change their verdict and outliers their place."""


class EventCache(EventMemory):
    """Stored events, the least recently used forgotten first; implements `ports.events.EventMemory`."""

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._events: OrderedDict[str, StoredEvent] = OrderedDict()
        self._by_nid: dict[int, StoredEvent] = {}
        self._successors: dict[str, str] = {}  # replaced state event → its successor in memory
        self._bytes = 0
        self._max_bytes = max_bytes
        self._changes = 0

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener: take in committed events and what they change about earlier ones."""
        for entry in entries:
            if isinstance(entry, EventEntry):
                stored = entry.stored
                if stored.event.redacts is not None:
                    self._redacted(stored.event.redacts)
                elif (target := bundled_with(stored)) is not None:
                    self._related(target)
                self._put(stored)

    def clear(self) -> None:
        """Forget everything: what the log did not tell may have redacted any of it."""
        self._changes += 1  # what a read under way still finds may be from before, too
        self._events.clear()
        self._by_nid.clear()
        self._successors.clear()
        self._bytes = 0

    def mark(self) -> int:
        return self._changes

    def at(self, nid: int) -> StoredEvent | None:
        stored = self._by_nid.get(nid)
        if stored is not None:
            self._events.move_to_end(stored.event.event_id)
        return stored

    def those_of(self, nids: Iterable[int]) -> dict[int, StoredEvent]:
        by_nid, move_to_end = self._by_nid, self._events.move_to_end
        found: dict[int, StoredEvent] = {}
        for nid in nids:
            stored = by_nid.get(nid)
            if stored is not None:
                move_to_end(stored.event.event_id)
                found[nid] = stored
        return found

    def get(self, event_id: str) -> StoredEvent | None:
        stored = self._events.get(event_id)
        if stored is not None:
            self._events.move_to_end(event_id)
        return stored

    def keep(self, stored: StoredEvent, since: int) -> StoredEvent:
        known = self._events.get(stored.event.event_id)
        if known is not None:
            return known
        if since == self._changes:
            self._put(stored)
        return stored

    async def fetch(self, event_ids: Collection[str], store: Store) -> dict[str, StoredEvent]:
        """As `EventRepo.get_many`, asking the store only if something is missing."""
        found = {event_id: stored for event_id in event_ids if (stored := self.get(event_id)) is not None}
        missing = [event_id for event_id in event_ids if event_id not in found]
        if missing:
            async with store.read_committed() as tx:
                found.update(await tx.events.get_many(missing))
        return found

    def _put(self, stored: StoredEvent) -> None:
        event_id = stored.event.event_id
        if event_id in self._events or (stored.flags and stored.flags & _UNSETTLED):
            return
        stored.event.forget_parsed()
        self._events[event_id] = stored
        self._by_nid[stored.nid] = stored
        self._bytes += _weight(stored)
        if (replaced := _replaced(stored)) is not None:
            self._successors[replaced] = event_id
        while self._bytes > self._max_bytes and len(self._events) > 1:
            self._forget(next(iter(self._events)))

    def _redacted(self, event_id: str) -> None:
        """The store has the pruned form now; it is read again when somebody asks."""
        self._changes += 1
        self._forget(event_id)
        # Its content also stands in `prev_content` of the event that replaced it.
        if (successor := self._successors.get(event_id)) is not None:
            self._forget(successor)

    def _related(self, event_id: str) -> None:
        self._changes += 1
        if (target := self._events.get(event_id)) is not None:
            target.is_related_to = True

    def _forget(self, event_id: str) -> None:
        stored = self._events.pop(event_id, None)
        if stored is not None:
            del self._by_nid[stored.nid]
            self._bytes -= _weight(stored)
            if (replaced := _replaced(stored)) is not None:
                self._successors.pop(replaced, None)


def bundled_with(stored: StoredEvent) -> str | None:
    """The event that this one is told with, if it relates to one in such a way."""
    if stored.event.is_state:
        return None
    relation = relation_of(stored.event.content)
    return relation.event_id if relation is not None and relation.rel_type in BUNDLED else None


def _replaced(stored: StoredEvent) -> str | None:
    return None if stored.replaces is None else stored.replaces.event_id


def _weight(stored: StoredEvent) -> int:
    return _PER_EVENT + 2 * len(stored.event.canonical)
