"""The server's own life: memory before and after the load, and a start on a database that exists."""

from __future__ import annotations

import asyncio
import time

from benchmarks.measure import Measurement, summary
from benchmarks.world import World

STARTS = 3
REST_S = 3.0


async def memory_idle(world: World) -> list[Measurement]:
    """Memory of a server that has been started on the prepared database and has answered one request.

    Earlier scenarios have made this process work, so it is started anew.
    """
    world.server.stop()
    await world.server.start()
    return [await _memory(world, "memory-idle")]


async def memory_loaded(world: World) -> list[Measurement]:
    """Memory after all the scenarios before this one."""
    return [await _memory(world, "memory-loaded")]


async def cold_start(world: World) -> list[Measurement]:
    """From starting the process to its first answer."""
    began = time.perf_counter()
    seconds = []
    for _ in range(STARTS):
        world.server.stop()
        seconds.append(await world.server.start())
    wall = time.perf_counter() - began
    cost = world.server.cost().server
    return [Measurement("cold-start", STARTS, wall, cost * STARTS, 0.0, summary(seconds))]


async def _memory(world: World, name: str) -> Measurement:
    await asyncio.sleep(REST_S)
    memory = world.server.memory()
    mebi = 1 << 20
    return Measurement(name, 0, 0.0, 0.0, 0.0, {}, {"rss_mib": memory.resident / mebi, "uss_mib": memory.unique / mebi})
