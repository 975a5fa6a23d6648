"""A push gateway on loopback: it remembers what it was told, and answers as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

NOTIFY = "/_matrix/push/v1/notify"
# A server whose gateways are on this machine, which it would not ask otherwise.
ENVIRONMENT = {"HROMADA_PUSH_INSECURE_GATEWAYS": "true", "HROMADA_OUTBOUND_ALLOW": "127.0.0.0/8"}


class PushGateway:
    """What was pushed, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[dict[str, Any]] = []
        self.rejected: list[str] = []
        self.status = 200
        self.asked = 0
        """Requests, those that were refused too."""
        self.answering = asyncio.Event()
        """While it is clear, requests are taken and get no answer."""
        self.answering.set()
        self._changed = asyncio.Condition()

    async def notify(self, request: web.Request) -> web.StreamResponse:
        """The endpoint."""
        notification = (await request.json())["notification"]
        self.asked += 1
        if self.status == 200:
            self.received.append(notification)
        async with self._changed:
            self._changed.notify_all()
        await self.answering.wait()
        if self.status in (301, 302, 307):
            return web.Response(status=self.status, headers={"Location": self.url})
        return web.json_response({"rejected": self.rejected}, status=self.status)

    def of(self, pushkey: str) -> list[dict[str, Any]]:
        """What this push key was told of events."""
        return [
            one for one in self.received if one["devices"][0]["pushkey"] == pushkey and one.get("event_id") is not None
        ]

    def badges(self, pushkey: str) -> list[int]:
        """The numbers that this push key was told."""
        return [one["counts"]["unread"] for one in self.received if one["devices"][0]["pushkey"] == pushkey]

    async def until(self, wanted: Any) -> None:
        """Wait until `wanted()` holds."""
        async with asyncio.timeout(120), self._changed:
            await self._changed.wait_for(wanted)

    def data(self, **more: Any) -> dict[str, Any]:
        """`data` of a pusher that goes here."""
        return {"url": self.url, **more}


@asynccontextmanager
async def running_gateway() -> AsyncIterator[PushGateway]:
    """A gateway on a free port."""
    gateway = PushGateway()
    application = web.Application()
    application.router.add_post(NOTIFY, gateway.notify)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    gateway.url = f"http://{host}:{port}{NOTIFY}"
    try:
        yield gateway
    finally:
        await runner.cleanup()
