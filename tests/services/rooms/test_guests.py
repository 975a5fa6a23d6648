"""Guests: where they may join, and when they must leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from homeserver.ports.accounts import User
from tests.services.rooms.conftest import ALICE, BOB, World
from tests.services.rooms.test_reads import refused

GUEST_ACCESS = ("m.room.guest_access", "")
GUEST = BOB


async def open_room(world: World, access: str | None = "can_join") -> str:
    async with world.store.write() as tx:
        if await tx.users.get(GUEST) is None:
            await tx.users.create(User(GUEST, 1, is_guest=True))
    room_id = await world.create()
    await allow(world, room_id, access)
    return room_id


async def allow(world: World, room_id: str, access: str | None) -> str:
    content = {} if access is None else {"guest_access": access}
    return await world.rooms.sending.set_state(room_id, ALICE, GUEST_ACCESS, content)


@pytest.mark.parametrize("access", ["forbidden", None, "nonsense"])
async def test_guests_join_only_where_they_may(world: World, access: str | None) -> None:
    room_id = await open_room(world, access)
    member: dict[str, Any] = {"membership": "join"}
    for _ in range(2):
        for join in (
            world.rooms.memberships.join(GUEST, room_id),
            world.rooms.sending.set_state(room_id, GUEST, ("m.room.member", GUEST), member),
        ):
            answer = await refused(join)
            assert (answer["status"], answer["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        if await world.membership(room_id, GUEST) is None:
            await world.rooms.memberships.invite(ALICE, room_id, GUEST)  # an invite opens no door to them
    await allow(world, room_id, "can_join")
    shown = {**member, "displayname": "G", "avatar_url": "mxc://a.example/b"}
    await world.rooms.sending.set_state(room_id, GUEST, ("m.room.member", GUEST), shown)
    assert await world.state(room_id, "m.room.member", GUEST) == {**member, "displayname": "G"}


async def test_guests_leave_rooms_that_want_none_any_more(world: World) -> None:
    for end in ("forbidden", None, "redaction"):
        room_id = await open_room(world)
        said = await allow(world, room_id, "can_join")
        await world.rooms.memberships.join(GUEST, room_id)
        if end == "redaction":
            await world.rooms.sending.redact(room_id, (ALICE, "DEV"), said, "r", None)
        else:
            await allow(world, room_id, end)
        assert await world.membership(room_id, GUEST) == "leave"
        assert await world.membership(room_id, ALICE) == "join"


async def test_a_guest_who_joins_meanwhile_does_not_stay(world: World) -> None:
    for _ in range(5):
        room_id = await open_room(world)
        await asyncio.gather(
            world.rooms.memberships.join(GUEST, room_id), allow(world, room_id, "forbidden"), return_exceptions=True
        )
        assert await world.membership(room_id, GUEST) in (None, "leave")
