"""The sync law after every kind of action, from the tail and from the database, with state before and after."""

from __future__ import annotations

import pytest

from homeserver.core.filters import Filter, parse_filter
from homeserver.services.sync.body import STATE_AFTER, STATE_BEFORE, StateField
from tests.services.rooms.conftest import ALICE, BOB, CAROL
from tests.services.rooms.test_reads import relate
from tests.services.sync.conftest import SyncWorld, assert_law

SMALL = {"room": {"timeline": {"limit": 3}}}


def forget_tail(syncing: SyncWorld) -> None:
    """Make the tail too short for every token, as after a restart."""
    log = syncing.world.log
    log._entries.clear()
    log._start = log.position


@pytest.mark.parametrize("from_database", [False, True], ids=["tail", "database"])
@pytest.mark.parametrize("state_field", [STATE_BEFORE, STATE_AFTER], ids=["state", "state_after"])
@pytest.mark.parametrize("filter_json", [{}, SMALL], ids=["default", "small"])
async def test_law_holds_after_every_action(
    syncing: SyncWorld, from_database: bool, state_field: StateField, filter_json: dict[str, object]
) -> None:
    world, rooms = syncing.world, syncing.world.rooms
    alice = syncing.client(ALICE, filter=parse_filter(filter_json), state_field=state_field)
    bob = syncing.client(BOB, filter=parse_filter(filter_json), state_field=state_field)
    await alice.sync()
    await bob.sync()

    async def check() -> None:
        if from_database:
            forget_tail(syncing)
        await assert_law(alice)
        await assert_law(bob)

    room = await world.create(ALICE, name="One", topic="First")
    await check()
    await rooms.memberships.invite(ALICE, room, BOB)
    await check()
    assert bob.invites == {room}
    await rooms.memberships.join(BOB, room)
    await check()
    for number in range(7):
        await world.say(room, f"message {number}", sender=ALICE if number % 2 else BOB)
    await check()
    await rooms.sending.set_state(room, ALICE, ("m.room.name", ""), {"name": "Renamed"})
    for number in range(5):
        await world.say(room, f"more {number}")
    await check()
    await rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": "a"})
    await rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": "b"})
    await check()
    await rooms.memberships.join(CAROL, room)
    await rooms.memberships.leave(CAROL, room)
    await check()
    await rooms.memberships.leave(BOB, room)
    await check()
    assert room not in bob.rooms
    await world.say(room, "bob is gone")
    await check()
    await rooms.memberships.join(BOB, room)
    await check()
    await rooms.memberships.leave(BOB, room)
    await world.say(room, "between")
    await rooms.memberships.join(BOB, room)
    await check()
    await rooms.memberships.kick(ALICE, room, BOB)
    await check()
    await rooms.memberships.ban(ALICE, room, BOB)
    await check()
    await rooms.memberships.unban(ALICE, room, BOB)
    await rooms.memberships.forget(BOB, room)
    await check()
    await rooms.memberships.invite(ALICE, room, BOB)
    await rooms.memberships.leave(BOB, room)
    await check()
    assert not bob.invites
    await rooms.memberships.leave(ALICE, room)
    await check()


async def test_timeline_is_limited_and_the_gap_can_be_paged(syncing: SyncWorld) -> None:
    world = syncing.world
    room = await world.create(ALICE)
    alice = syncing.client(ALICE, filter=parse_filter(SMALL))
    await alice.sync()
    for number in range(8):
        await world.say(room, f"m{number}")
    section = (await alice.sync())["rooms"]["join"][room]["timeline"]
    assert section["limited"] is True
    assert [event["content"]["body"] for event in section["events"]] == ["m5", "m6", "m7"]
    assert section["prev_batch"].startswith("t")


async def test_own_events_carry_the_transaction_id_from_tail_and_database(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    alice, bob = syncing.client(ALICE), syncing.client(BOB)
    await alice.sync()
    await bob.sync()
    await syncing.world.say(room, "hello", txn="my-txn")

    def unsigned(body: dict[str, object]) -> dict[str, object]:
        return body["rooms"]["join"][room]["timeline"]["events"][-1]["unsigned"]  # type: ignore[index,no-any-return]

    before = alice.since
    assert unsigned(await alice.sync())["transaction_id"] == "my-txn"
    assert "transaction_id" not in unsigned(await bob.sync())
    forget_tail(syncing)
    alice.since = before
    assert unsigned(await alice.sync())["transaction_id"] == "my-txn"


async def test_lazy_members_are_sent_once_and_again_if_the_response_was_lost(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, CAROL, name="Needs no heroes")
    lazy = parse_filter({"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}})
    for number in range(12):
        await syncing.world.say(room, f"old {number}")
    alice = syncing.client(ALICE, filter=lazy)
    first = await alice.sync()
    members = [e["state_key"] for e in first["rooms"]["join"][room]["state"]["events"] if e["type"] == "m.room.member"]
    assert members == [ALICE]

    def told(body: dict[str, object]) -> list[str]:
        events = body["rooms"]["join"][room]["state"]["events"]  # type: ignore[index]
        return [event["state_key"] for event in events]

    await syncing.world.say(room, "hi from bob", sender=BOB)
    before = alice.since
    assert told(await alice.sync()) == [BOB]
    alice.since = before  # the response never arrived
    assert told(await alice.sync()) == [BOB]
    await syncing.world.say(room, "again from bob", sender=BOB)
    assert told(await alice.sync()) == []


async def test_filter_of_types_and_rooms(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, name="A")
    other = await syncing.world.create(ALICE, name="B")
    only = parse_filter(
        {"room": {"rooms": [room], "timeline": {"types": ["m.room.message"]}, "state": {"types": ["m.room.name"]}}}
    )
    await syncing.world.say(room, "x")
    alice = syncing.client(ALICE, filter=only)
    body = await alice.sync()
    assert set(body["rooms"]["join"]) == {room}
    section = body["rooms"]["join"][room]
    assert [event["type"] for event in section["timeline"]["events"]] == ["m.room.message"]
    assert [event["type"] for event in section["state"]["events"]] == ["m.room.name"]
    await syncing.world.say(other, "unseen")
    assert "rooms" not in await alice.sync()


async def test_archived_rooms_come_on_request(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    await syncing.world.say(room, "before")
    await syncing.world.rooms.memberships.leave(BOB, room)
    await syncing.world.say(room, "after")
    assert "rooms" not in await syncing.client(BOB).sync()
    body = await syncing.client(BOB, filter=parse_filter({"room": {"include_leave": True}})).sync()
    events = body["rooms"]["leave"][room]["timeline"]["events"]
    assert events[-1]["content"]["membership"] == "leave"
    assert "after" not in [event["content"].get("body") for event in events]


async def test_full_state_repeats_all_state(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, name="A")
    alice = syncing.client(ALICE)
    await alice.sync()
    body = await alice.sync(full_state=True)
    types = {event["type"] for event in body["rooms"]["join"][room]["state"]["events"]}
    assert {"m.room.create", "m.room.name", "m.room.power_levels"} <= types
    assert Filter() == alice.filter


async def test_redacted_content_is_never_sent_again(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE)
    alice = syncing.client(ALICE)
    await alice.sync()
    event_id = await syncing.world.say(room, "secret", txn="t0")
    await syncing.world.rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": "private"})
    topic = (await syncing.world.timeline(room))[-1].event_id
    await syncing.world.rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": "public"})
    for number, target in enumerate((event_id, topic)):
        await syncing.world.rooms.sending.redact(room, (ALICE, "DEV"), target, f"r{number}", None)
    events = (await alice.sync())["rooms"]["join"][room]["timeline"]["events"]
    assert "secret" not in str(events)
    assert "private" not in str(events)
    assert events[0]["unsigned"]["redacted_because"]["type"] == "m.room.redaction"


@pytest.mark.parametrize("from_database", [False, True], ids=["tail", "database"])
async def test_limited_timelines_bundle_what_the_client_cannot_add_up_itself(
    syncing: SyncWorld, from_database: bool
) -> None:
    world = syncing.world
    room = await world.create(ALICE, BOB)
    bob = syncing.client(BOB, filter=parse_filter(SMALL))
    await bob.sync()
    for number in range(6):
        await world.say(room, f"m{number}")
    root = await world.say(room, "root")
    for number in range(2):
        await relate(world, room, root, "m.thread", n=number)
    if from_database:
        forget_tail(syncing)
    first, *_ = (await bob.sync())["rooms"]["join"][room]["timeline"]["events"]
    assert (first["event_id"], first["unsigned"]["m.relations"]["m.thread"]["count"]) == (root, 2)
    anew = syncing.client(BOB, filter=parse_filter(SMALL))
    first, *_ = (await anew.sync())["rooms"]["join"][room]["timeline"]["events"]
    assert first["unsigned"]["m.relations"]["m.thread"]["current_user_participated"] is False
    # Nothing was left out here, so the client has seen every reply itself.
    await relate(world, room, root, "m.thread", n=3)
    whole = await bob.sync()
    assert whole["rooms"]["join"][room]["timeline"]["limited"] is False
    assert "m.relations" not in str(whole)
