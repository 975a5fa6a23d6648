"""Routes, calls and errors of the web layer, through the ASGI interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any, Literal

import msgspec
import orjson
import pytest

from homeserver.core.errors import ErrCode, LimitExceeded, MatrixError
from homeserver.ports.ratelimits import Rate
from homeserver.ports.requester import Requester
from homeserver.ports.store import StoreUnavailable
from homeserver.web.app import Application, WebSettings
from homeserver.web.call import HandlerMismatch
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import RateLimiter
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
    """Knows the tokens `alice`, `admin`, `guest` and `bridge` (which may masquerade)."""

    async def authenticate(
        self, token: str, *, masquerade_user: str | None = None, masquerade_device: str | None = None
    ) -> Requester:
        if token == "guest":
            return Requester("@guest:hs", is_guest=True)
        if token == "bridge":
            return Requester(masquerade_user or "@bridge:hs", masquerade_device, appservice="b", rate_limited=False)
        if token == "admin":
            return Requester("@admin:hs", "DEV", is_admin=True)
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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_matrix/client/v3/rooms//send/a/b", 404),
        ("PUT", ROOMS + "//send/a/b", 404),
        ("PUT", ROOMS + "/r/send/a/bX/", 404),
        ("PUT", ROOMS + "/r/send/a", 404),
        ("PUT", "/x" + ROOMS + "/r/send/a/b", 404),
        ("PUT", "//_matrix/client/v3/rooms/r/send/a/b", 404),
        ("POST", "/_matrix/client/v3/loginX", 404),
        ("POST", "/_matrix/client/v3/login/", 404),
        ("POST", "/_matrix/client/v3/%6Cogin", 404),
        ("GET", "/_matrix/client/v3/login", 405),
        ("DELETE", ROOMS + "/r/send/a/b", 405),
        ("GET", "/nothing", 404),
        ("GET", "", 404),
    ],
)
async def test_unknown_paths_and_methods(site: Site, method: str, path: str, status: int) -> None:
    answer = await site.client.request(method, path)
    assert (answer.status, answer.json["errcode"]) == (status, "M_UNRECOGNIZED")
    assert ("access-control-allow-origin" in answer.headers) == path.startswith("/_matrix/client")


@pytest.mark.parametrize("bad", ["%ff", "a%00b", "%ed%a0%80"])
async def test_bad_text_in_path_and_query(site: Site, bad: str) -> None:
    in_path = await site.client.request("GET", f"{ROOMS}/{bad}/state/a/b")
    in_query = await site.client.request("GET", f"{ROOMS}/r/messages?dir={bad}")
    for answer in (in_path, in_query):
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("path", ["/r/state/m.room.name", "/r/state/m.room.name/"])
@pytest.mark.parametrize("version", ["v3", "r0"])
async def test_aliases_and_trailing_slash(site: Site, version: str, path: str) -> None:
    answer = await site.client.request("GET", f"/_matrix/client/{version}/rooms{path}")
    assert answer.json == {"room_id": "r", "type": "m.room.name", "state_key": ""}


async def test_fixed_parameters_are_not_query_parameters(site: Site) -> None:
    answer = await site.client.request("GET", ROOMS + "/r/state/m.room.name?state_key=x")
    assert answer.json["state_key"] == ""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("dir=b", [None, "b", 10, False, [], False]),
        ("dir=f&limit=-5&full=true&server=a%26b&server=c+d", [None, "f", -5, True, ["a&b", "c d"], False]),
        ("dir=b&org.matrix.msc4222.use_state_after=true", [None, "b", 10, False, [], True]),
        ("dir=b&dir=x&&unknown", [None, "b", 10, False, [], False]),
        ("", "M_MISSING_PARAM"),
        ("dir=x", "M_INVALID_PARAM"),
        ("dir=b&limit=abc", "M_INVALID_PARAM"),
        ("dir=b&limit=1e99", "M_INVALID_PARAM"),
        ("dir=b&limit=9007199254740992", "M_INVALID_PARAM"),
        ("dir=b&limit=", "M_INVALID_PARAM"),
        ("dir=b&limit=%D9%A1", "M_INVALID_PARAM"),
        ("dir=b&full=1", "M_INVALID_PARAM"),
    ],
)
async def test_query_parameters(site: Site, query: str, expected: Any) -> None:
    answer = await site.nobody.request("GET", f"{ROOMS}/r/messages?{query}")
    assert (answer.json if answer.status == 200 else answer.json["errcode"]) == expected


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"type":"a"}', 200, None),
        (b'{"type":"a","unknown":1}', 200, None),
        (b'{"type":"uia"}', 401, None),
        (b"{}", 400, "M_MISSING_PARAM"),
        (b'{"type":5}', 400, "M_BAD_JSON"),
        (b'{"type":null}', 400, "M_BAD_JSON"),
        (b'{"type":"a","age":1.0}', 400, "M_BAD_JSON"),
        (b'{"type":"a","age":true}', 400, "M_BAD_JSON"),
        (b'{"type":"a","age":9007199254740992}', 400, "M_BAD_JSON"),
        (b'{"type":"\\ud800"}', 400, "M_BAD_JSON"),
        (b"", 400, "M_NOT_JSON"),
        (b"{", 400, "M_NOT_JSON"),
        (b'\xff\xfe{\x00"\x00', 400, "M_NOT_JSON"),
        (b'\xef\xbb\xbf{"type":"a"}', 400, "M_NOT_JSON"),
        (b'{"type":NaN}', 400, "M_NOT_JSON"),
        (b"[]", 400, "M_BAD_JSON"),
        (b"null", 400, "M_BAD_JSON"),
        (b'{"type":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "M_BAD_JSON"),
    ],
)
async def test_bodies(body: bytes, status: int, code: str | None) -> None:
    answer = await Site().nobody.request("POST", "/_matrix/client/v3/login", body=body)
    assert (answer.status, answer.json.get("errcode")) == (status, code)


async def test_an_empty_body_is_allowed_where_the_body_has_a_default(site: Site) -> None:
    assert (await site.client.request("POST", "/_matrix/client/v3/logout")).json == {}
    await site.client.request("POST", "/_matrix/client/v3/logout", json={"a": 1})
    assert site.api == [None, {"a": 1}]


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "MULTIPART/Form-Data", "text/plain"])
async def test_the_content_type_is_ignored(site: Site, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = await site.nobody.request("POST", "/_matrix/client/v3/login", json={"type": "a"}, headers=headers)
    assert answer.status == 200


async def test_body_limits() -> None:
    site = Site(body_limit=1000)
    path = "/_matrix/client/v3/login"
    announced = await site.nobody.request("POST", path, body=b"{}", headers={"Content-Length": "1001"})
    chunked = await site.nobody.request("POST", path, body=[b" " * 600, b" " * 600, b"{}"])
    fits = await site.nobody.request("POST", path, body=[b'{"type"', b':"a"}', b" " * 900])
    route_limit = await site.nobody.request("POST", "/_matrix/media/v3/upload", body=b"x" * 101)
    for answer in (announced, chunked, route_limit):
        assert (answer.status, answer.json["errcode"], answer.headers["connection"]) == (413, "M_TOO_LARGE", "close")
    assert fits.status == 200


async def test_two_body_lengths_are_refused(site: Site) -> None:
    headers = {"Content-Length": "2", "Transfer-Encoding": "chunked"}
    answer = await site.nobody.request("POST", "/_matrix/client/v3/login", body=b"{}", headers=headers)
    assert (answer.status, answer.headers["connection"]) == (400, "close")


async def test_authentication(site: Site) -> None:
    path = ROOMS + "/r/state/a/b"

    async def code(query: str = "", **headers: str) -> tuple[int, str | None]:
        answer = await site.nobody.request("GET", path + query, headers=headers)
        return answer.status, answer.json.get("errcode")

    assert await code() == (401, "M_MISSING_TOKEN")
    assert await code(authorization="Basic YQ==") == (401, "M_MISSING_TOKEN")
    assert await code(authorization="Bearer ") == (401, "M_MISSING_TOKEN")
    assert await code(authorization="Bearer nobody") == (401, "M_UNKNOWN_TOKEN")
    assert await code(authorization="bearer alice") == (200, None)
    assert await code("?access_token=alice") == (401, "M_MISSING_TOKEN")
    assert await code("?access_token=alice", authorization="Bearer alice") == (401, "M_MISSING_TOKEN")
    assert await code(authorization="Bearer guest") == (403, "M_GUEST_ACCESS_FORBIDDEN")
    site = Site(query_tokens=True)
    assert await code("?access_token=alice") == (200, None)
    assert await code("?access_token=alice", authorization="Bearer alice") == (401, "M_MISSING_TOKEN")


async def test_optional_authentication(site: Site) -> None:
    path = ROOMS + "/r/messages?dir=b"
    assert (await site.nobody.request("GET", path)).json[0] is None
    assert (await site.client.request("GET", path)).json[0] == "@alice:hs"
    bad = await site.nobody.request("GET", path, headers={"Authorization": "Bearer stale"})
    assert bad.json["errcode"] == "M_UNKNOWN_TOKEN"


async def test_a_stale_token_does_not_break_login(site: Site) -> None:
    headers = {"Authorization": "Bearer stale"}
    answer = await site.nobody.request("POST", "/_matrix/client/v3/login", json={"type": "a"}, headers=headers)
    assert answer.status == 200


async def test_application_services_masquerade(site: Site) -> None:
    site.client.token = "bridge"
    answer = await site.client.request("PUT", ROOMS + "/r/send/t/1?user_id=%40ghost%3Ahs", json={})
    assert answer.json["event_id"].startswith("@ghost:hs|")


async def test_rate_limits_by_user_and_by_address(site: Site) -> None:
    async def send_one() -> Any:
        return await site.client.request("PUT", ROOMS + "/r/send/t/1", json={})

    assert [(await send_one()).status for _ in range(3)] == [200, 200, 429]
    site.clock.seconds += 0.25
    refused = await send_one()
    assert refused.json["errcode"] == "M_LIMIT_EXCEEDED"
    assert (refused.json["retry_after_ms"], refused.headers["retry-after"]) == (750, "1")
    site.clock.seconds += 0.75
    assert (await send_one()).status == 200
    site.client.token = "bridge"
    assert {(await send_one()).status for _ in range(5)} == {200}

    async def login_from(peer: str) -> int:
        client = AsgiClient(site.app, peer=peer)
        return (await client.request("POST", "/_matrix/client/v3/login", json={"type": "a"})).status

    assert [await login_from("192.0.2.1"), await login_from("192.0.2.1"), await login_from("192.0.2.2")] == [
        200,
        429,
        200,
    ]


async def test_errors(site: Site) -> None:
    limit = await site.nobody.request("GET", "/fail/limit")
    assert (limit.status, limit.headers["retry-after"], limit.json["retry_after_ms"]) == (429, "2", 1500)
    assert limit.headers["access-control-expose-headers"] == "Retry-After"
    store = await site.nobody.request("GET", "/fail/store")
    assert (store.status, store.json["errcode"]) == (503, "M_UNKNOWN")
    assert "retry-after" in store.headers
    forbidden = await site.nobody.request("GET", "/fail/forbidden")
    assert (forbidden.status, forbidden.json) == (403, {"errcode": "M_FORBIDDEN", "error": "No"})
    for path in ("/fail/bug", "/unserialisable"):
        bug = await site.nobody.request("GET", path)
        assert (bug.status, bug.json["errcode"]) == (500, "M_UNKNOWN")
        assert "secret" not in bug.json["error"]


async def test_a_lone_surrogate_in_an_answer_is_replaced(site: Site) -> None:
    answer = await site.nobody.request("GET", "/surrogate")
    assert answer.json == {"x": "a�b"}


async def test_preflight_does_nothing_else(site: Site) -> None:
    answer = await site.nobody.request("OPTIONS", "/_matrix/client/v3/anything")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-headers"] == "X-Requested-With, Content-Type, Authorization"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    elsewhere = await site.nobody.request("OPTIONS", "/fail/bug")
    assert (elsewhere.status, "access-control-allow-origin" in elsewhere.headers) == (405, False)


async def test_a_held_request_ends_with_its_client(site: Site) -> None:
    gone = asyncio.Event()
    request = asyncio.create_task(
        site.client.request("POST", "/_matrix/client/v3/hold", body=[b"{", b"}"], disconnect=gone)
    )
    for _ in range(10):
        await asyncio.sleep(0)
    assert not request.done()
    gone.set()
    assert (await request).status == 0
    assert site.api == ["released"]


async def test_busy_server() -> None:
    site = Site(max_held=1)
    gone = asyncio.Event()
    first = asyncio.create_task(site.client.request("POST", "/_matrix/client/v3/hold", json={}, disconnect=gone))
    for _ in range(10):
        await asyncio.sleep(0)
    second = await site.client.request("POST", "/_matrix/client/v3/hold", json={})
    assert (second.status, second.json["errcode"]) == (503, "M_UNKNOWN")
    assert "retry-after" in second.headers
    assert (await site.nobody.request("GET", "/surrogate")).status == 200
    gone.set()
    await first


async def test_streams_in_and_out(site: Site) -> None:
    down = await site.nobody.request("GET", "/_matrix/media/v3/download")
    assert (down.status, down.body, down.headers["content-type"]) == (206, b"one two", "text/plain")
    up = await site.nobody.request(
        "POST", "/_matrix/media/v3/upload", body=[b"x" * 50, b"y" * 50], headers={"User-Agent": "t"}
    )
    assert up.json == {"size": 100, "ip": "127.0.0.1", "agent": "t"}


async def test_forwarded_addresses_count_from_trusted_proxies_only() -> None:
    async def ip(peer: str, forwarded: str, trusted: tuple[str, ...]) -> str:
        client = AsgiClient(Site(trusted_proxies=tuple(map(ip_network, trusted))).app, peer=peer)
        headers = {"X-Forwarded-For": forwarded}
        answer = await client.request("POST", "/_matrix/media/v3/upload", body=b"", headers=headers)
        return str(answer.json["ip"])

    assert await ip("198.51.100.1", "192.0.2.9", ()) == "198.51.100.1"
    assert await ip("198.51.100.1", "192.0.2.9", ("127.0.0.0/8",)) == "198.51.100.1"
    assert await ip("127.0.0.1", "203.0.113.7, 192.0.2.9", ("127.0.0.0/8",)) == "192.0.2.9"
    assert await ip("127.0.0.1", "203.0.113.7, 127.0.0.2", ("127.0.0.0/8",)) == "203.0.113.7"
    assert await ip("127.0.0.1", "garbage", ("127.0.0.0/8",)) == "127.0.0.1"


async def _no_who(api: Any, *, room_id: str) -> None: ...
async def _lacks(api: Any, who: Requester) -> None: ...
async def _odd_type(api: Any, who: Requester, *, room_id: str, when: float) -> None: ...
async def _odd_body(api: Any, who: Requester, *, room_id: str, body: list[int]) -> None: ...
async def _int_path(api: Any, who: Requester, *, room_id: int) -> None: ...
async def _not_optional(api: Any, who: Requester, *, room_id: str) -> None: ...
async def _fits(api: Any, who: Requester, *, room_id: str) -> None: ...


@pytest.mark.parametrize(
    ("handler", "extra"),
    [
        (_no_who, {}),
        (_lacks, {}),
        (_odd_type, {}),
        (_odd_body, {}),
        (_int_path, {}),
        (_not_optional, {"auth": Auth.OPTIONAL}),
        (_fits, {"auth": Auth.NONE}),
        (_fits, {"query_names": {"since": "from"}}),
        (_fits, {"fixed": {"key": ""}}),
        (_fits, {"limit": "no_such_bucket"}),
    ],
)
def test_a_handler_that_does_not_fit_stops_the_start(handler: Any, extra: dict[str, Any]) -> None:
    with pytest.raises(HandlerMismatch):
        Site([R("GET", "/x/{roomId}", handler, **extra)])


def test_two_routes_of_one_path_stop_the_start() -> None:
    with pytest.raises(ValueError, match="served twice"):
        Site([R("GET", "/x/{roomId}", _fits), R("GET", "/x/{room_id}", _fits)])
