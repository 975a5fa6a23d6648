"""Upgrades of rooms with more state than one append takes."""

from __future__ import annotations

from homeserver.services.rooms import upgrade
from tests.services.rooms.conftest import ALICE, World

BANS = 25


async def test_of_many_bans_none_is_lost(world: World, monkeypatch) -> None:  # type: ignore[no-untyped-def]
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
