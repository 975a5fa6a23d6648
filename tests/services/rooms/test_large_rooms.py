"""Rooms whose state is not held whole: everything works as in small ones, and no whole state is ever loaded for it."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports import state as states
from homeserver.ports.state import MissingStateError, RoomState, Snapshot
from homeserver.services.rooms import state as state_reads
from homeserver.storage.repos import rooms as room_repo
from tests.services.rooms.conftest import ALICE, BOB, CAROL, DAVE, World, members_of
from tests.support.statements import counted
from tests.support.store import SERVER_NAME

NAME, TOPIC = ("m.room.name", ""), ("m.room.topic", "")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every room counts as large."""
    monkeypatch.setattr(states, "MAX_WHOLE", 3)
    monkeypatch.setattr(room_repo, "MAX_WHOLE", 3)


@pytest.mark.usefixtures("large")
async def test_a_large_room_is_decided_by_key(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    for cold in (False, True):
        if cold:
            world.rooms.memory.heads.clear()
        with counted(world.store) as statements:
            await world.say(room_id, f"hello {cold}", BOB)
        assert not any("snapshot_deltas" in text and "SELECT" in text for text in statements)  # what is now, is at hand
    head = world.rooms.memory.heads.peek(room_id)
    assert head is not None
    assert head.state.whole is None
    await world.rooms.memberships.kick(ALICE, room_id, BOB)
    with pytest.raises(MatrixError) as refused:
        await world.say(room_id, "hello again", BOB)
    assert refused.value.code == ErrCode.FORBIDDEN
    for user_id in (ALICE, BOB):  # now, and as of leaving
        members = [orjson.loads(event) for event in await members_of(world, user_id, room_id)]
        found = {event["state_key"]: event["content"]["membership"] for event in members}
        assert found == {ALICE: "join", BOB: "leave"}
    assert set(await world.rooms.state.joined_members(ALICE, room_id)) == {ALICE}


@pytest.mark.parametrize("is_large", [False, True])
async def test_a_large_room_is_told_page_by_page(
    world: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, is_large: bool
) -> None:
    monkeypatch.setattr(state_reads, "_PAGE", 2)
    if is_large:
        request.getfixturevalue("large")
    room_id = await world.create(ALICE, BOB, CAROL)
    await world.rooms.memberships.leave(CAROL, room_id)
    for some, expected in (
        ({}, {ALICE, BOB, CAROL}),
        ({"membership": "join"}, {ALICE, BOB}),
        ({"not_membership": "join"}, {CAROL}),
    ):
        pages = [page async for page in await world.rooms.state.members(ALICE, room_id, **some)]
        assert all(len(page) <= 2 for page in pages)
        assert sorted(event["state_key"] for page in pages for event in map(orjson.loads, page)) == sorted(expected)
    state = [page async for page in await world.rooms.state.all_paged(ALICE, room_id)]
    assert len(state) > 2
    assert sorted(event for page in state for event in page) == sorted(await world.rooms.state.all(ALICE, room_id))
    with pytest.raises(MatrixError):
        await world.rooms.state.members(DAVE, room_id)  # before the first page


@pytest.mark.usefixtures("large")
async def test_one_batch_of_many_senders_loads_their_state_at_once(world: World) -> None:
    senders = [f"@sender{number}:{SERVER_NAME}" for number in range(20)]
    room_id = await world.create(ALICE, *senders)
    world.rooms.memory.heads.clear()
    await world.say(room_id, "warm up")
    with counted(world.store) as statements:
        await asyncio.gather(*(world.say(room_id, "hello", sender) for sender in senders))
    reads = [text for text in statements if text.startswith("WITH RECURSIVE chain")]
    assert len(reads) <= 2, "the first is decided alone"
    assert (await world.membership(room_id, CAROL)) is None


def test_a_state_says_what_is_stored_and_what_lies_on_top() -> None:
    stored = RoomState(Snapshot(7, 1), {NAME: "$name"})
    assert stored.get(NAME) == "$name"
    with pytest.raises(MissingStateError) as missing:
        stored.set(NAME, "$other").require([NAME, TOPIC])
    assert missing.value.state is stored
    assert missing.value.keys == {TOPIC}
    changed = stored.set(NAME, "$other")
    stored.learn({TOPIC: None})
    assert changed.get(TOPIC) is None, "what is learnt below shows through"
    assert changed.get(NAME) == "$other"
    assert changed.set(TOPIC, "$topic").since(stored) == {NAME: "$other", TOPIC: "$topic"}
    assert stored.since(changed) is None
    assert changed.at(Snapshot(8, 2)) == RoomState(Snapshot(8, 2))
    assert changed != stored


def test_a_whole_state_knows_that_it_has_no_more() -> None:
    state = RoomState.empty().set(NAME, "$name").set(TOPIC, "$topic").set(NAME, None)
    assert state.get(NAME) is None
    assert not state.unknown([NAME, TOPIC])
    assert dict(state.whole or {}) == {TOPIC: "$topic"}
    assert state.changed({}) is state
    assert state == RoomState(Snapshot(1, 1), {TOPIC: "$topic"}, is_whole=True)


def test_what_has_grown_too_large_is_let_go() -> None:
    grown = RoomState.empty().changed({("m.room.member", f"@{number}"): "$" for number in range(states.MAX_WHOLE + 1)})
    assert grown.is_whole
    stored = grown.at(Snapshot(1, 1))
    assert not stored.is_whole
    assert stored.get(("m.room.member", "@1")) == "$"
    assert stored.unknown([NAME]) == {NAME}
    for number in range(5):
        stored = stored.changed({("m", f"{number} {more}"): "$" for more in range(states.MAX_WHOLE)})
    assert stored.at(Snapshot(2, 2)).weight == 0
