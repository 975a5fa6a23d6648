"""Fan-out: one sender, and many members who wait for the message.

The latency of a delivery runs from before the request that sends until the receiver has the message. A transport of
deliveries is a function that listens for one member until `Lecture.over`: a chain of long polls, or a WebSocket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.matrix import CLIENT, Account
from benchmarks.measure import Measurement, Meter, each
from benchmarks.scenarios.encryption import device_keys
from benchmarks.servers import HOST
from benchmarks.websocket import WebSocket, connect
from benchmarks.world import AT_ONCE, World

SLOW_PER_S = 1.0
FAST_PER_S = 20.0
FAST_AT_MOST_S = 10.0
POLL_TIMEOUT_MS = 5_000
STREAM = "/_matrix/client/unstable/chat.hromada/stream"
# Receivers get this long after the last message; then what is missing counts as not delivered.
DRAIN_S = 20.0
MARK = b"fanout-"
# What the first sync of a listener asks for: a position, and not much else.
LITTLE = {"room": {"timeline": {"limit": 1}, "state": {"types": []}}, "presence": {"types": []}}
# What streams ask for: every message, also when many have come while the last update was on its way.
ALL = {"room": {"timeline": {"limit": 100}}}


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
Speak = Callable[[World, Lecture, int], Coroutine[Any, Any, None]]


async def long_poll(world: World) -> list[Measurement]:
    """All listeners on `/sync`."""
    count = world.scale.fanout_messages
    return [await fan_out(world, "fanout", Pace(SLOW_PER_S, count), _poll)]


async def websocket(world: World) -> list[Measurement]:
    """All listeners on a WebSocket."""
    count = world.scale.fanout_messages
    return [await fan_out(world, "fanout-ws", Pace(SLOW_PER_S, count), _stream)]


async def websocket_fast(world: World) -> list[Measurement]:
    """The same at a rate at which an update may hold several messages."""
    seconds = min(world.scale.fanout_messages, FAST_AT_MOST_S)
    return [await fan_out(world, "fanout-ws-fast", Pace(FAST_PER_S, int(seconds * FAST_PER_S)), _stream)]


async def device_lists(world: World) -> list[Measurement]:
    """Members of the hall publish keys, which all listeners are told of: the names of the members are the marks."""
    count = world.scale.fanout_messages
    names = [f"{MARK.decode()}{number}-" for number in range(count)]
    people = await each(names, world.matrix.register_by_secret, AT_ONCE)
    await each([*world.listeners, *people], lambda member: world.matrix.join(member, world.hall), AT_ONCE)

    async def publish(_world: World, lecture: Lecture, number: int) -> None:
        lecture.sent_at[MARK + str(number).encode()] = time.perf_counter()
        body = {"device_keys": device_keys(people[number])}
        await world.matrix.call("POST", f"{CLIENT}/keys/upload", people[number], body)

    return [await fan_out(world, "device-lists", Pace(SLOW_PER_S, count), _poll, publish)]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and how often in all, something is said."""

    per_second: float
    count: int


async def fan_out(world: World, name: str, pace: Pace, listen: Listen, speak: Speak | None = None) -> Measurement:
    """Send messages (or what `speak` does) at a fixed rate to all listeners, who hear them through `listen`."""
    lecture = Lecture(Meter(name, world.server))
    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(world, lecture, account, ready)) for account in world.listeners]
        for _ in listening:
            await ready.acquire()
        await lecture.meter.start()
        began = time.perf_counter()
        for number in range(pace.count):
            tasks.create_task((speak or _speak)(world, lecture, number))
            await asyncio.sleep(max(0.0, began + (number + 1) / pace.per_second - time.perf_counter()))
        lecture.expected = pace.count * len(world.listeners)
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
    since = _next_batch(await world.matrix.sync(account, filter_=LITTLE))
    ready.release()
    while not lecture.over:
        received = await world.matrix.sync(account, since, POLL_TIMEOUT_MS)
        since = _next_batch(received)
        lecture.heard(received)


async def _stream(world: World, lecture: Lecture, account: Account, ready: asyncio.Semaphore) -> None:
    """Each update is acknowledged as soon as it is here, as by a client that keeps it in memory."""
    since = _next_batch(await world.matrix.sync(account, filter_=LITTLE))

    def hear(socket: WebSocket, frame: bytes) -> None:
        message = orjson.loads(frame)
        match message["op"]:
            case "sync":
                lecture.heard(frame)
                socket.send(orjson.dumps({"op": "ack", "pos": message["body"]["next_batch"]}))
            case "ready":
                socket.send(orjson.dumps({"op": "start", "since": since, "filter": ALL, "set_presence": "offline"}))
                ready.release()

    socket = await connect(HOST, world.server.port, STREAM, "m.json", hear)
    try:
        socket.send(orjson.dumps({"op": "auth", "access_token": account.token}))
        await socket.closed
    finally:
        socket.close()


def _next_batch(received: bytes) -> str:
    return str(orjson.loads(received)["next_batch"])
