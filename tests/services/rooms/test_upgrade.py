"""Upgrades of rooms with more state than one append takes, and by several at once."""

from __future__ import annotations

import asyncio

import pytest

from homeserver import faults
from homeserver.core.errors import NotAllowed
from homeserver.ports.store import StoreUnavailable
from homeserver.services.rooms import upgrade
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, CountingEntropy, World, running_world
from tests.support.store import SERVER_NAME

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
    assert joined == {old, made}, "the others make no room"


async def test_the_two_rooms_name_each_other_while_others_write(store: Database) -> None:
    async with running_world(store) as here, running_world(store, entropy=CountingEntropy("x")) as there:
        for attempt in range(4):
            old = await here.create(room_version="11")
            await there.say(old, "its head is in memory there, too")
            new, *_ = await asyncio.gather(
                here.rooms.upgrades.upgrade(ALICE, old, "11", []),
                *(there.say(old, f"{attempt} {number}") for number in range(5)),
                *(here.say(old, f"{attempt} {number}") for number in range(5)),
            )
            tombstones = [event for event in await here.timeline(old) if event.type == "m.room.tombstone"]
            assert [event.content["replacement_room"] for event in tombstones] == [new]
            predecessor = (await here.state(new, "m.room.create") or {})["predecessor"]
            assert predecessor == {"room_id": old, "event_id": tombstones[0].event_id}
        async with store.read() as tx:
            joined = [room for room in await tx.rooms.memberships(ALICE) if room.membership == "join"]
        assert len(joined) == 8, "no attempt leaves a room behind"


async def test_a_commit_that_fails_leaves_neither_tombstone_nor_room(world: World) -> None:
    old = await world.create(room_version="11")

    class Failing:
        async def reach(self, point: str) -> None:
            if point == "commit.reserved":
                raise StoreUnavailable("The disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "plan", Failing())
        with pytest.raises(StoreUnavailable):
            await world.rooms.upgrades.upgrade(ALICE, old, "11", [])
    assert await world.state(old, "m.room.tombstone") is None
    async with world.store.read() as tx:
        assert {room.room_id for room in await tx.rooms.memberships(ALICE)} == {old}
    new = await world.rooms.upgrades.upgrade(ALICE, old, "11", [])
    assert await world.membership(new, ALICE) == "join"


async def test_nobody_comes_in_before_all_bans_are_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "_AT_ONCE", 4)
    monkeypatch.setattr(upgrade, "_BATCH", 2)
    old = await world.create(ALICE, room_version="10", preset="public_chat")
    banned = [f"@user{number}:{SERVER_NAME}" for number in range(BANS)]
    for user in banned:
        await world.rooms.memberships.ban(ALICE, old, user)
    new = await world.rooms.upgrades.upgrade(ALICE, old, "10", [])
    kinds = [
        event.type if event.state_key == "" else event.content["membership"] for event in await world.timeline(new)
    ]
    assert kinds.count("ban") == BANS
    opened = kinds.index("m.room.join_rules")
    assert "ban" not in kinds[opened:], "the door opens last"
    assert (await world.state(new, "m.room.join_rules") or {})["join_rule"] == "public"
