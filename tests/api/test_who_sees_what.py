"""Who may see what, over the wire: the ways to read a room that only a whole server has, against the naive rules.

The walk of `tests/services/sync/test_who_sees_what.py` asks the services; this one asks the deprecated snapshots, the
global stream, message search and a socket that stays open all the time. `WALKS` says how many walks a database gets.
spec: client-server-api#room-history-visibility
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from homeserver.core.event import Event
from tests.services.sync.test_who_sees_what import Model
from tests.support.client import Client, Json, part
from tests.support.stream import Stream, streaming

WALKS = int(os.environ.get("WALKS", "4"))
STEPS = 12
WORD = "lantern"


class Told:
    """A client's event with the names that the model asks by."""

    def __init__(self, event: Json) -> None:
        self.event_id, self.type, self.sender = event["event_id"], event["type"], event["sender"]
        self.content = event["content"]
        self.is_state = "state_key" in event
        self.key = (event["type"], event.get("state_key", ""))
        self.membership = self.content.get("membership") if self.type == "m.room.member" else None


class Listener:
    """A reader's socket, and what a client would have made of its frames."""

    def __init__(self, reader: Client, stream: Stream) -> None:
        self.reader, self.stream = reader, stream
        self.told: list[Json] = []
        self.state: dict[str, dict[tuple[str, str], str]] = {}
        self._marks = 0

    async def hear(self) -> None:
        """Read on until all that has happened has been told."""
        self._marks += 1
        path = f"/user/{part(self.reader.user_id)}/account_data/org.example.mark"
        await self.reader.ok("PUT", path, {"n": self._marks})
        while True:
            body = await self.stream.update()
            self._fold(body)
            data = body.get("account_data", {}).get("events", ())
            if any(item["type"] == "org.example.mark" and item["content"]["n"] == self._marks for item in data):
                return

    def _fold(self, body: Json) -> None:
        rooms = body.get("rooms", {})
        for kind in ("invite", "knock", "leave"):
            for room_id, section in rooms.get(kind, {}).items():
                self.state.pop(room_id, None)
                own = ("m.room.member", self.reader.user_id)
                timeline = section.get("timeline", {}).get("events", [])
                # Their own leaving is told to everybody, whatever the room's history says.
                self.told += [event for event in timeline if (event["type"], event.get("state_key")) != own]
        for room_id, section in rooms.get("join", {}).items():
            self.told += section["timeline"]["events"]
            state = self.state.setdefault(room_id, {})
            for event in (*section["state"]["events"], *section["timeline"]["events"]):
                if "state_key" in event:
                    state[event["type"], event["state_key"]] = event["event_id"]


def check(model: Model, user: str, events: Iterable[Json]) -> None:
    """Each event may be seen by the user, and what it tells of others."""
    for event in events:
        assert model.sees(user, event["event_id"]), f"{user} must not see {event}"
        unsigned = event.get("unsigned", {})
        if "prev_content" in unsigned:
            replaced = model.replaced(event["event_id"])
            assert replaced is not None and model.sees(user, replaced), f"{user} must not see what {event} replaced"
        if "redacted_because" in unsigned:
            assert model.sees(user, unsigned["redacted_because"]["event_id"]), f"{user} must not see why of {event}"


class Walk:
    """One room, its founder, and two who come and go and read."""

    def __init__(self, founder: Client, room: str, listeners: list[Listener], dice: random.Random) -> None:
        self.founder, self.room, self.listeners, self.dice = founder, room, listeners, dice
        self.sent: list[str] = []
        self.streams: dict[str, str] = {}

    async def step(self, number: int) -> None:
        dice, founder, room = self.dice, self.founder, self.room
        reader = dice.choice(self.listeners).reader
        act = dice.choice(
            ["show", "show", "say", "say", "say", "topic", "redact", "invite", "join", "join", "leave", "ban", "unban"]
        )
        send = f"/rooms/{part(room)}"
        if act == "show":
            value = dice.choice(["world_readable", "shared", "invited", "joined", "joined"])
            await founder.set_state(room, "m.room.history_visibility", {"history_visibility": value})
        elif act == "say":
            content = {"msgtype": "m.text", "body": f"{WORD} {number}"}
            sender = dice.choice([founder, reader])
            reply = await sender.request("PUT", f"{send}/send/m.room.message/{number}", content)
            self.sent += [reply.body["event_id"]] if reply.status == 200 else []
        elif act == "topic":
            await founder.set_state(room, "m.room.topic", {"topic": f"{WORD} {number}"})
        elif act == "redact" and self.sent:
            await founder.redact(room, dice.choice(self.sent))
        elif act in ("invite", "ban", "unban"):
            await founder.member(room, act, reader.user_id)  # or it is not allowed at this moment
        elif act in ("join", "leave"):
            await reader.member(room, act)

    async def check(self) -> None:
        history = await self.founder.history(self.room, "f", limit=200)
        model = Model([cast(Event, Told(event)) for event in history])
        for listener in self.listeners:
            await listener.hear()
            await self.check_reader(model, listener)

    async def check_reader(self, model: Model, listener: Listener) -> None:
        reader, room = listener.reader, self.room
        user = reader.user_id
        is_in = model.membership(user, len(model.order)) == "join"
        check(model, user, listener.told)
        assert (room in listener.state) is is_in
        snapshot = await reader.request("GET", f"/rooms/{part(room)}/initialSync")
        if is_in:
            state = await reader.full_state(room)
            assert listener.state[room] == {(e["type"], e["state_key"]): e["event_id"] for e in state}
            assert {e["event_id"] for e in snapshot.ok()["state"]} == {e["event_id"] for e in state}
        if snapshot.status == 200:
            check(model, user, snapshot.body["messages"]["chunk"])
        await self.check_snapshots(model, reader, is_in)
        await self.check_search(model, reader, is_in)

    async def check_snapshots(self, model: Model, reader: Client, is_in: bool) -> None:
        own = ("m.room.member", reader.user_id)
        for archived in ("false", "true"):
            answer = await reader.ok("GET", "/initialSync", params={"limit": 40, "archived": archived})
            rooms = {one["room_id"]: one for one in answer["rooms"] if "messages" in one}
            assert is_in is (rooms.get(self.room, {}).get("membership") == "join")
            for one in rooms.values():
                chunk = one["messages"]["chunk"]
                check(model, reader.user_id, [e for e in chunk if (e["type"], e.get("state_key")) != own])
        since = self.streams.get(reader.user_id)
        heard = await reader.ok("GET", "/events", params={"from": since, "timeout": 0})
        self.streams[reader.user_id] = heard["end"]
        events = [e for e in heard["chunk"] if e.get("event_id") in model.events]
        check(model, reader.user_id, [e for e in events if (e["type"], e.get("state_key")) != own])

    async def check_search(self, model: Model, reader: Client, is_in: bool) -> None:
        wanted: dict[str, Any] = {"search_term": WORD, "keys": ["content.body"], "filter": {"limit": 50}}
        wanted["event_context"] = {"before_limit": 3, "after_limit": 3}
        answer = await reader.ok("POST", "/search", {"search_categories": {"room_events": wanted}})
        found = answer["search_categories"]["room_events"]
        for one in found["results"]:
            context = one["context"]
            check(model, reader.user_id, [one["result"], *context["events_before"], *context["events_after"]])
        if is_in:
            user = reader.user_id
            said = {
                e.event_id for e in model.order if WORD in str(e.content.get("body")) and model.sees(user, e.event_id)
            }
            assert {one["result"]["event_id"] for one in found["results"]} == said
            assert found["count"] == len(said)


@pytest.mark.parametrize("seed", range(WALKS))
async def test_nobody_is_told_more_than_the_rules_allow(seed: int, alice: Client, bob: Client, carol: Client) -> None:
    dice = random.Random(seed)
    room = await alice.create_room(preset="public_chat", name="Walk", topic=f"{WORD} first")
    async with AsyncExitStack() as stack:
        start = {"filter": {"room": {"timeline": {"limit": 100}}}}
        listeners = [
            Listener(reader, await stack.enter_async_context(streaming(reader, **start))) for reader in (bob, carol)
        ]
        walk = Walk(alice, room, listeners, dice)
        for number in range(STEPS):
            await walk.step(number)
            if number % 3 == 2:
                await walk.check()
