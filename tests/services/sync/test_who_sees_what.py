"""Who may see what: random lives of a room, every way to read it, against the specification's rules written naively.

`WALKS` in the environment says how many walks a database gets.
spec: client-server-api#room-history-visibility
"""

from __future__ import annotations

import os
import random
from typing import Any

import orjson
import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.event import Event
from homeserver.core.filters import Filter, parse_filter
from homeserver.ports.events import order_of
from homeserver.ports.log import SessionsEntry
from homeserver.services.rooms.hierarchy import HierarchyRequest
from homeserver.services.rooms.history import PageRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.relations import RelationsRequest
from homeserver.services.rooms.tokens import timeline_token
from homeserver.services.sync.body import STATE_AFTER
from tests.services.rooms.conftest import ALICE, BOB, CAROL, DAVE, members_of
from tests.services.rooms.test_reads import relate, walk
from tests.services.sync.conftest import Client, SyncWorld

WALKS = int(os.environ.get("WALKS", "12"))
STEPS = 18
READERS = (BOB, CAROL)
VISIBILITY = ("m.room.history_visibility", "")


class Model:
    """A room's events, and the rules as they stand in the specification, with no thought of speed."""

    def __init__(self, events: list[Event], erased: int | None = None) -> None:
        """`erased` is how many events there were when the account of DAVE was erased."""
        self.erased = erased
        self.events = {event.event_id: (index, event) for index, event in enumerate(events)}
        self.order = events

    def membership(self, user: str, upto: int) -> str:
        found = [e.membership for e in self.order[:upto] if e.is_state and e.key == ("m.room.member", user)]
        return (found[-1] if found else None) or "leave"

    def visibility(self, upto: int) -> str:
        found = [e.content.get("history_visibility") for e in self.order[:upto] if e.is_state and e.key == VISIBILITY]
        return str(found[-1] if found and found[-1] else "shared")

    def sees(self, user: str, event_id: str) -> bool:
        index, event = self.events[event_id]
        pairs = [(self.visibility(index), self.membership(user, index))]
        if event.is_state and event.key == VISIBILITY:
            pairs.append((self.visibility(index + 1), self.membership(user, index)))
        if event.is_state and event.key == ("m.room.member", user):
            pairs.append((self.visibility(index), self.membership(user, index + 1)))
        later = any(
            e.is_state and e.key == ("m.room.member", user) and e.membership == "join" for e in self.order[index + 1 :]
        )
        return any(
            visibility == "world_readable"
            or membership == "join"
            or (visibility == "shared" and later)
            or (visibility == "invited" and membership == "invite")
            for visibility, membership in pairs
        )

    def content(self, user: str, event_id: str) -> dict[str, Any]:
        """What the user gets of an event that they may see.  spec: client-server-api#account-deactivation"""
        index, event = self.events[event_id]
        if self.erased is None or event.sender != DAVE or event.type in ("m.room.topic", "m.room.redaction"):
            return event.content
        before = self.membership(user, index)
        if before == "join" or (before == "invite" and self.visibility(index) == "invited"):
            return event.content
        joins = (e for e in self.order[index + 1 : self.erased] if e.is_state and e.key == ("m.room.member", user))
        if any(e.membership == "join" for e in joins):
            return event.content
        return {"membership": event.membership} if event.membership is not None else {}

    def replaced(self, event_id: str) -> str | None:
        index, event = self.events[event_id]
        before = [e.event_id for e in self.order[:index] if e.is_state and e.key == event.key]
        return before[-1] if before else None


class Walk:
    """One room, its founder, and two who come and go and read."""

    def __init__(self, syncing: SyncWorld, room: str, dice: random.Random) -> None:
        self.syncing, self.world, self.room, self.dice = syncing, syncing.world, room, dice
        self.sent: list[str] = []
        self.erased: int | None = None
        filters = [Filter(), parse_filter({"room": {"timeline": {"limit": dice.randint(1, 3)}}})]
        filters.append(parse_filter({"room": {"timeline": {"limit": 100}}}))
        filters.append(parse_filter({"room": {"timeline": {"limit": 4, "types": ["m.room.message", "m.room.topic"]}}}))
        self.clients = [syncing.client(user, filter=one) for user in READERS for one in filters]
        self.clients += [syncing.client(user, filter=filters[1], ignored=frozenset({DAVE})) for user in READERS]
        self.clients += [syncing.client(user, filter=filters[1], state_field=STATE_AFTER) for user in READERS]

    async def step(self) -> None:
        rooms, dice = self.world.rooms, self.dice
        user = dice.choice(READERS)
        member, number = rooms.memberships, dice.randrange(10**9)
        target = dice.choice(self.sent) if self.sent else None

        async def show() -> None:
            value = dice.choice(["world_readable", "shared", "invited", "joined", "joined"])
            await rooms.sending.set_state(self.room, ALICE, VISIBILITY, {"history_visibility": value})

        async def say() -> None:
            self.sent.append(await self.world.say(self.room, f"{number}", sender=dice.choice([ALICE, user, DAVE])))

        async def refer() -> None:
            if target is not None:
                kind = dice.choice(["m.reference", "m.thread"])
                self.sent.append(await relate(self.world, self.room, target, kind, n=number))

        async def topic() -> None:
            await rooms.sending.set_state(self.room, ALICE, ("m.room.topic", ""), {"topic": f"{number}"})

        async def redact() -> None:
            timeline = await self.world.timeline(self.room)
            keys = {"m.room.topic", "m.room.message"}
            chosen = dice.choice([e for e in timeline if e.type in keys or e.membership == "leave"] or [None])
            if chosen is not None:
                await rooms.sending.redact(self.room, (ALICE, "DEV"), chosen.event_id, f"r{number}", None)

        async def place() -> None:
            sender = dice.choice([ALICE, DAVE])
            await rooms.sending.set_state(self.room, sender, ("org.example.place", ""), {"place": f"{number}"})

        async def erase() -> None:
            if self.erased is not None or dice.random() < 0.5:
                return
            async with self.world.committer.writing() as unit:
                await unit.tx.users.erase_events(DAVE, order_of(await unit.tx.log.position()))
                unit.tell(lambda position: SessionsEntry(position, DAVE, erased=True))
            self.erased = len(await self.world.timeline(self.room))
            await member.leave(DAVE, self.room)

        actions = [
            place, place, erase,
            show, show, say, say, say, refer, topic, topic, redact,
            lambda: member.invite(ALICE, self.room, user),
            lambda: member.join(user, self.room),
            lambda: member.join(user, self.room),
            lambda: member.leave(user, self.room),
            lambda: member.ban(ALICE, self.room, user),
            lambda: member.unban(ALICE, self.room, user),
        ]  # fmt: skip
        try:
            await dice.choice(actions)()
        except MatrixError:
            pass  # not allowed at this moment

    async def check(self) -> None:
        model = Model(await self.world.timeline(self.room), self.erased)
        if self.dice.random() < 0.3:
            self.syncing.forget_tail()  # and answers come from the database
        for client in self.clients:
            await self.check_sync(model, client)
        for user in READERS:
            await self.check_reads(model, user)

    def check_event(self, model: Model, user: str, event: dict[str, Any], *, is_state: bool = False) -> None:
        event_id, unsigned = event["event_id"], event.get("unsigned", {})
        assert is_state or model.sees(user, event_id), f"{user} must not see {event}"
        index, original = model.events[event_id]
        if original.type != "m.room.redaction":
            assert event["content"] == model.content(user, event_id), f"{user} gets {event}"
        if "membership" in unsigned:
            assert unsigned["membership"] == model.membership(user, index + 1), event
        if "prev_content" in unsigned:
            replaced = model.replaced(event_id)
            assert replaced is not None and model.sees(user, replaced), f"{user} must not see what {event} replaced"
            assert unsigned["prev_content"] == model.content(user, replaced), f"{user} gets {event}"
        if "redacted_because" in unsigned:
            assert model.sees(user, unsigned["redacted_because"]["event_id"]), f"{user} must not see why of {event}"
        for item in unsigned.get("m.relations", {}).get("m.reference", {}).get("chunk", ()):
            assert model.sees(user, item["event_id"]), f"{user} must not learn of {item}"
        if thread := unsigned.get("m.relations", {}).get("m.thread"):
            self.check_event(model, user, thread["latest_event"])

    async def check_sync(self, model: Model, client: Client) -> None:
        body = await client.sync(full_state=client.since is not None and self.dice.random() < 0.3)
        fresh = Client(client.on, client.user_id, client.filter, client.state_field, client.ignored)
        for answer in (body, await fresh.sync()):
            for kind in ("join", "leave"):
                for section in answer.get("rooms", {}).get(kind, {}).values():
                    own = {("m.room.member", client.user_id)}
                    for event in section["timeline"]["events"]:
                        last = kind == "leave" and (event["type"], event.get("state_key")) in own
                        self.check_event(model, client.user_id, event, is_state=last)
                        assert "membership" in event["unsigned"]
                        assert "state_key" in event or event["sender"] not in client.ignored
                    for event in section[client.state_field.name]["events"]:
                        self.check_event(model, client.user_id, event, is_state=True)
        if client.user_id and self.room in client.rooms:
            state = map(orjson.loads, await self.world.rooms.state.all(client.user_id, self.room))
            told = {(event["type"], event["state_key"]): event["event_id"] for event in state}
            assert client.rooms[self.room] == told == fresh.rooms[self.room]

    async def check_reads(self, model: Model, user: str) -> None:
        rooms, who = self.world.rooms, Recipient(user, "DEV")
        try:
            state = [orjson.loads(event) for event in await rooms.state.all(user, self.room)]
        except MatrixError:
            seen: set[str] = set()
        else:
            for event in state:
                self.check_event(model, user, event, is_state=True)
            pages = await walk(self.world, who, self.room, limit=7)
            for event in pages:
                self.check_event(model, user, event)
            seen = {event["event_id"] for event in pages}
            if model.membership(user, len(model.order)) == "join":
                assert seen == {event_id for event_id in model.events if model.sees(user, event_id)}
                assert seen == {event["event_id"] for event in await self.first_and_following(who)}
            ignoring = await walk(self.world, Recipient(user, "DEV", frozenset({DAVE})), self.room, limit=7)
            heard = {event["event_id"] for event in pages if "state_key" in event or event["sender"] != DAVE}
            assert {event["event_id"] for event in ignoring} == heard
            forwards = await rooms.history.messages(who, self.room, PageRequest(False, limit=100))
            assert {orjson.loads(event)["event_id"] for event in forwards.chunk} <= seen
            for related in (
                await rooms.relations.threads(who, self.room, participated=False, start=None, limit=50)
            ).chunk:
                self.check_event(model, user, orjson.loads(related))
            await self.check_members(model, user, {event["event_id"] for event in state})
        await self.check_hierarchy(model, user)
        for event_id in model.events:
            await self.check_one(model, who, event_id, event_id in seen)

    async def first_and_following(self, who: Recipient) -> list[dict[str, Any]]:
        """All that a new client gets: its first timeline, and what stands before it, without a gap or a repetition."""
        fresh = self.syncing.client(who.user_id, filter=parse_filter({"room": {"timeline": {"limit": 3}}}))
        section = (await fresh.sync())["rooms"]["join"][self.room]["timeline"]
        found: list[dict[str, Any]] = list(section["events"])
        start = section["prev_batch"]
        while start is not None:
            page = await self.world.rooms.history.messages(who, self.room, PageRequest(True, start=start, limit=5))
            found += map(orjson.loads, page.chunk)
            start = page.end
        assert len({event["event_id"] for event in found}) == len(found)
        return found

    async def check_hierarchy(self, model: Model, user: str) -> None:
        """Of a public room everybody may know but who is banned, unless anyone may look into it."""
        last = len(model.order)
        known = model.membership(user, last) != "ban" or model.visibility(last) == "world_readable"
        try:
            await self.world.rooms.hierarchy.of_space(user, self.room, HierarchyRequest())
        except MatrixError:
            assert not known
        else:
            assert known

    async def check_members(self, model: Model, user: str, state: set[str]) -> None:
        async with self.world.store.read() as tx:
            stored = await tx.events.get_many(list(model.events))
        event_id, point = self.dice.choice(list(stored.items()))
        at = timeline_token(point.order or 0)
        for member in map(orjson.loads, await members_of(self.world, user, self.room, at=at)):
            allowed = model.sees(user, event_id) or member["event_id"] in state
            self.check_event(model, user, member, is_state=allowed)

    async def check_one(self, model: Model, who: Recipient, event_id: str, expected: bool) -> None:
        rooms = self.world.rooms
        try:
            event = orjson.loads(await rooms.history.event(who, self.room, event_id))
        except MatrixError:
            assert not expected
            return
        assert expected
        self.check_event(model, who.user_id, event)
        context = await rooms.history.context(who, self.room, event_id, 4, PageRequest(True).filter)
        for shown in (*context.before, *context.after):
            self.check_event(model, who.user_id, orjson.loads(shown))
        for shown in (await rooms.relations.of_event(who, self.room, RelationsRequest(event_id))).chunk:
            self.check_event(model, who.user_id, orjson.loads(shown))


@pytest.mark.parametrize("seed", range(WALKS))
async def test_nobody_sees_more_than_the_rules_allow(syncing: SyncWorld, seed: int) -> None:
    dice = random.Random(seed)
    room = await syncing.world.create(
        ALICE, DAVE, name="Walk", topic="first", power_level_content_override={"users": {DAVE: 50}}
    )
    life = Walk(syncing, room, dice)
    for number in range(STEPS):
        await life.step()
        if number % 3 == 2:
            await life.check()
