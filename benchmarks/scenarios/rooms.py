"""Rooms: making them, entering a large one, reading its members and an old one's history."""

from __future__ import annotations

import asyncio
import itertools

from benchmarks.measure import Measurement, Meter, drive, summary
from benchmarks.world import IN_TURN, World

PAGE = 100
READS = 200
STARTS = 6
AGAIN = 10  # walks; one would say little
REST_S = 3.0
FEW = 4  # at a time, of the operations that take long


async def create(world: World) -> list[Measurement]:
    """Public rooms with a name and a topic."""
    meter = Meter("create-room", world.server)
    numbers = itertools.count()

    async def create_one(worker: int) -> None:
        await world.matrix.create_room(world.senders[worker], f"new {next(numbers)}")

    await drive(meter, FEW, world.scale.bounds(world.scale.repeats * 2), create_one, warm_up=1)
    return [await meter.finish()]


async def join(world: World) -> list[Measurement]:
    """Users who come to the large room."""
    meter = Meter("join", world.server)

    async def join_one(_worker: int) -> None:
        await world.matrix.join(world.visitors.pop(), world.hall)

    await drive(meter, FEW, world.scale.bounds(world.scale.repeats - FEW - STARTS), join_one, warm_up=1)
    return [await meter.finish()]


async def join_cold(world: World) -> list[Measurement]:
    """The first who comes to the large room after a start of the server; some starts, one after the other."""
    parts = []
    for _ in range(STARTS):
        world.server.stop()
        await world.server.start()
        # Somebody is asked for something first: what every first request costs is not this scenario's. Nor is what a
        # server does for itself after a start (ours reads the rooms of late): it is over by then.
        await world.matrix.sync(world.senders[1])
        await asyncio.sleep(REST_S)
        meter = Meter("join-cold", world.server)
        await drive(meter, 1, world.scale.bounds(1), lambda _: world.matrix.join(world.visitors.pop(), world.hall))
        parts.append((await meter.finish(), meter.latencies))
    latencies = [latency for _, each in parts for latency in each]
    wall, server, database = (
        sum(getattr(measured, name) for measured, _ in parts) for name in ("wall_s", "server_cpu_s", "database_cpu_s")
    )
    return [Measurement("join-cold", len(latencies), wall, server, database, summary(latencies))]


async def join_one_by_one(world: World) -> list[Measurement]:
    """Users who come to the large room one at a time, from a start of the server on: the first one is among them."""
    world.server.stop()
    await world.server.start()
    await world.matrix.sync(world.senders[1])
    meter = Meter("join-one-by-one", world.server)
    await drive(meter, 1, world.scale.bounds(IN_TURN), lambda _: world.matrix.join(world.visitors.pop(), world.hall))
    return [await meter.finish()]


async def joined_members(world: World) -> list[Measurement]:
    """The large room's joined members with their profiles."""
    meter = Meter("joined-members", world.server)

    async def read(_worker: int) -> None:
        meter.extra["bytes"] = len(await world.matrix.joined_members(world.senders[0], world.hall))

    await drive(meter, 1, world.scale.bounds(READS), read, warm_up=1)
    return [await meter.finish()]


async def members(world: World) -> list[Measurement]:
    """The large room's members, all at once."""
    meter = Meter("members", world.server)

    async def read(_worker: int) -> None:
        meter.extra["bytes"] = len(await world.matrix.members(world.senders[0], world.hall))

    await drive(meter, 1, world.scale.bounds(READS), read, warm_up=1)
    return [await meter.finish()]


async def history(world: World) -> list[Measurement]:
    """A walk back through a room that nobody has read since the start of the server, and the same walk again."""
    pages = world.scale.history_pages
    return [await _walk(world, "history-first", pages), await _walk(world, "history-again", pages * AGAIN)]


async def _walk(world: World, name: str, pages: int) -> Measurement:
    meter = Meter(name, world.server)
    position: str | None = None

    async def read(_worker: int) -> None:
        nonlocal position
        page = await world.matrix.messages(world.senders[0], world.history, position, PAGE)
        at_start = len(meter.latencies) % world.scale.history_pages == world.scale.history_pages - 1
        position = None if at_start else page["end"]

    await drive(meter, 1, world.scale.bounds(pages), read)
    return await meter.finish()
