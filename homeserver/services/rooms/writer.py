"""The only place that appends events to rooms.

Each room has a queue in this process. The writer takes all waiting drafts of a room at once, decides them on the
cached head (`decide.py`) and gives them to the committer as one append; while that commits, the next drafts gather.
If another process moved the head, everything is decided again on a fresh one. Nothing here awaits the network.
See docs/subsystems/rooms.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import structlog

from homeserver import faults
from homeserver.core.content import MAX_PREV_EVENTS
from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.versions import RoomVersion
from homeserver.ports.events import AppendResult, NewRoom, RoomAppend, RoomHead
from homeserver.ports.state import MissingStateError, RoomState
from homeserver.ports.store import StoreUnavailable, UniqueViolation
from homeserver.services.commit import Committer
from homeserver.services.rooms.arrivals import Arrival, ArrivalOutcome, ArrivingRoom
from homeserver.services.rooms.decide import (
    EventsAtHand,
    MissingAnnotationsError,
    MissingEventsError,
    WorkingRoom,
    Workshop,
)
from homeserver.services.rooms.drafts import Draft
from homeserver.services.rooms.memory import RoomMemory
from homeserver.services.rooms.resolution import Resolutions

__all__ = ["RoomMemory", "RoomWriter"]

_log = structlog.get_logger(__name__)

_ATTEMPTS = 60
"""Another process that writes to the same room may be quicker many times: the pauses come to about five seconds."""
_LONGEST_PAUSE_S = 0.1
_MAX_BATCH = 100
_ID_LETTERS = 18
_NONCE = "chat.hromada.nonce"
_NONCE_LETTERS = 16
_MAX_WAITING = 2_000
_MAX_RECENT_TXNS = 2_000


_Answer = TypeVar("_Answer")


@dataclass(slots=True, eq=False)
class _Asked(Generic[_Answer]):
    done: asyncio.Future[_Answer]

    def settle(self, outcome: _Answer | Exception) -> None:
        if self.done.done():
            return
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


@dataclass(slots=True, eq=False)
class _Waiting(_Asked[str]):
    draft: Draft


@dataclass(slots=True, eq=False)
class _Coming(_Asked[ArrivalOutcome]):
    arrival: Arrival


@dataclass(slots=True)
class _Queue:
    waiting: deque[_Waiting | _Coming] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class RoomWriter:
    """Decides and appends events."""

    def __init__(self, memory: RoomMemory, committer: Committer, workshop: Workshop) -> None:
        self._memory = memory
        self._resolutions = Resolutions(memory)
        committer.on_append(self._resolutions.appended)
        self._committer = committer
        self._workshop = workshop
        self._queues: dict[str, _Queue] = {}
        self._txns: OrderedDict[bytes, asyncio.Future[str]] = OrderedDict()

    async def send(self, room_id: str, draft: Draft) -> str:
        """Add one event to a room; returns its id once it is committed.

        A draft whose transaction has made an event already gives that event's id; one that changes nothing gives
        the id of the event that says so. Raises MatrixError (refused), StoreUnavailable (outcome unknown).
        """
        # Shielded: a caller who goes away must not take the answer from another one with the same transaction.
        return await asyncio.shield(self._enqueue(room_id, draft))

    async def arrive(self, room_id: str, arrival: Arrival) -> ArrivalOutcome:
        """Give an event that was made earlier or elsewhere its place in a room; returns what became of it.

        One that is here already changes nothing. Raises MatrixError: NOT_FOUND if events that it refers to, or the
        room, are not here, INVALID_PARAM if it is of another room; StoreUnavailable (outcome unknown).
        """
        done: asyncio.Future[ArrivalOutcome] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_retrieve)
        self._put(room_id, _Coming(done, arrival))
        return await asyncio.shield(done)

    def _enqueue(self, room_id: str, draft: Draft) -> asyncio.Future[str]:
        key = draft.txn.key if draft.txn is not None else None
        if key is not None and (known := self._txns.get(key)) is not None:
            return known
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._put(room_id, _Waiting(done, draft))
        if key is not None:
            self._remember(key, done)
        else:
            done.add_done_callback(_retrieve)
        return done

    def _put(self, room_id: str, item: _Waiting | _Coming) -> None:
        queue = self._queues.setdefault(room_id, _Queue())
        if len(queue.waiting) >= _MAX_WAITING:
            raise MatrixError(ErrCode.LIMIT_EXCEEDED, "Too many events are waiting for this room", retry_after_ms=1000)
        queue.waiting.append(item)
        if queue.task is None:
            queue.task = asyncio.create_task(self._work(room_id, queue), name=f"room-writer {room_id}")

    def _remember(self, key: bytes, done: asyncio.Future[str]) -> None:
        """Let repetitions share the future; a failed transaction is forgotten, so that it can be tried again."""

        def forget_failure(future: asyncio.Future[str]) -> None:
            if _retrieve(future) is not None and self._txns.get(key) is future:
                del self._txns[key]

        self._txns[key] = done
        done.add_done_callback(forget_failure)
        # Only a memory of answers: whatever falls out is found in the database by its unique key.
        while len(self._txns) > _MAX_RECENT_TXNS:
            self._txns.popitem(last=False)

    async def _work(self, room_id: str, queue: _Queue) -> None:
        """Empty the room's queue, batch by batch; ends with it."""
        try:
            while queue.waiting:
                drafts, coming = _batch(queue.waiting)
                batch: list[_Waiting | _Coming] = [*drafts, *coming]
                try:
                    if drafts:
                        await self._settle(room_id, drafts)
                    else:
                        await self._settle_arrivals(room_id, coming)
                except asyncio.CancelledError:
                    _fail([*batch, *queue.waiting], StoreUnavailable("The server is shutting down"))
                    raise
                except StoreUnavailable as error:
                    self._memory.heads.clear()
                    _fail(batch, error)
                except Exception as error:
                    _log.exception("room_writer_crashed", room_id=room_id)
                    self._memory.heads.drop(room_id)
                    _fail(batch, error)
        finally:
            del self._queues[room_id]

    async def _settle(self, room_id: str, batch: list[_Waiting]) -> None:
        memory = self._memory
        for attempt in range(_ATTEMPTS):
            head = await self._head(room_id, attempt)
            if head is None:
                _fail(batch, NotAllowed("You are not in this room"))
                return
            if len(head.extremities) > MAX_PREV_EVENTS:
                batch = await self._settle_first(head, batch)
                if not batch:
                    return
                continue
            room, pending, answers = await self._decide(head, batch)
            if any(isinstance(answer, Exception) for _, answer in answers) and await self._has_moved(head):
                continue
            if not pending:
                _answer(answers)
                return
            if faults.plan is not None:
                await faults.plan.reach("writer.decided")
            append = RoomAppend(head, tuple(room.events), room.extremities, successor=room.successor)
            try:
                result = await self._committer.append(append)
            except UniqueViolation:
                # A transaction was answered before, by another process or before a restart.
                memory.heads.drop(room_id)
                batch = await self._answer_repeated(batch)
                continue
            if result.moved or result.head is None:
                memory.heads.drop(room_id)
                continue
            if faults.plan is not None:
                await faults.plan.reach("writer.appended")
            self._put_heads(result)
            _answer(answers)
            for waiting, event_id in pending:
                waiting.settle(event_id)
            return
        raise StoreUnavailable("The room is too busy")

    async def _head(self, room_id: str, attempt: int) -> RoomHead | None:
        await _pause(attempt)
        await self._committer.outcome_known()
        head = await self._memory.heads.fetch(room_id, self._memory.store)
        if faults.plan is not None:
            await faults.plan.reach("writer.head")
        return head

    async def _settle_first(self, head: RoomHead, batch: list[_Waiting]) -> list[_Waiting]:
        """Settle the first draft of a room with more ends than an event can name; returns those that still wait.

        Its event stands on some of the ends, as arrivals do: it must be allowed there and in the room as it is.
        """
        memory, first, others = self._memory, batch[0], batch[1:]
        arriving = ArrivingRoom(memory, self._resolutions, head, self._workshop.signer.server_name)
        room, pending, answers = await self._decide(await arriving.narrowed(), [first])
        if not pending:
            if any(isinstance(answer, Exception) for _, answer in answers) and await self._has_moved(head):
                return batch
            _answer(answers)
            return others
        (made,) = room.events
        outcome = await arriving.take(Arrival(made.event))
        append = arriving.append()
        if outcome is not ArrivalOutcome.ACCEPTED or append is None:
            if await self._has_moved(head):
                return batch
            first.settle(NotAllowed("The room does not allow it any more"))
            return others
        events = (replace(append.events[0], txn=made.txn),)
        try:
            result = await self._committer.append(replace(append, events=events, successor=room.successor))
        except UniqueViolation:
            memory.heads.drop(head.room_id)
            return await self._answer_repeated(batch)
        if result.moved or result.head is None:
            memory.heads.drop(head.room_id)
            return batch
        self._put_heads(result)
        first.settle(pending[0][1])
        return others

    def _put_heads(self, result: AppendResult) -> None:
        for one in (result, result.successor):
            if one is not None and one.head is not None:
                self._memory.heads.put(one.head)

    async def _has_moved(self, head: RoomHead) -> bool:
        """Whether another process has moved the room on since this head.

        Asked before somebody is refused: else who was let in over there would hear here that they are not.
        """
        async with self._memory.store.read_committed() as tx:
            version = await tx.rooms.head_version(head.room_nid)
        if version == head.version_no:
            return False
        self._memory.heads.drop(head.room_id)
        return True

    async def _settle_arrivals(self, room_id: str, batch: list[_Coming]) -> None:
        memory = self._memory
        for attempt in range(_ATTEMPTS):
            head = await self._head(room_id, attempt)
            if head is None:
                _fail(batch, MatrixError(ErrCode.NOT_FOUND, "This room is not known here"))
                return
            room = ArrivingRoom(memory, self._resolutions, head, self._workshop.signer.server_name)
            outcomes: list[tuple[_Coming, ArrivalOutcome]] = []
            for coming in batch:
                try:
                    outcomes.append((coming, await room.take(coming.arrival)))
                except MatrixError as error:
                    coming.settle(error.with_traceback(None))
            batch = [coming for coming, _ in outcomes]
            append = room.append()
            if append is not None:
                if faults.plan is not None:
                    await faults.plan.reach("writer.arrived")
                try:
                    result = await self._committer.append(append)
                except UniqueViolation:
                    # Another process has stored one of them meanwhile, or another room has its id: seen next time.
                    memory.heads.drop(room_id)
                    continue
                if result.moved or result.head is None:
                    memory.heads.drop(room_id)
                    continue
                memory.heads.put(result.head)
            for coming, outcome in outcomes:
                coming.settle(outcome)
            return
        raise StoreUnavailable("The room is too busy")

    async def _decide(
        self, head: RoomHead, batch: Sequence[_Waiting]
    ) -> tuple[WorkingRoom, list[tuple[_Waiting, str]], list[tuple[_Waiting, str | Exception]]]:
        """Decide a batch. Returns the room after it, the drafts that became events, and final answers to others."""
        at_hand = EventsAtHand(self._memory.events.get)
        while True:
            try:
                room, pending, answers = self._decide_now(head, batch, at_hand)
            except MissingEventsError as missing:
                found = await self._memory.events.fetch(missing.event_ids, self._memory.store)
                for event_id in missing.event_ids:
                    at_hand.add(event_id, found.get(event_id))
                continue
            except MissingAnnotationsError as missing:
                async with self._memory.store.read() as tx:
                    at_hand.add_annotations(missing.annotations, await tx.relations.annotated(missing.annotations))
                continue
            except MissingStateError as missing:
                await self._memory.read(missing.state, missing.keys)
                continue
            refused = [waiting for waiting, answer in answers if isinstance(answer, Exception) and waiting.draft.txn]
            if refused:
                known = await self._known_txns(refused)
                answers = [(waiting, known.get(id(waiting), answer)) for waiting, answer in answers]
            return room, pending, answers

    def _decide_now(
        self, head: RoomHead, batch: Sequence[_Waiting], at_hand: EventsAtHand
    ) -> tuple[WorkingRoom, list[tuple[_Waiting, str]], list[tuple[_Waiting, str | Exception]]]:
        room = WorkingRoom(self._workshop, head, at_hand)
        room.require(waiting.draft for waiting in batch)
        pending: list[tuple[_Waiting, str]] = []
        answers: list[tuple[_Waiting, str | Exception]] = []
        for waiting in batch:
            try:
                event_id = room.add(waiting.draft)
            except MatrixError as error:
                # Its traceback has this frame, which has the answers: only the garbage collector would free them.
                answers.append((waiting, error.with_traceback(None)))
                continue
            (pending if room.is_new(event_id) else answers).append((waiting, event_id))
        return room, pending, answers

    async def _known_txns(self, batch: Sequence[_Waiting]) -> dict[int, str]:
        """Answers, by id of the waiting draft, that transactions have had before."""
        keys = {waiting.draft.txn.key: waiting for waiting in batch if waiting.draft.txn is not None}
        if not keys:
            return {}
        async with self._memory.store.read() as tx:
            known = await tx.events.by_txns(keys.keys())
        if faults.plan is not None:
            await faults.plan.reach("writer.transactions")
        return {id(keys[key]): event_id for key, event_id in known.items()}

    async def _answer_repeated(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Answer drafts whose transaction made an event before; returns the others."""
        known = await self._known_txns(batch)
        for waiting in batch:
            if (event_id := known.get(id(waiting))) is not None:
                waiting.settle(event_id)
        return [waiting for waiting in batch if id(waiting) not in known]

    async def create(self, version: RoomVersion, drafts: Sequence[Draft], room: NewRoom) -> str:
        """Create a room with its first events, all or nothing; returns its id, which it gets here.

        Raises MatrixError if an event is refused, UniqueViolation if the id or an alias is taken, StoreUnavailable.
        """
        append = self.begin(version, drafts, room)
        result = await self._committer.append(append)
        if result.moved or result.head is None:
            raise UniqueViolation(f"{append.head.room_id} was made by somebody else at this moment")
        self._memory.heads.put(result.head)
        return append.head.room_id

    def begin(self, version: RoomVersion, drafts: Sequence[Draft], room: NewRoom) -> RoomAppend:
        """A new room with its first events, to be committed. It gets an id unless `room` has one that is free.

        Raises MatrixError if an event is refused.
        """
        given, create = self._begun(version, drafts[0], room.room_id)
        head = RoomHead(0, given, version, 0, (), RoomState.empty())
        working = WorkingRoom(self._workshop, head, EventsAtHand(self._memory.events.get))
        for draft in (create, *drafts[1:]):
            working.add(draft)
        room_id = working.room_id
        if room_id is None:
            raise ValueError("A room needs at least its create event")
        return RoomAppend(
            replace(head, room_id=room_id),
            tuple(working.events),
            working.extremities,
            new_room=replace(room, room_id=room_id),
        )

    def new_room_id(self) -> str:
        """An id that no room has."""
        return f"!{self._workshop.entropy.letters(_ID_LETTERS)}:{self._workshop.signer.server_name}"

    def _begun(self, version: RoomVersion, create: Draft, room_id: str) -> tuple[str, Draft]:
        """The new room's id, empty where its create event's hash is to be it (v12), and that event."""
        if not version.auth.room_id_is_create_hash:
            return room_id or self.new_room_id(), create
        # Else a user who makes two rooms within a millisecond would make the same room twice (MSC4291).
        nonce = self._workshop.entropy.letters(_NONCE_LETTERS)
        return "", replace(create, content={**create.content, _NONCE: nonce})


def _batch(waiting: deque[_Waiting | _Coming]) -> tuple[list[_Waiting], list[_Coming]]:
    """Take the next items of one kind from the queue: drafts, or arrivals."""
    drafts: list[_Waiting] = []
    coming: list[_Coming] = []
    while waiting and len(drafts) + len(coming) < _MAX_BATCH:
        item = waiting[0]
        if isinstance(item, _Waiting):
            if coming:
                break
            drafts.append(item)
        else:
            if drafts:
                break
            coming.append(item)
        waiting.popleft()
    return drafts, coming


async def _pause(attempt: int) -> None:
    """Give way to who was quicker, after the first times."""
    if attempt > 2:
        await asyncio.sleep(min(attempt * 0.005, _LONGEST_PAUSE_S))


def _answer(answers: Sequence[tuple[_Waiting, str | Exception]]) -> None:
    for waiting, answer in answers:
        waiting.settle(answer)


def _fail(batch: Sequence[_Waiting | _Coming], error: Exception) -> None:
    for waiting in batch:
        waiting.settle(error)


def _retrieve(future: asyncio.Future[Any]) -> BaseException | None:
    """The future's failure, marked as seen: nobody may be left to look at it."""
    return None if future.cancelled() else future.exception()
