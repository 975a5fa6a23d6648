"""Room heads in memory: the points that new events are built on.

A head here may be older than the database's when another process writes to the room; the compare-and-set of the
commit finds out, and the head is loaded again. After any failure of the store all heads are dropped: memory must
not know extremities that the database has lost.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

from homeserver import faults
from homeserver.ports.events import AppendResult, RoomHead
from homeserver.ports.log import EventEntry, LogEntry, StateEntry
from homeserver.ports.store import Store, Transaction

_PER_STATE_EVENT = 250


class HeadCache:
    """Heads by room id, bounded by number and by estimated bytes."""

    def __init__(self, *, max_rooms: int = 5_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._heads: OrderedDict[str, RoomHead] = OrderedDict()
        self._max_rooms = max_rooms
        self._max_bytes = max_bytes
        self._bytes = 0
        self._loading: Counter[str] = Counter()
        self._overtaken: set[str] = set()  # rooms that moved while their head was being loaded

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener: a room that got events has a new head. The writer that made them puts it back at once."""
        for entry in entries:
            if isinstance(entry, EventEntry | StateEntry):
                self.drop(entry.room_id)

    def peek(self, room_id: str) -> RoomHead | None:
        """The head if it is in memory."""
        head = self._heads.get(room_id)
        if head is not None:
            self._heads.move_to_end(room_id)
        return head

    def put(self, head: RoomHead) -> None:
        """Remember the head a commit or a load gave; an older one than is known is ignored."""
        known = self._heads.get(head.room_id)
        if known is not None:
            if known.version_no > head.version_no:
                return
            self._bytes -= _weight(known)
        self._heads[head.room_id] = head
        self._heads.move_to_end(head.room_id)
        self._bytes += _weight(head)
        while len(self._heads) > self._max_rooms or (self._bytes > self._max_bytes and len(self._heads) > 1):
            _, oldest = self._heads.popitem(last=False)
            self._bytes -= _weight(oldest)

    def appended(self, result: AppendResult) -> None:
        """Committer callback: the new head is here before anybody who followed the log looks for it."""
        if result.head is not None:
            self.put(result.head)

    def drop(self, room_id: str) -> None:
        """Forget one room's head: it has moved."""
        head = self._heads.pop(room_id, None)
        if head is not None:
            self._bytes -= _weight(head)
        if room_id in self._loading:
            self._overtaken.add(room_id)

    def clear(self) -> None:
        """Forget everything: the store failed."""
        self._heads.clear()
        self._bytes = 0
        self._overtaken.update(self._loading)

    async def of(self, room_id: str, tx: Transaction) -> RoomHead | None:
        """The head, from memory or the store; None if the room is unknown."""
        head = self.peek(room_id)
        if head is not None:
            return head
        self._loading[room_id] += 1
        try:
            head = await tx.rooms.head(room_id)
            if faults.plan is not None:
                await faults.plan.reach("heads.load")
            if head is not None and room_id not in self._overtaken:
                self.put(head)
            return head
        finally:
            self._loading[room_id] -= 1
            if not self._loading[room_id]:
                del self._loading[room_id]
                self._overtaken.discard(room_id)

    async def fetch(self, room_id: str, store: Store) -> RoomHead | None:
        """As `of`, opening a transaction only if the head is not in memory."""
        head = self.peek(room_id)
        if head is not None:
            return head
        async with store.read() as tx:
            return await self.of(room_id, tx)


def _weight(head: RoomHead) -> int:
    return 1_000 + _PER_STATE_EVENT * head.state.weight
