"""The writer: one order, no gaps, transactions that survive everything, few statements."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.administration import RoomBlock
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, CountingEntropy, World, running_world
from tests.support.statements import counted
from tests.support.store import SERVER_NAME


async def test_many_senders_make_one_order_without_gaps(world: World) -> None:
    senders = [f"@sender{number}:{SERVER_NAME}" for number in range(20)]
    room_id = await world.create(ALICE, *senders)

    async def talk(sender: str) -> list[str]:
        return [await world.say(room_id, f"{sender} {number}", sender) for number in range(50)]

    sent = await asyncio.gather(*map(talk, senders))
    timeline = await world.timeline(room_id)
    messages = [event for event in timeline if event.type == "m.room.message"]
    assert {event.event_id for event in messages} == {event_id for ids in sent for event_id in ids}
    # Each event stands on the one before it: one chain, one order.
    for before, event in itertools.pairwise(timeline):
        assert event.prev_events == (before.event_id,)
        assert event.depth == before.depth + 1
    for sender, ids in zip(senders, sent, strict=True):
        assert [event.event_id for event in messages if event.sender == sender] == ids


async def test_a_batch_of_messages_takes_five_statements(world: World) -> None:
    room_id = await world.create()
    await world.say(room_id, "warm up")
    with counted(world.store) as statements:
        await world.say(room_id, "one")
    assert len(statements) <= 5, statements
    with counted(world.store) as statements:
        # The first is decided alone; the others gather while it commits and make one batch.
        await asyncio.gather(*(world.say(room_id, f"many {number}") for number in range(40)))
    assert len(statements) <= 10, statements


async def test_a_repeated_transaction_gives_the_same_event(store: Database) -> None:
    async with running_world(store) as world:
        room_id = await world.create(ALICE, BOB)
        first = await world.say(room_id, "hello", txn="t1")
        assert await world.say(room_id, "hello again", txn="t1") == first
        assert await world.say(room_id, "hello", BOB, txn="t1") != first
    async with running_world(store, entropy=CountingEntropy("x")) as world:  # a restart
        same, other = await asyncio.gather(
            world.say(room_id, "hello once more", txn="t1"), world.say(room_id, "news", txn="t2")
        )
        assert same == first
        assert other != first
        assert len([e for e in await world.timeline(room_id) if e.type == "m.room.message"]) == 3


async def test_concurrent_repetitions_make_one_event(world: World) -> None:
    room_id = await world.create()
    sent = await asyncio.gather(*(world.say(room_id, "hello", txn="t") for _ in range(10)))
    assert len(set(sent)) == 1
    assert len([e for e in await world.timeline(room_id) if e.type == "m.room.message"]) == 1


async def test_a_repeated_transaction_is_answered_even_after_leaving(store: Database) -> None:
    async with running_world(store) as world:
        room_id = await world.create(ALICE, BOB)
        first = await world.say(room_id, "bye", BOB, txn="t1")
        await world.rooms.memberships.leave(BOB, room_id)
    async with running_world(store, entropy=CountingEntropy("x")) as world:
        assert await world.say(room_id, "bye", BOB, txn="t1") == first
        with pytest.raises(MatrixError) as refused:
            await world.say(room_id, "bye", BOB, txn="t2")
        assert refused.value.code == ErrCode.FORBIDDEN


async def test_one_bad_draft_fails_alone(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    results = await asyncio.gather(
        world.say(room_id, "first"),
        world.say(room_id, "not in the room", CAROL),
        world.rooms.sending.redact(room_id, (ALICE, "DEV"), "$nothing", "r", None),
        world.rooms.sending.send_message(room_id, (ALICE, "DEV"), "m.room.message", "big", {"body": "x" * 70_000}),
        world.say(room_id, "last", BOB),
        return_exceptions=True,
    )
    assert [isinstance(result, str) for result in results] == [True, False, False, False, True]
    assert [error.code for error in results[1:4] if isinstance(error, MatrixError)] == [
        ErrCode.FORBIDDEN,
        ErrCode.NOT_FOUND,
        ErrCode.TOO_LARGE,
    ]


async def test_two_processes_write_to_one_room(store: Database) -> None:
    async with running_world(store) as here, running_world(store, entropy=CountingEntropy("x")) as there:
        room_id = await here.create()
        await there.say(room_id, "there 0")
        for number in range(1, 6):
            # Each finds that the other moved the head, and decides again.
            await asyncio.gather(here.say(room_id, f"here {number}"), there.say(room_id, f"there {number}"))
        timeline = await here.timeline(room_id)
        assert len([e for e in timeline if e.type == "m.room.message"]) == 11
        for before, event in itertools.pairwise(timeline):
            assert event.prev_events == (before.event_id,)


async def test_nobody_is_refused_by_what_another_process_has_changed(store: Database) -> None:
    async with running_world(store) as here, running_world(store, entropy=CountingEntropy("x")) as there:
        room_id = await here.create()
        await here.say(room_id, "its head is in memory")
        await there.rooms.memberships.join(BOB, room_id)
        assert await here.say(room_id, "just in", BOB)
        with pytest.raises(MatrixError) as refused:
            await here.say(room_id, "never in", CAROL)
        assert refused.value.code == ErrCode.FORBIDDEN


async def test_the_same_state_again_is_the_same_event(world: World) -> None:
    room_id = await world.create()
    send = world.rooms.sending.set_state
    first = await send(room_id, ALICE, ("m.room.topic", ""), {"topic": "one"})
    assert await send(room_id, ALICE, ("m.room.topic", ""), {"topic": "one"}) == first
    twice = await asyncio.gather(*(send(room_id, ALICE, ("m.room.topic", ""), {"topic": "two"}) for _ in range(2)))
    assert len(set(twice)) == 1
    assert twice[0] != first
    assert await send(room_id, ALICE, ("org.test", ""), {"a": 1}) != await send(
        room_id, ALICE, ("org.test", ""), {"a": True}
    )


async def test_a_caller_who_goes_away_does_not_take_others_along(world: World) -> None:
    room_id = await world.create()
    leaving = asyncio.create_task(world.say(room_id, "x", txn="shared"))
    staying = asyncio.create_task(world.say(room_id, "x", txn="shared"))
    await asyncio.sleep(0)
    leaving.cancel()
    event_id = await staying
    assert [e.event_id for e in await world.timeline(room_id) if e.type == "m.room.message"] == [event_id]


async def test_a_block_is_known_to_every_process_at_once(store: Database) -> None:
    async with running_world(store) as here, running_world(store, entropy=CountingEntropy("x")) as there:
        room_id = await here.create()
        await there.say(room_id, "its head is in memory in both")
        async with store.write() as tx:
            assert await tx.administration.block(RoomBlock(room_id, ALICE, 0))
        for world in (here, there):
            with pytest.raises(MatrixError, match="blocked"):
                await world.rooms.memberships.join(BOB, room_id)
            assert await world.say(room_id, "whoever is in it goes on")
        async with store.write() as tx:
            assert await tx.administration.unblock(room_id)
        await there.rooms.memberships.join(BOB, room_id)
        assert await here.say(room_id, "just in", BOB)
