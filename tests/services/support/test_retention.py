"""What has had its time goes, site by site, and nothing before; the clock is set by hand."""

from __future__ import annotations

from dataclasses import replace

from homeserver.ports.accounts import Device, Session, User
from homeserver.ports.support import BLOCKED, RESOLVED, Visitor
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, running_world
from tests.services.support.office import Office


async def test_ended_conversations_and_idle_visitors_go_when_their_site_says_so(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        brief = await office.site("brief", conversation_days=30)
        lasting = await office.site("lasting")
        ended, shut = await office.case(brief, "ended", RESOLVED), await office.case(brief, "shut", BLOCKED)
        open_ = await office.case(brief, "open")
        kept = await office.case(lasting, "kept", RESOLVED)
        office.clock.day += 30
        assert await office.retention.once() == 0
        assert await office.words(ended.room_id) == ["I am ended", "Hello ended"]
        office.clock.day += 1
        assert await office.retention.once() == 1
        # All that was said is gone, on the desk, too; the room says nothing of who it was.
        assert await office.words(ended.room_id) == []
        assert not [text for text in await office.words(brief.row.desk_id) if "ended" in text]
        assert [text for text in await office.words(brief.row.desk_id) if "open is nice" in text]
        assert await world.state(ended.room_id, "m.room.name") == {"name": "#1 Visitor"}
        assert "page" not in (await world.state(ended.room_id, "chat.hromada.support.ticket") or {})
        assert await world.membership(ended.room_id, ended.visitor_id) == "leave"
        async with store.read() as tx:
            visitor = await tx.support.visitor(ended.visitor_id)
        assert visitor is not None
        assert (visitor.name, visitor.room_id) == ("ended", None)
        # Who is shut out stays so; what goes on, or is another site's, stays.
        assert [await office.row(case) is None for case in (ended, shut, open_, kept)] == [True, False, False, False]
        assert await office.words(open_.room_id) == ["I am open", "Hello open"]
        assert await office.words(kept.room_id) == ["I am kept", "Hello kept"]
        assert await office.retention.once() == 0
        # Visitors who do not come back are closed, and with them goes what they were shut out of. What others have said
        # stays with staff, but no name on card and room, and nothing waits for them.
        assert [text for text in await office.words(lasting.row.desk_id) if "#1 kept" in text]
        office.clock.day += 60
        assert await office.retention.once() == 5
        assert sorted(office.closed) == ["ended", "kept", "open", "shut"]
        assert await office.words(shut.room_id) == []
        assert await office.words(kept.room_id) == ["I am kept", "Hello kept"]
        cards = [text for text in await office.words(lasting.row.desk_id) if "I am kept" in text or "#1" in text]
        assert len([text for text in cards if text.startswith("✅ #1 Visitor · /mugs: resolved")]) == 1
        assert [text for text in cards if "#1 kept" in text] == []
        assert await world.state(kept.room_id, "m.room.name") == {"name": "#1 Visitor · /mugs"}
        assert (await office.now(open_)).status == RESOLVED
        assert await office.retention.once() == 0


async def test_anonymous_visitors_are_logged_out_after_30_days_and_what_was_said_stays(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        site = await office.site("shop")

        async def there(name: str, **of: str) -> Visitor:
            """Somebody with a session in their browser."""
            case = await office.case(site, name)
            async with store.write() as tx:
                visitor = await tx.support.visitor(case.visitor_id)
                assert visitor is not None
                await tx.support.put_visitor(replace(visitor, **of))
                await tx.devices.create(Device(case.visitor_id, name.upper(), 1, "Support chat"))
                await tx.sessions.create(Session(name, case.visitor_id, name.upper(), refreshable=False))
            return visitor

        async def logged_in(*names: str) -> list[str]:
            async with store.read() as tx:
                return sorted(await tx.sessions.existing(names))

        away, _, own = await there("away"), await there("known", subject="customer 7"), await there("own")
        async with store.write() as tx:
            await tx.users.upgrade_guest(own.user_id, "hash")
        office.clock.day += 30
        assert await office.retention.once() == 0
        office.clock.day += 1
        back = await there("back")  # seen this day
        assert await office.retention.once() == 1
        # The site knows one of the others, and one has an account of their own.
        assert await logged_in("away", "known", "own", "back") == ["back", "known", "own"]
        async with store.read() as tx:
            assert [await tx.devices.count(one.user_id) for one in (away, back)] == [0, 1]
            assert await tx.support.visitor(away.user_id) == away
            [case] = await tx.support.cases_of(away.user_id)
        assert await office.words(case.room_id) == ["I am away", "Hello away"]
        assert office.closed == []
        assert await office.retention.once() == 0
