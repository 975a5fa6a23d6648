"""What has had its time goes, site by site, and nothing before; the clock is set by hand."""

from __future__ import annotations

from typing import Any, cast

from homeserver.ports.accounts import User
from homeserver.ports.support import BLOCKED, RESOLVED, Case, Visitor
from homeserver.services.duties import OwnDuty
from homeserver.services.support.cases import Cases, Opening
from homeserver.services.support.retention import Retention
from homeserver.services.support.rooms import SupportRooms
from homeserver.services.support.site import parse_config
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.visitors import Visitors
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, World, running_world
from tests.services.test_maintenance import Calendar
from tests.support.store import SERVER_NAME

SETTINGS = {"name": "Shop", "origins": ["https://shop.example"], "visitor_idle_days": 90}


class Office:
    """Sites with cases, as the composition root wires them; what closes accounts only writes them down."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store
        self.clock = Calendar()
        self.closed: list[str] = []
        self.support = SupportRooms(world.rooms.writer, world.rooms.memory, cast("Any", world.profiles), SERVER_NAME)
        self.sites = Sites(self.store, self.support, self.clock, SERVER_NAME, most=9)
        self.cases = Cases(self.store, self.support, cast("Any", world.profiles), self.clock, SERVER_NAME)
        of = cast("Any", self)  # of accounts only the end is asked for, and nothing of sessions
        visitors = Visitors(
            self.store, of, of, of, self.sites, self.cases, self.support, of, self.clock, of, SERVER_NAME
        )
        self.retention = Retention(self.store, self.clock, self.sites, self.cases, self.support, visitors, OwnDuty())

    async def deactivate(self, user_id: str, *, erase: bool) -> None:
        assert not erase
        self.closed.append(user_id.split("-")[2].split(":", maxsplit=1)[0])

    async def site(self, name: str, **settings: Any) -> LiveSite:
        site = await self.sites.add(name, parse_config({**SETTINGS, **settings}), [ALICE])
        await self.world.rooms.memberships.join(ALICE, site.row.desk_id)
        return site

    async def case(self, site: LiveSite, name: str, status: str | None = None) -> Case:
        """A conversation of somebody new, in which both have spoken, with a card and a note."""
        user_id, now = f"@visitor-{site.id}-{name}:{SERVER_NAME}", self.clock.now_ms()
        visitor = Visitor(user_id, site.id, now, now, name)
        async with self.store.write() as tx:
            await tx.users.create(User(user_id, now, is_guest=True, site_id=site.id))
            await tx.support.put_visitor(visitor)
        case = await self.cases.open(site, visitor, Opening("https://shop.example/mugs"))
        await self.world.say(case.room_id, f"I am {name}", user_id)
        await self.world.rooms.memberships.join(ALICE, case.room_id)
        await self.world.say(case.room_id, f"Hello {name}", ALICE)
        case = await self.cases.tell(site, case)
        await self.cases.add_note(site, case, f"{name} is nice", f"note {name}")
        return case if status is None else await self.cases.set_status(site, case.room_id, status, ALICE, "done")

    async def words(self, room_id: str) -> list[str]:
        """What is to be read in a room, edits and names of the case included."""
        bodies = []
        for event in await self.world.timeline(room_id):
            async with self.store.read() as tx:
                stored = (await tx.events.get_many([event.event_id]))[event.event_id]
            if stored.redacted_by is None and event.type == "m.room.message":
                bodies.append(str(event.content.get("body")))
        return bodies

    async def row(self, case: Case) -> Case | None:
        async with self.store.read() as tx:
            return await tx.support.case(case.room_id)


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
        # Visitors who do not come back are closed, and with them goes what they were shut out of.
        office.clock.day += 60
        assert await office.retention.once() == 5
        assert sorted(office.closed) == ["ended", "kept", "open", "shut"]
        assert await office.words(shut.room_id) == []
        assert await office.words(kept.room_id) == ["I am kept", "Hello kept"]
