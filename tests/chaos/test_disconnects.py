"""Clients go away at any point of a request, again and again: nobody gets what is another's, and nothing is lost.

reliability: D8. `--disconnects N` sets how often (10,000 before a release), `--crash-seed S` the moments.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.client import V3, Client, Json, part
from tests.support.fixtures import StartServer
from tests.support.server import Server

pytestmark = pytest.mark.timeout(1800)

USERS = 4
AT_ONCE = 4
CHECK_EVERY = 10


@dataclass
class Wanderer:
    """A user, a room nobody else is in, and what the user sent there."""

    client: Client
    room: str
    chance: random.Random
    sent: dict[str, str | None] = field(default_factory=dict)
    """Transaction id → event id, if an answer came."""

    def request(self) -> tuple[bytes, str | None]:
        """A request as bytes, and its transaction id if it sends something."""
        room = part(self.room)
        reads = (
            ("GET", "/account/whoami"),
            ("GET", "/sync?timeout=0"),
            ("GET", "/sync?timeout=3000&filter=0"),
            ("GET", f"/rooms/{room}/messages?dir=b&limit=20"),
            ("GET", f"/rooms/{room}/state"),
            ("GET", "/devices"),
        )
        if self.chance.random() < 0.5:
            txn = f"t{len(self.sent)}"
            self.sent.setdefault(txn, None)
            path = f"/rooms/{room}/send/m.room.message/{txn}"
            return self._raw("PUT", path, {"msgtype": "m.text", "body": self.client.user_id}), txn
        return self._raw(*self.chance.choice(reads)), None

    def _raw(self, method: str, path: str, body: Json | None = None) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {V3}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.client.token}\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    async def leave_midway(self) -> None:
        """Begin a request on a connection of its own and go away at some point of it."""
        request, _ = self.request()
        address = urlsplit(self.client.base_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            point = self.chance.choice(("in the request", "before the answer", "in the answer"))
            writer.write(request[: self.chance.randrange(len(request))] if point == "in the request" else request)
            await writer.drain()
            if point == "in the answer":
                await asyncio.wait_for(reader.read(self.chance.randint(1, 200)), 60)
            else:
                await asyncio.sleep(self.chance.uniform(0, 0.02))
        finally:
            self._hang_up(writer)

    def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        """Close, half of the time without the usual good-bye."""
        if self.chance.random() < 0.5:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def check(self) -> None:
        """Whatever is asked as this user is answered to this user."""
        client = self.client
        assert (await client.ok("GET", "/account/whoami"))["user_id"] == client.user_id
        assert (await client.state(self.room, "m.room.name"))["name"] == client.user_id
        assert set((await client.sync())["rooms"]["join"]) == {self.room}
        devices = {device["device_id"] for device in (await client.ok("GET", "/devices"))["devices"]}
        assert devices == {client.device_id}

    async def finish(self) -> None:
        """Repeat every send: each message is there once, and it is the user's own."""
        for txn in self.sent:
            content = {"msgtype": "m.text", "body": self.client.user_id}
            path = f"/rooms/{part(self.room)}/send/m.room.message/{txn}"
            self.sent[txn] = (await self.client.ok("PUT", path, content))["event_id"]
        events = await self.client.history(self.room, limit=500)
        messages = [event for event in events if event["type"] == "m.room.message"]
        assert {event["content"]["body"] for event in messages} <= {self.client.user_id}
        assert {event["sender"] for event in events} == {self.client.user_id}
        assert sorted(event["event_id"] for event in messages) == sorted(str(event) for event in self.sent.values())


async def test_clients_go_away_at_every_point(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, request: pytest.FixtureRequest
) -> None:
    seed, count = int(request.config.getoption("--crash-seed")), int(request.config.getoption("--disconnects"))
    print(f"crash seed {seed}, {count} disconnects")
    server = start_server(database)
    wanderers = [await _wanderer(server, http, f"{seed}/{number}") for number in range(USERS)]

    async def wander(wanderer: Wanderer) -> None:
        for turn in range(count // USERS // AT_ONCE):
            await asyncio.gather(*(wanderer.leave_midway() for _ in range(AT_ONCE)))
            if turn % CHECK_EVERY == 0:
                await wanderer.check()

    await asyncio.gather(*map(wander, wanderers))
    server.assert_alive()
    for wanderer in wanderers:
        await wanderer.check()
        await wanderer.finish()
    # Every connection to the database is in working order, and none was left in the middle of something.
    await asyncio.gather(*(wanderer.check() for _ in range(10) for wanderer in wanderers))
    assert "Traceback" not in server.log.read_text(), server.log_tail()


async def _wanderer(server: Server, http: aiohttp.ClientSession, seed: str) -> Wanderer:
    client = await Client(http, server.url).register(f"user{seed.rpartition('/')[2]}")
    await client.ok("POST", f"/user/{part(client.user_id)}/filter", {"room": {"timeline": {"limit": 5}}})
    return Wanderer(client, await client.create_room(name=client.user_id), random.Random(seed))
