"""Receipts and fully read markers."""

from __future__ import annotations

import asyncio

import pytest

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.log import InRoom, OfUser, ReceiptEntry
from homeserver.ports.receipts import ReceiptChanged
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.receipts import FULLY_READ, ReceiptService, receipt_events, typing_event
from homeserver.services.rooms.cache import EventCache
from homeserver.storage.unit import Database
from homeserver.system import SystemClock
from tests.services.personal.conftest import ALICE, BOB, ROOM, World, event, related
from tests.storage.rooms import make_room
from tests.support.statements import counted


async def stored(world: World, type_: str = "m.read", thread_id: str | None = None, user_id: str = ALICE) -> str | None:
    async with world.store.read() as tx:
        nids = await tx.rooms.room_nids([ROOM])
        return await tx.receipts.get(nids[ROOM], user_id, type_, thread_id)


async def test_receipts_only_move_forward(world: World) -> None:
    first, second = event({"body": "1"}), event({"body": "2"})
    await world.room(first, second)
    await world.receipts.set(ALICE, ROOM, "m.read", first.event_id, None)
    await world.receipts.set(ALICE, ROOM, "m.read", second.event_id, None)
    position = world.log.position
    await world.receipts.set(ALICE, ROOM, "m.read", first.event_id, None)
    await world.receipts.set(ALICE, ROOM, "m.read", second.event_id, None)
    assert world.log.position == position
    assert await stored(world) == second.event_id


async def test_concurrent_receipts_end_at_the_newest(world: World) -> None:
    events = [event({"body": str(number)}) for number in range(20)]
    await world.room(*events)
    await asyncio.gather(
        *(world.receipts.set(ALICE, ROOM, "m.read", item.event_id, None) for item in reversed(events)),
        *(world.receipts.set_fully_read(ALICE, ROOM, item.event_id) for item in events[::3] + events[::-2]),
    )
    assert await stored(world) == events[-1].event_id
    assert await world.account_data(ROOM, FULLY_READ) == b'{"event_id":"%s"}' % events[-1].event_id.encode()


async def test_types_threads_and_users_are_apart(world: World) -> None:
    first, second = event({"body": "1"}), event({"body": "2"})
    await world.room(first, second)
    await world.receipts.set(ALICE, ROOM, "m.read", second.event_id, None)
    await world.receipts.set(ALICE, ROOM, "m.read", first.event_id, "main")
    await world.receipts.set(ALICE, ROOM, "m.read.private", first.event_id, None)
    await world.receipts.set(BOB, ROOM, "m.read", first.event_id, None)
    assert await stored(world) == second.event_id
    assert await stored(world, thread_id="main") == first.event_id
    assert await stored(world, "m.read.private") == first.event_id
    assert await stored(world, user_id=BOB) == first.event_id


async def test_the_oldest_threads_make_room(world: World) -> None:
    roots = [event({"body": str(number)}) for number in range(5)]
    await world.room(*roots)
    few = ReceiptService(
        world.store, world.committer, AccountDataEdits(world.store, world.committer), SystemClock(), most=3
    )
    await few.set(ALICE, ROOM, "m.read", roots[0].event_id, None)
    await world.receipts.set(BOB, ROOM, "m.read", roots[0].event_id, roots[0].event_id)
    for root in roots:
        await few.set(ALICE, ROOM, "m.read", root.event_id, root.event_id)
    kept = [await stored(world, thread_id=root.event_id) for root in roots]
    assert kept == [None, None, *(root.event_id for root in roots[2:])]
    assert await stored(world) == roots[0].event_id
    assert await stored(world, thread_id=roots[0].event_id, user_id=BOB) == roots[0].event_id


async def test_entries_of_the_log(world: World) -> None:
    first = event({"body": "1"})
    await world.room(first)
    await world.receipts.set(ALICE, ROOM, "m.read", first.event_id, "main")
    position = world.log.position
    await world.receipts.set(ALICE, ROOM, "m.read.private", first.event_id, None)
    await world.receipts.set(BOB, ROOM, "m.read", first.event_id, None)
    private, public = world.entries(position)
    assert isinstance(private, ReceiptEntry) and isinstance(public, ReceiptEntry)
    assert (private.concern, public.concern) == (OfUser(ALICE), InRoom(ROOM))
    assert public.receipt.event_id == first.event_id and public.receipt.ts == world.clock.now_ms()


@pytest.mark.parametrize(
    ("type_", "event_id", "thread_id", "code"),
    [
        ("m.read", "$unknown", None, ErrCode.NOT_FOUND),
        ("m.read", "", None, ErrCode.NOT_FOUND),
        ("m.read", "$nul\0", None, ErrCode.NOT_FOUND),
        ("m.other", "$first", None, ErrCode.INVALID_PARAM),
        ("m.read", "$first", "", ErrCode.INVALID_PARAM),
        ("m.read", "$first", "other", ErrCode.INVALID_PARAM),
        ("m.read", "$first", "$unknown", ErrCode.INVALID_PARAM),
    ],
)
async def test_refused_receipts(world: World, type_: str, event_id: str, thread_id: str | None, code: ErrCode) -> None:
    first = event({"body": "1"})
    await world.room(first)
    with pytest.raises(MatrixError) as caught:
        await world.receipts.set(ALICE, ROOM, type_, event_id.replace("$first", first.event_id), thread_id)
    assert caught.value.code is code


async def test_events_of_other_rooms_are_unknown(world: World) -> None:
    first = event({"body": "1"})
    await world.room(first)
    await make_room(world.store, "!other:hromada.test")
    for room_id in ("!other:hromada.test", "!unknown:hromada.test"):
        for receipt in (
            world.receipts.set(ALICE, room_id, "m.read", first.event_id, None),
            world.receipts.set_fully_read(ALICE, room_id, first.event_id),
        ):
            with pytest.raises(MatrixError) as caught:
                await receipt
            assert caught.value.code is ErrCode.NOT_FOUND


async def test_the_event_must_be_in_the_thread(world: World) -> None:
    root, other = event({"body": "root"}), event({"body": "other"})
    reply = related("m.thread", root)
    reaction_to_reply, reaction_to_root, reaction_to_other = (
        related("m.annotation", target) for target in (reply, root, other)
    )
    second_hop = related("m.annotation", reaction_to_reply)
    await world.room(root, other, reply, reaction_to_reply, reaction_to_root, reaction_to_other, second_hop)
    in_thread = [root, reply, reaction_to_reply, reaction_to_root, second_hop]
    in_main = [root, other, reaction_to_root, reaction_to_other]
    for item in (root, other, reply, reaction_to_reply, reaction_to_root, reaction_to_other, second_hop):
        for thread_id, members in ((root.event_id, in_thread), ("main", in_main)):
            if item in members:
                await world.receipts.set(ALICE, ROOM, "m.read", item.event_id, thread_id)
            else:
                with pytest.raises(MatrixError) as caught:
                    await world.receipts.set(ALICE, ROOM, "m.read", item.event_id, thread_id)
                assert caught.value.code is ErrCode.INVALID_PARAM


def test_the_ephemeral_events() -> None:
    receipts = [
        ReceiptChanged(ROOM, 1, ALICE, "m.read", None, "$a", 1),
        ReceiptChanged(ROOM, 1, BOB, "m.read", "main", "$a", 2),
        ReceiptChanged(ROOM, 1, ALICE, "m.read.private", None, "$b", 3),
    ]
    first = {
        "type": "m.receipt",
        "content": {
            "$a": {"m.read": {ALICE: {"ts": 1}, BOB: {"ts": 2, "thread_id": "main"}}},
            "$b": {"m.read.private": {ALICE: {"ts": 3}}},
        },
    }
    assert receipt_events(receipts) == [first]
    # Of one event, the same user's receipts of several threads: none takes the place of another.
    threads = [ReceiptChanged(ROOM, 1, ALICE, "m.read", thread, "$a", 4) for thread in ("main", "$a")]
    assert receipt_events([*receipts, *threads]) == [
        first,
        {"type": "m.receipt", "content": {"$a": {"m.read": {ALICE: {"ts": 4, "thread_id": "main"}}}}},
        {"type": "m.receipt", "content": {"$a": {"m.read": {ALICE: {"ts": 4, "thread_id": "$a"}}}}},
    ]
    assert receipt_events([receipts[0], receipts[0]]) == [
        {"type": "m.receipt", "content": {"$a": {"m.read": {ALICE: {"ts": 1}}}}}
    ]
    assert receipt_events([]) == []
    assert typing_event([ALICE]) == {"type": "m.typing", "content": {"user_ids": [ALICE]}}


async def test_repository_reads_many_rooms_at_once(store: Database) -> None:
    head = await make_room(store, ROOM)
    other = await make_room(store, "!other:hromada.test")

    def receipt(nid: int, user_id: str, type_: str, thread_id: str | None = None) -> ReceiptChanged:
        room_id = ROOM if nid == head.room_nid else "!other:hromada.test"
        return ReceiptChanged(room_id, nid, user_id, type_, thread_id, "$a", 1)

    rows = [
        (receipt(head.room_nid, ALICE, "m.read"), 10),
        (receipt(head.room_nid, ALICE, "m.read.private", "main"), 11),
        (receipt(head.room_nid, BOB, "m.read.private"), 12),
        (receipt(other.room_nid, BOB, "m.read"), 13),
        (receipt(other.room_nid, BOB, "m.read"), 14),
    ]
    async with store.write() as tx:
        with counted(store) as statements:
            assert await tx.receipts.put(rows) == [row for row, _ in rows]
            assert len(statements) == 2, "the last one is of the same row as the one before"
    async with store.read() as tx:
        both = {head.room_nid: (0, 20), other.room_nid: (13, 14)}
        assert await tx.receipts.between(both, ALICE) == [rows[0][0], rows[1][0], rows[4][0]]
        assert await tx.receipts.between({head.room_nid: (10, 11)}, BOB) == []
        assert await tx.receipts.between({head.room_nid: (11, 12)}, BOB) == [rows[2][0]]
        assert await tx.receipts.between({}, ALICE) == []


async def test_a_receipt_that_another_process_moved_further_stays(world: World) -> None:
    first, second, third = (event({"body": str(number)}) for number in range(3))
    await world.room(first, second, third)
    async with world.store.read() as tx:
        nid = (await tx.rooms.room_nids([ROOM]))[ROOM]

    async def put(event_id: str, position: int) -> str:
        async with world.store.write() as tx:
            receipts = [
                (ReceiptChanged(ROOM, nid, user, "m.read", None, event_id, 5), position + number)
                for number, user in enumerate((BOB, ALICE, "@carol:hromada.test"))
            ]
            bob, alice, carol = await tx.receipts.put(receipts)
            assert bob.event_id == alice.event_id == carol.event_id
            return alice.event_id

    # Each of them was decided when nothing was stored yet.
    assert await put(second.event_id, 1010) == second.event_id
    assert await put(first.event_id, 1020) == second.event_id
    assert await put(second.event_id, 1030) == second.event_id
    assert await stored(world) == second.event_id
    assert await put(third.event_id, 1040) == third.event_id
    assert await stored(world) == third.event_id


class Together:
    """A plan by which receipts that are decided wait for each other: they reach the committer in one moment."""

    def __init__(self, count: int) -> None:
        self._barrier = asyncio.Barrier(count)

    async def reach(self, point: str) -> None:
        if point == "receipts.decided":
            await self._barrier.wait()


async def test_receipts_of_one_moment_share_a_statement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = event({"body": "1"}), event({"body": "2"})
    await world.room(first, second)
    users = [f"@reader{number}:hromada.test" for number in range(8)]
    await asyncio.gather(*(world.receipts.set(user, ROOM, "m.read", first.event_id, None) for user in users))
    position = world.log.position
    monkeypatch.setattr(faults, "plan", Together(len(users)))
    with counted(world.store) as statements:
        await asyncio.gather(*(world.receipts.set(user, ROOM, "m.read", second.event_id, None) for user in users))
    assert [await stored(world, user_id=user) for user in users] == [second.event_id] * 8
    told = [entry.receipt.user_id for entry in world.log.since(position) or () if isinstance(entry, ReceiptEntry)]
    assert sorted(told) == users
    stores = [text for text in statements if text.startswith("INSERT INTO receipts")]
    assert len(stores) == 1, statements


async def test_what_moves_nothing_asks_nothing(world: World) -> None:
    """Nor does a receipt for what is in memory ask for anything before it is stored."""
    first, second = event({"body": "1"}), event({"body": "2"})
    await world.room(first, second)
    memory = EventCache()
    receipts = ReceiptService(world.store, world.committer, world.edits, world.clock, events=memory)
    async with world.store.read() as tx:
        for stored_event in (await tx.events.get_many([first.event_id, second.event_id])).values():
            memory.keep(stored_event, memory.mark())
    await receipts.set(ALICE, ROOM, "m.read", first.event_id, None)
    with counted(world.store) as statements:
        await receipts.set(ALICE, ROOM, "m.read", first.event_id, None)
    assert not statements
    with counted(world.store) as statements:
        await receipts.set(ALICE, ROOM, "m.read", second.event_id, None)
    assert [text.split()[0] for text in statements] == ["UPDATE", "INSERT", "INSERT"]
    with pytest.raises(MatrixError):
        await receipts.set(ALICE, "!other:hromada.test", "m.read", first.event_id, None)
