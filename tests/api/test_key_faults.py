"""Faults of other servers with keys, device lists and messages to devices, which this one must not have.

docs/subsystems/known-faults.md says which test shows which; those that are not here are in the tests of each subject.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api.test_keys import ALGORITHM, claim, publish, query, upload
from tests.api.test_to_device import numbers, send
from tests.support.client import PASSWORD, Client, part
from tests.support.keys import CrossSigningKeys, device_keys, one_time_keys, public, signed
from tests.support.stream import streaming

pytestmark = pytest.mark.all_only

FALLBACK_NAMES = ("device_unused_fallback_key_types", "org.matrix.msc2732.device_unused_fallback_key_types")
NOBODY: dict[str, list[str]] = {"changed": [], "left": []}


def fallback_types(answer: dict[str, Any]) -> list[str]:
    """The unused fallback keys, which both names must tell."""
    first, second = (answer[name] for name in FALLBACK_NAMES)
    assert first == second
    found: list[str] = first
    return found


def password(client: Client, session: str) -> dict[str, Any]:
    user = {"type": "m.id.user", "user": client.user_id}
    return {"type": "m.login.password", "identifier": user, "password": PASSWORD, "session": session}


async def proven(client: Client, method: str, path: str, body: dict[str, Any]) -> None:
    """A request that asks for the password."""
    challenge = await client.request(method, path, body)
    assert challenge.status == 401
    await client.ok(method, path, {**body, "auth": password(client, challenge.body["session"])})


async def test_a_held_answer_has_the_counts_of_its_end(alice: Client) -> None:
    """matrix-org/synapse#17491: a long poll told the count of when it began, and the client uploaded twice as many."""
    await publish(alice, "a")
    since = (await alice.sync())["next_batch"]
    waiting = asyncio.create_task(alice.sync(since, timeout=30_000))
    await asyncio.sleep(0.2)
    await upload(alice, one_time_keys=one_time_keys(alice.user_id, alice.device_id, "b", "c"))
    # Something that ends the waiting, where the keys do not.
    await alice.ok("PUT", f"/user/{alice.user_id}/account_data/org.x", {"a": 1})
    assert (await waiting)["device_one_time_keys_count"] == {ALGORITHM: 3}


async def test_the_use_of_a_fallback_key_wakes_its_owner(alice: Client, bob: Client) -> None:
    """matrix-org/sliding-sync#390."""
    state = await alice.sync()
    assert fallback_types(state) == [] and state["device_one_time_keys_count"] == {ALGORITHM: 0}, "before any upload"
    await publish(alice)
    await upload(alice, fallback_keys=one_time_keys(alice.user_id, alice.device_id, "f", fallback=True))
    state = await alice.sync(state["next_batch"])
    assert fallback_types(state) == [ALGORITHM]
    waiting = asyncio.create_task(alice.sync(state["next_batch"], timeout=30_000))
    assert await claim(bob, alice)
    assert fallback_types(await waiting) == []


async def test_every_answer_tells_counts_and_fallback_keys(alice: Client, bob: Client) -> None:
    """matrix-org/synapse#10623: an answer without other contents left them out."""
    await publish(alice, "a")
    await upload(alice, fallback_keys=one_time_keys(alice.user_id, alice.device_id, "f", fallback=True))
    room = await alice.shared_room(bob)
    first = await alice.sync()
    empty = await alice.sync(first["next_batch"])
    assert "rooms" not in empty
    async with streaming(alice, since=first["next_batch"]) as stream:
        await bob.send(room, "hello")
        pushed = await stream.update()
    for answer in (first, empty, pushed, await alice.sync(first["next_batch"])):
        assert fallback_types(answer) == [ALGORITHM] and answer["device_one_time_keys_count"] == {ALGORITHM: 1}


async def test_broken_device_keys_are_refused(alice: Client, bob: Client) -> None:
    """CVE-2025-61672: keys without what is required were taken, and later stopped their owner's requests."""
    good = device_keys(alice.user_id, alice.device_id)
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    broken = [{name: value for name, value in good.items() if name != left_out} for left_out in good]
    broken += [{**good, name: wrong} for name in good for wrong in (None, 5, True, [5], {"a": 5}, {"a": {"b": 5}})]
    broken += [{**good, "signatures": {bob.user_id: good["signatures"][alice.user_id]}}]
    broken += [{**good, "more": "x" * 100_000}, {**good, "more": deep}, {**good, "more": 1.5}]
    for keys in broken:
        reply = await alice.request("POST", "/keys/upload", {"device_keys": keys})
        assert reply.status in (400, 413) and reply.errcode.startswith("M_"), (str(keys)[-300:], reply)
    large = {f"{ALGORITHM}:a": {"key": "x", "more": "x" * 100_000}}
    (await alice.request("POST", "/keys/upload", {"one_time_keys": large})).error((400, 413))
    mine = await publish(bob)
    found = (await query(alice, alice, bob))["device_keys"]
    assert found[alice.user_id] == {}
    (shown,) = found[bob.user_id].values()
    assert shown.items() >= mine.items() and mine.keys() == {"algorithms", "device_id", "keys", "signatures", "user_id"}


async def test_batches_are_bounded(alice: Client, bob: Client) -> None:
    devices = {f"D{number}": ALGORITHM for number in range(10_001)}
    users: dict[str, list[str]] = {f"@u{number}:hromada.test": [] for number in range(10_001)}
    messages = {"messages": {bob.user_id: {device_id: {} for device_id in devices}}}
    for method, path, body in (
        ("POST", "/keys/claim", {"one_time_keys": {bob.user_id: devices}}),
        ("POST", "/keys/query", {"device_keys": users}),
        ("PUT", "/sendToDevice/org.example.test/many", messages),
    ):
        (await alice.request(method, path, body)).error(400, "M_INVALID_PARAM")
    await publish(bob, "a")
    assert await claim(alice, bob, "org.example.unknown") == {}
    assert await upload(bob) == {ALGORITHM: 1}


async def told(reader: Client, since: str) -> dict[str, list[str]]:
    """Whose keys the reader must ask for again, which three places tell alike."""
    answer = await reader.sync(since)
    lists: dict[str, list[str]] = answer.get("device_lists", NOBODY)
    upto = answer["next_batch"]
    asked = await reader.ok("GET", "/keys/changes", params={"from": since, "to": upto})
    assert {"changed": sorted(asked["changed"]), "left": sorted(asked["left"])} == lists
    async with streaming(reader, since=since) as stream:
        assert (await stream.update()).get("device_lists", NOBODY) == lists
    return lists


@pytest.mark.parametrize("way", ["rejoin", "invite", "upgrade"])
async def test_who_meets_again_is_asked_for_again(alice: Client, bob: Client, way: str) -> None:
    """vector-im/element-web#4983: after parting, a new device and meeting again the old list stayed in use."""
    room = await alice.shared_room(bob)
    since = (await alice.sync())["next_batch"]
    await bob.ok("POST", f"/rooms/{part(room)}/leave", {})
    assert await told(alice, since) == {"changed": [], "left": [bob.user_id]}
    apart = (await alice.sync())["next_batch"]
    other = await bob.another_device()
    await publish(other)
    met = (await alice.sync(apart))["next_batch"]
    assert (await alice.sync(apart)).get("device_lists", NOBODY) == NOBODY
    if way == "rejoin":
        await bob.join(room)
    elif way == "invite":
        private = await alice.create_room(invite=[bob.user_id])
        await bob.join(private)
    else:
        upgraded = await alice.ok("POST", f"/rooms/{part(room)}/upgrade", {"new_version": "11"})
        await bob.join(upgraded["replacement_room"])
    assert await told(alice, met) == {"changed": [bob.user_id], "left": []}


async def test_filters_do_not_change_device_lists(alice: Client, bob: Client, carol: Client) -> None:
    """matrix-org/synapse#14810: lists were made of the rooms that the answer had."""
    room = await alice.shared_room(bob)
    gone = await alice.shared_room(carol)
    since = (await alice.sync())["next_batch"]
    await publish(bob)
    await carol.ok("POST", f"/rooms/{part(gone)}/leave", {})
    expected = {"changed": [bob.user_id], "left": [carol.user_id]}
    for rooms in (
        {},
        {"rooms": []},
        {"not_rooms": [room, gone]},
        {"timeline": {"limit": 1}},
        {"timeline": {"types": []}, "state": {"types": [], "lazy_load_members": True}},
    ):
        assert (await alice.sync(since, filter={"room": rooms}))["device_lists"] == expected, rooms


async def test_every_change_of_keys_is_told(alice: Client, bob: Client) -> None:
    """tuwunel#377: after cross-signing nobody was told, and messages showed an unknown device."""
    keys = await publish(alice)
    other = await alice.another_device()
    await alice.shared_room(bob)
    mine = CrossSigningKeys(alice.user_id)
    own = signed(keys, alice.user_id, f"ed25519:{public(mine.self_signing)}", mine.self_signing)

    async def cross_signing() -> None:
        await alice.ok("POST", "/keys/device_signing/upload", mine.body())

    async def sign() -> None:
        body = {alice.user_id: {alice.device_id: own}}
        assert (await alice.ok("POST", "/keys/signatures/upload", body))["failures"] == {}

    async def rename() -> None:
        await alice.ok("PUT", f"/devices/{alice.device_id}", {"display_name": "Phone"})

    actions: list[Callable[[], Awaitable[None]]] = [cross_signing, sign, rename]
    for action in actions:
        tokens = [(reader, (await reader.sync())["next_batch"]) for reader in (bob, other)]
        await action()
        for reader, since in tokens:
            assert await told(reader, since) == {"changed": [alice.user_id], "left": []}, action
    # matrix-org/synapse#17284: the same keys again, after a lost answer, are no change.
    since = (await bob.sync())["next_batch"]
    await cross_signing()
    assert (await bob.sync(since)).get("device_lists", NOBODY) == NOBODY


async def test_signatures_on_others_are_the_signers_own(alice: Client, bob: Client, carol: Client) -> None:
    """tuwunel#552: a signature on a master key that had no signatures was answered with success and lost."""
    mine, theirs = CrossSigningKeys(alice.user_id), CrossSigningKeys(bob.user_id)
    await alice.ok("POST", "/keys/device_signing/upload", mine.body())
    await bob.ok("POST", "/keys/device_signing/upload", theirs.body())
    master = theirs.body()["master_key"]
    assert "signatures" not in master
    signature = signed(master, alice.user_id, f"ed25519:{public(mine.user_signing)}", mine.user_signing)
    body = {bob.user_id: {public(theirs.master): signature}}
    assert (await alice.ok("POST", "/keys/signatures/upload", body))["failures"] == {}
    assert (await query(alice, bob))["master_keys"][bob.user_id] == signature
    for reader in (bob, carol):
        assert (await query(reader, bob))["master_keys"][bob.user_id] == master


async def test_many_devices_at_once(alice: Client, bob: Client) -> None:
    """element-hq/synapse#19614: people with about a hundred devices could not be sent to."""
    since = (await bob.sync())["next_batch"]
    content = {"n": 1, "text": "x" * 5_000}
    messages = {bob.user_id: {bob.device_id: content, **{f"D{number}": content for number in range(99)}}}
    await alice.ok("PUT", "/sendToDevice/org.example.test/many", {"messages": messages})
    answer = await bob.sync(since)
    assert numbers(answer) == [1]
    large = {**messages[bob.user_id], "D7": {"text": "x" * 70_000}}
    path = "/sendToDevice/org.example.test/large"
    (await alice.request("PUT", path, {"messages": {bob.user_id: large}})).error(413, "M_TOO_LARGE")
    assert numbers(await bob.sync(answer["next_batch"])) == []


@pytest.mark.parametrize("way", ["logout", "logout/all", "delete", "delete_devices"])
async def test_a_device_that_is_gone_leaves_nothing(alice: Client, bob: Client, way: str) -> None:
    """matrix-org/synapse#9346: queues of deleted devices were half of the table."""
    phone = await alice.another_device(device_id="PHONE")
    await publish(phone, "a")
    await upload(phone, fallback_keys=one_time_keys(phone.user_id, phone.device_id, "f", fallback=True))
    await send(bob, "1", (alice, "PHONE", {"n": 1}))
    if way.startswith("logout"):
        await phone.ok("POST", f"/{way}", {})
    elif way == "delete":
        await proven(alice, "DELETE", "/devices/PHONE", {})
    else:
        await proven(alice, "POST", "/delete_devices", {"devices": ["PHONE"]})
    await send(bob, "2", (alice, "PHONE", {"n": 2}))
    assert (await query(bob, alice))["device_keys"][alice.user_id] == {}
    assert await claim(bob, phone) == {}
    again = await alice.anonymous().login(alice.user_id, device_id="PHONE")
    state = await again.sync()
    assert numbers(state) == [] and fallback_types(state) == []
    assert state["device_one_time_keys_count"] == {ALGORITHM: 0}
    await publish(again, "a")  # what was claimed or stored of the device before says nothing of this one
    assert await upload(again) == {ALGORITHM: 1}


async def test_messages_stay_in_order_while_they_are_read(alice: Client, bob: Client) -> None:
    """matrix-org/matrix-spec#966: 350 messages, while the reader pages through them."""
    since = (await bob.sync())["next_batch"]

    async def write() -> None:
        for number in range(350):
            await send(alice, f"order{number}", (bob, bob.device_id, {"n": number}))

    writing = asyncio.create_task(write())
    got: list[int] = []
    while len(got) < 350:
        answer = await bob.sync(since, timeout=10_000)
        assert len(numbers(answer)) <= 100
        got += numbers(answer)
        since = answer["next_batch"]
    await writing
    assert got == list(range(350))
