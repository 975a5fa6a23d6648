"""Faults of other servers with pushers, which this one must not have.

docs/subsystems/known-faults.md says which test shows which; those that are not here are in `test_pushers`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.test_key_faults import proven
from tests.api.test_pushers import gateway, pusher, user  # noqa: F401 - fixtures
from tests.support.client import Client, part
from tests.support.pushgateway import PushGateway, running_gateway
from tests.support.server import Server

pytestmark = pytest.mark.all_only

TEXT = {"msgtype": "m.text", "body": "hello"}


@pytest.fixture
async def alice(push_server: Server, http: aiohttp.ClientSession) -> Client:
    """Somebody who writes."""
    return await user(push_server, http, "alice")


@pytest.fixture
async def bob(push_server: Server, http: aiohttp.ClientSession) -> Client:
    """Somebody who is told."""
    return await user(push_server, http, "bob")


@pytest.fixture
async def elsewhere() -> AsyncIterator[PushGateway]:
    """A second gateway."""
    async with running_gateway() as running:
        yield running


async def met(alice: Client, *others: Client) -> str:
    room = await alice.create_room(invite=[other.user_id for other in others])
    for other in others:
        await other.join(room)
    return room


async def test_the_number_is_the_sum_of_what_is_unread(
    alice: Client,
    bob: Client,
    gateway: PushGateway,  # noqa: F811
) -> None:
    """element-hq/synapse#20237, #16904: read threads hid other rooms, and left rooms kept their number."""
    rooms = [await met(alice, bob) for _ in range(3)]
    roots = {room: await alice.send(room, TEXT) for room in rooms}
    for room, root in roots.items():
        await alice.send(room, {**TEXT, "m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    expected = 7
    await alice.send(rooms[0], TEXT)
    await gateway.until(lambda: gateway.badges("bob")[-1:] == [expected])
    for room in rooms:
        await bob.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(roots[room])}", {"thread_id": "main"})
        expected -= 1
        await gateway.until(lambda wanted=expected: gateway.badges("bob")[-1:] == [wanted])
    for action, room in zip(("leave", "kick", "ban"), rooms, strict=True):
        # Of the first room the message is left that came last, too.
        expected -= 2 if room == rooms[0] else 1
        actor, target = (bob, None) if action == "leave" else (alice, bob.user_id)
        (await actor.member(room, action, target)).ok()
        other = await met(alice, bob)
        await alice.send(other, TEXT)
        expected += 1
        await gateway.until(lambda wanted=expected: gateway.badges("bob")[-1:] == [wanted])


async def test_new_events_do_not_end_the_waiting(
    alice: Client,
    bob: Client,
    gateway: PushGateway,  # noqa: F811
) -> None:
    """matrix-org/synapse#18363: each new event made a failing gateway be asked at once."""
    room = await met(alice, bob)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    gateway.status = 502
    began = time.monotonic()
    sent = []
    while gateway.asked < 2:
        sent.append(await alice.send(room, str(len(sent))))
        await asyncio.sleep(0.1)
    # Waits of 1, 2, 4 … seconds: the second request comes after the first of them.
    passed = time.monotonic() - began
    assert gateway.asked <= 1 + math.log2(passed + 1), (gateway.asked, passed)
    gateway.status = 200
    told = sent[-50:]  # `push.waiting`
    await gateway.until(lambda: len(gateway.of("bob")) >= len(told))
    assert [one["event_id"] for one in gateway.of("bob")] == told, "in order, and one success ends the waiting"


@pytest.mark.parametrize("way", ["logout", "logout/all", "delete", "password", "deactivate"])
async def test_no_push_after_a_session(
    alice: Client,
    bob: Client,
    gateway: PushGateway,  # noqa: F811
    elsewhere: PushGateway,
    http: aiohttp.ClientSession,
    push_server: Server,
    way: str,
) -> None:
    """matrix-org/synapse#8925, #9285: pushers lived on after log-out from elsewhere or deactivation."""
    carol = await user(push_server, http, "carol")
    room = await met(alice, bob, carol)
    phone = await bob.another_device()
    await phone.ok("POST", "/pushers/set", pusher("phone", data=gateway.data()))
    await carol.ok("POST", "/pushers/set", pusher("carol", data=elsewhere.data()))
    await alice.send(room, "before")
    await gateway.until(lambda: len(gateway.of("phone")) == 1)
    if way == "delete":
        await proven(bob, "DELETE", f"/devices/{phone.device_id}", {})
    elif way == "password":
        await proven(bob, "POST", "/account/password", {"new_password": "another long password"})
    elif way == "deactivate":
        await proven(bob, "POST", "/account/deactivate", {"erase": False})
    else:
        await (phone if way == "logout" else bob).ok("POST", f"/{way}", {})
    if way in ("delete", "logout", "password"):
        assert await bob.ok("GET", "/pushers") == {"pushers": []}
    gateway.received.clear()
    for number in range(2):  # carol is told of the second after what the first meant to anybody has been begun
        event_id = await alice.send(room, "after")
        await elsewhere.until(lambda number=number: len(elsewhere.of("carol")) >= number + 2)
    assert elsewhere.of("carol")[-1]["event_id"] == event_id
    assert gateway.of("phone") == []


async def test_odd_contents_are_pushed(
    alice: Client,
    bob: Client,
    gateway: PushGateway,  # noqa: F811
) -> None:
    """matrix-org/synapse#8965: an image without url, or a body that is no string, stopped the push."""
    room = await met(alice, bob)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    odd: list[dict[str, Any]] = [
        {},
        {"msgtype": "m.image", "body": "x"},
        {"msgtype": "m.image", "body": {"a": 1}, "url": ["mxc://"], "info": 7},
        {"msgtype": 7, "body": None},
        {**TEXT, "m.mentions": "everybody", "m.relates_to": []},
    ]
    sent = [await alice.send(room, content) for content in odd]
    await gateway.until(lambda: len(gateway.of("bob")) == len(odd))
    told = gateway.of("bob")
    assert [(one["event_id"], one["content"]) for one in told] == list(zip(sent, odd, strict=True))
