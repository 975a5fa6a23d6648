"""`/sync` by itself: everything for a new device, and nothing for one that has everything."""

from __future__ import annotations

import orjson

from benchmarks.measure import Measurement, Meter, drive
from benchmarks.world import SENDERS, World

# As many logins as initial syncs, since no token may have been seen before.
INITIAL_SYNCS = 8
MOST = 5_000


async def initial(world: World) -> list[Measurement]:
    """A user in many rooms, on a device that never synced, without a filter; one at a time."""
    librarian = world.librarian
    assert librarian is not None
    devices = [await world.matrix.login(librarian.name) for _ in range(INITIAL_SYNCS + 1)]
    meter = Meter("sync-initial", world.server)

    async def sync(_worker: int) -> None:
        meter.extra["bytes"] = len(await world.matrix.sync(devices.pop()))

    await drive(meter, 1, world.scale.bounds(INITIAL_SYNCS), sync, warm_up=1)
    return [await meter.finish()]


async def nothing_new(world: World) -> list[Measurement]:
    """Users who have everything ask again, and do not wait."""
    tokens = [str(orjson.loads(await world.matrix.sync(sender))["next_batch"]) for sender in world.senders]
    meter = Meter("sync-nothing", world.server)

    async def sync(sender: int) -> None:
        await world.matrix.sync(world.senders[sender], tokens[sender])

    await drive(meter, SENDERS, world.scale.bounds(MOST), sync, warm_up=2)
    return [await meter.finish()]
