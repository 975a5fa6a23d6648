"""How large rooms are: added up along the log, each stretch once, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

from homeserver.services.administration.sizes import RoomSizes
from homeserver.storage.dialect import Sql
from homeserver.storage.engine import sqlite_path
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, make_room, message
from tests.support.statements import counted

_STORED = Sql(
    """SELECT count(*), CAST(sum(length(json) + coalesce(length(unsigned), 0)) AS bigint) FROM events
    WHERE room_nid = :room_nid"""
)


async def _kept(store: Database, room_id: str) -> tuple[int, int]:
    async with store.read() as tx:
        row = await tx.administration.room(room_id)
    assert row is not None
    return row.events, row.bytes


async def _stored(store: Database, room_nid: int) -> tuple[int, int]:
    async with store.engine.read() as connection:
        count, size = await _STORED.first(connection, room_nid=room_nid)
    return int(count), int(size)


async def test_each_event_counts_once_however_it_is_counted(store: Database) -> None:
    sizes = RoomSizes(store, step=3)
    heads = [await make_room(store, f"!size{number}:hromada.test") for number in range(3)]
    for head in heads:
        await commit(store, decide(head, *(message(head.room_id, "x" * number) for number in range(7))))
    await asyncio.gather(*(sizes.chore() for _ in range(4)))
    for head in heads:
        kept = await _kept(store, head.room_id)
        assert kept == await _stored(store, head.room_nid)
        assert kept[0] == 9
    # Other entries of the log take positions too, more of them than one step has.
    async with store.write() as tx:
        await tx.log.reserve(10)
    async with store.read() as tx:
        head = await tx.rooms.head(heads[0].room_id)
    assert head is not None
    await commit(store, decide(head, message(head.room_id)))
    await sizes.chore()
    assert await _kept(store, heads[0].room_id) == await _stored(store, heads[0].room_nid)
    await sizes.look()
    assert (await _kept(store, heads[0].room_id))[0] == 10


async def test_a_look_counts_no_more_than_it_may(store: Database) -> None:
    head = await make_room(store, "!bounded:hromada.test")
    await commit(store, decide(head, *(message(head.room_id) for _ in range(18))))
    sizes = RoomSizes(store, step=2)
    await sizes.look()
    assert (await _kept(store, head.room_id))[0] == 10, "five steps of two"
    await sizes.chore()
    assert (await _kept(store, head.room_id))[0] == 20


async def test_a_stretch_is_added_by_one_process(store: Database) -> None:
    head = await make_room(store, "!once:hromada.test")
    async with store.read() as tx:
        growth = await tx.administration.growth(100)
    assert growth.rooms[0][:2] == (head.room_nid, 2)
    for expected in (True, False):
        async with store.write() as tx:
            assert await tx.administration.grow(growth) is expected
    assert (await _kept(store, head.room_id))[0] == 2


async def test_a_stretch_is_read_by_itself(store: Database) -> None:
    """SQLite would rather walk every event by its room, so as not to sort what it counts."""
    if not store.engine.is_sqlite:
        return
    await make_room(store, "!plan:hromada.test")
    with counted(store) as statements:
        async with store.read() as tx:
            await tx.administration.growth(100)
    (statement,) = [each for each in statements if "GROUP BY" in each]
    with closing(sqlite3.connect(sqlite_path(store.engine.url))) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", [0, 100])]
    assert plan[0] == "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
