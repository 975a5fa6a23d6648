"""Accounts: logging in with a password and registering, where the password hash is most of the work."""

from __future__ import annotations

import itertools

from benchmarks.measure import Measurement, Meter, drive
from benchmarks.world import World

AT_ONCE = 2


async def login(world: World) -> list[Measurement]:
    """Users with passwords of the default hash log in to new devices."""
    users = [await world.matrix.register_by_secret(f"login{number}") for number in range(AT_ONCE)]
    meter = Meter("login", world.server)

    async def login_one(worker: int) -> None:
        await world.matrix.login(users[worker].name)

    await drive(meter, AT_ONCE, world.scale.bounds(world.scale.repeats), login_one, warm_up=1)
    return [await meter.finish()]


async def register(world: World) -> list[Measurement]:
    """New users, through the stage `m.login.dummy`."""
    meter = Meter("register", world.server)
    numbers = itertools.count()

    async def register_one(_worker: int) -> None:
        await world.matrix.register(f"new{next(numbers)}")

    await drive(meter, AT_ONCE, world.scale.bounds(world.scale.repeats), register_one, warm_up=1)
    return [await meter.finish()]
