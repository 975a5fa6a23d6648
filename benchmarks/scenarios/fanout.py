"""Fan-out: one sender, and many members who wait for the message.

The latency of a delivery runs from before the request that sends until the receiver has the message. A transport of
deliveries is a function that listens for one member until `Lecture.over`; long-polling is the first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.matrix import Account
from benchmarks.measure import Measurement, Meter
from benchmarks.world import World

MESSAGES_PER_S = 1.0
POLL_TIMEOUT_MS = 5_000
# Receivers get this long after the last message; then what is missing counts as not delivered.
DRAIN_S = 20.0
MARK = b"fanout-"


@dataclass
class Lecture:
    """What is sent, who has heard it and when."""

    meter: Meter
    sent_at: dict[bytes, float] = field(default_factory=dict)
    expected: int = 0
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def over(self) -> bool:
        """Whether listeners may leave."""
        return self.finished.is_set()

    def heard(self, received: bytes) -> None:
        """One listener received these bytes, with any number of messages in them."""
        now = time.perf_counter()
        at = received.find(MARK)
        while at >= 0:
            message = received[at : received.index(b"-", at + len(MARK))]
            self.meter.latencies.append(now - self.sent_at[message])
            at = received.find(MARK, at + 1)
        if self.expected and len(self.meter.latencies) >= self.expected:
            self.finished.set()


Listen = Callable[[World, Lecture, Account, asyncio.Semaphore], Coroutine[Any, Any, None]]


async def long_poll(world: World) -> list[Measurement]:
    """All listeners on `/sync`."""
    return [await fan_out(world, "fanout", MESSAGES_PER_S, _poll)]


async def fan_out(world: World, name: str, per_second: float, listen: Listen) -> Measurement:
    """Send messages at a fixed rate to all listeners, who hear them through `listen`."""
    lecture = Lecture(Meter(name, world.server))
    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(world, lecture, account, ready)) for account in world.listeners]
        for _ in listening:
            await ready.acquire()
        await lecture.meter.start()
        count = world.scale.fanout_messages
        for number in range(count):
            tasks.create_task(_speak(world, lecture, number))
            await asyncio.sleep(1 / per_second)
        lecture.expected = count * len(world.listeners)
        lecture.heard(b"")
        try:
            await asyncio.wait_for(lecture.finished.wait(), DRAIN_S)
        except TimeoutError:
            lecture.finished.set()
        measured = await lecture.meter.finish()
        for task in listening:
            task.cancel()
    lecture.meter.extra["missing"] = lecture.expected - measured.operations
    return measured


async def _speak(world: World, lecture: Lecture, number: int) -> None:
    mark = MARK + str(number).encode()
    lecture.sent_at[mark] = time.perf_counter()
    await world.matrix.send(world.senders[0], world.lecture, f"{mark.decode()}- is what you hear")


async def _poll(world: World, lecture: Lecture, account: Account, ready: asyncio.Semaphore) -> None:
    nothing = {"room": {"timeline": {"limit": 1}, "state": {"types": []}}, "presence": {"types": []}}
    since = _next_batch(await world.matrix.sync(account, filter_=nothing))
    ready.release()
    while not lecture.over:
        received = await world.matrix.sync(account, since, POLL_TIMEOUT_MS)
        since = _next_batch(received)
        lecture.heard(received)


def _next_batch(received: bytes) -> str:
    return str(orjson.loads(received)["next_batch"])
