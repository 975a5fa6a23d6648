"""Routes, calls and errors of the web layer, through the ASGI interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
import orjson
import pytest

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.ports.requester import Requester
from homeserver.ports.store import StoreUnavailable
from homeserver.web.app import Application, WebSettings
from homeserver.web.call import HandlerMismatch
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import Rate, RateLimiter
from homeserver.web.request import Request
from homeserver.web.response import Json, Response
from homeserver.web.route import Auth, Route
from tests.support.asgi import AsgiClient

R = Route[list[Any]]
ROOMS = "/_matrix/client/v3/rooms"


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


class Tokens:
    """Knows the tokens `alice`, `guest` and `bridge` (which may masquerade)."""

    async def authenticate(
        self, token: str, *, masquerade_user: str | None = None, masquerade_device: str | None = None
    ) -> Requester:
        if token == "guest":
            return Requester("@guest:hs", is_guest=True)
        if token == "bridge":
            return Requester(masquerade_user or "@bridge:hs", masquerade_device, appservice="b", rate_limited=False)
        if token != "alice":
            raise MatrixError(ErrCode.UNKNOWN_TOKEN, "Unknown token")
        return Requester("@alice:hs", "DEV")


class Login(msgspec.Struct):
    type: str
    user: str | None = None
    age: int = 0


class Sent(msgspec.Struct, omit_defaults=True):
    event_id: str
    extra: Any = None


async def send(
    api: list[Any], who: Requester, *, room_id: str, event_type: str, txn_id: str, body: dict[str, Any], ts: int = 0
) -> Sent:
    return Sent(f"{who.user_id}|{room_id}|{event_type}|{txn_id}|{ts}", orjson.Fragment(orjson.dumps(body)))


async def state(api: list[Any], who: Requester, *, room_id: str, event_type: str, state_key: str) -> dict[str, Any]:
    return {"room_id": room_id, "type": event_type, "state_key": state_key}


async def login(api: list[Any], *, body: Login) -> Json:
    return Json.of(body, 401 if body.type == "uia" else 200)


async def logout(api: list[Any], who: Requester, *, body: dict[str, Any] | None = None) -> None:
    api.append(body)


async def messages(
    api: list[Any],
    who: Requester | None,
    *,
    room_id: str,
    dir: Literal["b", "f"],
    limit: int = 10,
    full: bool = False,
    server: list[str] = [],  # noqa: B006
    state_after: bool = False,
) -> list[Any]:
    return [who and who.user_id, dir, limit, full, server, state_after]


async def fail(api: list[Any], *, kind: str) -> None:
    raise {
        "limit": LimitExceeded(1500),
        "store": StoreUnavailable("no database"),
        "bug": RuntimeError("secret detail"),
        "forbidden": MatrixError(ErrCode.FORBIDDEN, "No"),
    }[kind]


async def unserialisable(api: list[Any]) -> dict[str, Any]:
    return {"x": object()}


async def surrogate(api: list[Any]) -> dict[str, Any]:
    return {"x": "a\ud800b"}


async def hold(api: list[Any], who: Requester, *, body: dict[str, Any]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        api.append("released")


async def download(api: list[Any], *, request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    return Response(206, (("Content-Type", "text/plain"),), pieces())


async def upload(api: list[Any], *, request: Request) -> dict[str, Any]:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size, "ip": request.client_ip, "agent": request.user_agent}


ROUTES = [
    R("PUT", ROOMS + "/{roomId}/send/{eventType}/{txnId}", send, limit="message"),
    R("GET", ROOMS + "/{roomId}/state/{eventType}/{stateKey}", state),
    R("GET", ROOMS + "/{roomId}/state/{eventType}", state, fixed={"state_key": ""}, slash=True),
    R("POST", "/_matrix/client/v3/login", login, auth=Auth.NONE, limit="login"),
    R("POST", "/_matrix/client/v3/logout", logout, auth=Auth.GUEST_OK),
    R(
        "GET",
        ROOMS + "/{roomId}/messages",
        messages,
        auth=Auth.OPTIONAL,
        query_names={"state_after": ("use_state_after", "org.matrix.msc4222.use_state_after")},
    ),
    R("POST", "/_matrix/client/v3/hold", hold, held=True),
    R("GET", "/fail/{kind}", fail, auth=Auth.NONE),
    R("GET", "/unserialisable", unserialisable, auth=Auth.NONE),
    R("GET", "/surrogate", surrogate, auth=Auth.NONE),
    R("GET", "/_matrix/media/v3/download", download, auth=Auth.NONE),
    R("POST", "/_matrix/media/v3/upload", upload, auth=Auth.NONE, body_limit=100),
]


class Site:
    """An application over `ROUTES` with its parts at hand."""

    def __init__(self, routes: list[R] = ROUTES, **settings: Any) -> None:
        self.api: list[Any] = []
        self.clock = ManualClock()
        rates = {"message": Rate(1, 2), "login": Rate(0.1, 1)}
        self.app = Application(
            [Mount(self.api, routes)],
            settings=WebSettings(**settings),
            authenticator=Tokens(),
            limits=RateLimiter(rates, self.clock, enabled=settings.get("body_limit") != 1000),
            metrics=Metrics(),
            clock=self.clock,
        )
        self.client = AsgiClient(self.app, token="alice")
        self.nobody = AsgiClient(self.app)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_path_parts_are_decoded_one_by_one(site: Site) -> None:
    answer = await site.client.request("PUT", ROOMS + "/%21r%2Fx%3Ahs/send/m.x%2Fy/t%25?ts=5", json={"a": [1]})
    assert answer.status == 200
    assert answer.json == {"event_id": "@alice:hs|!r/x:hs|m.x/y|t%|5", "extra": {"a": [1]}}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
