"""The sync law: initial(t0), folded with the deltas from t0 to t1, equals initial(t1), after every kind of action.

spec: client-server-api#syncing
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.support.client import Client, part
from tests.support.fixtures import fresh
from tests.support.fold import View, difference
from tests.support.server import Server

STEPS = 25
EXAMPLES = 5
# Small timelines make gaps, which is where folding goes wrong.
SMALL: dict[str, Any] = {"filter": {"room": {"timeline": {"limit": 2}}}}


class Observer:
    """A device that folds its syncs, one small step at a time or in one leap."""

    def __init__(self, client: Client, **params: Any) -> None:
        self.client = client
        self.params = params
        self.view = View()

    async def catch_up(self) -> None:
        """One more sync."""
        self.view.apply(await self.client.sync(self.view.next_batch, **self.params))

    async def check(self) -> None:
        """Catch up and compare with a new device."""
        await self.catch_up()
        initial = View().apply(await self.client.sync(**self.params))
        found = difference(self.view, initial)
        assert not found, "\n".join(found)


PARAMETERS: list[dict[str, Any]] = [{}, SMALL, {"use_state_after": True, **SMALL}]


@dataclass
class Scene:
    """Three people, a public room with all of them, and a private one of Alice's."""

    alice: Client
    bob: Client
    carol: Client
    room: str
    private: str


Action = Callable[[Scene], Awaitable[Any]]


async def _restore(s: Scene) -> None:
    await s.bob.member(s.room, "leave")
    await s.alice.set_state(s.room, "m.room.topic", {"topic": "while bob was away"})
    await s.bob.join(s.room)


async def _ban_and_unban(s: Scene) -> None:
    await s.alice.member(s.room, "ban", s.bob.user_id)
    await s.alice.member(s.room, "unban", s.bob.user_id)


async def _redact_topic(s: Scene) -> None:
    await s.alice.redact(s.room, await s.alice.set_state(s.room, "m.room.topic", {"topic": "gone"}))


async def _busy_gap(s: Scene) -> None:
    await s.carol.send(s.room, "first")
    await s.alice.set_state(s.room, "m.room.name", {"name": "lost in the gap"})
    await s.alice.set_state(s.room, "org.example", {"n": 1}, "k")
    for number in range(5):
        await s.carol.send(s.room, str(number))


async def _rejected_invite(s: Scene) -> None:
    await s.alice.member(s.private, "invite", s.bob.user_id)
    await s.bob.member(s.private, "leave")


async def _knock(s: Scene) -> None:
    await s.alice.set_state(s.private, "m.room.join_rules", {"join_rule": "knock"})
    await s.bob.ok("POST", f"/knock/{part(s.private)}", {})


async def _accepted_knock(s: Scene) -> None:
    await _knock(s)
    await s.alice.member(s.private, "invite", s.bob.user_id)
    await s.bob.join(s.private)


async def _forget(s: Scene) -> None:
    await s.bob.member(s.room, "leave")
    await s.bob.member(s.room, "forget")


async def _upgrade(s: Scene) -> None:
    await s.bob.ok("PUT", f"/user/{part(s.bob.user_id)}/rooms/{part(s.room)}/tags/m.favourite", {"order": 0.1})
    upgraded = await s.alice.ok("POST", f"/rooms/{part(s.room)}/upgrade", {"new_version": "12"})
    await s.bob.join(upgraded["replacement_room"])


async def _receipts(s: Scene) -> None:
    first, second = await s.carol.send(s.room, "1"), await s.carol.send(s.room, "2")
    for client, kind, event in (
        (s.bob, "m.read", second),
        (s.bob, "m.read", first),
        (s.alice, "m.read.private", first),
    ):
        await client.ok("POST", f"/rooms/{part(s.room)}/receipt/{part(kind)}/{part(event)}", {})
    await s.bob.ok("POST", f"/rooms/{part(s.room)}/read_markers", {"m.fully_read": second})


async def _push_rule(s: Scene) -> None:
    await s.bob.ok("PUT", f"/pushrules/global/room/{part(s.room)}", {"actions": []})
    await s.bob.ok("DELETE", f"/pushrules/global/room/{part(s.room)}")


async def _restricted_join(s: Scene) -> None:
    allow = [{"type": "m.room_membership", "room_id": s.room}]
    await s.alice.set_state(s.private, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    await s.bob.join(s.private)


def _account_data(scene: Scene, *room: str) -> Awaitable[Any]:
    where = "".join(f"/rooms/{part(one)}" for one in room)
    return scene.bob.ok("PUT", f"/user/{part(scene.bob.user_id)}{where}/account_data/org.example", {"a": [1]})


ACTIONS: dict[str, Action] = {
    "nothing": lambda s: asyncio.sleep(0),
    "message": lambda s: s.carol.send(s.room, "hello"),
    "own message": lambda s: s.bob.send(s.room, "mine"),
    "state": lambda s: s.alice.set_state(s.room, "m.room.name", {"name": "new"}),
    "busy gap": _busy_gap,
    "redaction": _redact_topic,
    "create": lambda s: s.bob.create_room(name="bob's"),
    "invite": lambda s: s.alice.member(s.private, "invite", s.bob.user_id),
    "rejected invite": _rejected_invite,
    "knock": _knock,
    "accepted knock": _accepted_knock,
    "leave": lambda s: s.bob.member(s.room, "leave"),
    "leave and return": _restore,
    "forget": _forget,
    "kick": lambda s: s.alice.member(s.room, "kick", s.bob.user_id),
    "ban": lambda s: s.alice.member(s.room, "ban", s.bob.user_id),
    "ban and unban": _ban_and_unban,
    "other leaves": lambda s: s.carol.member(s.room, "leave"),
    "profile": lambda s: s.carol.ok("PUT", f"/profile/{part(s.carol.user_id)}/displayname", {"displayname": "C"}),
    "own profile": lambda s: s.bob.ok("PUT", f"/profile/{part(s.bob.user_id)}/displayname", {"displayname": "B"}),
    "upgrade": _upgrade,
    "receipts": _receipts,
    "push rule": _push_rule,
    "restricted join": _restricted_join,
    "account data": _account_data,
    "room account data": lambda s: _account_data(s, s.room),
}


@pytest.mark.parametrize("action", ACTIONS)
async def test_the_law_holds_after(alice: Client, bob: Client, carol: Client, action: str) -> None:
    scene = Scene(alice, bob, carol, await alice.shared_room(bob, carol), await alice.create_room(name="Private"))
    observers = [Observer(bob, **params) for params in PARAMETERS]
    for observer in observers:
        await observer.catch_up()
    await ACTIONS[action](scene)
    for observer in observers:
        await observer.check()
    # And nothing is left over that a second look would change.
    for observer in observers:
        await observer.check()


class SyncMachine(RuleBasedStateMachine):
    """Random actions of three users in two rooms; a step may go unseen, so that later syncs cover several."""

    # Set by the test, since hypothesis constructs the machine without arguments.
    url = ""
    runner: asyncio.Runner

    @initialize()
    def enter(self) -> None:
        self.run(self._enter())

    async def _enter(self) -> None:
        # No limit on connections' lifetime matters here: the session lives as long as one example.
        self.http = aiohttp.ClientSession()
        self.users = [await Client(self.http, self.url).register(fresh("law")) for _ in range(3)]
        first, second, _ = self.users
        self.rooms = [await first.create_room(preset="public_chat"), await second.create_room(preset="public_chat")]
        self.observers = [Observer(self.users[2], **params) for params in PARAMETERS]

    def run(self, action: Any) -> Any:
        """Run a coroutine on the test's loop."""
        return self.runner.run(action)

    def teardown(self) -> None:
        if hasattr(self, "http"):
            self.run(self.http.close())

    def act(self, who: int, method: str, path: str, body: Any) -> None:
        """A request that may be refused, but never fails."""
        reply = self.run(self.users[who].request(method, path, body))
        assert reply.status < 500, reply

    @rule(who=st.integers(0, 2), room=st.integers(0, 1), count=st.integers(1, 4))
    def send(self, who: int, room: int, count: int) -> None:
        for _ in range(count):
            path = f"/rooms/{part(self.rooms[room])}/send/m.room.message/{fresh('t')}"
            self.act(who, "PUT", path, {"msgtype": "m.text", "body": "x"})

    @rule(who=st.integers(0, 2), room=st.integers(0, 1), value=st.integers(0, 3))
    def set_topic(self, who: int, room: int, value: int) -> None:
        self.act(who, "PUT", f"/rooms/{part(self.rooms[room])}/state/m.room.topic", {"topic": str(value)})

    @rule(who=st.integers(0, 2), room=st.integers(0, 1), action=st.sampled_from(["join", "leave", "forget"]))
    def move(self, who: int, room: int, action: str) -> None:
        self.act(who, "POST", f"/rooms/{part(self.rooms[room])}/{action}", {})

    @rule(
        who=st.integers(0, 1),
        whom=st.integers(0, 2),
        room=st.integers(0, 1),
        action=st.sampled_from(["invite", "kick", "ban", "unban"]),
    )
    def manage(self, who: int, whom: int, room: int, action: str) -> None:
        body = {"user_id": self.users[whom].user_id}
        self.act(who, "POST", f"/rooms/{part(self.rooms[room])}/{action}", body)

    @rule(room=st.integers(0, 1), value=st.integers(0, 3))
    def account_data(self, room: int, value: int) -> None:
        user = part(self.users[2].user_id)
        self.act(2, "PUT", f"/user/{user}/rooms/{part(self.rooms[room])}/account_data/org.x", {"v": value})

    @rule()
    def look(self) -> None:
        for observer in self.observers:
            self.run(observer.catch_up())

    @precondition(lambda self: all(observer.view.next_batch for observer in self.observers))
    @rule()
    def law(self) -> None:
        for observer in self.observers:
            self.run(observer.check())


def test_the_law_holds_after_random_actions(server: Server) -> None:
    class Machine(SyncMachine):
        url = server.url

    with asyncio.Runner() as runner:
        Machine.runner = runner
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                # Shrinking talks to a server for minutes; the failing steps are printed as they are.
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
