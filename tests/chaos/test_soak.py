"""Mixed load for a while: after a warm-up the server's memory stays flat.

reliability: promise 10 (less than 1 % in 10 minutes). `--soak-minutes 20`, or `make soak`, for the promise; by default
some seconds, which only show that the load works and that nothing grows without a bound.

The slope is that of Theil and Sen, the median of the slopes between all pairs of samples: a few samples taken while
the server had much to do at once move it as little as they should. What is bounded must be full after the warm-up, or
its filling would be taken for a leak: caches are made small, and what is bounded by number (the answers to the newest
10,000 transactions) or in the database (8 MiB of pages for the connection that writes, 2 MiB for each that reads) is
filled first, with texts of chance, because others would be packed to nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import psutil
import pytest

from tests.support import seeding
from tests.support.client import Client, part
from tests.support.fixtures import StartServer
from tests.support.stream import connected
from tests.support.texts import text_of

KIBIBYTE = 1024
USERS = 20
ROOMS = 5
WARM_UP = 0.3
"""This part of the time is not looked at."""
SAMPLES = 300
PERCENT_IN_TEN_MINUTES = 1.0
FILLING = 15_000
SHORT_MINUTES = 5.0
"""Below this a slope says nothing: a second's noise would be a gigabyte in ten minutes."""


class Load:
    """People who do a bit of everything, at a pace that the server keeps up with."""

    def __init__(self, people: list[Client], rooms: list[str], seed: int) -> None:
        self.people, self.rooms = people, rooms
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.serial = itertools.count()
        self.last: dict[str, str] = {}
        self.hurry = True

    def tasks(self) -> list[asyncio.Task[None]]:
        """Everybody at work, until cancelled."""
        work = [asyncio.create_task(self._act(person)) for person in self.people]
        work += [asyncio.create_task(self._poll(person)) for person in self.people[::2]]
        return work + [asyncio.create_task(self._listen(person)) for person in self.people[1::2]]

    async def _act(self, person: Client) -> None:
        actions: list[Callable[[Client, str], Awaitable[None]]] = [
            self._send, self._send, self._send, self._receipt, self._typing, self._history, self._state,
            self._leave_and_join, self._account_data, self._profile, self._first_sync, self._refused,
        ]  # fmt: skip
        while True:
            action = self.chance.choice(actions)
            await action(person, self.chance.choice(self.rooms))
            self.done[action.__name__] += 1
            await asyncio.sleep(0.01 if self.hurry else self.chance.uniform(0.1, 0.5))

    async def _send(self, person: Client, room: str) -> None:
        body = text_of(self.chance.randint(10, 2000), self.chance)
        self.last[room] = await person.send(room, body, txn=f"t{next(self.serial)}")

    async def _receipt(self, person: Client, room: str) -> None:
        if room in self.last:
            await person.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(self.last[room])}", {})

    async def _typing(self, person: Client, room: str) -> None:
        path = f"/rooms/{part(room)}/typing/{part(person.user_id)}"
        await person.ok("PUT", path, {"typing": True, "timeout": 2000})

    async def _history(self, person: Client, room: str) -> None:
        await person.messages(room, limit=50)

    async def _state(self, person: Client, room: str) -> None:
        await person.request("PUT", f"/rooms/{part(room)}/state/m.x/{part(person.user_id)}", {"n": next(self.serial)})
        await person.full_state(room)

    async def _leave_and_join(self, person: Client, room: str) -> None:
        await person.member(room, "leave")
        await person.join(room)

    async def _account_data(self, person: Client, _room: str) -> None:
        path = f"/user/{part(person.user_id)}/account_data/m.x{self.chance.randint(1, 5)}"
        await person.ok("PUT", path, {"n": next(self.serial)})

    async def _profile(self, person: Client, _room: str) -> None:
        path = f"/profile/{part(person.user_id)}/displayname"
        await person.ok("PUT", path, {"displayname": f"{person.user_id} {self.chance.randint(1, 9)}"})

    async def _first_sync(self, person: Client, _room: str) -> None:
        await person.sync()

    async def _refused(self, person: Client, room: str) -> None:
        (await person.request("GET", f"/rooms/{part(room)}/event/$nothing{next(self.serial)}")).error((403, 404))
        await person.request("GET", "/account/whoami", token=f"nonsense{next(self.serial)}")

    async def _poll(self, person: Client) -> None:
        since = None
        while True:
            since = (await person.sync(since=since, timeout=5000))["next_batch"]
            self.done["poll"] += 1

    async def _listen(self, person: Client) -> None:
        """A socket after another, each cut after some updates, without a word."""
        since: str | None = None
        while True:
            async with connected(person) as stream:
                await stream.send(op="auth", access_token=person.token)
                await stream.receive("ready")
                await stream.send(op="start", **({} if since is None else {"since": since}))
                for _ in range(20):
                    since = (await stream.update())["next_batch"]
                    self.done["update"] += 1


async def fill(person: Client, count: int) -> None:
    """Send much to nobody else, so that it goes quickly, and read it."""
    room = await person.create_room()
    numbers = iter(range(count))
    chance = random.Random(1)

    async def send() -> None:
        for number in numbers:
            await person.send(room, text_of(2000, chance), txn=f"fill{number}")

    await asyncio.gather(*(send() for _ in range(20)))
    await asyncio.gather(*(person.history(room, limit=500) for _ in range(8)))


def slope(samples: list[tuple[float, int]]) -> float:
    """Bytes in a second, after Theil and Sen."""
    pairs = itertools.combinations(samples, 2)
    return statistics.median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs)


def in_ten_minutes(samples: list[tuple[float, int]]) -> float:
    """Growth in ten minutes, as a percentage of the median."""
    return 100 * slope(samples) * 600 / statistics.median(size for _, size in samples)


def test_the_slope_does_not_mind_outliers() -> None:
    flat = [(float(second), 1000) for second in range(50)]
    assert in_ten_minutes(flat) == 0
    assert in_ten_minutes([(second, 9000 if second % 7 == 3 else size) for second, size in flat]) == 0
    rising = [(second, int(size + second)) for second, size in flat]
    assert 50 < in_ten_minutes(rising) < 60


@pytest.mark.timeout(0)
async def test_memory_stays_flat(
    start_server: StartServer, http: aiohttp.ClientSession, request: pytest.FixtureRequest
) -> None:
    seconds = 60 * float(request.config.getoption("--soak-minutes"))
    small = str(2 * 1024 * KIBIBYTE)
    # Whoever has to wait for the database waits: how long that takes on a busy machine is not the question here.
    patient = {"HROMADA_DATABASE_WAIT_SECONDS": "60"}
    server = start_server(environment={"HROMADA_SYNC_TAIL_BYTES": small, "HROMADA_ROOMS_CACHE_BYTES": small, **patient})
    alice = await Client(http, server.url).register("alice")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(ROOMS)]
    server.stop()
    async with seeding.services(server) as core:
        people = await seeding.make_accounts(core, [f"user{number}" for number in range(USERS)], http)
        for room in rooms:
            await seeding.join(core, room, people)
    server.start()
    for person in people:
        person.base_url = server.url
    await fill(people[0], FILLING if seconds >= 60 * SHORT_MINUTES else 100)
    load = Load(people, rooms, seed=1)
    tasks = load.tasks()
    process = psutil.Process(server.pid)
    samples: list[tuple[float, int]] = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (passed := loop.time() - began) < seconds:
        for task in tasks:
            if task.done():
                task.result()
        load.hurry = passed < WARM_UP * seconds * 0.9
        if passed > WARM_UP * seconds:
            samples.append((passed, process.memory_info().rss))
        await asyncio.sleep(min(seconds / SAMPLES, 5))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    server.assert_alive()
    assert "Traceback" not in server.log_tail(100_000)
    growth = in_ten_minutes(samples)
    sizes = [size // KIBIBYTE for _, size in samples]
    print(f"\n{sum(load.done.values())} actions in {seconds:.0f} s: {dict(load.done)}")
    print(f"memory: {sizes[0]} to {sizes[-1]} KiB, at least {min(sizes)}, at most {max(sizes)}")
    print(f"slope: {growth:+.2f} % in 10 minutes; now and then: {sizes[:: max(1, len(sizes) // 20)]}")
    if seconds >= 60 * SHORT_MINUTES:
        assert growth < PERCENT_IN_TEN_MINUTES
    else:
        assert sizes[-1] < 2 * sizes[0]
