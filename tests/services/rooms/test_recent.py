"""The rooms of late are in memory after a start."""

from __future__ import annotations

import pytest

from homeserver import faults
from homeserver.ports.store import StoreUnavailable
from homeserver.services.rooms.recent import RecentRooms
from homeserver.storage.dialect import Fragment, Sql
from tests.services.rooms.conftest import ALICE, BOB, CAROL, DAVE, World
from tests.support.statements import counted
from tests.support.store import SERVER_NAME

BREAK = Sql(
    "UPDATE events SET json = {damaged} WHERE room_nid = (SELECT room_nid FROM rooms WHERE room_id = :room_id)",
    damaged=Fragment("x'00'", "'\\x00'::bytea"),
)
ERIN = f"@erin:{SERVER_NAME}"


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
    assert await RecentRooms(memory, world.log.position).read() == 1
    with counted(world.store) as first:
        await world.rooms.memberships.join(DAVE, room_id)
    assert sorted(first) == sorted(later)


async def test_those_with_the_newest_events_are_read_up_to_a_bound(world: World) -> None:
    rooms = [await world.create(ALICE) for _ in range(4)]
    memory = world.rooms.memory
    await world.say(rooms[0], "newest", ALICE)
    memory.forget()
    assert await RecentRooms(memory, world.log.position, max_rooms=2).read() == 2
    assert [room_id for room_id in rooms if memory.heads.peek(room_id) is not None] == [rooms[0], rooms[3]]


async def test_an_empty_server_and_one_whose_database_is_away_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = RecentRooms(world.rooms.memory, world.log.position)
    assert await recent.read() == 0

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
    recent = RecentRooms(world.rooms.memory, world.log.position)
    await recent.run()
    assert await recent.read() == 1
    assert world.rooms.memory.heads.peek(rooms[0]) is not None
