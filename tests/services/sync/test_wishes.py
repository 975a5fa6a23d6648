"""Rooms of which a request wants something else than of the others: fewer events, and some of the state."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.filters import Filter
from homeserver.services.sync.body import STATE_AFTER
from homeserver.services.sync.wishes import RequiredState, RoomWish
from tests.services.rooms.conftest import ALICE, BOB, CAROL
from tests.services.sync.conftest import SyncWorld

TOPIC_AND_SELF = RequiredState(frozenset({("m.room.topic", None), ("m.room.member", BOB)}))
LAZY = RequiredState(frozenset({("m.room.topic", ""), ("m.room.member", CAROL)}), lazy=True)


def keys(body: dict[str, Any], room: str) -> set[tuple[str, str]]:
    return {(event["type"], event["state_key"]) for event in body["rooms"]["join"][room]["state_after"]["events"]}


def bodies(body: dict[str, Any], room: str) -> list[str]:
    return [event["content"].get("body") for event in body["rooms"]["join"][room]["timeline"]["events"]]


async def topic(syncing: SyncWorld, room: str, text: str) -> None:
    await syncing.world.rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": text})


async def two_rooms(syncing: SyncWorld) -> tuple[str, str]:
    rooms = [await syncing.world.create(ALICE, BOB, CAROL) for _ in range(2)]
    for room in rooms:
        await topic(syncing, room, "first")
        for number in range(4):
            await syncing.world.say(room, str(number))
    return rooms[0], rooms[1]


async def test_rooms_are_told_as_each_is_wanted(syncing: SyncWorld) -> None:
    few, all_of_it = await two_rooms(syncing)
    wishes = {few: RoomWish(2, TOPIC_AND_SELF)}
    bob = syncing.client(BOB, state_field=STATE_AFTER, wishes=wishes)
    body = await bob.sync()
    assert bodies(body, few) == ["2", "3"]
    assert keys(body, few) == {("m.room.topic", ""), ("m.room.member", BOB)}
    assert bodies(body, all_of_it)[-4:] == ["0", "1", "2", "3"]
    assert keys(body, all_of_it) >= {("m.room.create", ""), ("m.room.member", ALICE), ("m.room.member", BOB)}
    assert body["rooms"]["join"][few]["summary"] == body["rooms"]["join"][all_of_it]["summary"]


@pytest.mark.parametrize("has_tail", [True, False])
async def test_and_so_is_what_changes_in_them(syncing: SyncWorld, has_tail: bool) -> None:
    few, all_of_it = await two_rooms(syncing)
    bob = syncing.client(BOB, state_field=STATE_AFTER, wishes={few: RoomWish(2, TOPIC_AND_SELF)})
    await bob.sync()
    for room in (few, all_of_it):
        await topic(syncing, room, "second")
        await syncing.world.rooms.sending.set_state(room, ALICE, ("m.room.avatar", ""), {"url": "mxc://x/y"})
        for number in range(4, 7):
            await syncing.world.say(room, str(number))
    if not has_tail:
        syncing.forget_tail()
    body = await bob.sync()
    assert bodies(body, few) == ["5", "6"]
    assert body["rooms"]["join"][few]["timeline"]["limited"]
    assert keys(body, few) == {("m.room.topic", "")}
    assert bodies(body, all_of_it)[-3:] == ["4", "5", "6"]
    assert keys(body, all_of_it) == {("m.room.topic", ""), ("m.room.avatar", "")}


async def test_members_are_loaded_lazily_room_by_room(syncing: SyncWorld) -> None:
    lazy, whole = await two_rooms(syncing)
    bob = syncing.client(BOB, state_field=STATE_AFTER, filter=Filter(), wishes={lazy: RoomWish(1, LAZY)})
    body = await bob.sync()
    members = {key for kind, key in keys(body, lazy) if kind == "m.room.member"}
    assert members == {ALICE, BOB, CAROL}, "who speaks, who asks, and whom they ask for"
    narrow = RequiredState(frozenset({("m.room.topic", "")}), lazy=True)
    again = syncing.client(BOB, state_field=STATE_AFTER, wishes={lazy: RoomWish(0, narrow), whole: RoomWish(1)})
    body = await again.sync()
    assert ("m.room.create", "") not in keys(body, lazy)
    assert ("m.room.create", "") in keys(body, whole)
    assert len(bodies(body, whole)) == 1


def test_what_is_read_for_required_state() -> None:
    everything = RequiredState(frozenset({(None, None)}))
    assert (everything.types, everything.members) == (None, None)
    assert TOPIC_AND_SELF.types == {"m.room.topic"}
    assert TOPIC_AND_SELF.members == {BOB}
    assert LAZY.members == {CAROL}
    any_type = RequiredState(frozenset({(None, "")}))
    assert (any_type.types, any_type.members) == (None, {""})
