"""Clients by the thousand that hold a long poll or a socket, come back when they are cut off, and forget nothing.

Each keeps the texts it was given, in order, and counts how it was turned away. Load generator of `test_overload.py`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.client import Client, rooms, timeline
from tests.support.server import Server
from tests.support.stream import PATH

POLL_MS = 60_000
FILTER = {"room": {"timeline": {"limit": 100}, "state": {"types": []}}, "presence": {"types": []}}
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 8.0


@dataclass
class Member:
    """One client of the herd. `seen` is what it was told, `turned_away` how often it was not served, and how."""

    client: Client
    server: Server
    since: str
    chance: random.Random
    seen: list[str] = field(default_factory=list)
    turned_away: Counter[str] = field(default_factory=Counter)
    retry_after: list[int] = field(default_factory=list)
    failures: int = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        raise NotImplementedError

    def take(self, answer: dict[str, Any]) -> None:
        """Keep what an update says, and its token."""
        for joined in rooms(answer, "join").values():
            assert not joined["timeline"].get("limited"), "a gap"
            self.seen += [e["content"]["body"] for e in timeline(joined) if e["type"] == "m.room.message"]
        self.since = answer["next_batch"]
        self.failures = 0

    async def back_off(self, why: str, at_least: float = 0.0) -> None:
        """Wait as docs/websocket.md asks for."""
        self.turned_away[why] += 1
        wait = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**self.failures)
        self.failures += 1
        await asyncio.sleep(max(at_least, wait * (0.5 + self.chance.random() / 2)))


class Poller(Member):
    """Long polls, one after the other."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.client.base_url = self.server.url
            params = {"since": self.since, "timeout": POLL_MS, "filter": FILTER}
            try:
                reply = await self.client.request("GET", "/sync", params=params)
            except (aiohttp.ClientError, OSError) as error:
                await self.back_off(type(error).__name__)
                continue
            if reply.status == 200:
                self.take(reply.body)
                continue
            assert reply.status == 503, reply
            self.retry_after.append(reply.body["retry_after_ms"])
            await self.back_off("503", reply.body["retry_after_ms"] / 1000)


class Listener(Member):
    """A socket, and another when it is cut."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen(self.server.url + PATH)
            except aiohttp.WSServerHandshakeError as error:
                assert error.status == 503, error
                await self.back_off("503")
            except (aiohttp.ClientError, OSError) as error:
                await self.back_off(type(error).__name__)

    async def _listen(self, address: str) -> None:
        session = self.client.session
        async with session.ws_connect(address, protocols=["m.json"], max_msg_size=0) as socket:
            await socket.send_json({"op": "auth", "access_token": self.client.token})
            async for message in socket:
                frame = message.json()
                if frame["op"] == "ready":
                    await socket.send_json({"op": "start", "since": self.since, "filter": FILTER})
                elif frame["op"] == "sync":
                    self.take(frame["body"])
                    await socket.send_json({"op": "ack", "pos": self.since})
            # 1001: it stops; 1006: cut; 1013: the database is busy; 4008: one of us was too slow.
            assert socket.close_code in {1001, 1006, 1013, 4008, None}, socket.close_code
            await self.back_off(str(socket.close_code))
