"""Sending at saturation: ten senders, each with one message on its way at any moment."""

from __future__ import annotations

from benchmarks.measure import Measurement, Meter, drive
from benchmarks.world import SENDERS, World

TEXT = "A message of the length that people write to each other, with a number: "
WARM_UP = 3
MOST = 20_000
READ_TO = 150


async def many_rooms(world: World) -> list[Measurement]:
    """Every sender in a room of its own."""
    return [await _send(world, "send-rooms", world.rooms)]


async def one_room(world: World) -> list[Measurement]:
    """All senders in the same room of fifty."""
    return [await _send(world, "send-room", [world.club] * SENDERS)]


async def _send(world: World, name: str, rooms: list[str]) -> Measurement:
    meter = Meter(name, world.server)
    before = world.server.database_bytes()

    async def send(sender: int) -> None:
        await world.matrix.send(world.senders[sender], rooms[sender], f"{TEXT}{len(meter.latencies)}")

    await drive(meter, SENDERS, world.scale.bounds(MOST), send, WARM_UP)
    measured = await meter.finish()
    sent = measured.operations + WARM_UP * SENDERS
    meter.extra["database_bytes_per_message"] = (world.server.database_bytes() - before) / sent
    return measured


async def receipts(world: World) -> list[Measurement]:
    """Members of a room of fifty say how far they have read, each time further."""
    writer = world.senders[0]
    told = [await world.matrix.send(writer, world.club, f"{TEXT}{number}") for number in range(READ_TO)]
    meter = Meter("receipts", world.server)
    turns = [0] * SENDERS

    async def receipt(sender: int) -> None:
        await world.matrix.receipt(world.senders[sender], world.club, told[turns[sender] % READ_TO])
        turns[sender] += 1

    await drive(meter, SENDERS, world.scale.bounds((READ_TO - WARM_UP) * SENDERS), receipt, WARM_UP)
    return [await meter.finish()]


async def typing(world: World) -> list[Measurement]:
    """Members of a room of fifty begin and stop to type."""
    meter = Meter("typing", world.server)
    turns = [0] * SENDERS

    async def type_(sender: int) -> None:
        turns[sender] += 1
        await world.matrix.typing(world.senders[sender], world.club, typing=bool(turns[sender] % 2))

    await drive(meter, SENDERS, world.scale.bounds(READ_TO * SENDERS), type_, WARM_UP)
    return [await meter.finish()]
