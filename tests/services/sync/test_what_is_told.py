"""What sync tells when something in between is hidden, filtered, redacted or left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from homeserver import faults
from homeserver.core.filters import parse_filter, parse_room_event_filter
from homeserver.services.rooms.history import PageRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.relations import RelationsRequest
from homeserver.services.sync.request import SyncLimits
from tests.services.rooms.conftest import ALICE, BOB, CAROL
from tests.services.rooms.test_reads import bodies, relate
from tests.services.sync.conftest import SyncWorld, assert_law
from tests.services.sync.test_law import forget_tail

SHOW = ("m.room.history_visibility", "")


async def test_state_that_changed_unseen_is_told_as_it_is(syncing: SyncWorld) -> None:
    world, rooms = syncing.world, syncing.world.rooms
    room = await world.create(ALICE, CAROL, name="old")
    await rooms.sending.set_state(room, ALICE, SHOW, {"history_visibility": "joined"})
    await rooms.sending.set_state(room, ALICE, ("m.room.name", ""), {"name": "new"})
    await rooms.memberships.kick(ALICE, room, CAROL)
    await rooms.memberships.join(BOB, room)
    bob = syncing.client(BOB, filter=parse_filter({"room": {"timeline": {"limit": 50}}}))
    timeline = (await bob.sync())["rooms"]["join"][room]["timeline"]
    assert timeline["limited"]
    told = map(orjson.loads, await rooms.state.all(BOB, room))
    assert bob.rooms[room] == {(event["type"], event["state_key"]): event["event_id"] for event in told}


@pytest.mark.parametrize("since", ["initial", "tail", "database"])
async def test_a_filtered_timeline_looks_back(syncing: SyncWorld, since: str) -> None:
    world = syncing.world
    room = await world.create(ALICE, BOB)
    only = parse_filter({"room": {"timeline": {"limit": 1, "types": ["org.example"]}}})
    alice = syncing.client(ALICE, filter=only)
    if since != "initial":
        await alice.sync()
    for number in range(2):
        await world.rooms.sending.send_message(room, (ALICE, "DEV"), "org.example", f"x{number}", {"n": number})
    for number in range(30):
        await world.say(room, f"{number}")
    if since == "database":
        forget_tail(syncing)
    timeline = (await alice.sync())["rooms"]["join"][room]["timeline"]
    assert [event["content"] for event in timeline["events"]] == [{"n": 1}]
    assert timeline["limited"]
    wanted = parse_room_event_filter({"types": ["org.example"]})
    request = PageRequest(True, start=timeline["prev_batch"], filter=wanted)
    page = await world.rooms.history.messages(Recipient(ALICE, "DEV"), room, request)
    assert [orjson.loads(event)["content"] for event in page.chunk] == [{"n": 0}]


@pytest.mark.parametrize("from_database", [False, True], ids=["tail", "database"])
async def test_leaving_tells_only_what_changed(syncing: SyncWorld, from_database: bool) -> None:
    room = await syncing.world.create(ALICE, BOB, name="Same")
    bob = syncing.client(BOB)
    await bob.sync()
    await syncing.world.rooms.memberships.leave(BOB, room)
    if from_database:
        forget_tail(syncing)
    section = (await bob.sync())["rooms"]["leave"][room]
    assert section["state"]["events"] == []
    assert [event["type"] for event in section["timeline"]["events"]] == ["m.room.member"]


@pytest.mark.parametrize("from_database", [False, True], ids=["tail", "database"])
async def test_a_redaction_takes_nothing_that_sync_decides_by(syncing: SyncWorld, from_database: bool) -> None:
    world, rooms = syncing.world, syncing.world.rooms
    room = await world.create(ALICE, BOB, topic="first")
    bob = syncing.client(BOB)
    await bob.sync()
    await world.say(room, "before leaving", sender=ALICE)
    await rooms.memberships.leave(BOB, room)
    leave = (await world.timeline(room))[-1].event_id
    await rooms.sending.redact(room, (ALICE, "DEV"), leave, "r", None)
    if from_database:
        forget_tail(syncing)
    events = (await bob.sync())["rooms"]["leave"][room]["timeline"]["events"]
    assert bodies(events) == ["before leaving"]
    await rooms.sending.set_state(room, ALICE, ("m.room.topic", ""), {"topic": "second"})
    topic = (await world.timeline(room))[-1].event_id
    await rooms.sending.redact(room, (ALICE, "DEV"), topic, "s", None)
    small = parse_filter({"room": {"timeline": {"limit": 2}}})
    section = (await syncing.client(ALICE, filter=small).sync())["rooms"]["join"][room]
    assert "first" in [event["content"].get("topic") for event in section["state"]["events"]]


async def test_ignored_users_are_ignored_by_every_read(syncing: SyncWorld) -> None:
    world, history = syncing.world, syncing.world.rooms.history
    room = await world.create(ALICE, BOB)
    root = await world.say(room, "root")
    await world.say(room, "noise", sender=BOB)
    await relate(world, room, root, "m.reference", sender=BOB, n=1)
    who = Recipient(ALICE, "DEV", frozenset({BOB}))

    def senders(events: list[bytes]) -> set[Any]:
        parsed = map(orjson.loads, events)
        return {event["sender"] for event in parsed if "state_key" not in event}

    assert senders((await history.messages(who, room, PageRequest(True, limit=20))).chunk) == {ALICE}
    assert senders((await history.context(who, room, root, 10, PageRequest(True).filter)).after) == set()
    assert not (await world.rooms.relations.of_event(who, room, RelationsRequest(root))).chunk
    assert b"m.reference" not in await history.event(who, room, root)


async def test_context_with_lazy_members_keeps_the_other_state(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB, name="Named")
    event = await syncing.world.say(room, "x")
    lazy = parse_room_event_filter({"lazy_load_members": True})
    context = await syncing.world.rooms.history.context(Recipient(ALICE, "DEV"), room, event, 2, lazy)
    keys = {(item["type"], item["state_key"]) for item in map(orjson.loads, context.state)}
    assert ("m.room.name", "") in keys
    assert ("m.room.member", ALICE) in keys


async def test_nobody_types_in_a_room_they_have_left(syncing: SyncWorld) -> None:
    room = await syncing.world.create(ALICE, BOB)
    syncing.typing.set(room, BOB, 60_000)
    await syncing.world.rooms.memberships.leave(BOB, room)
    assert syncing.typing.users(room) == []


@pytest.mark.parametrize("from_database", [False, True], ids=["tail", "database"])
async def test_events_say_what_their_reader_was_then(syncing: SyncWorld, from_database: bool) -> None:
    """spec: client-server-api#room-event-format (unsigned.membership, MSC4115)"""
    world, member = syncing.world, syncing.world.rooms.memberships
    bob = syncing.client(BOB, filter=parse_filter({"room": {"timeline": {"limit": 100}, "include_leave": True}}))
    await bob.sync()

    async def told(kind: str) -> list[str]:
        if from_database:
            syncing.forget_tail()
        events = (await bob.sync())["rooms"][kind][room]["timeline"]["events"]
        return [event["unsigned"]["membership"] for event in events if event["type"] == "m.room.message" or own(event)]

    def own(event: dict[str, object]) -> bool:
        return event.get("state_key") == BOB

    room = await world.create(ALICE)
    await world.say(room, "before")
    await member.join(BOB, room)
    await world.say(room, "inside")
    assert await told("join") == ["leave", "join", "join"]
    await world.say(room, "still inside")
    await member.leave(BOB, room)
    assert await told("leave") == ["join", "leave"]
    await world.say(room, "outside")
    await member.join(BOB, room)
    await member.leave(BOB, room)
    anew = syncing.client(BOB, filter=bob.filter)
    events = (await anew.sync())["rooms"]["leave"][room]["timeline"]["events"]
    said = {event["content"]["body"]: event["unsigned"]["membership"] for event in events if "body" in event["content"]}
    assert said == {"before": "leave", "inside": "join", "still inside": "join", "outside": "leave"}


class Meanwhile(faults.FaultPlan):
    """Does something when a request gets to a point, once."""

    def __init__(self, point: str, act: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._point, self._act, self.done = point, act, False

    async def reach(self, point: str) -> None:
        if point == self._point and not self.done:
            self.done = True
            await self._act()


async def test_an_initial_sync_is_of_the_moment_that_its_token_names(
    syncing: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, rooms = syncing.world, syncing.world.rooms
    room = await world.create(ALICE, BOB, name="old")
    for number in range(12):
        await world.say(room, f"{number}")

    async def change() -> None:
        await rooms.sending.set_state(room, ALICE, ("m.room.name", ""), {"name": "new"})
        await rooms.memberships.join(CAROL, room)
        await rooms.memberships.invite(ALICE, await world.create(ALICE), BOB)

    plan = Meanwhile("sync.initial", change)
    monkeypatch.setattr(faults, "plan", plan)
    bob = syncing.client(BOB)
    body = await bob.sync()
    assert plan.done
    joined = body["rooms"]["join"][room]
    state = {(event["type"], event["state_key"]): event["content"] for event in joined["state"]["events"]}
    for event in joined["timeline"]["events"]:
        assert event["type"] == "m.room.message"
    assert state["m.room.name", ""] == {"name": "old"}
    assert ("m.room.member", CAROL) not in state
    assert joined["summary"]["m.joined_member_count"] == 2
    assert "invite" not in body["rooms"]
    changes = await bob.sync()
    told = [event["type"] for event in changes["rooms"]["join"][room]["timeline"]["events"]]
    assert told == ["m.room.name", "m.room.member"]
    assert len(bob.invites) == 1
    await assert_law(bob)


@pytest.mark.parametrize("since", ["initial", "tail", "database"])
async def test_what_is_older_than_the_look_back_is_found_from_prev_batch(syncing: SyncWorld, since: str) -> None:
    """Of the wanted events, none is within the bound: the token continues exactly where the search has ended."""
    world = syncing.world
    room = await world.create(ALICE, BOB)
    only = parse_filter({"room": {"timeline": {"limit": 2, "types": ["org.example"]}}})
    alice = syncing.client(ALICE, filter=only, limits=SyncLimits(look_back=20))
    if since != "initial":
        await alice.sync()
    for number in range(3):
        await world.rooms.sending.send_message(room, (ALICE, "DEV"), "org.example", f"x{number}", {"n": number})
    noise = [await world.say(room, f"{number}") for number in range(50)]
    if since == "database":
        forget_tail(syncing)
    timeline = (await alice.sync())["rooms"]["join"][room]["timeline"]
    found = [event["content"] for event in timeline["events"]]
    if not found:
        assert timeline["limited"]
    start: str | None = timeline["prev_batch"]
    who = Recipient(ALICE, "DEV")
    if not found:
        # Without the filter, the page behind the token begins with the event before the oldest that was looked at.
        page = await world.rooms.history.messages(who, room, PageRequest(True, start=start, limit=1))
        assert orjson.loads(page.chunk[0])["event_id"] == noise[-21]
    wanted = parse_room_event_filter({"types": ["org.example"]})
    while start is not None and len(found) < 3:
        page = await world.rooms.history.messages(who, room, PageRequest(True, start=start, filter=wanted))
        found = [*reversed([orjson.loads(event)["content"] for event in page.chunk]), *found]
        start = page.end
    assert found == [{"n": 0}, {"n": 1}, {"n": 2}]
