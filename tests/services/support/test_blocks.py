"""Who is shut out, from where nobody new may begin, and for how long that is known; the clock is set by hand."""

from __future__ import annotations

from dataclasses import replace

from homeserver.core.errors import MatrixError
from homeserver.ports.accounts import Device, User
from homeserver.ports.support import BLOCKED, OPEN, Case
from homeserver.services.support.sites import LiveSite
from homeserver.storage.dialect import Sql
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, running_world
from tests.services.support.office import Office

PREFIX = "2001:db8:1:2::/64"
"""As addresses of the same customer are counted."""
_KEPT = Sql("SELECT digest, number FROM support_blocked_addresses")


async def shut_out(office: Office, site: LiveSite, name: str, address: str) -> Case:
    """A case whose visitor was seen at an address, blocked."""
    case = await office.case(site, name)
    async with office.store.write() as tx:
        await tx.devices.create(Device(case.visitor_id, "D", 1))
        await tx.devices.seen([Device(case.visitor_id, "D", 0, seen_ms=office.clock.now_ms(), seen_ip=address)])
    return await office.cases.set_status(site, case.room_id, BLOCKED, ALICE, f"block {name}")


async def admits(office: Office, site: LiveSite, address: str) -> bool:
    """Whether somebody new may begin from an address."""
    try:
        await office.blocks.check(site, address)
    except MatrixError as error:
        assert (error.code, error.extra["reason"]) == ("M_FORBIDDEN", "blocked")
        return False
    return True


async def is_locked(office: Office, case: Case) -> bool:
    async with office.store.read() as tx:
        user = await tx.users.get(case.visitor_id)
    assert user is not None
    return user.locked


async def kept(office: Office) -> list[str]:
    """What is stored of addresses."""
    async with office.store.engine.read_committed() as connection:
        return [row[0] for row in await _KEPT.rows(connection)]


async def test_an_address_is_refused_for_its_time_and_known_no_longer(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        site, other = await office.site("shop", block_hours=48), await office.site("other", block_hours=48)
        lenient = await office.site("lenient", block_hours=0)
        case = await shut_out(office, site, "mallory", "2001:db8:1:2::99")
        free = await shut_out(office, lenient, "eve", "192.0.2.9")
        # All of one customer's addresses, at this site and at no other.
        assert not await admits(office, site, PREFIX)
        assert await admits(office, site, "2001:db8:1:3::/64")
        assert await admits(office, other, PREFIX)
        assert await admits(office, lenient, "192.0.2.9")
        assert [await is_locked(office, each) for each in (case, free)] == [True, True]
        # No address is to be read in what is kept.
        stored = await kept(office)
        assert stored
        assert [word for word in stored if "2001" in word or "192" in word] == []
        office.clock.day += 1
        assert not await admits(office, site, PREFIX)
        office.clock.day += 1
        assert await admits(office, site, PREFIX)
        office.clock.day += 1
        await office.desk.tick()
        assert await kept(office) == []
        # The visitor stays shut out until somebody lets them in.
        assert await is_locked(office, case)


async def test_who_is_let_in_again_may_come_from_where_they_were(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        site = await office.site("shop")
        case = await shut_out(office, site, "mallory", "192.0.2.7")
        async with store.write() as tx:
            await tx.support.put_case(replace(case, room_id="!second", number=11, card_id=None, status=OPEN))
        await office.cases.set_status(site, "!second", BLOCKED, ALICE, "the other one, too")
        # For the other case they are shut out still.
        await office.cases.set_status(site, case.room_id, OPEN, ALICE, "open")
        assert (await is_locked(office, case), await admits(office, site, "192.0.2.7")) == (True, False)
        await office.cases.set_status(site, "!second", OPEN, ALICE, "open")
        assert (await is_locked(office, case), await admits(office, site, "192.0.2.7")) == (False, True)
        assert await world.membership(case.room_id, case.visitor_id) == "join"
        assert await kept(office) == []


async def test_whose_account_is_their_own_is_shut_out_of_the_room_only(store: Database) -> None:
    async with running_world(store) as world:
        async with store.write() as tx:
            await tx.users.create(User(ALICE, 1))
        office = Office(world)
        site = await office.site("shop")
        case = await office.case(site, "own")
        async with store.write() as tx:
            await tx.users.upgrade_guest(case.visitor_id, "hash")
        await office.cases.set_status(site, case.room_id, BLOCKED, ALICE, "block")
        assert not await is_locked(office, case)
        assert await world.membership(case.room_id, case.visitor_id) == "ban"
