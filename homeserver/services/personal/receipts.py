"""Read receipts and fully read markers: how far a user has read. Neither ever goes back in the timeline.

spec: client-server-api#receipts, client-server-api#fully-read-markers
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakValueDictionary

import orjson

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.events import EventMemory, StoredEvent
from homeserver.ports.log import JointChange, LogEntry, ReceiptEntry
from homeserver.ports.receipts import ReceiptChanged
from homeserver.ports.store import Store, Transaction
from homeserver.services.commit import Committer
from homeserver.services.personal.edits import AccountDataEdits

READ = "m.read"
READ_PRIVATE = "m.read.private"
FULLY_READ = "m.fully_read"
MAIN_THREAD = "main"

_MOST_REACHED = 20_000
_MOST_HOPS = 3  # spec: client-server-api#threaded-read-receipts


@dataclass(frozen=True, slots=True)
class _PutReceipt(JointChange):
    """The change for the committer."""

    receipt: ReceiptChanged
    most: int

    async def prepare(self, _tx: Transaction) -> int:
        """One position."""
        return 1

    @classmethod
    async def write_all(cls, tx: Transaction, changes: Sequence[tuple[Self, int]]) -> Sequence[Sequence[LogEntry]]:
        """Store receipts; where another process was further, repeat its. The oldest threads make room for new ones."""
        for change, _ in changes:
            if change.receipt.thread_id is not None:
                await tx.receipts.keep_newest(change.receipt.room_nid, change.receipt.user_id, change.most - 1)
        stored = await tx.receipts.put([(change.receipt, position) for change, position in changes])
        return [[ReceiptEntry(position, receipt)] for (_, position), receipt in zip(changes, stored, strict=True)]


class ReceiptService:
    """Stores receipts and fully read markers."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        edits: AccountDataEdits,
        clock: Clock,
        *,
        most: int = 1_000,
        events: EventMemory | None = None,
    ) -> None:
        """`most`: threaded receipts of one user in one room that are kept. `events`: where to look before the store."""
        self._most = most
        self._events = events
        self._store = store
        self._committer = committer
        self._edits = edits
        self._clock = clock
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        # The order that a receipt stands at, or one before it if another process has moved it on.
        self._reached: OrderedDict[tuple[int, str, str, str | None], int] = OrderedDict()

    async def set(self, user_id: str, room_id: str, type_: str, event_id: str, thread_id: str | None) -> None:
        """The user, joined to the room (checked by the caller), has read up to `event_id`.

        Nothing happens if they had read further already.
        Raises MatrixError(INVALID_PARAM) for an unknown type or a thread that the event is not in, NOT_FOUND for an
        event of another room.
        """
        if type_ not in {READ, READ_PRIVATE}:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{type_!r} is not a receipt type")
        if thread_id is not None and thread_id != MAIN_THREAD and not thread_id.startswith("$"):
            raise MatrixError(ErrCode.INVALID_PARAM, "thread_id must be 'main' or an event id")
        lock = self._locks.setdefault((user_id, room_id), asyncio.Lock())
        async with lock:  # of two receipts at once, the older must not be stored last
            target = None if self._events is None else self._events.get(event_id)
            key = None if target is None else (target.room_nid, user_id, type_, thread_id)
            reached = None if key is None else self._reached.get(key)
            if target is None or key is None or reached is None or not _is_in_timeline(target, room_id):
                target = await self._looked_up(user_id, room_id, type_, event_id, thread_id)
                if target is None:
                    return
                key = (target.room_nid, user_id, type_, thread_id)
            elif target.order is not None and reached >= target.order:
                return
            if faults.plan is not None:
                await faults.plan.reach("receipts.decided")
            receipt = ReceiptChanged(
                room_id, target.room_nid, user_id, type_, thread_id, event_id, self._clock.now_ms()
            )
            await self._committer.commit(_PutReceipt(receipt, self._most))
            self._remember(key, target)

    async def _looked_up(
        self, user_id: str, room_id: str, type_: str, event_id: str, thread_id: str | None
    ) -> StoredEvent | None:
        """The event, unless the user has read further already; asking the store."""
        # Each look stands alone: events keep their places, and the store lets no receipt go back.
        async with self._store.read_committed() as tx:
            target = await _timeline_event(tx, room_id, event_id)
            if thread_id is not None:
                await _require_thread(tx, target, thread_id)
            reached = self._reached.get((target.room_nid, user_id, type_, thread_id))
            if reached is None:
                known_id = await tx.receipts.get(target.room_nid, user_id, type_, thread_id)
                return None if await _is_as_far(tx, known_id, target) else target
            return None if target.order is not None and reached >= target.order else target

    def _remember(self, key: tuple[int, str, str, str | None], target: StoredEvent) -> None:
        if target.order is None or key[3] is not None:
            return  # threads are many, and the oldest of a user are forgotten
        self._reached[key] = target.order
        self._reached.move_to_end(key)
        if len(self._reached) > _MOST_REACHED:
            self._reached.popitem(last=False)

    async def set_fully_read(self, user_id: str, room_id: str, event_id: str) -> None:
        """Move the user's marker, kept as account data `m.fully_read`. Raises NOT_FOUND as `set`."""

        async def edit(stored: bytes | None) -> bytes | None:
            known_id = None if stored is None else orjson.loads(stored).get("event_id")
            async with self._store.read_committed() as tx:
                target = await _timeline_event(tx, room_id, event_id)
                if await _is_as_far(tx, known_id, target):
                    return None
            return orjson.dumps({"event_id": event_id})

        await self._edits.edit(user_id, room_id, FULLY_READ, edit)


def receipt_events(receipts: Sequence[ReceiptChanged]) -> list[dict[str, Any]]:
    """The ephemeral `m.receipt` events of a room: mostly one.

    A user may have read one event unthreaded, in `main` and as the root of a thread. The content of one event can say
    that of them only once, so what comes second goes into the next event.
    spec: client-server-api#mreceipt
    """
    contents: list[dict[str, dict[str, dict[str, dict[str, Any]]]]] = []
    told: Counter[tuple[str, str, str]] = Counter()
    # Where processes overtook each other, the log has a receipt twice.
    for receipt in {(one.event_id, one.type, one.user_id, one.thread_id): one for one in receipts}.values():
        key = (receipt.event_id, receipt.type, receipt.user_id)
        if told[key] == len(contents):
            contents.append({})
        content = contents[told[key]]
        told[key] += 1
        data: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread_id is not None:
            data["thread_id"] = receipt.thread_id
        content.setdefault(receipt.event_id, {}).setdefault(receipt.type, {})[receipt.user_id] = data
    return [{"type": "m.receipt", "content": content} for content in contents]


def typing_event(users: Sequence[str]) -> dict[str, Any]:
    """The ephemeral `m.typing` event of a room.  spec: client-server-api#mtyping"""
    return {"type": "m.typing", "content": {"user_ids": list(users)}}


def _is_in_timeline(event: StoredEvent, room_id: str) -> bool:
    return event.event.room_id == room_id and event.order is not None


async def _timeline_event(tx: Transaction, room_id: str, event_id: str) -> StoredEvent:
    """An event of the room's timeline; no statement if memory holds it."""
    event = (await tx.events.get_many([event_id])).get(event_id)
    if event is None or not _is_in_timeline(event, room_id):
        raise MatrixError(ErrCode.NOT_FOUND, "There is no such event in this room")
    return event


async def _is_as_far(tx: Transaction, known_id: str | None, target: StoredEvent) -> bool:
    """Whether the event read up to so far is `target` or after it."""
    known = None if known_id is None else (await tx.events.get_many([known_id])).get(known_id)
    if known is None or known.order is None or target.order is None:
        return False
    return known.order >= target.order


async def _require_thread(tx: Transaction, event: StoredEvent, thread_id: str) -> None:
    """Refuse a thread that the event is not in; a thread's root is in its thread and in the main timeline.

    spec: client-server-api#threaded-read-receipts
    """
    if event.event.event_id == thread_id:
        return
    current = event
    for _ in range(_MOST_HOPS):
        if current.redacted_by is not None:
            return  # its relation is gone, and the client may know it better
        relation = current.event.content.get("m.relates_to")
        parent_id = relation.get("event_id") if isinstance(relation, dict) else None
        if not isinstance(relation, dict) or not isinstance(parent_id, str):
            break
        if relation.get("rel_type") == "m.thread":
            if parent_id == thread_id:
                return
            raise _not_in_thread()
        parent = (await tx.events.get_many([parent_id])).get(parent_id)
        if parent is None or parent.room_nid != event.room_nid:
            break
        if parent_id == thread_id:  # NOTSPEC: clients count what relates to the root as part of its thread, too
            return
        current = parent
    if thread_id != MAIN_THREAD:
        raise _not_in_thread()


def _not_in_thread() -> MatrixError:
    return MatrixError(ErrCode.INVALID_PARAM, "The event is not in this thread")
