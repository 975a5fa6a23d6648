"""Whose turn it is is invited to the case's room, until somebody has it; the clock is set by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from homeserver.ports.accounts import User
from homeserver.ports.support import NEW, OPEN, RESOLVED, Case
from homeserver.services.support.sites import LiveSite
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, World, running_world
from tests.services.support.office import Office
from tests.support.client import becomes, eventually
from tests.support.statements import counted

AGENTS = [ALICE, BOB, CAROL]


@contextlib.asynccontextmanager
async def at_work(store: Database, mode: str) -> AsyncIterator[tuple[Office, LiveSite, World]]:
    """A desk of three that follows the log; Alice and Bob are there."""
    async with running_world(store) as world:
        async with store.write() as tx:
            for agent in AGENTS:
                await tx.users.create(User(agent, 1))
        office = Office(world)
        office.online = {ALICE, BOB}
        site = await office.site("shop", agents=AGENTS, routing={"mode": mode, "requeue_seconds": 86_400})
        running = asyncio.create_task(office.desk.run())
        try:
            yield office, site, world
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def offered(office: Office, case: Case, but: str | None = None) -> tuple[str, str]:
    """Whose turn it is, once that is not `but`, and who has no turn."""

    async def has() -> bool:
        now = await office.now(case)
        return now.offered not in (None, but)

    await eventually(has)
    agent = (await office.now(case)).offered
    assert agent is not None
    return agent, BOB if agent == ALICE else ALICE


async def standing(world: World, case: Case) -> dict[str, str | None]:
    """What of the case's room each agent is."""
    return {agent: await world.membership(case.room_id, agent) for agent in AGENTS}


async def status_of(office: Office, case: Case) -> tuple[str, str | None, str | None]:
    now = await office.now(case)
    return now.status, now.assignee, now.offered


@pytest.mark.parametrize("mode", ["round_robin", "least_open"])
async def test_who_accepts_the_invitation_has_the_case(store: Database, mode: str) -> None:
    async with at_work(store, mode) as (office, site, world):
        case = await office.asked(site, "ada")
        agent, other = await offered(office, case)
        await becomes(lambda: standing(world, case), {agent: "invite", other: None, CAROL: None})
        invitation = await world.state(case.room_id, "m.room.member", agent)
        assert invitation is not None
        assert invitation["reason"] == "Case #1 is offered to you: accept to take it, decline to pass it on"
        # A colleague looks in, which is no answer to the offer.
        await world.rooms.memberships.join(other, case.room_id)
        await world.rooms.memberships.join(agent, case.room_id)
        await becomes(lambda: status_of(office, case), (OPEN, agent, None))
        assert await standing(world, case) == {agent: "join", other: "join", CAROL: None}


async def test_an_offer_that_lies_or_is_declined_goes_on_with_its_invitation(store: Database) -> None:
    async with at_work(store, "round_robin") as (office, site, world):
        case = await office.asked(site, "ada")
        first, second = await offered(office, case)
        await becomes(lambda: standing(world, case), {first: "invite", second: None, CAROL: None})
        office.clock.day += 1
        await office.desk.tick()
        assert await status_of(office, case) == (NEW, None, second)
        assert await standing(world, case) == {first: "leave", second: "invite", CAROL: None}
        # Nothing is done twice, however often one looks.
        before = [event.event_id for event in await world.timeline(case.room_id)]
        await office.desk.tick()
        assert [event.event_id for event in await world.timeline(case.room_id)] == before
        # Declined, it is the other's again; declined by both, everybody's until time is up.
        await world.rooms.memberships.leave(second, case.room_id)
        assert await offered(office, case, but=second) == (first, second)
        await becomes(lambda: standing(world, case), {first: "invite", second: "leave", CAROL: None})
        office.online = {first}
        await world.rooms.memberships.leave(first, case.room_id)
        await becomes(lambda: status_of(office, case), (NEW, None, None))
        assert await standing(world, case) == {first: "leave", second: "leave", CAROL: None}
        await office.desk.tick()
        assert await status_of(office, case) == (NEW, None, None)
        office.clock.day += 1
        await office.desk.tick()
        assert await status_of(office, case) == (NEW, None, first)
        assert await standing(world, case) == {first: "invite", second: "leave", CAROL: None}
        said = await office.words(site.row.desk_id)
        assert len([text for text in said if "passes the case on" in text]) == 2


async def test_the_invitation_goes_when_somebody_else_has_the_case_or_it_is_done(store: Database) -> None:
    async with at_work(store, "least_open") as (office, site, world):
        taken, done = await office.asked(site, "taken"), await office.asked(site, "done")
        agent, other = await offered(office, taken)
        await becomes(lambda: standing(world, taken), {agent: "invite", other: None, CAROL: None})
        await office.cases.assign(site, taken.room_id, CAROL, "by hand")
        assert await standing(world, taken) == {agent: "leave", other: None, CAROL: "invite"}
        assert (await status_of(office, taken))[:2] == (OPEN, CAROL)
        # What was assigned and not accepted goes to whoever gets the case then.
        await office.cases.assign(site, taken.room_id, other, "by hand again")
        assert await standing(world, taken) == {agent: "leave", other: "invite", CAROL: "leave"}
        agent, other = await offered(office, done)
        await becomes(lambda: standing(world, done), {agent: "invite", other: None, CAROL: None})
        await office.cases.set_status(site, done.room_id, RESOLVED, CAROL, "done")
        assert await standing(world, done) == {agent: "leave", other: None, CAROL: None}


async def test_who_leaves_the_desk_is_not_waited_for(store: Database) -> None:
    async with at_work(store, "round_robin") as (office, site, world):
        case = await office.asked(site, "ada")
        gone, other = await offered(office, case)
        await becomes(lambda: standing(world, case), {gone: "invite", other: None, CAROL: None})
        await world.rooms.memberships.leave(gone, site.row.desk_id)
        assert await offered(office, case, but=gone) == (other, gone)
        await becomes(lambda: standing(world, case), {gone: "leave", other: "invite", CAROL: None})


async def test_where_nobody_is_invited_nothing_is_read(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            for agent in AGENTS:
                await tx.users.create(User(agent, 1))
        office = Office(world)
        site = await office.site("shop", agents=AGENTS)
        case = await office.case(site, "ada", OPEN)
        with counted(store) as statements:
            await office.support.withdraw(site.row.bot, case.room_id, [ALICE], "It is not offered any more")
        assert statements == []
        # Where all are asked some are invited, too: to whom a case is given.
        await office.cases.assign(site, case.room_id, BOB, "by hand")
        assert await standing(world, case) == {ALICE: "join", BOB: "invite", CAROL: None}
        await office.cases.assign(site, case.room_id, CAROL, "by hand again")
        assert await standing(world, case) == {ALICE: "join", BOB: "leave", CAROL: "invite"}
