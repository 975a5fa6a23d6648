"""Whose turn it is is invited to the case's room, until somebody has it; the clock is set by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from homeserver.ports.accounts import User
from homeserver.ports.support import NEW, OPEN, RESOLVED, Case
from homeserver.services.support.site import merged
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


async def _card(office: Office, case: Case) -> str:
    """What the case's card says, once there is one."""

    async def is_there() -> bool:
        return (await office.now(case)).card_id is not None

    await eventually(is_there)
    site = await office.sites.get(case.site_id)
    return [text for text in await office.words(site.row.desk_id) if f"#{case.number} " in text][-1]


async def _powers(world: World, case: Case) -> dict[str, int]:
    levels = await world.state(case.room_id, "m.room.power_levels")
    assert levels is not None
    return dict(levels.get("users", {}))


@pytest.mark.parametrize("mode", ["broadcast", "round_robin", "least_open"])
async def test_who_leaves_the_conversation_leaves_the_case_to_the_others(store: Database, mode: str) -> None:
    async with at_work(store, mode) as (office, site, world):
        case = await office.asked(site, "ada")
        await _card(office, case)
        await office.cases.assign(site, case.room_id, ALICE, "by hand")
        await world.rooms.memberships.join(ALICE, case.room_id)
        await world.say(case.room_id, "Hello", ALICE)
        assert await _powers(world, case) == {ALICE: 50}
        await world.rooms.memberships.leave(ALICE, case.room_id)
        # Whose turn it is, is another's; where all are asked, all are told.
        turn = None if mode == "broadcast" else BOB
        await becomes(lambda: status_of(office, case), (NEW, None, turn))
        await becomes(lambda: standing(world, case), {ALICE: "leave", BOB: turn and "invite", CAROL: None})
        assert await _powers(world, case) == {}

        async def said() -> list[str]:
            return [text for text in await office.words(site.row.desk_id) if "has left the conversation" in text]

        await becomes(said, [f"{ALICE} has left the conversation: who takes the case?"])
        assert ("unassigned" if mode == "broadcast" else f"offered to {BOB}") in await _card(office, case)
        # So it is when somebody does not even come who was given the case.
        await office.cases.assign(site, case.room_id, CAROL, "by hand again")
        await world.rooms.memberships.leave(CAROL, case.room_id)

        async def has_nobody() -> bool:
            now = await office.now(case)
            return now.status == NEW and now.assignee is None and now.offered != CAROL

        await eventually(has_nobody)


async def test_a_case_is_not_offered_at_once_to_who_has_just_left_it(store: Database) -> None:
    async with at_work(store, "round_robin") as (office, site, world):
        office.online = {ALICE}
        case = await office.asked(site, "ada")
        await offered(office, case)
        await world.rooms.memberships.join(ALICE, case.room_id)
        await becomes(lambda: status_of(office, case), (OPEN, ALICE, None))
        await world.rooms.memberships.leave(ALICE, case.room_id)
        await becomes(lambda: status_of(office, case), (NEW, None, None))
        await office.desk.tick()
        assert await status_of(office, case) == (NEW, None, None)
        office.clock.day += 1
        await office.desk.tick()
        assert await status_of(office, case) == (NEW, None, ALICE)


async def test_who_opens_a_case_again_has_it_if_nobody_is_there_who_had_it(store: Database) -> None:
    async with at_work(store, "broadcast") as (office, site, world):
        left, kept = await office.case(site, "left"), await office.case(site, "kept")
        for case in (left, kept):  # in which Alice has written
            await becomes(lambda case=case: status_of(office, case), (OPEN, ALICE, None))
            await office.cases.set_status(site, case.room_id, RESOLVED, ALICE, f"done {case.number}")
        await world.rooms.memberships.leave(ALICE, left.room_id)
        for case in (left, kept):
            await office.cases.set_status(site, case.room_id, OPEN, BOB, f"open {case.number}")
        assert await status_of(office, left) == (OPEN, BOB, None)
        assert await status_of(office, kept) == (OPEN, ALICE, None)
        assert await standing(world, left) == {ALICE: "leave", BOB: "invite", CAROL: None}
        assert await _powers(world, left) == {BOB: 50}


async def test_an_offer_ends_when_a_site_comes_to_ask_all(store: Database) -> None:
    async with at_work(store, "round_robin") as (office, site, world):
        case = await office.asked(site, "ada")
        agent, other = await offered(office, case)
        await becomes(lambda: standing(world, case), {agent: "invite", other: None, CAROL: None})
        changed = {"routing": {"mode": "broadcast"}}
        await office.sites.edit(site.id, merged(site.config, changed))
        await office.desk.tick()
        assert await status_of(office, case) == (NEW, None, None)
        assert await standing(world, case) == {agent: "leave", other: None, CAROL: None}
        assert "offered to" not in await _card(office, case)
