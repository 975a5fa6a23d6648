"""Messages from device to device.  spec: client-server-api#send-to-device-messaging"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aiohttp

from tests.support.client import Client, eventually
from tests.support.fixtures import StartServer


async def send(sender: Client, txn: str, *messages: tuple[Client, str, Any]) -> None:
    body: dict[str, dict[str, Any]] = {}
    for to, device_id, content in messages:
        body.setdefault(to.user_id, {})[device_id] = content
    await sender.ok("PUT", f"/sendToDevice/org.example.test/{txn}", {"messages": body})


def numbers(answer: dict[str, Any]) -> list[int]:
    return [event["content"]["n"] for event in answer.get("to_device", {}).get("events", [])]


async def test_messages_are_kept_until_the_token_after_them_comes_back(alice: Client, bob: Client) -> None:
    first = await bob.sync()
    await send(alice, "1", (bob, bob.device_id, {"n": 1}))
    answer = await bob.sync(first["next_batch"])
    assert answer["to_device"]["events"] == [{"type": "org.example.test", "sender": alice.user_id, "content": {"n": 1}}]
    assert numbers(await bob.sync(first["next_batch"])) == [1], "the answer may have been lost"
    await send(alice, "2", (bob, bob.device_id, {"n": 2}))
    answer = await bob.sync(answer["next_batch"])
    assert numbers(answer) == [2]
    assert numbers(await bob.sync(answer["next_batch"])) == []


async def test_a_hundred_at_a_time_and_in_order(alice: Client, bob: Client) -> None:
    since = (await bob.sync())["next_batch"]
    for number in range(230):
        await send(alice, str(number), (bob, bob.device_id, {"n": number}))
    got: list[int] = []
    sizes = []
    for _ in range(4):
        answer = await bob.sync(since)
        again = await bob.sync(since)
        assert numbers(answer) == numbers(again)
        got += numbers(answer)
        sizes.append(len(numbers(answer)))
        since = answer["next_batch"]
    assert got == list(range(230)) and sizes == [100, 100, 30, 0]


async def test_who_is_behind_gets_new_messages_behind_the_old_ones(alice: Client, bob: Client) -> None:
    since = (await bob.sync())["next_batch"]
    for number in range(150):
        await send(alice, str(number), (bob, bob.device_id, {"n": number}))
    answer = await bob.sync(since)
    await send(alice, "later", (bob, bob.device_id, {"n": 150}))
    answer = await bob.sync(answer["next_batch"])
    assert numbers(answer) == list(range(100, 151))


async def test_each_device_gets_its_own_and_no_other(alice: Client, bob: Client) -> None:
    other = await bob.another_device()
    mine, theirs = (await bob.sync())["next_batch"], (await other.sync())["next_batch"]
    await send(alice, "1", (bob, bob.device_id, {"n": 1}), (bob, "NODEVICE", {"n": 9}), (alice, "GONE", {"n": 9}))
    await send(alice, "2", (bob, "*", {"n": 2}))
    await send(alice, "3", (bob, other.device_id, {"n": 3}))
    assert numbers(await bob.sync(mine)) == [1, 2]
    assert numbers(await other.sync(theirs)) == [2, 3]
    assert numbers(await bob.sync()) == [1, 2], "also with no token at all"


async def test_a_repeated_request_is_done_once(alice: Client, bob: Client) -> None:
    since = (await bob.sync())["next_batch"]
    await asyncio.gather(*(send(alice, "same", (bob, bob.device_id, {"n": 1})) for _ in range(5)))
    await send(alice, "same", (bob, bob.device_id, {"n": 2}))
    assert numbers(await bob.sync(since)) == [1]


async def test_a_held_request_is_answered(alice: Client, bob: Client) -> None:
    other = await bob.another_device()
    since = (await other.sync())["next_batch"]
    waiting = asyncio.create_task(other.sync(since, timeout=30_000))
    await send(alice, "1", (bob, other.device_id, {"n": 1}))
    assert numbers(await waiting) == [1]


async def test_what_is_too_large_or_malformed_is_refused(alice: Client, bob: Client) -> None:
    since = (await bob.sync())["next_batch"]
    path = "/sendToDevice/org.example.test/bad"
    large = {"messages": {bob.user_id: {bob.device_id: {"text": "x" * 70_000}}}}
    (await alice.request("PUT", path, large)).error(413, "M_TOO_LARGE")
    for body in ({}, {"messages": []}, {"messages": {bob.user_id: []}}, {"messages": {bob.user_id: {"*": "x"}}}):
        (await alice.request("PUT", path, body)).error(400, "M_BAD_JSON", "M_MISSING_PARAM")
    (await alice.request("PUT", path, {"messages": {"bob": {"*": {}}}})).error(400, "M_INVALID_PARAM")
    assert numbers(await bob.sync(since)) == []


async def test_a_full_queue_keeps_the_oldest(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    """What does not fit is lost for the device that does not come, and for nobody else."""
    server = start_server(environment={"HROMADA_ENCRYPTION_TO_DEVICE_QUEUE": "100"})
    alice = await Client(http, server.url).register("alice")
    bob = await Client(http, server.url).register("bob")
    for number in range(100):
        await send(alice, str(number), (bob, bob.device_id, {"n": number}))
    await send(alice, "more", (bob, bob.device_id, {"n": 100}), (alice, alice.device_id, {"n": 100}))
    answer = await bob.sync()
    assert numbers(answer) == list(range(100))
    assert numbers(await alice.sync()) == [100]
    since = (await bob.sync(answer["next_batch"]))["next_batch"]
    counted = itertools.count(101)

    async def again() -> bool:
        number = next(counted)
        await send(alice, str(number), (bob, bob.device_id, {"n": number}))
        return numbers(await bob.sync(since)) == [number]

    await eventually(again)  # acknowledged messages are deleted every now and then
