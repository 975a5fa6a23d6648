"""One process has a duty; another one takes it over from a silent holder, whose writes are refused from then on."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.services.duties import NotOurs, SharedDuty
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
        self.one, self.two = (SharedDuty(store, self.clock, "work", name) for name in ("one", "two"))

    async def pass_time(self, *living: SharedDuty, seconds: int) -> None:
        """Time passes; only those who live look at the row."""
        for _ in range(seconds):
            self.clock.seconds += 1
            for duty in living:
                await duty.look()

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
    await pair.one.look()
    await pair.two.look()
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
    await pair.one.look()
    assert not pair.one.is_ours
    await pair.pass_time(pair.one, pair.two, seconds=20)
    assert (pair.one.is_ours, pair.two.is_ours) == (False, True)


async def test_what_is_given_back_is_taken_at_once(pair: Pair) -> None:
    await pair.one.close()
    assert not await pair.may_write(pair.one)
    await pair.two.look()
    assert pair.two.is_ours
    assert await pair.may_write(pair.two)


async def test_of_many_who_would_take_it_one_does(pair: Pair) -> None:
    others = [SharedDuty(pair.store, pair.clock, "work", f"other {number}") for number in range(4)]
    for duty in others:
        await duty.look()
    pair.clock.seconds += 6
    await asyncio.gather(*(duty.look() for duty in others))
    assert sum(duty.is_ours for duty in others) == 1


async def test_a_holder_that_is_not_certain_does_nothing(pair: Pair) -> None:
    await asyncio.wait_for(pair.one.allowed(), 60)
    pair.clock.seconds += 4
    waiting = asyncio.create_task(pair.one.allowed())
    await asyncio.sleep(0)
    assert not waiting.done()
    await pair.one.look()
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
    await pair.one.look()
    await until(["begun", "ended"])
    await pair.two.close()
    await pair.one.look()
    await until(["begun", "ended", "begun"])
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert course == ["begun", "ended", "begun", "ended"]
