"""A message that a thousand pushers are told of, all at one gateway, over the few connections that one host gets."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.api.test_pushers import pusher, user
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.pushgateway import ENVIRONMENT, PushGateway, running_gateway

pytestmark = pytest.mark.all_only

PUSHERS = 1_000
AT_ONCE = 20
# What is wanted, which is printed, and what holds where processors are shared: a second of theirs does less then.
WANTED_S, BLOCKED_S = "0.05", "0.1"
MESSAGES_BESIDE = 20


async def test_a_thousand_pushers_are_told_once_each(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={**ENVIRONMENT, "HROMADA_PUSH_PUSHERS_PER_USER": str(PUSHERS)})
    alice, bob = await user(server, http, "alice"), await user(server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    async with running_gateway() as gateway:
        keys = await _set(bob, gateway)
        blocked = await _blocked(alice)
        for number in (1, 2):
            gateway.received.clear()
            began = time.monotonic()
            event_id = await alice.send(room, "hello")
            await gateway.until(lambda: len(gateway.received) >= PUSHERS)
            print(f"\n{PUSHERS} pushes after {time.monotonic() - began:.2f} s")
            told = [(one["devices"][0]["pushkey"], one.get("event_id")) for one in gateway.received]
            assert sorted(told) == sorted((key, event_id) for key in keys)
            assert {one["counts"]["unread"] for one in gateway.received} == {number}
        assert await _blocked(alice) == blocked, f"the event loop was blocked for over {BLOCKED_S} s"


@pytest.mark.timeout(300)
async def test_a_gateway_that_hangs_slows_nothing_down(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={**ENVIRONMENT, "HROMADA_PUSH_PUSHERS_PER_USER": str(PUSHERS)})
    alice, bob, carol = [await user(server, http, name) for name in ("alice", "bob", "carol")]
    room = await alice.create_room(invite=[bob.user_id, carol.user_id])
    await bob.join(room)
    await carol.join(room)
    async with running_gateway() as hanging, running_gateway() as well:
        await _set(bob, hanging)
        await carol.ok("POST", "/pushers/set", pusher("carol", data=well.data()))
        hanging.answering.clear()
        blocked = await _blocked(alice)
        try:
            await alice.send(room, "hello")
            await hanging.until(lambda: hanging.asked > 0)
            for number in range(MESSAGES_BESIDE):
                event_id = await alice.send(room, f"beside {number}")
                # Who is told elsewhere is told at once, and who syncs hears of it.
                await well.until(lambda event_id=event_id: any(one["event_id"] == event_id for one in well.of("carol")))
            found = await bob.ok("GET", f"/rooms/{room}/messages?dir=b&limit={MESSAGES_BESIDE}")
            assert len(found["chunk"]) == MESSAGES_BESIDE
            assert await _blocked(alice) == blocked, f"the event loop was blocked for over {BLOCKED_S} s"
        finally:
            hanging.answering.set()


async def _set(client: Client, gateway: PushGateway) -> list[str]:
    """Give a user the pushers, all at one gateway; their push keys."""
    data = gateway.data(format="event_id_only")
    keys = [f"key{number}" for number in range(PUSHERS)]
    for first in range(0, PUSHERS, AT_ONCE):
        bodies = [pusher(key, data=data) for key in keys[first : first + AT_ONCE]]
        await asyncio.gather(*(client.ok("POST", "/pushers/set", body) for body in bodies))
    return keys


async def _blocked(client: Client) -> int:
    """How often the event loop has been found blocked for over `BLOCKED_S`, so far."""
    text = (await client.request("GET", "/metrics")).raw.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    name = "hromada_loop_blocked_seconds"
    over = {
        bound: int(float(lines[f"{name}_count"]) - float(lines[f'{name}_bucket{{le="{bound}"}}']))
        for bound in (WANTED_S, BLOCKED_S)
    }
    print(f"\nevent loop blocked for longer than: {over}")
    return over[BLOCKED_S]
