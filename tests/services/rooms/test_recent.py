"""The rooms of late are in memory after a start."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from homeserver import faults
from homeserver.ports.store import StoreUnavailable
from homeserver.services.rooms.history import PageRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.recent import RecentRooms
from homeserver.storage.dialect import Fragment, Sql
from homeserver.storage.engine import create_engine
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, DAVE, World
from tests.support.statements import counted, prepared
from tests.support.store import SERVER_NAME

BREAK = Sql(
    "UPDATE events SET json = {damaged} WHERE room_nid = (SELECT room_nid FROM rooms WHERE room_id = :room_id)",
    damaged=Fragment("x'00'", "'\\x00'::bytea"),
)
HELD = Sql("SELECT count(*) FROM pg_prepared_statements WHERE statement ~ '^(INSERT|UPDATE|WITH)'")
ERIN = f"@erin:{SERVER_NAME}"


def recent_rooms(world: World, **more: Any) -> RecentRooms:
    """As a start makes them."""
    return RecentRooms(world.rooms.memory, world.rooms.history, world.log.position, rush_s=0.0, **more)


async def test_the_first_join_after_a_start_reads_no_more_than_a_later_one(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    with counted(world.store) as later:
        await world.rooms.memberships.join(CAROL, room_id)
    memory = world.rooms.memory
    memory.forget()  # as a process that has just begun
    with counted(world.store) as cold:
        await world.rooms.memberships.join(ERIN, room_id)
    assert len(cold) > len(later)
    memory.forget()
    assert await recent_rooms(world).read() == [room_id]
    with counted(world.store) as first:
        await world.rooms.memberships.join(DAVE, room_id)
    assert sorted(first) == sorted(later)


async def test_what_was_said_last_is_there_for_who_said_it(world: World) -> None:
    gone, room_id = [await world.create(ALICE, BOB) for _ in range(2)]
    await world.rooms.memberships.leave(BOB, gone)
    for number in range(50):
        await world.say(room_id, f"m{number}", BOB)
    world.rooms.memory.forget()
    await recent_rooms(world).run()
    with counted(world.store) as statements:
        page = await world.rooms.history.messages(Recipient(BOB), room_id, PageRequest(True, limit=20))
    assert [orjson.loads(event)["content"]["body"] for event in page.chunk] == [f"m{n}" for n in range(49, 29, -1)]
    assert len(statements) == 1, "nothing but the row ids was left to read"


async def test_the_first_event_after_a_start_finds_the_statements_that_store_it(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    with counted(world.store) as statements:
        await world.rooms.memberships.join(CAROL, room_id)
        await world.say(room_id, "hello", CAROL)
    stores = {text for text in statements if re.match("INSERT|UPDATE|WITH w", text)}
    assert len(stores) > 5
    started = Database(create_engine(world.store.engine.url), SERVER_NAME)
    try:
        async with started.read_committed() as tx:
            with prepared(started) as known:
                await tx.events.prepare_append()
        if started.engine.is_sqlite:
            return  # nothing is saved by it there
        assert known >= stores
        async with started.read() as tx:
            assert await tx.users.get(ALICE) is None, "a snapshot can be opened on it"
        async with started.engine.read_committed() as connection:
            assert len(known) <= (await HELD.first(connection))[0], "the one connection that there is keeps them"
    finally:
        await started.engine.dispose()


async def test_those_with_the_newest_events_are_read_up_to_a_bound(world: World) -> None:
    rooms = [await world.create(ALICE) for _ in range(4)]
    memory = world.rooms.memory
    await world.say(rooms[0], "newest", ALICE)
    memory.forget()
    assert await recent_rooms(world, max_rooms=2).read() == [rooms[0], rooms[3]]
    assert [room_id for room_id in rooms if memory.heads.peek(room_id) is not None] == [rooms[0], rooms[3]]


async def test_an_empty_server_and_one_whose_database_is_away_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = recent_rooms(world)
    assert await recent.read() == []

    class Away:
        async def reach(self, point: str) -> None:
            raise StoreUnavailable(f"The database does not answer at {point}")

    monkeypatch.setattr(faults, "plan", Away())
    with pytest.raises(StoreUnavailable):
        await recent.read()
    await recent.run()


async def test_a_room_that_cannot_be_read_stops_nothing(world: World) -> None:
    """The worker's end would be the server's."""
    rooms = [await world.create(ALICE) for _ in range(2)]
    async with world.store.engine.write() as connection:
        await BREAK.run(connection, room_id=rooms[1])
    world.rooms.memory.forget()
    recent = recent_rooms(world)
    await recent.run()
    assert await recent.read() == [rooms[0]]
    assert world.rooms.memory.heads.peek(rooms[0]) is not None
