"""From stored deliveries to the homeserver: in order in each room, several rooms at a time, until it is certain.

A delivery keeps its transaction id for ever, so one whose answer was lost is made once all the same.
spec: client-server-api#transaction-identifiers
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from bridges import metrics
from bridges.config import Config, per_second
from bridges.doubt import Doubts, marked
from bridges.faults import reach
from bridges.limits import Bucket
from bridges.matrix import Homeserver, MatrixFailure, TryAgain, part
from bridges.rooms import Rooms
from bridges.state import Delivery, Made, State, StateLost

_LONGEST_WAIT_S = 60.0
_KEEP_DONE_MS = 14 * 24 * 3600 * 1000
_LOOK_AGAIN_S = 2.0
_PRUNE_EVERY_S, _ALIVE_EVERY_S = 3600.0, 60.0
_PAGE = 20
"""Deliveries of a room that are read at once, and after which a room gives way to others."""
_NOTE_AFTER_S = 0.02
_BUCKETS = 10_000
_log = structlog.get_logger(__name__)


class Sender:
    """Makes deliveries. `run` ends when it is cancelled."""

    def __init__(self, config: Config, state: State, homeserver: Homeserver) -> None:
        self._config = config
        self._service = config.appservice
        self._state = state
        self._homeserver = homeserver
        self._rooms = Rooms(config, state, homeserver)
        self._doubts = Doubts(state, homeserver)
        self._busy: set[str] = set()
        self._crowded = False
        self._news = asyncio.Event()
        self._made: list[Made] = []
        self._to_note = asyncio.Event()
        self._buckets: dict[str, Bucket] = {}
        self._totals = {name: Bucket(per_second(m.rate.total)) for name, m in config.mapping.items()}
        self._per_room = {name: per_second(m.rate.per_room) for name, m in config.mapping.items()}
        self._keep = {name for name, m in config.mapping.items() if m.on_delete == "redact"}
        self.failed: Callable[[Delivery, str], None] = lambda _delivery, _error: None

    def wake(self) -> None:
        """There may be something to deliver."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        pruned = alive = -_PRUNE_EVERY_S
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_noting())
                while True:
                    self._news.clear()
                    self._give_out(tasks)
                    if time.monotonic() - alive > _ALIVE_EVERY_S:
                        alive = time.monotonic()
                        self._doubts.alive()
                    if time.monotonic() - pruned > _PRUNE_EVERY_S:
                        pruned = time.monotonic()
                        self._state.prune(int(time.time() * 1000) - _KEEP_DONE_MS)
                    metrics.QUEUE.set(self._state.waiting())
                    with suppress(TimeoutError):  # something may have been retried by the command line
                        # Not `wait_for`: in Python 3.11 it forgets that it was cancelled, if news come just then.
                        async with asyncio.timeout(_LOOK_AGAIN_S):
                            await self._news.wait()
        finally:
            with suppress(StateLost):  # then another bridge makes them, under the same transaction ids
                self._note()

    def _give_out(self, tasks: asyncio.TaskGroup) -> None:
        free = self._service.lanes - len(self._busy)
        if free <= 0:
            self._crowded = True  # as far as is known: a room that gives way for nothing is taken up again at once
            return
        found = self._state.lanes(self._busy, free + 1)
        self._crowded = len(found) > free
        for lane in found[:free]:
            self._busy.add(lane)
            tasks.create_task(self._work(lane))

    async def _work(self, lane: str) -> None:
        try:
            while page := self._next(lane):
                for delivery in page:
                    if delivery.mapping in self._totals:
                        await self._bucket(lane, delivery.mapping).take()
                        await self._totals[delivery.mapping].take()
                    if not await self._deliver(delivery):
                        break
                if self._crowded:
                    return
        finally:
            self._busy.discard(lane)
            self._news.set()

    def _next(self, lane: str) -> list[Delivery]:
        self._note()  # what is made and not noted would be found again
        return self._state.heads(lane, _PAGE)

    def _bucket(self, lane: str, mapping: str) -> Bucket:
        if (known := self._buckets.get(lane)) is not None:
            return known
        if len(self._buckets) >= _BUCKETS:
            self._buckets.pop(next(iter(self._buckets)))
        return self._buckets.setdefault(lane, Bucket(self._per_room[mapping]))

    async def _keep_noting(self) -> None:
        """Note together what was made within a moment. After kill -9 it is made again, and has happened once."""
        while True:
            await self._to_note.wait()
            await asyncio.sleep(_NOTE_AFTER_S)
            self._note()

    def _note(self) -> None:
        self._to_note.clear()
        if self._made:
            made, self._made = self._made, []
            self._state.settle_made(made)

    async def _deliver(self, delivery: Delivery) -> bool:
        """Whether it is made: the next one of the room may follow."""
        try:
            with metrics.DELIVERY_SECONDS.time():
                event_id = await self._answered(delivery)
        except TryAgain as trouble:
            metrics.RETRIES.inc()
            wait = trouble.after if trouble.after is not None else min(0.25 * 2 ** min(delivery.attempts, 10), 1e9)
            wait = min(wait, _LONGEST_WAIT_S) * random.uniform(0.8, 1.2)  # noqa: S311 - to spread retries
            _log.warning("delivery_postponed", lane=delivery.lane, error=str(trouble), again_in=round(wait, 2))
            self._state.settle(delivery, "waiting", error=str(trouble))
            await asyncio.sleep(wait)
            return False
        except MatrixFailure as failure:
            # What is wrong with one message is no reason to keep the next; what is wrong with the room is.
            verdict = "parked" if failure.status in (401, 403, 404) or delivery.kind == "room" else "dead"
            _log.error("delivery_failed", lane=delivery.lane, verdict=verdict, error=str(failure))
            self._state.settle(delivery, verdict, error=str(failure))
            metrics.DELIVERIES.labels(verdict).inc()
            self.failed(delivery, str(failure))
            return False
        keep = delivery.kind == "m.room.message" and delivery.mapping in self._keep
        self._made.append(Made(delivery, event_id, keep))
        self._to_note.set()
        metrics.DELIVERIES.labels("done").inc()
        return True

    async def _answered(self, delivery: Delivery) -> str | None:
        try:
            return await self._make(delivery)
        except (KeyError, TypeError) as error:
            raise TryAgain(f"the answer is not as it should be: {type(error).__name__}: {error}") from error

    async def _make(self, delivery: Delivery) -> str | None:
        if delivery.kind == "room":
            await self._rooms.make(delivery)
            return None
        if delivery.kind == "profile":
            await self._rooms.profile(delivery.sender, delivery.content["name"], delivery.content["avatar"])
            return None
        room = self._state.room(delivery.lane)
        if room is None or room.room_id is None:
            raise MatrixFailure(404, "M_NOT_FOUND", "The room of this row was not made")
        if delivery.kind in ("open", "archive"):
            await self._rooms.set_archived(room.room_id, delivery.kind == "archive")
            return None
        if delivery.kind == "redact":
            self._note()  # what is made and not noted is to be redacted, too
            await self._rooms.redact(delivery.lane, room.room_id)
            return None
        if delivery.kind.startswith("state:"):
            path = f"/rooms/{part(room.room_id)}/state/{part(delivery.kind.removeprefix('state:'))}/"
            return str((await self._homeserver.call("PUT", path, delivery.content))["event_id"])
        return await self._send(delivery, room.room_id)

    async def _send(self, delivery: Delivery, room_id: str) -> str:
        path = f"/rooms/{part(room_id)}/send/{part(delivery.kind)}/{part(delivery.txn)}"
        query: dict[str, Any] = {} if delivery.ts is None else {"ts": delivery.ts}
        for attempt in (1, 2):
            await self._rooms.join(delivery.lane, room_id, delivery.sender)
            if (event_id := await self._doubts.found(delivery, room_id)) is not None:
                return event_id
            try:
                answer = await self._homeserver.call(
                    "PUT", path, marked(delivery), user=delivery.sender, device=True, **query
                )
                reach("sent")
                return str(answer["event_id"])
            except MatrixFailure as failure:
                if attempt == 2 or failure.status != 403:
                    raise
                self._state.set_member(delivery.lane, delivery.sender, False)  # somebody removed it
        raise AssertionError("unreachable")
