"""One process has a duty; another one takes it over from a silent holder, whose writes are refused from then on."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.services.duties import NotOurs, SharedDuties, SharedDuty
from homeserver.storage.unit import Database


class Stopwatch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds


class Pair:
    """Two processes that may have a duty."""

    def __init__(self, store: Database) -> None:
        self.store = store
        self.clock = Stopwatch()
        self._of: dict[SharedDuty, SharedDuties] = {}
        self.one, self.two = self.process("one"), self.process("two")

    def process(self, name: str) -> SharedDuty:
        """The duty as another process sees it."""
        duties = SharedDuties(self.store, self.clock, name)
        duty = duties.of("work")
        self._of[duty] = duties
        return duty

    async def look(self, duty: SharedDuty) -> None:
        """The process whose duty this is counts on, or looks whether it has to take over."""
        await self._of[duty].look(duty)

    async def close(self, duty: SharedDuty) -> None:
        """The process whose duty this is ends."""
        await self._of[duty].close(duty)

    async def pass_time(self, *living: SharedDuty, seconds: int) -> None:
        """Time passes; only those who live look at the row."""
        for _ in range(seconds):
            self.clock.seconds += 1
            for duty in living:
                await self.look(duty)

    async def may_write(self, duty: SharedDuty) -> bool:
        async with self.store.write() as tx:
            try:
                await duty.require(tx)
            except NotOurs:
                return False
        return True


@pytest.fixture
async def pair(store: Database) -> Pair:
    pair = Pair(store)
    await pair.look(pair.one)
    await pair.look(pair.two)
    return pair


async def test_who_comes_first_has_it_as_long_as_they_live(pair: Pair) -> None:
    await pair.pass_time(pair.one, pair.two, seconds=20)
    assert (pair.one.is_ours, pair.two.is_ours) == (True, False)
    assert (await pair.may_write(pair.one), await pair.may_write(pair.two)) == (True, False)


async def test_a_silent_holder_is_followed_and_writes_nothing_more(pair: Pair) -> None:
    await pair.pass_time(pair.two, seconds=5)
    assert not pair.two.is_ours, "the holder trusts its last count for some seconds"
    await pair.pass_time(pair.two, seconds=2)
    assert pair.two.is_ours
    assert pair.one.is_ours, "it was stopped, and does not know"
    assert (await pair.may_write(pair.one), await pair.may_write(pair.two)) == (False, True)
    await pair.look(pair.one)
    assert not pair.one.is_ours
    await pair.pass_time(pair.one, pair.two, seconds=20)
    assert (pair.one.is_ours, pair.two.is_ours) == (False, True)


async def test_what_is_given_back_is_taken_at_once(pair: Pair) -> None:
    await pair.close(pair.one)
    assert not await pair.may_write(pair.one)
    await pair.look(pair.two)
    assert pair.two.is_ours
    assert await pair.may_write(pair.two)


async def test_of_many_who_would_take_it_one_does(pair: Pair) -> None:
    others = [pair.process(f"other {number}") for number in range(4)]
    for duty in others:
        await pair.look(duty)
    pair.clock.seconds += 6
    await asyncio.gather(*(pair.look(duty) for duty in others))
    assert sum(duty.is_ours for duty in others) == 1


async def test_several_are_counted_on_at_once_and_lost_one_by_one(pair: Pair) -> None:
    duties, others = (SharedDuties(pair.store, pair.clock, name) for name in ("first", "second"))
    letters, pushes = duties.of("letters"), duties.of("pushes")
    await duties.look(letters, pushes)
    foreign = others.of("pushes")
    for _ in range(20):
        pair.clock.seconds += 1
        await duties.look(letters, pushes)
        await others.look(foreign)
    assert (letters.is_ours, pushes.is_ours, foreign.is_ours) == (True, True, False)
    # It is silent about one of them only: another process takes that, and it keeps the other.
    for _ in range(7):
        pair.clock.seconds += 1
        await duties.look(letters)
        await others.look(foreign)
    await duties.look(letters, pushes)
    assert (letters.is_ours, pushes.is_ours, foreign.is_ours) == (True, False, True)
    await duties.close(letters, pushes)
    assert [await pair.may_write(duty) for duty in (letters, pushes, foreign)] == [False, False, True]


async def test_a_holder_that_is_not_certain_does_nothing(pair: Pair) -> None:
    await asyncio.wait_for(pair.one.allowed(), 60)
    pair.clock.seconds += 4
    waiting = asyncio.create_task(pair.one.allowed())
    await asyncio.sleep(0)
    assert not waiting.done()
    await pair.look(pair.one)
    await asyncio.wait_for(waiting, 60)


async def test_the_work_ends_with_the_duty_and_begins_anew_with_the_next(pair: Pair) -> None:
    course: list[str] = []
    moved = asyncio.Condition()

    async def note(what: str) -> None:
        course.append(what)
        async with moved:
            moved.notify_all()

    async def work() -> None:
        await note("begun")
        try:
            await asyncio.Event().wait()
        finally:
            await note("ended")

    async def until(wanted: list[str]) -> None:
        async with asyncio.timeout(60), moved:
            await moved.wait_for(lambda: course == wanted)

    doing = asyncio.create_task(pair.one.perform(work))
    await until(["begun"])
    await pair.pass_time(pair.two, seconds=7)
    await pair.look(pair.one)
    await until(["begun", "ended"])
    await pair.close(pair.two)
    await pair.look(pair.one)
    await until(["begun", "ended", "begun"])
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert course == ["begun", "ended", "begun", "ended"]
