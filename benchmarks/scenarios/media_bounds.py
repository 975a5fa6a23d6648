"""Media: what large content and slow readers cost in memory, and how long others wait meanwhile.

Memory is the most that the server's processes had beyond what they had before, looked at many times a second.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable

import aiohttp

from benchmarks.measure import Measurement, summary
from benchmarks.processes import resident
from benchmarks.scenarios.media import MIB, MediaClient, photo
from benchmarks.servers import HOST
from benchmarks.world import World

GIANT = 1024 * MIB
SLOW_S = 8.0
SLOW_READERS = 50
SLOW_SIZE = 40 * MIB
PAUSE_S = 0.05
LAST = 1_000
RANGES = 20
RANGES_S = 20.0
PICTURES = 20
_LOOK_EVERY_S = 0.05
_PROBE_EVERY_S = 0.005
_BLOCKED = re.compile(r'^hromada_loop_blocked_seconds_bucket\{le="([^"]+)"\} ([0-9.]+)', re.MULTILINE)
_GAP_S = 0.05


async def bounds(world: World) -> list[Measurement]:
    """1 GiB up, its end asked for, read slowly by one, and 40 MiB read slowly by fifty."""
    timeout = aiohttp.ClientTimeout(total=900)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, read_bufsize=64 * 1024) as session:
        client = MediaClient(session, world)
        await client.download(await client.upload(MIB))  # whatever is loaded for the first one
        kept: list[str] = []

        async def up() -> None:
            kept.append(await client.upload(GIANT))

        found = [await _growth(world, "growth-upload-1g", up())]
        found.append(await _ends(client, kept[0]))
        found.append(await _growth(world, "growth-slow-1g", client.read_slowly(kept[0], SLOW_S)))
        media = await client.upload(SLOW_SIZE)
        readers = asyncio.gather(*(client.read_slowly(media, SLOW_S) for _ in range(SLOW_READERS)))
        found.append(await _growth(world, "growth-slow-50", readers))
    return found


async def pauses(world: World) -> list[Measurement]:
    """How long a small request waits while 20 thumbnails of 12 megapixels are made, five at a time."""
    async with aiohttp.ClientSession() as session:
        client = MediaClient(session, world)
        picture = photo()
        media = [await client.send(picture + bytes([200, number]), "image/jpeg") for number in range(PICTURES + 1)]
        await client.thumbnail(media.pop())
        before = await _blocked(session, world)
        latencies: list[float] = []
        probing = asyncio.create_task(_probe(world, latencies))
        gate = asyncio.Semaphore(5)

        async def make(one: str) -> None:
            async with gate:
                await client.thumbnail(one)

        began = time.perf_counter()
        await asyncio.gather(*map(make, media))
        wall = time.perf_counter() - began
        probing.cancel()
        after = await _blocked(session, world)
    found = [Measurement("pause-thumbnails", len(latencies), wall, 0.0, 0.0, summary(latencies))]
    if before is not None and after is not None:
        found.append(Measurement("gaps-thumbnails", PICTURES, wall, 0.0, 0.0, {}, {"gaps": after - before}))
    return found


async def _growth(world: World, name: str, work: Awaitable[object]) -> Measurement:
    await asyncio.sleep(1.0)
    before = most = resident(world.server.pid)
    began = time.perf_counter()
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait([task], timeout=_LOOK_EVERY_S)
        most = max(most, resident(world.server.pid))
    await task
    return Measurement(name, 1, time.perf_counter() - began, 0.0, 0.0, {}, {"growth_mib": (most - before) / MIB})


async def _ends(client: MediaClient, media: str) -> Measurement:
    """The last bytes. Who knows no ranges sends everything, so that is waited for."""
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < RANGES and time.perf_counter() - started < RANGES_S:
        began = time.perf_counter()
        await client.end_of(media, GIANT, LAST)
        seconds.append(time.perf_counter() - began)
    return Measurement("range-end-1g", len(seconds), sum(seconds), 0.0, 0.0, summary(seconds))


async def _probe(world: World, latencies: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            began = time.perf_counter()
            async with session.get(f"http://{HOST}:{world.server.port}/_matrix/client/versions") as answer:
                await answer.read()
            latencies.append(time.perf_counter() - began)
            await asyncio.sleep(_PROBE_EVERY_S)


async def _blocked(session: aiohttp.ClientSession, world: World) -> float | None:
    """How often the event loop was kept busy for more than 50 ms by the process itself; None if it does not say."""
    async with session.get(f"http://{HOST}:{world.server.port}/metrics") as answer:
        text = await answer.text() if answer.status == 200 else ""
    counts = {bound: float(count) for bound, count in _BLOCKED.findall(text)}
    return counts["+Inf"] - counts[str(_GAP_S)] if counts else None
