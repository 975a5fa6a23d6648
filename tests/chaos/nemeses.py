"""What breaks: each nemesis does one thing to the target and undoes it.

Those named in `ALWAYS` work on any database, those in `POSTGRES` need a PostgreSQL of the test's own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from homeserver.faults import POINTS
from tests.chaos.target import Target
from tests.support.faultproxy import FaultProxy

Nemesis = Callable[[Target, random.Random], Awaitable[None]]

LONGEST_S = 1.5
CRASH_PATIENCE_S = 3.0
# Where a server under load comes by often. Those of the other points are reached while it starts or hardly ever.
CRASH_POINTS = sorted(
    name
    for name in POINTS
    if name.startswith(("commit.", "writer.", "store.write.", "sync.answer", "stream.", "waiters.", "request."))
)


async def kill_server(target: Target, chance: random.Random) -> None:
    """kill -9 between two acknowledgements: a commit may be half-way."""
    await asyncio.sleep(chance.uniform(0, 0.03))
    await target.kill()


async def stop_server(target: Target, chance: random.Random) -> None:
    """SIGTERM."""
    await target.restart()


async def pause_server(target: Target, chance: random.Random) -> None:
    """SIGSTOP, as a machine that swaps."""
    target.server.pause()
    await asyncio.sleep(chance.uniform(0.1, LONGEST_S))
    target.server.resume()


async def die_at_a_point(target: Target, chance: random.Random) -> None:
    """kill -9 at an exact place in the code."""
    await target.die_at(chance.choice(CRASH_POINTS), chance.randint(1, 40), CRASH_PATIENCE_S)


async def cut_clients(target: Target, chance: random.Random) -> None:
    """End all connections of clients."""
    _front(target).cut()


async def reset_clients(target: Target, chance: random.Random) -> None:
    """Reset all connections of clients, then some in the middle of answers."""
    _front(target).reset()
    for _ in range(3):
        _front(target).reset_after(chance.randint(1, 3000))
        await asyncio.sleep(0.1)
    _front(target).flow()


async def hold_clients(target: Target, chance: random.Random) -> None:
    """Half-open connections; what is held arrives late."""
    await _hold(_front(target), chance)


async def drip_clients(target: Target, chance: random.Random) -> None:
    """Slow connections."""
    await _drip(_front(target), chance)


async def kill_postgres(target: Target, chance: random.Random) -> None:
    """kill -9 of all of PostgreSQL."""
    await _restart_postgres(target, chance, hard=True)


async def stop_postgres(target: Target, chance: random.Random) -> None:
    """A fast shutdown: transactions are aborted."""
    await _restart_postgres(target, chance, hard=False)


async def pause_postgres(target: Target, chance: random.Random) -> None:
    """SIGSTOP of all of PostgreSQL."""
    assert target.cluster is not None
    target.cluster.pause()
    await asyncio.sleep(chance.uniform(0.1, LONGEST_S))
    target.cluster.resume()


async def lose_commits(target: Target, chance: random.Random) -> None:
    """The database commits, and its answer never arrives."""
    _back(target).lose_commits(chance.randint(1, 3))
    await asyncio.sleep(0.3)


async def reset_database(target: Target, chance: random.Random) -> None:
    """Reset the server's connections, some in the middle of answers."""
    _back(target).reset()
    _back(target).reset_after(chance.randint(1, 3000))
    await asyncio.sleep(0.2)
    _back(target).flow()


async def hold_database(target: Target, chance: random.Random) -> None:
    """The database falls silent."""
    await _hold(_back(target), chance)


async def drip_database(target: Target, chance: random.Random) -> None:
    """The database answers slowly."""
    await _drip(_back(target), chance)


ALWAYS: tuple[Nemesis, ...] = (
    kill_server,
    stop_server,
    pause_server,
    die_at_a_point,
    cut_clients,
    reset_clients,
    hold_clients,
    drip_clients,
)
POSTGRES: tuple[Nemesis, ...] = (
    kill_postgres,
    stop_postgres,
    pause_postgres,
    lose_commits,
    reset_database,
    hold_database,
    drip_database,
)


def _front(target: Target) -> FaultProxy:
    assert target.front is not None
    return target.front


def _back(target: Target) -> FaultProxy:
    assert target.back is not None
    return target.back


async def _hold(proxy: FaultProxy, chance: random.Random) -> None:
    proxy.hold()
    await asyncio.sleep(chance.uniform(0.1, LONGEST_S))
    if chance.random() < 0.5:
        proxy.cut()
    proxy.flow()


async def _drip(proxy: FaultProxy, chance: random.Random) -> None:
    proxy.drip(chance.randint(20, 400))
    await asyncio.sleep(chance.uniform(0.1, LONGEST_S))
    proxy.flow()


async def _restart_postgres(target: Target, chance: random.Random, *, hard: bool) -> None:
    cluster = target.cluster
    assert cluster is not None
    await asyncio.to_thread(cluster.kill if hard else cluster.stop)
    await asyncio.sleep(chance.uniform(0, 0.5))
    await asyncio.to_thread(cluster.start)
