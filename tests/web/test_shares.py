"""Nobody may have all slots: requests, long polls and sockets have shares per user and address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from homeserver.core.errors import LimitExceeded
from homeserver.ports.requester import Requester
from homeserver.system import SystemClock
from homeserver.web import operations
from homeserver.web.app import Application, WebSettings
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import RateLimiter
from homeserver.web.route import Auth, Route, WebSocketRoute
from homeserver.web.shares import Shares, ShareSettings, Slots, address_owner
from homeserver.web.websocket import Upgrade
from tests.support.asgi import AsgiClient

STRANGER, NEIGHBOUR = "198.51.100.7", "203.0.113.9"
SETTINGS = WebSettings(
    max_in_flight=6, max_held=6, shares=ShareSettings(2, 3, held_user=2, held_address=3, unknown_sockets=1)
)


class ByName:
    """A token is the name of its user."""

    async def authenticate(self, token: str, **_: Any) -> Requester:
        return Requester(f"@{token}:x")


class Site:
    """An application whose handlers wait until they are told."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        metrics, clock = Metrics(), SystemClock()
        routes = [
            Route[Site]("GET", "/poll", wait_as, held=True),
            Route[Site]("GET", "/work", wait_as),
            Route[Site]("GET", "/open", wait, auth=Auth.NONE),
        ]
        sockets = [WebSocketRoute[Site]("/socket", accept, subprotocol="m.json")]
        self.app = Application(
            [Mount(self, routes, sockets), Mount(operations.Operations(metrics, ()), operations.ROUTES)],
            settings=SETTINGS,
            authenticator=ByName(),
            limits=RateLimiter({}, clock),
            metrics=metrics,
            clock=clock,
        )

    async def status(self, path: str, token: str | None = None, peer: str = STRANGER) -> int:
        return (await AsgiClient(self.app, token=token, peer=peer).request("GET", path)).status

    @asynccontextmanager
    async def waiting(self, *requests: tuple[str, str | None, str]) -> AsyncIterator[None]:
        """These requests, all under way."""
        tasks = [asyncio.create_task(self.status(*request)) for request in requests]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        yield
        self.go.set()
        assert await asyncio.gather(*tasks) == [200] * len(tasks)
        self.go.clear()


async def wait_as(api: Site, who: Requester) -> None:
    await api.go.wait()


async def wait(api: Site) -> None:
    await api.go.wait()


async def accept(api: Site, upgrade: Upgrade) -> None:
    if await upgrade.socket.receive() == b"token":
        upgrade.identified()
    await upgrade.socket.receive()


@pytest.mark.parametrize("path", ["/poll", "/work"])
async def test_a_user_has_a_share_whatever_the_address(path: str) -> None:
    site = Site()
    async with site.waiting((path, "a", STRANGER), (path, "a", NEIGHBOUR)):
        assert await site.status(path, "a", "192.0.2.1") == 429
        site.go.set()
        assert await site.status(path, "b") == 200


@pytest.mark.parametrize("path", ["/poll", "/work"])
async def test_an_address_has_a_share_whoever_asks(path: str) -> None:
    site = Site()
    async with site.waiting(*((path, name, STRANGER) for name in "abc")):
        assert await site.status(path, "d") == 429
        site.go.set()
        assert await site.status(path, "d", NEIGHBOUR) == 200
    site.go.set()
    assert await site.status(path, "d") == 200  # all slots were given back


async def test_unfinished_bodies_of_strangers_have_a_share() -> None:
    site = Site()
    async with site.waiting(*[("/open", None, STRANGER)] * 3):
        assert await site.status("/open") == 429
        site.go.set()
        assert await site.status("/open", peer=NEIGHBOUR) == 200


async def test_operators_are_answered_when_nothing_else_is() -> None:
    site = Site()
    addresses = [f"192.0.2.{number}" for number in range(6)]
    async with site.waiting(*(("/open", None, address) for address in addresses)):
        assert await site.status("/open", peer=NEIGHBOUR) == 503
        assert await site.status("/health", peer=NEIGHBOUR) == 200
        assert await site.status("/health") == 200


class Socket:
    """One socket from an address."""

    def __init__(self, site: Site, peer: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self.frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.frames.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "raw_path": b"/socket", "query_string": b"", "headers": [], "client": (peer, 1)}
        scope["subprotocols"] = ["m.json"]
        self.task = asyncio.create_task(site.app(scope, self.frames.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def settle(self) -> int:
        """What the handshake led to."""
        for _ in range(10):
            await asyncio.sleep(0)
        return 101 if self.sent[0]["type"] == "websocket.accept" else int(self.sent[0]["status"])

    async def say(self, text: str) -> None:
        """Send a frame."""
        self.frames.put_nowait({"type": "websocket.receive", "text": text})
        await self.settle()


async def test_sockets_without_a_token_have_a_share() -> None:
    site = Site()
    first = Socket(site, STRANGER)
    assert await first.settle() == 101
    assert await Socket(site, STRANGER).settle() == 429
    neighbour = Socket(site, NEIGHBOUR)
    assert await neighbour.settle() == 101
    await first.say("token")
    second = Socket(site, STRANGER)
    assert await second.settle() == 101
    await second.say("token")
    third = Socket(site, STRANGER)
    assert await third.settle() == 101
    await third.say("token")
    assert await Socket(site, STRANGER).settle() == 429  # the share of all sockets of an address
    for socket in (first, second, third, neighbour):
        socket.frames.put_nowait({"type": "websocket.disconnect"})
        await socket.task
    last = Socket(site, STRANGER)
    assert await last.settle() == 101
    last.frames.put_nowait({"type": "websocket.disconnect"})
    await last.task


def test_slots_are_given_back_together() -> None:
    shares, slots = Shares(2), Slots()
    slots.take(shares, "a")
    slots.take(shares, "a")
    slots.take(shares, None)
    with pytest.raises(LimitExceeded):
        slots.take(shares, "a")
    slots.release()
    slots.release()
    assert len(shares) == 0


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("127.0.0.1", None),
        ("127.3.2.1", None),
        ("::1", None),
        ("", None),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("unix", "unix"),
    ],
)
def test_owners_of_addresses(address: str, owner: str | None) -> None:
    assert address_owner(address) == owner
