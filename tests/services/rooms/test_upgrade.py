"""Upgrades of rooms with more state than one append takes, and by several at once."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.core.errors import NotAllowed
from homeserver.services.rooms import upgrade
from tests.services.rooms.conftest import ALICE, World

BANS = 25


async def test_of_many_bans_none_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "_AT_ONCE", 8)
    monkeypatch.setattr(upgrade, "_BATCH", 4)
    old = await world.create(ALICE, room_version="11", name="Crowded")
    banned = [f"@user{number}:elsewhere.example" for number in range(BANS)]
    for user in banned:
        await world.rooms.memberships.ban(ALICE, old, user)
    levels = {"users": {ALICE: 60}, "ban": 60, "events": {"m.room.tombstone": 60, "m.room.name": 60}}
    await world.rooms.sending.set_state(old, ALICE, ("m.room.power_levels", ""), levels)
    new = await world.rooms.upgrades.upgrade(ALICE, old, "11", [])
    assert [await world.membership(new, user) for user in banned] == ["ban"] * BANS
    assert await world.state(new, "m.room.power_levels") == levels, "what was lent for the upgrade is given back"
    assert (await world.state(old, "m.room.tombstone") or {})["replacement_room"] == new


async def test_two_at_once_make_one_replacement(world: World) -> None:
    old = await world.create(ALICE)
    outcomes = await asyncio.gather(
        *(world.rooms.upgrades.upgrade(ALICE, old, "12", []) for _ in range(4)), return_exceptions=True
    )
    (made,) = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len([outcome for outcome in outcomes if isinstance(outcome, NotAllowed)]) == 3
    assert (await world.state(old, "m.room.tombstone") or {})["replacement_room"] == made
    async with world.store.read() as tx:
        joined = {room.room_id for room in await tx.rooms.memberships(ALICE) if room.membership == "join"}
    assert joined == {old, made}, "the others' rooms are left again"
