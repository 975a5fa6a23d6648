"""Of two processes on one database one writes to visitors, and the other goes on where that one was."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from homeserver.ports.mail import Letter
from homeserver.ports.store import Transaction
from homeserver.ports.support import Case, Site, Visitor
from homeserver.services.duties import NotOurs, SharedDuty
from homeserver.services.rooms.history import Page
from homeserver.services.support.letters import OTHERS_MS, SupportLetters
from homeserver.services.support.site import dump_config, parse_config
from homeserver.services.support.sites import Sites
from homeserver.storage.unit import Database
from tests.services.test_duties import Pair

ADA, STAFF, ROOM = "@visitor-shop-ada:hromada.test", "@olena:hromada.test", "!case"
SAID_MS = -OTHERS_MS
"""Long enough ago for the one that writes to wait for the other no more: for these clocks it is 0 now."""
SETTINGS = {"name": "Shop", "origins": ["https://shop.example"], "letters": {"enabled": True, "after_minutes": 0}}


class World:
    """What letters are written of: one conversation, in which staff said something; and a mail server that is slow."""

    def __init__(self, store: Database) -> None:
        self.store = store
        self.course: list[str] = []
        """Who began to send a letter, and who was not to store that it is sent."""
        self.answers = {"one": asyncio.Event(), "two": asyncio.Event()}
        self.changed = asyncio.Condition()

    async def messages(self, *_: Any) -> Page:
        said = {"type": "m.room.message", "sender": STAFF, "event_id": "$1", "origin_server_ts": 5}
        return Page([msgspec.json.encode({**said, "content": {"msgtype": "m.text", "body": "Yes."}})], [], "", None)

    async def visitor(self, _case: Case) -> Visitor:
        return Visitor(ADA, "shop", 1, 1, email="ada@example.org")

    async def called(self, _user_id: str) -> str:
        return "Olena"

    async def note(self, what: str) -> None:
        self.course.append(what)
        async with self.changed:
            self.changed.notify_all()

    async def until(self, wanted: list[str]) -> None:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: self.course == wanted)

    async def mailed_ms(self) -> int | None:
        async with self.store.read() as tx:
            case = await tx.support.case(ROOM)
        assert case is not None
        return case.mailed_ms


class _Post:
    def __init__(self, world: World, who: str) -> None:
        self._world = world
        self._who = who

    async def send(self, _letter: Letter) -> None:
        await self._world.note(self._who)
        await self._world.answers[self._who].wait()


class _Watched:
    """A duty whose refusals are written down."""

    def __init__(self, world: World, who: str, duty: SharedDuty) -> None:
        self._world = world
        self._who = who
        self._duty = duty
        self.is_ours, self.perform, self.allowed = duty.is_ours, duty.perform, duty.allowed
        self.is_shared = duty.is_shared

    async def require(self, tx: Transaction) -> None:
        try:
            await self._duty.require(tx)
        except NotOurs:
            await self._world.note(f"{self._who} refused")
            raise


async def begun(world: World, duty: SharedDuty, who: str, clock: Any) -> asyncio.Task[None]:
    """A process that writes letters if it is to."""
    sites = Sites(world.store, cast("Any", None), clock, "hromada.test", most=9)
    await sites.all()
    assert sites.some
    of = cast("Any", world)
    watched = _Watched(world, who, duty)
    letters = SupportLetters(
        world.store, of, sites, of, clock, lambda: _Post(world, who), lambda _user_id: False, watched
    )
    return asyncio.create_task(letters.run())


@pytest.fixture
async def world(store: Database) -> World:
    async with store.write() as tx:
        await tx.support.add_site(Site("shop", dump_config(parse_config(SETTINGS)), "@bot:x", "!space", "!desk", 1))
        await tx.support.put_case(Case(ROOM, "shop", 1, ADA, 1, 1, said_ms=SAID_MS))
    return World(store)


async def test_one_of_two_writes_and_the_next_repeats_only_what_was_not_stored(store: Database, world: World) -> None:
    pair = Pair(store)
    await pair.look(pair.one)
    await pair.look(pair.two)
    # The one that has no duty begins first, and finds nothing to do.
    tasks = [await begun(world, pair.two, "two", pair.clock), await begun(world, pair.one, "one", pair.clock)]
    try:
        await world.until(["one"])
        # While it waits for the mail server it is taken for dead: what it was at is begun anew by the other.
        await pair.pass_time(pair.two, seconds=7)
        await world.until(["one", "two"])
        # Not knowing of it, the first one would say that all is sent.
        world.answers["one"].set()
        await world.until(["one", "two", "one refused"])
        assert await world.mailed_ms() is None
        world.answers["two"].set()
        async with asyncio.timeout(60):
            while await world.mailed_ms() is None:
                await asyncio.sleep(0.01)
        assert world.course == ["one", "two", "one refused"]
        await pair.look(pair.one)
        assert (pair.one.is_ours, pair.two.is_ours) == (False, True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Time:
    """The time of day, set by hand."""

    ms = 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


async def test_no_letter_goes_to_who_is_with_another_process(store: Database, world: World) -> None:
    pair = Pair(store)
    await pair.look(pair.one)
    await pair.look(pair.two)
    for answer in world.answers.values():
        answer.set()
    now = _Time()
    sites = Sites(store, cast("Any", None), now, "hromada.test", most=9)
    [site] = await sites.all()
    of, there = cast("Any", world), {"two": True}

    def letters(duty: SharedDuty, who: str) -> SupportLetters:
        return SupportLetters(
            store, of, sites, of, now, lambda: _Post(world, who), lambda user_id: user_id == ADA and there[who], duty
        )

    there["one"] = False
    one, two = letters(pair.one, "one"), letters(pair.two, "two")

    async def said() -> None:
        async with store.write() as tx:
            await tx.support.put_case(Case(ROOM, "shop", 1, ADA, 1, 1, said_ms=now.now_ms()))

    # The one that writes gives the other the time to say that the visitor is there.
    await said()
    now.ms += OTHERS_MS - 1
    assert await one.follow_up(site) == 0
    assert await two.note_who_is_here(site) == 1
    now.ms += 60_000
    assert (await one.follow_up(site), await two.note_who_is_here(site), world.course) == (0, 0, [])
    # Who is with nobody gets one.
    there["two"] = False
    await said()
    now.ms += OTHERS_MS - 1
    assert (await two.note_who_is_here(site), await one.follow_up(site)) == (0, 0)
    now.ms += 1
    assert (await one.follow_up(site), world.course) == (1, ["one"])
    # What was noted late takes nothing back.
    mailed_ms = await world.mailed_ms()
    async with store.write() as tx:
        await tx.support.set_mailed(ROOM, 1)
    assert await world.mailed_ms() == mailed_ms
