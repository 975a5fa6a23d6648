"""How quickly a word goes from visitors to staff and back, and what visitors cost who are merely there.

`HROMADA_FIGURES=1` measures with 200 talking and 1,000 idle visitors, checks the figures of the design and prints those
that docs/performance.md has; without it few visitors show that all of it works.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest

from benchmarks import processes
from tests.embed.support_chat import Agent, Frame, new_site
from tests.support.client import Client, part
from tests.support.fixtures import StartServer, fresh
from tests.support.server import Server
from tests.support.stream import Stream, streaming

FULL = bool(os.environ.get("HROMADA_FIGURES"))
TALKING, ROUNDS, IDLE, WATCH_S = (200, 3, 1_000, 30.0) if FULL else (6, 1, 4, 0.5)
AT_ONCE = 8
MOST_TURN_MS, MOST_SHARE, MOST_BYTES = 300, 0.1, 60 * 1024
"""The figures of the design: there and back, 95 of 100; of a core, and of memory, for a visitor who is merely there."""
ORIGIN = "https://shop.example"


class Listener:
    """A socket that is read all the time; what is said in rooms is told to who waits for it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.waiting: dict[str, asyncio.Future[float]] = {}

    def expect(self, body: str) -> asyncio.Future[float]:
        self.waiting[body] = asyncio.get_running_loop().create_future()
        return self.waiting[body]

    async def run(self) -> None:
        while True:
            message = await self.stream.socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            now = time.perf_counter()
            frame = message.json()
            if frame["op"] != "sync":
                continue
            await self.stream.ack(frame["body"])
            for room in frame["body"].get("rooms", {}).get("join", {}).values():
                for event in room.get("timeline", {}).get("events", []):
                    found = self.waiting.pop(event["content"].get("body", ""), None)
                    if found is not None and not found.done():
                        found.set_result(now)


async def listening(stack: AsyncExitStack, tasks: asyncio.TaskGroup, client: Client) -> Listener:
    """A client's socket, from now on."""
    stream = await stack.enter_async_context(streaming(client, since=None, filter="{}"))
    listener = Listener(stream)
    task = tasks.create_task(listener.run())
    stack.callback(task.cancel)
    return listener


async def begun(http: aiohttp.ClientSession, server: Server, site: str, count: int) -> list[Frame]:
    """Visitors with a session each."""
    frames = [Frame(http, server, site) for _ in range(count)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def begin(frame: Frame) -> None:
        async with gate:
            await frame.begin()

    await asyncio.gather(*(begin(frame) for frame in frames))
    return frames


@pytest.mark.usefixtures("web_build")
async def test_words_go_there_and_back(start_server: StartServer) -> None:
    server = start_server("sqlite")
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, AsyncExitStack() as stack:
        agent = Agent(await Client(http, server.url).register(fresh("agent")))
        site = new_site(server, [ORIGIN], [agent.client.user_id])
        await agent.join_desk()
        frames = await begun(http, server, site, TALKING)
        for frame in frames:
            await agent.client.ok("POST", f"/join/{part(frame.room)}", {})
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        desk = await listening(stack, tasks, agent.client)
        ears = [await listening(stack, tasks, frame.client) for frame in frames]
        turns: list[float] = []

        async def turn(number: int, frame: Frame, ear: Listener, round_: int) -> None:
            # One after the other through the crowd, each at its own moment.
            await asyncio.sleep(number * 0.05)
            asked, answered = f"asked {number} {round_}", f"answered {number} {round_}"
            heard, back = desk.expect(asked), ear.expect(answered)
            start = time.perf_counter()
            await frame.say(asked)
            await asyncio.wait_for(heard, 90)
            content = {"msgtype": "m.text", "body": answered}
            path = f"/rooms/{part(frame.room)}/send/m.room.message/{fresh('a')}"
            await agent.client.ok("PUT", path, content)
            turns.append((await asyncio.wait_for(back, 90) - start) * 1000)

        for round_ in range(ROUNDS):
            pairs = enumerate(zip(frames, ears, strict=True))
            await asyncio.gather(*(turn(number, frame, ear, round_) for number, (frame, ear) in pairs))
        assert len(turns) == TALKING * ROUNDS
        pid = server.pid
        before = processes.memory(pid).resident
        idle = await begun(http, server, site, IDLE)
        made = processes.memory(pid).resident
        for frame in idle:
            await listening(stack, tasks, frame.client)
        await asyncio.sleep(WATCH_S / 3)
        start, cpu = time.perf_counter(), processes.cpu_seconds(pid)
        await asyncio.sleep(WATCH_S)
        share = (processes.cpu_seconds(pid) - cpu) / (time.perf_counter() - start)
        after = processes.memory(pid).resident
        p50, p95 = statistics.median(turns), statistics.quantiles(turns, n=20)[-1]
        print(
            f"\n{TALKING} visitors, {len(turns)} turns: p50 {p50:.0f} ms, p95 {p95:.0f} ms; "
            f"{TALKING + IDLE} sockets idle: {share * 100:.1f} % of a core; "
            f"{(after - before) / IDLE / 1024:.0f} KB each with session and room, "
            f"{(after - made) / IDLE / 1024:.0f} KB for the socket; load {os.getloadavg()[0]:.1f}"
        )
        assert share < (MOST_SHARE if FULL else 1)
        if FULL:
            assert p95 < MOST_TURN_MS
            assert (after - made) / IDLE < MOST_BYTES
