"""Arrivals: what is refused, what is hidden, and that an event comes once, whichever way it comes."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.event import Event
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.events import EventFlags, StoredEvent
from homeserver.services.rooms.arrivals import Arrival, ArrivalOutcome
from homeserver.services.rooms.visibility import load_history
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, CountingEntropy, World, running_world
from tests.simulation.oracle import Oracle
from tests.simulation.peer import USERS, Peer

PIA = USERS[0]


class Elsewhere:
    """A room with a member of another server."""

    def __init__(self, world: World, room_id: str, version: str) -> None:
        self.world = world
        self.room_id = room_id
        self.oracle = Oracle(ROOM_VERSIONS[version])
        self.peer = Peer(self.oracle, room_id, Random(1))

    @classmethod
    async def begin(cls, world: World, version: str = "11") -> Elsewhere:
        room_id = await world.create(ALICE, BOB, room_version=version)
        room = cls(world, room_id, version)
        await room.follow()
        join = room.make("m.room.member", {"membership": "join"}, PIA)
        assert await room.arrive(join) is ArrivalOutcome.ACCEPTED
        room.oracle.arrived(join)
        return room

    async def follow(self) -> None:
        """Take in what this server has sent."""
        for event in await self.world.timeline(self.room_id):
            if event.event_id in self.oracle.after:
                continue
            self.oracle.know(event)
            state = self.oracle.state
            self.oracle.state = {**state, event.key: event.event_id} if event.is_state else state
            self.oracle.after[event.event_id] = self.oracle.state
            self.oracle.outcomes[event.event_id] = ArrivalOutcome.ACCEPTED
            self.oracle.extremities = [event.event_id]

    def make(self, kind: str, content: dict[str, Any], state_key: str | None = None, **more: Any) -> Event:
        """An event of the member of the other server, on the newest ones unless `prevs` says otherwise."""
        prevs = more.pop("prevs", None) or list(self.oracle.extremities)
        return self.peer.make(prevs, self.oracle.before(prevs), PIA, kind, content, state_key, **more)

    async def arrive(self, event: Event, **more: Any) -> ArrivalOutcome:
        return await self.world.rooms.writer.arrive(self.room_id, Arrival(event, **more))

    async def stored(self, event: Event) -> StoredEvent | None:
        async with self.world.store.read() as tx:
            return (await tx.events.get_many([event.event_id])).get(event.event_id)


async def refused(elsewhere: Elsewhere, event: Event, room_id: str | None = None) -> ErrCode | str:
    with pytest.raises(MatrixError) as error:
        await elsewhere.world.rooms.writer.arrive(room_id or elsewhere.room_id, Arrival(event))
    return error.value.code


async def test_what_does_not_fit_is_refused_and_changes_nothing(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    position = world.log.position
    message = elsewhere.make("m.room.message", {"body": "hello"})
    other = await world.create(ALICE)
    assert await refused(elsewhere, message, "!nowhere:peer.test") == ErrCode.NOT_FOUND
    assert await refused(elsewhere, message, other) == ErrCode.INVALID_PARAM
    first = elsewhere.make("m.room.topic", {"topic": "unseen"}, "")
    elsewhere.oracle.know(first)
    behind = elsewhere.peer.make([first.event_id], elsewhere.oracle.state, PIA, "m.room.message", {"body": "behind"})
    assert await refused(elsewhere, behind) == ErrCode.NOT_FOUND, "its previous event is not here"
    unknown = {**elsewhere.oracle.state, ("m.room.member", PIA): first.event_id}
    prevs = list(elsewhere.oracle.extremities)
    unauthorised = elsewhere.peer.make(prevs, unknown, PIA, "m.room.message", {"body": "who says"})
    assert await refused(elsewhere, unauthorised) == ErrCode.NOT_FOUND, "its auth event is not here"
    for event in (message, behind, unauthorised):
        assert await elsewhere.stored(event) is None
    assert [event.event_id for event in await world.timeline(elsewhere.room_id)][-1] == prevs[0]
    assert world.log.position > position, "the other room"


async def test_an_event_comes_once_whichever_process_takes_it(store: Database) -> None:
    async with running_world(store) as one, running_world(store, entropy=CountingEntropy("x")) as two:
        elsewhere = await Elsewhere.begin(one)
        events = [elsewhere.make("m.room.message", {"body": str(number)}) for number in range(5)]
        there = [two.rooms.writer.arrive(elsewhere.room_id, Arrival(event)) for event in events]
        here = [elsewhere.arrive(event) for event in reversed(events)]
        outcomes = await asyncio.gather(*here, *there, *(elsewhere.arrive(event) for event in events))
        assert set(outcomes) == {ArrivalOutcome.ACCEPTED}
        timeline = [event.event_id for event in await one.timeline(elsewhere.room_id)]
        assert sorted(timeline[-5:]) == sorted(event.event_id for event in events)
        assert len(set(timeline)) == len(timeline)
        async with store.read() as tx:
            head = await tx.rooms.head(elsewhere.room_id)
        assert head is not None
        assert {extremity.event_id for extremity in head.extremities} == {event.event_id for event in events}
        after = await one.say(elsewhere.room_id, "and on")
        assert set((await one.timeline(elsewhere.room_id))[-1].prev_events) == {event.event_id for event in events}
        assert (await one.timeline(elsewhere.room_id))[-1].event_id == after


async def test_hidden_events_are_no_news(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    position = world.log.position
    topic = elsewhere.make("m.room.topic", {"topic": "mine"}, "")
    assert await elsewhere.arrive(topic) is ArrivalOutcome.REJECTED, "they have no power"
    message = elsewhere.make("m.room.message", {"body": "spam"})
    assert await elsewhere.arrive(message, refused=True) is ArrivalOutcome.SOFT_FAILED
    outlier = elsewhere.make("m.room.message", {"body": "kept"})
    assert await elsewhere.arrive(outlier, outlier=True) is ArrivalOutcome.OUTLIER
    assert world.log.position == position
    for event in (topic, message, outlier):
        stored = await elsewhere.stored(event)
        assert stored is not None
        assert (stored.position, stored.order) == (None, None)
        assert stored.nid < 0
    assert await elsewhere.arrive(outlier) is ArrivalOutcome.ACCEPTED
    stored = await elsewhere.stored(outlier)
    assert stored is not None
    assert stored.position == world.log.position == position + 1
    assert stored.nid < 0, "it keeps its row"
    assert not stored.flags & EventFlags.OUTLIER
    assert (await world.timeline(elsewhere.room_id))[-1].event_id == outlier.event_id


async def test_an_outlier_that_another_server_names_takes_no_state_away(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    power = {"users": {ALICE: 100, PIA: 50}, "state_default": 50}
    before_power = dict(elsewhere.oracle.state)
    (create,) = [key for key in before_power if key[0] == "m.room.create"]
    await world.rooms.sending.set_state(elsewhere.room_id, ALICE, ("m.room.power_levels", ""), power)
    await elsewhere.follow()
    here = list(elsewhere.oracle.extremities)
    unseen = elsewhere.make("m.room.message", {"body": "who knows what was here"}, prevs=here)
    elsewhere.oracle.know(unseen)
    assert await elsewhere.arrive(unseen, outlier=True) is ArrivalOutcome.OUTLIER
    told = {create: before_power[create], ("m.room.member", PIA): before_power["m.room.member", PIA]}
    spam = elsewhere.peer.make([unseen.event_id], before_power, PIA, "m.room.message", {"body": "spam"})
    assert await elsewhere.arrive(spam, told=told, refused=True) is ArrivalOutcome.SOFT_FAILED
    elsewhere.oracle.know(spam)
    behind = elsewhere.peer.make([spam.event_id], before_power, PIA, "m.room.message", {"body": "behind"})
    assert await elsewhere.arrive(behind) is ArrivalOutcome.ACCEPTED
    async with world.store.read() as tx:
        head = await tx.rooms.head(elsewhere.room_id)
    assert head is not None
    assert {extremity.event_id for extremity in head.extremities} == {behind.event_id, *here}
    levels = await world.rooms.memory.read(head.state, [("m.room.power_levels", "")])
    assert list(levels.values()) == [elsewhere.oracle.state["m.room.power_levels", ""]], "no state is taken away"


async def test_a_redaction_from_elsewhere_takes_effect(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    message = elsewhere.make("m.room.message", {"body": "secret"})
    await elsewhere.arrive(message)
    elsewhere.oracle.arrived(message)
    redaction = elsewhere.make("m.room.redaction", {"redacts": message.event_id})
    assert await elsewhere.arrive(redaction) is ArrivalOutcome.ACCEPTED
    stored = await elsewhere.stored(message)
    assert stored is not None
    assert stored.event.content == {}
    assert stored.redacted_by == redaction.event_id


@pytest.mark.parametrize("apart", [True, False])
async def test_a_redaction_waits_for_what_it_redacts(world: World, apart: bool) -> None:
    elsewhere = await Elsewhere.begin(world)
    message = elsewhere.make("m.room.message", {"body": "secret"})
    other = elsewhere.make("m.room.message", {"body": "mine"}, prevs=list(elsewhere.oracle.extremities))
    redaction = elsewhere.make("m.room.redaction", {"redacts": message.event_id})
    foreign = elsewhere.make("m.room.redaction", {"redacts": "$nothing-that-ever-comes"})
    assert await elsewhere.arrive(foreign) is ArrivalOutcome.ACCEPTED
    if apart:
        assert await elsewhere.arrive(redaction) is ArrivalOutcome.ACCEPTED
        world.rooms.memory.events.clear()
        assert await elsewhere.arrive(message) is ArrivalOutcome.ACCEPTED
    else:
        both = [elsewhere.arrive(redaction), elsewhere.arrive(other), elsewhere.arrive(message)]
        assert set(await asyncio.gather(*both)) == {ArrivalOutcome.ACCEPTED}
    for _ in range(2):
        stored = await elsewhere.stored(message)
        assert stored is not None
        assert stored.event.content == {}
        assert stored.redacted_by == redaction.event_id
        world.rooms.memory.events.clear()


async def test_a_redaction_from_elsewhere_without_power_does_nothing(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    words = await world.say(elsewhere.room_id, "of this server")
    await elsewhere.follow()
    redaction = elsewhere.make("m.room.redaction", {"redacts": words})
    assert await elsewhere.arrive(redaction) is ArrivalOutcome.ACCEPTED
    async with world.store.read() as tx:
        stored = (await tx.events.get_many([words]))[words]
    assert stored.redacted_by is None, "they have no power, and it is not of their server"


async def test_an_outlier_that_was_redacted_before_it_got_its_place(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    message = elsewhere.make("m.room.message", {"body": "secret"})
    redaction = elsewhere.make("m.room.redaction", {"redacts": message.event_id})
    assert await elsewhere.arrive(redaction) is ArrivalOutcome.ACCEPTED
    assert await elsewhere.arrive(message, outlier=True) is ArrivalOutcome.OUTLIER
    assert await elsewhere.arrive(message) is ArrivalOutcome.ACCEPTED
    world.rooms.memory.events.clear()
    stored = await elsewhere.stored(message)
    assert stored is not None
    assert (stored.event.content, stored.redacted_by) == ({}, redaction.event_id)


async def test_what_was_made_before_a_ban_and_comes_after_it_is_hidden(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    await world.rooms.sending.set_state(
        elsewhere.room_id,
        ALICE,
        ("m.room.power_levels", ""),
        {"users": {ALICE: 100, PIA: 50}, "state_default": 50, "redact": 50},
    )
    await elsewhere.follow()
    before = list(elsewhere.oracle.extremities)
    await world.rooms.memberships.ban(ALICE, elsewhere.room_id, PIA)
    await elsewhere.follow()
    name = elsewhere.make("m.room.name", {"name": "from before the ban"}, "", prevs=before)
    assert await elsewhere.arrive(name) is ArrivalOutcome.SOFT_FAILED
    assert await world.state(elsewhere.room_id, "m.room.name") is None


async def test_an_event_of_a_fork_is_seen_by_its_own_state(world: World) -> None:
    elsewhere = await Elsewhere.begin(world)
    room_id, rooms = elsewhere.room_id, world.rooms
    visibility = {"history_visibility": "joined"}
    await rooms.sending.set_state(room_id, ALICE, ("m.room.history_visibility", ""), visibility)
    await elsewhere.follow()
    fork = list(elsewhere.oracle.extremities)
    await rooms.memberships.join(CAROL, room_id)
    await rooms.memberships.leave(BOB, room_id)
    aside = elsewhere.make("m.room.message", {"body": "aside"}, prevs=fork)
    plain = elsewhere.make("m.room.message", {"body": "plain"}, prevs=fork)
    assert [await elsewhere.arrive(event) for event in (aside, plain)] == [ArrivalOutcome.ACCEPTED] * 2
    stored = await elsewhere.stored(aside)
    assert stored is not None
    assert stored.order is not None
    assert stored.flags & (EventFlags.ASIDE | EventFlags.APART) == EventFlags.ASIDE | EventFlags.APART
    seen = {}
    for user in (ALICE, BOB, CAROL):
        async with world.store.read() as tx:
            history = await load_history(tx, stored.room_nid, user)
        cached = await world.rooms.memory.histories.fetch(stored.room_nid, user, world.store)
        assert cached.visible(stored) == history.visible(stored)
        counted = any(span.low < stored.order <= span.high for span in history.spans(stored.room_nid))
        assert counted == history.visible(stored)
        seen[user] = (history.visible(stored), history.membership_at(stored))
    # Bob was there when the other server sent it, whatever has come before it here; Carol was not.
    assert seen == {ALICE: (True, "join"), BOB: (True, "join"), CAROL: (False, "leave")}
