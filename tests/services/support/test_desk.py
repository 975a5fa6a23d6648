"""What time brings on the desk; the clock is set by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from homeserver.ports.accounts import User
from homeserver.ports.requester import Requester
from homeserver.ports.support import NEW, OPEN, PENDING, RESOLVED
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, running_world
from tests.services.support.office import Office
from tests.support.client import eventually


async def test_of_changes_within_a_millisecond_the_last_one_is_shown(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)  # its clock stands still
        site = await office.site("quick", form={"fields": [{"name": "plan"}]})
        case = await office.case(site, "ada")
        for number in range(3):
            _, changed = await office.cases.change(case.room_id, lambda now, n=number: replace(now, tags=f"tag{n}"))
            await office.cases.tell(site, changed)
        # What the page says of its visitor is on the card, too, though no part of the case.
        await office.visitors.tell_more(site, Requester(case.visitor_id, site_id=site.id), {"plan": "pro"})
        timeline = await world.timeline(site.row.desk_id)
        words = ("tag0", "tag1", "tag2", "plan: pro")
        edits = [event for event in timeline if "m.new_content" in event.content]
        assert [told in event.content["body"] for told, event in zip(words, edits, strict=True)] == [True] * 4
        # By this clients choose the one they show.  spec: client-server-api#event-replacements
        assert len({event.origin_server_ts for event in edits}) == 4
        assert max(edits, key=lambda event: event.origin_server_ts) is edits[-1]


async def test_a_case_whose_visitor_is_silent_is_resolved_and_says_so_once(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        brief = await office.site("brief", routing={"auto_resolve_hours": 72})
        never = await office.site("never", routing={"auto_resolve_hours": 0})
        silent, held = await office.case(brief, "silent", OPEN), await office.case(brief, "held", PENDING)
        asking, other = await office.case(brief, "asking", OPEN), await office.case(never, "other", OPEN)
        for case in (silent, held, other):  # staff spoke last
            await office.cases.change(case.room_id, lambda now: replace(now, waiting=False))
        cases = (silent, held, asking, other)
        before = [OPEN, PENDING, OPEN, OPEN]
        office.clock.day += 3
        await office.desk.tick()
        assert [(await office.now(case)).status for case in cases] == before
        office.clock.day += 1
        for _ in range(2):
            await office.desk.tick()
            assert [(await office.now(case)).status for case in cases] == [RESOLVED, RESOLVED, OPEN, OPEN]
        said = [text for text in await office.words(brief.row.desk_id) if "was silent for 72 hours" in text]
        assert len(said) == 2


async def test_what_was_said_before_the_end_opens_nothing_again_and_what_was_taken_back_is_on_no_card(
    store: Database,
) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        site = await office.site("late")
        ended, erased, other = [await office.asked(site, name) for name in ("ended", "erased", "other")]
        said_ms = max(event.origin_server_ts for event in await world.timeline(ended.room_id))
        await office.cases.change(ended.room_id, lambda now: replace(now, status=RESOLVED, resolved_ms=said_ms))
        await office.support.redact_all(site.row.bot, erased.room_id, lambda _: True)
        # The desk comes to it only now; of what comes after it one sees that it has.
        running = asyncio.create_task(office.desk.run())
        try:

            async def is_told() -> bool:
                return (await office.now(other)).card_id is not None

            await eventually(is_told)
            assert [(await office.now(case)).status for case in (ended, erased)] == [RESOLVED, NEW]
            assert [(await office.now(case)).excerpt for case in (ended, erased)] == ["", ""]
            assert (await office.now(erased)).card_id is None
            await world.say(ended.room_id, "One more thing", ended.visitor_id)

            async def is_new() -> bool:
                return (await office.now(ended)).status == NEW

            await eventually(is_new)
            assert (await office.now(ended)).excerpt == "One more thing"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
