"""kill -9 between a key or a message to a device and its answer, and during an upload to a key backup.

At exact places in the code, on both databases: nothing is doubled, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.api.test_keys import ALGORITHM, claim, publish, upload
from tests.api.test_room_keys import ALGORITHM as BACKUP
from tests.api.test_room_keys import AUTH_DATA, key
from tests.chaos.conftest import MakeTarget
from tests.chaos.target import Target
from tests.chaos.writers import CUT_OFF
from tests.support.client import Client
from tests.support.keys import one_time_keys

pytestmark = pytest.mark.timeout(900)

WRITE_POINTS = ("store.write.before_commit", "store.write.committed")
COMMIT_POINTS = (*WRITE_POINTS, "commit.publish", "commit.answer", "request.handled")
PATIENCE_S = 120.0
AT_ONCE = 4
PART = 1_200
"""Keys of one upload: more than one chunk."""


@dataclass
class Dying:
    """A server that dies at a place, and those who ask it for something until it does."""

    target: Target
    users: list[Client]

    async def until_dead(self, point: str, visit: int, ask: Callable[[int], Awaitable[None]]) -> None:
        """Let the server die at this visit while it is asked, four requests at a time; then bring it back."""
        numbers = itertools.count()

        async def asking() -> None:
            while self.target.server.is_running:
                try:
                    await ask(next(numbers))
                except CUT_OFF:
                    await asyncio.sleep(0.01)

        self.target.expects_death = True
        await asyncio.to_thread(self.target.server.stop)
        await self.target.start(f"crash={point}:{visit}")
        self.reach()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(asking() for _ in range(AT_ONCE)))
        await self.target.kill()
        self.target.expects_death = False
        self.reach()

    def reach(self) -> None:
        """Go where the server is now."""
        for user in self.users:
            self.target.reach(user)


async def gather(target: Target, http: aiohttp.ClientSession) -> tuple[Dying, Client, Client]:
    alice, bob = [await Client(http, target.url).register(name) for name in ("alice", "bob")]
    return Dying(target, [alice, bob]), alice, bob


async def test_a_claimed_key_never_comes_again(
    make_target: MakeTarget, http: aiohttp.ClientSession, database: str
) -> None:
    dying, alice, bob = await gather(make_target(database), http)
    await publish(alice)
    given: list[str] = []
    unanswered = 0
    existing = 0

    async def ask(_number: int) -> None:
        nonlocal unanswered
        unanswered += 1
        found = await claim(bob, alice)
        unanswered -= 1
        given.extend(found)

    for number, point in enumerate(COMMIT_POINTS):
        keys = one_time_keys(alice.user_id, alice.device_id, *(f"{number}-{index:03}" for index in range(100)))
        await upload(alice, one_time_keys=keys)
        existing += len(keys)
        unanswered = 0
        await dying.until_dead(point, 7, ask)
        # The client does not know what became of its upload either.
        left = (await upload(alice, one_time_keys=keys))[ALGORITHM]
        assert (await alice.sync())["device_one_time_keys_count"][ALGORITHM] == left
        assert existing - len(given) - unanswered <= left <= existing - len(given), point
        # Those whose answer was lost are gone: neither counted nor given again.
        existing = left + len(given)
        assert len(given) == len(set(given)), point
    async with asyncio.timeout(PATIENCE_S):
        while found := await claim(bob, alice):
            given.extend(found)
    assert len(given) == len(set(given)) == existing


@dataclass
class Letterbox:
    """Messages from alice to bob's device, and when they were sent and acknowledged."""

    alice: Client
    bob: Client
    since: str
    sent: dict[str, float] = field(default_factory=dict)
    acknowledged: dict[str, float] = field(default_factory=dict)

    async def send(self, text: str) -> None:
        self.sent.setdefault(text, time.monotonic())
        messages = {self.bob.user_id: {self.bob.device_id: {"text": text}}}
        await self.alice.ok("PUT", f"/sendToDevice/org.example.test/{text}", {"messages": messages})
        self.acknowledged.setdefault(text, time.monotonic())

    async def empty(self) -> list[str]:
        """Everything that waits."""
        got: list[str] = []
        while True:
            answer = await self.bob.sync(self.since)
            self.since = answer["next_batch"]
            events = answer.get("to_device", {}).get("events", [])
            if not events:
                return got
            got += [event["content"]["text"] for event in events]


@pytest.mark.parametrize("point", [*COMMIT_POINTS, "to_device.flush"])
async def test_a_message_to_a_device_comes_once_and_in_order(
    make_target: MakeTarget, http: aiohttp.ClientSession, database: str, point: str
) -> None:
    dying, alice, bob = await gather(make_target(database), http)
    box = Letterbox(alice, bob, (await bob.sync())["next_batch"])
    await box.send("before")
    assert await box.empty() == ["before"]

    async def ask(number: int) -> None:
        await box.send(f"{number}")
        # A token that acknowledges: then there is something to delete.
        await bob.sync(box.since)

    await dying.until_dead(point, 1 if point == "to_device.flush" else 7, ask)
    for text in list(box.sent):
        if text not in box.acknowledged:
            await box.send(text)  # whoever got no answer asks again
    got = await box.empty()
    assert len(got) == len(set(got)) and set(got) == box.sent.keys() - {"before"}
    places = {text: place for place, text in enumerate(got)}
    assert not [
        (one, two) for one in got for two in got if box.acknowledged[one] < box.sent[two] and places[one] > places[two]
    ]


@pytest.mark.parametrize(("point", "visit"), [("backups.chunk", 2), *((p, 3) for p in WRITE_POINTS)])
async def test_an_upload_to_a_backup_is_whole_or_not_at_all(
    make_target: MakeTarget, http: aiohttp.ClientSession, database: str, point: str, visit: int
) -> None:
    dying, alice, _ = await gather(make_target(database), http)
    version = (await alice.ok("POST", "/room_keys/version", {"algorithm": BACKUP, "auth_data": AUTH_DATA}))["version"]
    path = f"/room_keys/keys?version={version}"
    answers: dict[str, dict[str, Any]] = {}

    def body(part: str) -> dict[str, Any]:
        return {"rooms": {f"!{part}": {"sessions": {f"{index}": key(data=part) for index in range(PART)}}}}

    async def ask(number: int) -> None:
        answers[f"!{number}"] = await alice.ok("PUT", path, body(f"{number}"))

    await dying.until_dead(point, visit, ask)
    about = await alice.ok("GET", f"/room_keys/version/{version}")
    stored = (await alice.ok("GET", path))["rooms"]
    assert {len(each["sessions"]) for each in stored.values()} <= {PART}, "a part of an upload is there"
    assert answers.keys() <= stored.keys() and about["count"] == PART * len(stored)
    assert int(about["etag"]) == len(stored) >= max((int(one["etag"]) for one in answers.values()), default=0)
    for number in range(len(stored) + 1):
        again = await alice.ok("PUT", path, body(f"{number}"))
        stored[f"!{number}"] = again
        assert (again["count"], again["etag"]) == (PART * len(stored), f"{len(stored)}")
