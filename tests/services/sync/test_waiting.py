"""The long poll: woken at once by what concerns it, and by nothing else; bounded statements."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.core.errors import MatrixError
from homeserver.services.sync import positions
from tests.services.rooms.conftest import ALICE, BOB, CAROL
from tests.services.sync.conftest import SyncWorld
from tests.support.statements import counted


async def test_wakes_for_a_message_and_not_for_other_rooms(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    other = await syncing.world.create(CAROL)
    bob = syncing.client(BOB)
    await bob.sync()
    held = asyncio.create_task(bob.sync(timeout_ms=10**9))
    await asyncio.sleep(0)
    await syncing.world.say(other, "not for bob", sender=CAROL)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not held.done()
    await syncing.world.say(room, "for bob")
    body = await asyncio.wait_for(held, 60)
    assert body["rooms"]["join"][room]["timeline"]["events"][-1]["content"]["body"] == "for bob"
    assert syncing.sync.waiting == 0


async def test_wakes_for_an_invite_and_for_typing(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, preset="private_chat")
    bob = syncing.client(BOB)
    await bob.sync()
    held = asyncio.create_task(bob.sync(timeout_ms=10**9))
    await asyncio.sleep(0)
    await syncing.world.rooms.memberships.invite(ALICE, room, BOB)
    body = await asyncio.wait_for(held, 60)
    stripped = body["rooms"]["invite"][room]["invite_state"]["events"]
    assert {"m.room.create", "m.room.join_rules", "m.room.member"} <= {event["type"] for event in stripped}
    await syncing.world.rooms.memberships.join(BOB, room)
    await bob.sync()
    held = asyncio.create_task(bob.sync(timeout_ms=10**9))
    await asyncio.sleep(0)
    syncing.typing.set(room, ALICE, 30_000)
    body = await asyncio.wait_for(held, 60)
    assert body["rooms"]["join"][room]["ephemeral"]["events"] == [
        {"type": "m.typing", "content": {"user_ids": [ALICE]}}
    ]


async def test_release_answers_held_requests(syncing: SyncWorld) -> None:
    bob = syncing.client(BOB)
    await bob.sync()
    held = asyncio.create_task(bob.sync(timeout_ms=10**9))
    await asyncio.sleep(0)
    syncing.held.release()
    assert "rooms" not in await asyncio.wait_for(held, 60)


async def test_incremental_sync_from_the_tail_costs_no_statement(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    bob = syncing.client(BOB)
    await bob.sync()
    await syncing.world.say(room, "one")
    await syncing.world.say(room, "two")
    with counted(syncing.world.store) as statements:
        await bob.sync()
        await bob.sync()
    assert not statements


async def test_initial_sync_does_not_ask_per_room(syncing: SyncWorld) -> None:
    async def cost() -> int:
        with counted(syncing.world.store) as statements:
            await syncing.client(ALICE).sync()
        return len(statements)

    for number in range(2):
        await syncing.world.create(ALICE, name=f"early {number}")
    await cost()  # the first one also loads the room list
    await syncing.world.create(ALICE, BOB, name="one more")  # what is unread in it is counted
    few = await cost()
    for number in range(10):
        await syncing.world.create(ALICE, BOB, name=f"late {number}")
    assert await cost() == few


@pytest.mark.parametrize(
    "token", ["", "s", "x1", "s-1", "s1x", "s1_", "s99999999999999999999", "s1_\0", "s٣", "s1_2_3_4", "s1__3"]
)
def test_bad_tokens_are_refused(token: str) -> None:
    with pytest.raises(MatrixError) as refused:
        positions.decode(token)
    assert refused.value.code == "M_INVALID_PARAM"


@pytest.mark.parametrize("token", ["s100", "s100_7", "s100_0_93", "s100_7_93"])
def test_tokens_are_read_as_they_were_written(token: str) -> None:
    assert str(positions.decode(token)) == token


async def test_tokens_from_the_future_are_refused(syncing: SyncWorld) -> None:
    await syncing.sync.reach(positions.SyncToken(syncing.sync.position))
    with pytest.raises(MatrixError) as refused:
        await syncing.sync.reach(positions.SyncToken(syncing.sync.position + 1))
    assert refused.value.code == "M_INVALID_PARAM"
