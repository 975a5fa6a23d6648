"""A browser maker's push service on loopback, with a browser's keys: it reads what it is sent, as browsers do."""

from __future__ import annotations

import asyncio
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import http_ece
import jwt
import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def base64url(data: bytes) -> str:
    """As browsers write it."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """Bytes of base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True)
class Pushed:
    """A message, and the head of its request."""

    said: dict[str, Any]
    headers: dict[str, str]

    def token(self, public_key: str) -> dict[str, Any]:
        """The claims of who sent it. Raises if it is not the holder of this key."""
        scheme, _, rest = self.headers["Authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert scheme == "vapid"
        assert parts["k"] == public_key
        point = unbase64url(public_key)
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        claims: dict[str, Any] = jwt.decode(parts["t"], key, algorithms=["ES256"], options={"verify_aud": False})
        return claims


class PushService:
    """One browser's subscription, and what came for it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(16)
        self.origin = ""
        self.status = 201
        self.asked = 0
        self.pushed: list[Pushed] = []
        self._changed = asyncio.Condition()

    @property
    def p256dh(self) -> str:
        """The key of the browser."""
        return base64url(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    @property
    def auth(self) -> str:
        """Its secret."""
        return base64url(self._auth)

    @property
    def endpoint(self) -> str:
        """Where messages for it go."""
        return f"{self.origin}/send/one-of-many?x=1"

    async def take(self, request: web.Request) -> web.Response:
        """The endpoint."""
        self.asked += 1
        body = await request.read()
        assert len(body) <= 4_096  # more need not be taken  # RFC 8030, section 7.2
        if self.status == 201:
            clear = http_ece.decrypt(body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
            self.pushed.append(Pushed(orjson.loads(clear), dict(request.headers)))
        async with self._changed:
            self._changed.notify_all()
        return web.Response(status=self.status)

    async def until(self, wanted: Any) -> None:
        """Wait until `wanted()` holds."""
        async with asyncio.timeout(120), self._changed:
            await self._changed.wait_for(wanted)


@asynccontextmanager
async def running_push_service() -> AsyncIterator[PushService]:
    """One on a free port."""
    service = PushService()
    application = web.Application()
    application.router.add_post("/send/one-of-many", service.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    service.origin = f"http://{host}:{port}"
    try:
        yield service
    finally:
        await runner.cleanup()
