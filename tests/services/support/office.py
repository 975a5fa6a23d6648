"""Sites with cases on a real store, without a server; the clock is set by hand."""

from __future__ import annotations

from typing import Any, cast

from homeserver.ports.accounts import User
from homeserver.ports.support import Case, Visitor
from homeserver.services.accounts.sessions import Sessions, SessionSettings
from homeserver.services.duties import OwnDuty
from homeserver.services.support.blocks import Blocks
from homeserver.services.support.cases import Cases, Opening
from homeserver.services.support.desk import Desk
from homeserver.services.support.retention import Retention
from homeserver.services.support.rooms import SupportRooms
from homeserver.services.support.routing import Routing
from homeserver.services.support.site import parse_config
from homeserver.services.support.sites import LiveSite, Sites
from homeserver.services.support.visitors import Visitors
from homeserver.web.ratelimit import address_key
from tests.services.rooms.conftest import ALICE, World
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
        self.online: set[str] = set()
        """Who of staff is there."""
        self.support = SupportRooms(world.rooms.writer, world.rooms.memory, cast("Any", world.profiles), SERVER_NAME)
        self.sites = Sites(self.store, self.support, self.clock, SERVER_NAME, most=9)
        of = cast("Any", self)  # of accounts only the end is asked for, and of sessions, too
        sessions = Sessions(self.store, world.committer, self.clock, of, of, SessionSettings())
        self.blocks = Blocks(self.store, world.committer, sessions, self.clock, bytes(32), list, address_key)
        self.cases = Cases(self.store, self.support, cast("Any", world.profiles), self.clock, self.blocks, SERVER_NAME)
        self.visitors = Visitors(
            self.store,
            world.committer,
            sessions,
            *(of, self.sites, self.cases, self.support, self.blocks, of, self.clock, of, SERVER_NAME),
        )
        routing = Routing(self.store, self.clock, self.cases, self.support, lambda user_id: user_id in self.online)
        self.desk = Desk(self.store, world.log, self.clock, self.sites, self.cases, self.support, routing, self.blocks)
        self.retention = Retention(
            self.store, self.clock, self.sites, self.cases, self.support, self.visitors, OwnDuty()
        )

    async def deactivate(self, user_id: str, *, erase: bool) -> None:
        assert not erase
        self.closed.append(user_id.split("-")[2].split(":", maxsplit=1)[0])

    def take(self, *_: object) -> None:
        """Nothing is limited."""

    async def site(self, name: str, **settings: Any) -> LiveSite:
        agents = settings.pop("agents", [ALICE])
        site = await self.sites.add(name, parse_config({**SETTINGS, **settings}), agents)
        for agent in agents:
            await self.world.rooms.memberships.join(agent, site.row.desk_id)
        return site

    async def asked(self, site: LiveSite, name: str) -> Case:
        """A conversation of somebody new, who has written and nobody else."""
        user_id, now = f"@visitor-{site.id}-{name}:{SERVER_NAME}", self.clock.now_ms()
        visitor = Visitor(user_id, site.id, now, now, name)
        async with self.store.write() as tx:
            await tx.users.create(User(user_id, now, is_guest=True, site_id=site.id))
            await tx.support.put_visitor(visitor)
        case = await self.cases.open(site, visitor, Opening("https://shop.example/mugs"))
        await self.world.say(case.room_id, f"I am {name}", user_id)
        return case

    async def case(self, site: LiveSite, name: str, status: str | None = None) -> Case:
        """A conversation of somebody new, in which both have spoken, with a card and a note."""
        case = await self.asked(site, name)
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

    async def now(self, case: Case) -> Case:
        found = await self.row(case)
        assert found is not None
        return found
