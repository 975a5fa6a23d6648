"""A message that a thousand pushers are told of, all at one gateway, over the few connections that one host gets."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.api.test_pushers import pusher, user
from tests.support.fixtures import StartServer
from tests.support.pushgateway import ENVIRONMENT, running_gateway

pytestmark = pytest.mark.all_only

PUSHERS = 1_000
AT_ONCE = 20


async def test_a_thousand_pushers_are_told_once_each(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={**ENVIRONMENT, "HROMADA_PUSH_PUSHERS_PER_USER": str(PUSHERS)})
    alice, bob = await user(server, http, "alice"), await user(server, http, "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    async with running_gateway() as gateway:
        data = gateway.data(format="event_id_only")
        keys = [f"key{number}" for number in range(PUSHERS)]
        for first in range(0, PUSHERS, AT_ONCE):
            bodies = [pusher(key, data=data) for key in keys[first : first + AT_ONCE]]
            await asyncio.gather(*(bob.ok("POST", "/pushers/set", body) for body in bodies))
        for number in (1, 2):
            gateway.received.clear()
            began = time.monotonic()
            event_id = await alice.send(room, "hello")
            await gateway.until(lambda: len(gateway.received) >= PUSHERS)
            print(f"\n{PUSHERS} pushes after {time.monotonic() - began:.2f} s")
            told = [(one["devices"][0]["pushkey"], one.get("event_id")) for one in gateway.received]
            assert sorted(told) == sorted((key, event_id) for key in keys)
            assert {one["counts"]["unread"] for one in gateway.received} == {number}
