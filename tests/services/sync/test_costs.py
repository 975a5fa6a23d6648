"""What a new device and a message cost in a large room: nothing is written per member, and hardly anything is asked.

`MEMBERS=2000 READERS=200 pytest -s` on this file gives the figures of docs/performance.md.
"""

from __future__ import annotations

import os
import time

import orjson
import pytest

from homeserver.core.filters import Filter
from homeserver.services.rooms.render import with_membership
from homeserver.services.sync import shared
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.render import encode_for
from homeserver.services.sync.request import SyncRequest
from tests.services.rooms.conftest import ALICE
from tests.services.sync.conftest import SyncWorld
from tests.services.sync.test_device_lists_walk import NewKeys
from tests.support.statements import counted

MEMBERS = int(os.environ.get("MEMBERS", "40"))
READERS = int(os.environ.get("READERS", "20"))
ROUNDS = 5


async def crowd(syncing: SyncWorld, count: int = MEMBERS) -> tuple[str, list[str]]:
    """A public room and its members beside Alice."""
    members = [f"@member{number}:hromada.test" for number in range(count)]
    return await syncing.world.create(ALICE, *members), members


async def answered(syncing: SyncWorld, reader: str, since: int) -> bytes:
    """A sync that is answered at once, as it goes out."""
    token = SyncToken(since, syncing.typing.serial)
    request = SyncRequest(user_id=reader, device_id="DEV", filter=Filter(), since=token)
    answer = await syncing.sync.respond(request)
    return encode_for(request, answer.body)


async def test_a_new_device_is_one_entry_and_costs_one_statement_for_all(syncing: SyncWorld) -> None:
    _, members = await crowd(syncing)
    newcomer, readers = members[-1], members[:READERS]
    start = syncing.world.log.position
    for reader in readers:
        await answered(syncing, reader, start)  # what everybody's sync needs is in memory from here on
    spent = 0.0
    for _ in range(ROUNDS):
        before = syncing.world.log.position
        with counted(syncing.world.store) as statements:
            await syncing.world.committer.commit(NewKeys(newcomer))
            assert syncing.world.log.position == before + 1
            committed = len(statements)
            began = time.process_time()
            answers = [await answered(syncing, reader, before) for reader in readers]
            spent += time.process_time() - began
            # The newcomer's rooms are read once, for all who ask.
            assert len(statements) <= committed + 1, statements[committed:]
        for answer in answers:
            assert orjson.loads(answer)["device_lists"] == {"changed": [newcomer], "left": []}
    print(f"\na device told to {READERS} of {MEMBERS}: {spent / ROUNDS / READERS * 1000:.3f} ms of CPU each")


async def test_a_message_is_evaluated_for_all_members_at_once(syncing: SyncWorld) -> None:
    room, members = await crowd(syncing)
    async with syncing.world.store.read() as tx:
        nids = await tx.rooms.room_nids([room])
    for member in members:
        await syncing.unread.of(member, nids)
    evaluated = 0.0
    follow = syncing.unread._follow

    def timed(*entries: object) -> None:
        nonlocal evaluated
        began = time.process_time()
        follow(*entries)  # type: ignore[arg-type]
        evaluated += time.process_time() - began

    log = syncing.world.log
    log._listeners = [(timed if one == follow else one) for one in log._listeners]
    written = []
    for number in range(ROUNDS):
        with counted(syncing.world.store) as statements:
            await syncing.world.say(room, f"hello {number}")
            written.append(len(statements))
    for member in members:
        counts = syncing.unread.peek(member, room)
        assert counts is not None and counts.total.notify == ROUNDS
    assert max(written[1:]) <= 12, "statements of a message do not depend on how many are in the room"
    print(f"\na message evaluated for {MEMBERS}: {evaluated / ROUNDS * 1000:.3f} ms of CPU")


async def test_an_initial_sync_takes_its_rooms_from_memory_where_that_is_up_to_date(syncing: SyncWorld) -> None:
    await syncing.world.create(ALICE)
    request = SyncRequest(user_id=ALICE, device_id="DEV", filter=Filter())
    await syncing.sync.respond(request)
    with counted(syncing.world.store) as statements:
        answer = await syncing.sync.respond(request)
    assert len(answer.body.joined) == 1
    assert not [text for text in statements if "FROM memberships" in text]


async def test_memberships_are_put_into_what_many_get_once(syncing: SyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    room_id, members = await crowd(syncing, 40)  # of larger rooms the section is too large to be kept
    await syncing.world.say(room_id, "to all")
    made: list[bytes] = []

    def counting(form: bytes, membership: str) -> bytes:
        made.append(form)
        return with_membership(form, membership)

    monkeypatch.setattr(shared, "with_membership", counting)
    bodies: list[bytes] = []
    for reader in members[:2]:
        answer = await syncing.sync.respond(SyncRequest(user_id=reader, device_id="DEV", filter=Filter()))
        bodies.append(syncing.sync.encode(SyncRequest(user_id=reader, device_id="DEV", filter=Filter()), answer.body))
        assert made
        timeline = orjson.loads(bodies[-1])["rooms"]["join"][room_id]["timeline"]["events"]
        assert {event["unsigned"]["membership"] for event in timeline} <= {"join", "leave"}
        assert timeline[-1]["unsigned"]["membership"] == "join"
    # The second reader came later: of what is told of both, the message and all who came after both are the same.
    assert len(made) == len(timeline), "made for the first, and looked up for the second"
