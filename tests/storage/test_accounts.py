"""Users and devices, on both databases. Records are compared as they print, since 1 is not True there."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from homeserver.ports.accounts import Device, User, UserFlags
from homeserver.ports.store import UniqueViolation
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, make_event, make_room

ALICE = "@alice:hromada.test"
BOB = "@bob:hromada.test"


async def user(store: Database, user_id: str) -> User | None:
    async with store.read() as tx:
        return await tx.users.get(user_id)


async def test_users_come_back_as_they_were_stored(store: Database) -> None:
    alice = User(ALICE, 1, "hash", None, is_admin=True)
    bob = User(BOB, 2**40, None, "bridge", is_guest=True, locked=True, suspended=True, deactivated=True, erased=True)
    async with store.write() as tx:
        await tx.users.create(bob)
        await tx.users.create(alice)
    async with store.read() as tx:
        assert repr(await tx.users.get(ALICE)) == repr(alice)
        assert await tx.users.get("@carol:hromada.test") is None
        assert repr(await tx.users.page()) == repr([alice, bob])
        assert await tx.users.page(limit=1) == [alice]
        assert await tx.users.page(after=ALICE) == [bob]
    with pytest.raises(UniqueViolation):
        async with store.write() as tx:
            await tx.users.create(alice)


async def test_flags_that_are_none_stay(store: Database) -> None:
    alice = User(ALICE, 1, locked=True)
    async with store.write() as tx:
        await tx.users.create(alice)
        await tx.users.create(User(BOB, 1))
        await tx.users.set_flags(ALICE, UserFlags(is_admin=True))
        await tx.users.set_flags(ALICE, UserFlags(locked=False, suspended=True))
        await tx.users.set_flags(ALICE, UserFlags())
    assert repr(await user(store, ALICE)) == repr(replace(alice, is_admin=True, locked=False, suspended=True))
    assert await user(store, BOB) == User(BOB, 1)


async def test_the_password_outlives_its_account_unless_erased(store: Database) -> None:
    async with store.write() as tx:
        for user_id in (ALICE, BOB):
            await tx.users.create(User(user_id, 1, is_admin=True))
            await tx.users.set_password(user_id, f"hash of {user_id}")
        await tx.users.deactivate(ALICE, erase=False)
        await tx.users.deactivate(BOB, erase=True)
    assert await user(store, ALICE) == User(ALICE, 1, f"hash of {ALICE}", deactivated=True)
    assert await user(store, BOB) == User(BOB, 1, None, deactivated=True, erased=True)
    async with store.write() as tx:
        await tx.users.set_password(ALICE, None)
    assert await user(store, ALICE) == User(ALICE, 1, None, deactivated=True)


async def test_the_first_account_is_claimed_once(store: Database) -> None:
    async with store.write() as tx:
        assert not await tx.users.any()
        assert await tx.users.claim_first()
        assert await tx.users.any()
    async with store.write() as tx:
        assert not await tx.users.claim_first()


async def test_announcements_are_counted(store: Database) -> None:
    async with store.write() as tx:
        assert await tx.users.announced() == 0
        await tx.users.announce()
        await tx.users.announce()
    async with store.read() as tx:
        assert await tx.users.announced() == 2


async def test_deactivated_users_are_found_while_they_are_in_rooms(store: Database) -> None:
    head = await make_room(store, "!a")
    await commit(store, decide(head, make_event("!a", "m.room.member", {"membership": "leave"}, state_key=BOB)))
    async with store.write() as tx:
        await tx.users.create(User(ALICE, 1))
        await tx.users.create(User(BOB, 1, deactivated=True))
        assert await tx.users.still_in_rooms(9) == []
        await tx.users.deactivate(ALICE, erase=False)
        assert await tx.users.still_in_rooms(9) == [ALICE]
        assert await tx.users.still_in_rooms(0) == []


async def test_a_locked_user_is_kept_from_other_writers(store: Database) -> None:
    async def lock() -> User | None:
        async with store.write() as tx:
            return await tx.users.lock(ALICE)

    async with store.write() as tx:
        await tx.users.create(User(ALICE, 1))
    async with store.write() as tx:
        assert await tx.users.lock(BOB) is None
        assert await tx.users.lock(ALICE) == User(ALICE, 1)
        other = asyncio.create_task(lock())
        await asyncio.sleep(0.1)
        assert not other.done()
        await tx.users.set_password(ALICE, "new")
    assert await other == User(ALICE, 1, "new")


async def test_devices(store: Database) -> None:
    new, old, his = Device(ALICE, "NEW", 2), Device(ALICE, "OLD", 1, "Phone", 5, "::1"), Device(BOB, "OLD", 1)
    async with store.write() as tx:
        for device in (new, old, his):
            await tx.devices.create(device)
        assert await tx.devices.of_user(ALICE) == [old, new]
        assert await tx.devices.count(ALICE) == 2
        assert await tx.devices.get(BOB, "NEW") is None
        assert await tx.devices.rename(ALICE, "NEW", "Laptop")
        assert await tx.devices.rename(ALICE, "OLD", None)
        assert not await tx.devices.rename(BOB, "NEW", "Laptop")
        await tx.devices.seen([])
        await tx.devices.seen(
            [Device(ALICE, "NEW", 0, None, 2**40, "127.0.0.1"), Device(ALICE, "GONE", 0, None, 1, "")]
        )
        assert await tx.devices.get(ALICE, "NEW") == Device(ALICE, "NEW", 2, "Laptop", 2**40, "127.0.0.1")
        assert await tx.devices.get(ALICE, "OLD") == replace(old, display_name=None)
        assert await tx.devices.get(BOB, "OLD") == his
        await tx.devices.delete(ALICE, [])
        await tx.devices.delete(ALICE, ["NEW", "GONE", "\0"])
        assert [device.device_id for device in await tx.devices.of_user(ALICE)] == ["OLD"]
        await tx.devices.create(new)
        await tx.devices.delete(ALICE, None)
        assert await tx.devices.count(ALICE) == 0
        assert await tx.devices.count(BOB) == 1
