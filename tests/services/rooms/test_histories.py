"""What users may see is decided from memory, and never on knowledge older than what is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from homeserver.core.errors import MatrixError, NotAllowed
from homeserver.ports.events import StoredEvent
from homeserver.ports.sync import ViewChange
from homeserver.services.rooms.histories import HistoryCache
from homeserver.services.rooms.history import PageRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.visibility import history_of
from tests.services.rooms.conftest import ALICE, BOB, World, members_of
from tests.storage.rooms import make_event
from tests.support.statements import counted

B = Recipient(BOB, "DEV")


async def shown(world: World, room_id: str) -> list[str]:
    page = await world.rooms.history.messages(B, room_id, PageRequest(True, limit=100))
    return [event["content"]["body"] for event in map(orjson.loads, page.chunk) if event["type"] == "m.room.message"]


async def test_reads_of_a_known_room_cost_no_statement(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    await members_of(world, BOB, room_id)
    with counted(world.store) as statements:
        members = await members_of(world, BOB, room_id)
        await world.rooms.state.all(BOB, room_id)
        await world.rooms.state.joined_members(BOB, room_id)
    assert {orjson.loads(member)["state_key"] for member in members} == {ALICE, BOB}
    assert not statements


async def test_where_the_log_has_a_gap_everything_is_read_again(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    await members_of(world, BOB, room_id)
    world.rooms.memory.forget()
    with counted(world.store) as statements:
        await members_of(world, BOB, room_id)
    assert statements


async def test_a_kick_and_a_new_visibility_take_effect_at_once(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    await world.say(room_id, "before")
    assert await shown(world, room_id) == ["before"]
    await world.rooms.memberships.kick(ALICE, room_id, BOB)
    await world.say(room_id, "after")
    assert await shown(world, room_id) == ["before"]
    with pytest.raises(NotAllowed):
        await world.rooms.aliases.local_aliases(BOB, room_id)
    content = {"history_visibility": "world_readable"}
    await world.rooms.sending.set_state(room_id, ALICE, ("m.room.history_visibility", ""), content)
    await world.say(room_id, "for all")
    assert (await shown(world, room_id))[0] == "for all"


async def test_readers_beside_kicks_never_see_what_came_after(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    seen: set[str] = set()

    async def read() -> None:
        while True:
            try:
                seen.update(await shown(world, room_id))
            except MatrixError:
                pass
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for number in range(10):
        await world.say(room_id, f"with Bob {number}")
        await world.rooms.memberships.kick(ALICE, room_id, BOB)
        await world.say(room_id, f"without Bob {number}")
        await world.rooms.memberships.invite(ALICE, room_id, BOB)
        content = {"history_visibility": "joined"}
        await world.rooms.sending.set_state(room_id, ALICE, ("m.room.history_visibility", ""), content)
        await world.rooms.memberships.join(BOB, room_id)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert any(body.startswith("with Bob") for body in seen)
    assert not {body for body in seen if body.startswith("without Bob") and not body.endswith(" 0")}


def test_a_history_grows_with_memberships_and_not_with_names() -> None:
    """Whoever changes their name a thousand times is joined once."""
    changes = [member(order, "join") for order in range(10, 1_010)]
    history = history_of(ALICE, [member(5, "invite"), *changes, member(2_000, "leave"), member(3_000, "join")])
    assert list(history.memberships.orders) == [5, 10, 2_000, 3_000]
    assert history.memberships.around(10) == ("invite", "join")
    assert history.memberships.around(500) == ("join", "join")
    assert history.memberships.around(2_000) == ("join", "leave")
    assert history.membership == "join"
    assert history.changes == 4


def test_memberships_of_many_events_are_those_of_each() -> None:
    history = history_of(ALICE, [member(10, "invite"), member(20, "join")])
    events = [stored_at(order) for order in (5, 10, 15, 20, 25, None)]
    assert history.memberships_at(events) == ["leave", "invite", "invite", "join", "join", "leave"]
    assert history.memberships_at(events) == [history.membership_at(event) for event in events]
    apart = history_of(ALICE, [member(20, "join"), replace(member(25, "ban"), apart=True)])
    assert apart.memberships_at(events) == ["leave", "leave", "leave", "join", "ban", "leave"]
    assert history_of(ALICE, []).memberships_at(events) == ["leave"] * 6


def stored_at(order: int | None) -> StoredEvent:
    return StoredEvent(make_event("!a", "m.room.message", {}), 1, None, order, 1, 1)


async def test_histories_in_memory_are_bounded_by_their_changes(world: World) -> None:
    """Also by that of somebody who came and went all the time."""
    room_id = await world.create(ALICE, BOB)
    head = await world.rooms.memory.heads.fetch(room_id, world.store)
    assert head is not None
    alone = HistoryCache(max_changes=1)
    for user in (ALICE, BOB, ALICE):
        await alone.fetch(head.room_nid, user, world.store)
    with counted(world.store) as statements:
        assert (await alone.fetch(head.room_nid, ALICE, world.store)).membership == "join"
        assert not statements
        assert (await alone.fetch(head.room_nid, BOB, world.store)).membership == "join"
        assert statements
    both = HistoryCache(max_changes=100)
    for user in (ALICE, BOB, ALICE):
        await both.fetch(head.room_nid, user, world.store)
    with counted(world.store) as statements:
        await both.fetch(head.room_nid, BOB, world.store)
        assert not statements


def member(order: int, membership: str) -> ViewChange:
    return ViewChange(order, 1, is_member=True, value=membership)


async def test_a_page_that_nobody_has_read_is_one_statement(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    said = [f"message {number}" for number in range(12)]
    for text in said:
        await world.say(room_id, text)
    world.rooms.memory.events.clear()
    bodies: list[str] = []
    counts: list[int] = []
    for _ in range(2):
        token: str | None = None
        for _ in range(3):
            with counted(world.store) as statements:
                page = await world.rooms.history.messages(B, room_id, PageRequest(True, token, limit=4))
            token = page.end
            counts.append(len(statements))
            bodies += [event["content"]["body"] for event in map(orjson.loads, page.chunk)]
    assert bodies == said[::-1] * 2
    assert counts[1:] == [1, 1, 1, 1, 1]  # the second time the row ids are enough
