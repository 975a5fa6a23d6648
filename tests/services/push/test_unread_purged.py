"""Counts after events are gone from the database: a receipt keeps its place, and nothing that is gone is counted."""

from __future__ import annotations

from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.receipts import ReceiptService
from homeserver.storage.dialect import Sql
from homeserver.storage.unit import Database
from tests.services.push.test_unread_walk import counting, of
from tests.services.rooms.conftest import ALICE, BOB, SteppingClock, World, running_world

_PURGE = Sql("DELETE FROM events WHERE event_id = :event_id")


async def purge(store: Database, *event_ids: str) -> None:
    """Delete events as a retention job would."""
    async with store.engine.write() as connection:
        for event_id in event_ids:
            await _PURGE.run(connection, event_id=event_id)


async def unread(world: World, room: str) -> tuple[int, int]:
    """Bob's counts, of the room and of its main timeline, counted anew."""
    counts = (await of(counting(world), world, BOB, [room]))[room]
    return counts.total.notify, counts.main.notify


async def test_counts_when_events_are_gone(store: Database) -> None:
    """element-hq/synapse#12880, #19834: retention purged the event of a receipt, or left purged ones in the sums."""
    async with running_world(store) as world:
        room = await world.create(ALICE, BOB)
        receipts = ReceiptService(store, world.committer, AccountDataEdits(store, world.committer), SteppingClock())
        said = [await world.say(room, f"{number}") for number in range(6)]
        await receipts.set(BOB, room, "m.read", said[2], None)
        assert await unread(world, room) == (3, 3)
        await purge(store, *said[:3])
    # A restart: nothing that is gone is in memory any more.
    async with running_world(store) as world:
        receipts = ReceiptService(store, world.committer, AccountDataEdits(store, world.committer), SteppingClock())
        assert await unread(world, room) == (3, 3), "the receipt has kept its place"
        await world.say(room, "later")
        assert await unread(world, room) == (4, 4)
        await receipts.set(BOB, room, "m.read", said[3], "main")
        assert await unread(world, room) == (3, 3)
        await purge(store, said[3], said[4])
    async with running_world(store) as world:
        assert await unread(world, room) == (2, 2)
