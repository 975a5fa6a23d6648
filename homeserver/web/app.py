"""The ASGI application: finds the route, the caller and the arguments, calls the handler, maps errors, answers.

The only place where errors become HTTP. Holds no protocol logic: what an endpoint does is in the roles' handlers.
Why this is plain ASGI: docs/adr/0002-plain-asgi.md.  spec: client-server-api#api-standards
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.requester import CALLER_ADDRESS, Authenticator, Requester
from homeserver.ports.socket import CloseCode, CloseSocket, SocketClosed
from homeserver.ports.store import StoreUnavailable
from homeserver.web.answers import (
    Answer,
    AsgiApp,
    Scope,
    Send,
    answer_of,
    error_answer,
    error_json,
    in_one_piece,
    json_of,
    send_answer,
)
from homeserver.web.arriving import ARRIVING
from homeserver.web.auth import requester
from homeserver.web.cors import cors_headers, preflight_headers
from homeserver.web.endpoint import Endpoint, Mount, build_router
from homeserver.web.leaving import ZERO_COPY
from homeserver.web.metrics import Metrics
from homeserver.web.plain import PLAIN
from homeserver.web.ratelimit import Network, RateLimiter, address_key, client_address
from homeserver.web.request import ClientDisconnected, Receive, Request, UnreadBody, while_connected
from homeserver.web.response import Response
from homeserver.web.route import Auth, Route, WebSocketRoute
from homeserver.web.router import parse_query
from homeserver.web.shares import Shares, ShareSettings, Slots, address_owner
from homeserver.web.websocket import SocketSettings, Upgrade, WebSocket

_ARRIVING = 16
_RETRY_MS = 1_000
_RETRY_SPREAD_MS = 4_000

_log = structlog.stdlib.get_logger("homeserver.web")


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The bounds of the web layer."""

    body_limit: int = 1024 * 1024
    body_timeout: float = 60.0
    max_in_flight: int = 2_000
    max_held: int = 20_000
    shares: ShareSettings = field(default_factory=ShareSettings)
    query_tokens: bool = False
    trusted_proxies: Sequence[Network] = ()
    log_requests: bool = False
    sockets: SocketSettings = field(default_factory=SocketSettings)


class Application:
    """The ASGI callable that serves all mounted routes."""

    def __init__(  # noqa: PLR0913 - what the composition root hands to the only user of all of it
        self,
        mounts: Iterable[Mount[Any]],
        *,
        settings: WebSettings,
        authenticator: Authenticator,
        limits: RateLimiter,
        metrics: Metrics,
        clock: Clock,
        pages: Callable[[], AsgiApp] | None = None,
        seen: Callable[[str, str, str, str | None], None] | None = None,
        chance: Callable[[], float] = lambda: 0.5,
    ) -> None:
        """`seen` is told the user, device and address of every authenticated request. `chance` gives a random number
        from 0 to 1, by which those who are told to come again do not all come at once.

        `pages` makes the application for HTML pages. It is called at the first request outside `/_matrix/` and
        `/_synapse/` that no route serves, so that start does not wait for it."""
        mounts = list(mounts)
        self._router = build_router(mounts, limits, metrics)
        self._sockets = {row.path.encode(): (mount, row) for mount in mounts for row in mount.sockets}
        self._settings = settings
        self._authenticator = authenticator
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._make_pages = pages
        self._seen = seen
        self._chance = chance
        self._pages: AsgiApp | None = None
        shares = settings.shares
        self._requests_of = Shares(shares.requests_user), Shares(shares.requests_address)
        self._polls_of = Shares(shares.held_user), Shares(shares.held_address)
        self._unknown_sockets_of = Shares(shares.unknown_sockets)
        self._in_flight = 0
        self._held = 0
        # After a restart everybody comes at once, and everybody's token must be looked up. Who waits for a turn costs
        # nothing; if all were let in, each would wait for the database behind all others, give up, and come again.
        self._arriving = asyncio.Semaphore(_ARRIVING)
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._clock.monotonic()
        self._count += 1
        raw_path: bytes = scope["raw_path"]
        method: str = scope["method"]
        cors = cors_headers(raw_path)
        if method == "OPTIONS" and cors:
            await send_answer(send, receive, Answer(204, [], b""), preflight_headers(raw_path))
            return
        request_id = f"{self._count:x}"
        structlog.contextvars.bind_contextvars(request=request_id)
        endpoint: Endpoint | None = None
        request: Request | None = None
        try:
            endpoint, values = self._router.find(method, raw_path)
            self._refuse_overload(endpoint)
            request = self._request(scope, receive, request_id, endpoint)
            answer = answer_of(await self._handle(endpoint, request, values))
        except ClientDisconnected:
            return
        except Exception as error:
            # The error itself is not kept: its traceback has this frame, and both would wait for the garbage collector.
            unread = isinstance(error, UnreadBody) or (request is not None and request.has_unread_body)
            answer = error_answer(self._matrix_error(error, method, raw_path, request_id), lingers=unread)
        if endpoint is None and answer.status == 404 and await self._page(scope, receive, send):
            return
        await send_answer(send, receive, answer, cors, files=ZERO_COPY in (scope.get("extensions") or ()))
        self._finish(endpoint, answer.status, method, raw_path, self._clock.monotonic() - started)

    def _finish(self, endpoint: Endpoint | None, status: int, method: str, raw_path: bytes, seconds: float) -> None:
        if endpoint is not None:
            endpoint.duration.observe(seconds)
            endpoint.count(status)
        if self._settings.log_requests:
            # The path only: the query may hold a token.
            path = raw_path.decode("latin-1")
            _log.info("request", method=method, path=path, status=status, ms=round(seconds * 1000, 2))

    # --- sockets ---

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        socket = WebSocket(receive, send, self._settings.sockets, scope.get("extensions") or {})
        try:
            mount, route = self._socket_route(scope)
        except MatrixError as error:
            await socket.refuse(error)
            return
        peer = self._client_ip(scope, _headers(scope))
        slots, unknown = Slots(), Slots()
        try:
            slots.take(self._polls_of[1], address_owner(peer))
            unknown.take(self._unknown_sockets_of, address_owner(peer))
        except MatrixError as error:
            slots.release()
            await socket.refuse(error)
            return
        self._held += 1
        self._metrics.held.inc()
        try:
            await socket.accept(route.subprotocol)
            await route.handler(mount.services, Upgrade(socket, partial(self._call, peer), unknown.release))
            await self._close(socket, CloseCode.NORMAL, "")
        except SocketClosed:
            pass
        except CloseSocket as end:
            await self._close(socket, end.code, end.reason)
        except StoreUnavailable:
            await self._close(socket, CloseCode.TRY_AGAIN, "The database is not available")
        except Exception:
            _log.exception("socket failed", path=route.path)
            await self._close(socket, CloseCode.INTERNAL, "Internal server error")
        finally:
            slots.release()
            unknown.release()
            self._held -= 1
            self._metrics.held.dec()

    async def _close(self, socket: WebSocket, code: CloseCode, reason: str) -> None:
        self._metrics.closes.labels(int(code)).inc()
        await socket.close(code, reason)

    def _socket_route(self, scope: Scope) -> tuple[Mount[Any], WebSocketRoute[Any]]:
        """Where the handshake goes. Raises MatrixError, which refuses it before any data flows."""
        found = self._sockets.get(scope["raw_path"])
        if found is None:
            raise MatrixError(ErrCode.UNRECOGNIZED, "This server does not know this path")
        if "access_token" in parse_query(scope["query_string"]):
            raise MatrixError(ErrCode.MISSING_TOKEN, "Send the access token in the first frame, never in the URL")
        origin = _headers(scope).get("origin")
        allowed = self._settings.sockets.origins
        if allowed and origin is not None and origin not in allowed:
            raise MatrixError(ErrCode.FORBIDDEN, "Pages of this origin may not open sockets here")
        if found[1].subprotocol not in scope["subprotocols"]:
            raise MatrixError(ErrCode.UNRECOGNIZED, f"Offer the subprotocol {found[1].subprotocol}", status=400)
        if self._held >= self._settings.max_held:
            raise self._later("The server is busy")
        return found

    async def _call(self, peer: str, token: str, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Serve a request that came over a socket, as if it had come over HTTP with the socket's token."""
        started = self._clock.monotonic()
        self._count += 1
        request_id = f"{self._count:x}"
        path, _, query = target.partition("?")
        raw_path = path.encode()
        endpoint: Endpoint | None = None
        try:
            endpoint, values = self._router.find(method, raw_path)
            if endpoint.route.held or not raw_path.startswith(b"/_matrix/client/"):
                raise MatrixError(ErrCode.UNRECOGNIZED, "Use HTTP for this", status=400)
            self._refuse_overload(endpoint)
            headers = {"authorization": f"Bearer {token}"}
            request = Request(
                method=method, raw_path=raw_path, headers=headers, query=parse_query(query.encode()),
                client_ip=peer, request_id=request_id, receive=_whole(body),
            )  # fmt: skip
            result = await self._handle(endpoint, self._bounded(request, endpoint), values)
            if isinstance(result, Response):
                result = await in_one_piece(result)
            status, data = json_of(result)
        except Exception as error:
            status, data = error_json(self._matrix_error(error, method, raw_path, request_id))
        self._finish(endpoint, status, method, raw_path, self._clock.monotonic() - started)
        return status, data

    def _matrix_error(self, error: Exception, method: str, raw_path: bytes, request_id: str) -> MatrixError:
        """What the client is told of an error; what it must not know goes to the log."""
        if isinstance(error, MatrixError):
            return error
        if isinstance(error, StoreUnavailable):
            _log.warning("database unavailable", method=method)
            return self._later("The database is not available")
        _log.error("handler failed", method=method, path=raw_path.decode("latin-1"), exc_info=error)
        return MatrixError(ErrCode.UNKNOWN, f"Internal server error (request {request_id})", status=500)

    def _later(self, message: str) -> MatrixError:
        """Come again, but not all of you at once."""
        milliseconds = _RETRY_MS + int(_RETRY_SPREAD_MS * self._chance())
        return MatrixError(ErrCode.UNKNOWN, message, status=503, retry_after_ms=milliseconds)

    # --- from the request to the handler's result ---

    def _refuse_overload(self, endpoint: Endpoint) -> None:
        if endpoint.route.spare:
            full = False
        elif endpoint.route.held:
            full = self._held >= self._settings.max_held
        else:
            full = self._in_flight >= self._settings.max_in_flight
        if full:
            raise self._later("The server is busy")

    def _request(self, scope: Scope, receive: Receive, request_id: str, endpoint: Endpoint) -> Request:
        headers = _headers(scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            # Two lengths are two opinions about where the next request starts: request smuggling.
            raise UnreadBody(ErrCode.UNKNOWN, "Content-Length and Transfer-Encoding exclude each other", status=400)
        extensions = scope.get("extensions") or {}
        request = Request(
            method=scope["method"],
            raw_path=scope["raw_path"],
            headers=headers,
            query=parse_query(scope["query_string"]),
            client_ip=self._client_ip(scope, headers),
            request_id=request_id,
            receive=receive,
            caller=extensions.get(PLAIN),
            arriving=extensions.get(ARRIVING),
        )
        return self._bounded(request, endpoint)

    def _client_ip(self, scope: Scope, headers: Mapping[str, str]) -> str:
        client = scope.get("client")
        peer = client[0] if client else ""
        return client_address(peer, headers.get("x-forwarded-for"), self._settings.trusted_proxies)

    def _bounded(self, request: Request, endpoint: Endpoint) -> Request:
        """The request with the bounds of its route."""
        limit = endpoint.route.body_limit
        request.route = endpoint.route.path
        request.query_tokens = self._settings.query_tokens
        request.body_limit = self._settings.body_limit if limit is None else limit
        request.body_timeout = self._settings.body_timeout
        return request

    async def _handle(self, endpoint: Endpoint, request: Request, values: list[str]) -> Any:
        """Everything from authentication to the handler's result, counted against the right budget."""
        route = endpoint.route
        of_user, of_address = self._polls_of if route.held else self._requests_of
        slots = Slots()
        CALLER_ADDRESS.set(address_key(request.client_ip))
        if not route.spare:
            slots.take(of_address, address_owner(request.client_ip))
        if route.held:
            self._held += 1
            self._metrics.held.inc()
        else:
            self._in_flight += 0 if route.spare else 1
            self._metrics.in_flight.inc()
        try:
            if route.held:
                async with self._arriving:
                    who = await self._admit(route, request)
            else:
                who = await self._admit(route, request)
            if who is not None and who.rate_limited:
                slots.take(of_user, who.user_id)
            if faults.plan is not None:
                await faults.plan.reach("request.admitted")
            handling = endpoint.start(who, await endpoint.arguments(request, values))
            result = await (while_connected(request, handling) if route.held else handling)
            if faults.plan is not None:
                await faults.plan.reach("request.handled")
            return result
        finally:
            slots.release()
            if route.held:
                self._held -= 1
                self._metrics.held.dec()
            else:
                self._in_flight -= 0 if route.spare else 1
                self._metrics.in_flight.dec()

    async def _admit(self, route: Route[Any], request: Request) -> Requester | None:
        """Authenticate and take from the rate limit. Raises MatrixError."""
        who: Requester | None = None
        if route.auth is not Auth.NONE:
            who = await requester(self._authenticator, request, route, query_tokens=self._settings.query_tokens)
            if who is not None and who.device_id is not None and self._seen is not None:
                self._seen(who.user_id, who.device_id, request.client_ip, request.headers.get("user-agent"))
        if route.limit is not None and (who is None or who.rate_limited):
            self._limits.take(route.limit, who.user_id if who is not None else address_key(request.client_ip))
        if who is not None and who.site_id is not None and route.visitors is not None:
            self._limits.take(route.visitors, who.user_id)
        return who

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Hand the request to the HTML pages, if it is none of the API's. False if there are none."""
        if self._make_pages is None or scope["raw_path"].startswith((b"/_matrix/", b"/_synapse/")):
            return False
        if self._pages is None:
            self._pages = self._make_pages()
        await self._pages(scope, receive, send)
        return True


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _whole(body: bytes) -> Receive:
    """A body that has come already."""

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _lifespan(receive: Receive, send: Send) -> None:
    """Start and stop are boot's and serve's work; the server only wants to hear that we know."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
