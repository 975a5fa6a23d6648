"""One row per endpoint: method, path template, handler, and what the web layer does before the handler runs.

The specification anchor, the coverage page, the reverse-proxy rules and the router all come from these rows.
The handler's typed signature is its parser (see `call`).  spec: client-server-api#api-standards
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Concatenate, Generic, TypeVar

Services = TypeVar("Services")

Handler = Callable[Concatenate[Services, ...], Coroutine[Any, Any, Any]]

CLIENT_V3 = "/_matrix/client/v3/"
CLIENT_R0 = "/_matrix/client/r0/"


class Auth(Enum):
    """What a route wants to know about its caller."""

    USER = "user"
    """A user or application service; guests get M_GUEST_ACCESS_FORBIDDEN."""
    ADMIN = "admin"
    """A server administrator's own session; everybody else gets M_FORBIDDEN before the body is read."""
    GUEST_OK = "guest_ok"
    """As USER, guests included."""
    OPTIONAL = "optional"
    """`who` is None without a token; a token that is sent must be good."""
    NONE = "none"
    """No `who`, tokens are not looked at (a stale token must not break login)."""


@dataclass(frozen=True)
class Route(Generic[Services]):
    """One endpoint. `path` names its parameters as the specification does: `/rooms/{roomId}/send/…`."""

    method: str
    path: str
    handler: Handler[Services]
    auth: Auth = field(default=Auth.USER, kw_only=True)
    limit: str | None = field(default=None, kw_only=True)
    """The rate-limit bucket, taken by user, or by address where there is no user."""
    body_limit: int | None = field(default=None, kw_only=True)
    """Largest body in bytes; None is the configured default (1 MiB)."""
    also: tuple[str, ...] = field(default=(), kw_only=True)
    """Further complete path templates with the same parameters: unstable names, old versions."""
    slash: bool = field(default=False, kw_only=True)
    """Serve the path with a trailing slash as well."""
    query_names: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict, kw_only=True)
    """Handler parameter → name or names on the wire, where that is not the parameter's own; the first given counts."""
    fixed: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """Handler parameters this row supplies itself: the empty `state_key` of `/state/{eventType}`."""
    spare: bool = field(default=False, kw_only=True)
    """Answered however busy the server is: it takes no slot, waits for nothing and costs little."""
    media_cookie: bool = field(default=False, kw_only=True)
    """Without a token, the cookie of a page of this server does as well (see `auth`)."""
    visitors: str | None = field(default=None, kw_only=True)
    """The further rate-limit bucket of visitors of support chats, taken by user; None: they may not come here."""
    held: bool = field(default=False, kw_only=True)
    """The handler may wait long (long poll): it ends when the client goes away, and has a budget of its own."""


@dataclass(frozen=True)
class WebSocketRoute(Generic[Services]):
    """One WebSocket endpoint. The handler gets `(services, Upgrade)` of `websocket`, and ends when the socket does."""

    path: str
    handler: Handler[Services]
    subprotocol: str = field(kw_only=True)
    """What the client must offer in `Sec-WebSocket-Protocol`."""


def expand(routes: Iterable[Route[Services]]) -> list[Route[Services]]:
    """One row per path that is served: `also`, the r0 alias of each v3 path, and trailing slashes written out.

    COMPAT(old clients): r0 was the name of v3 before specification v1.1.
    """
    rows: dict[tuple[str, str], Route[Services]] = {}
    for route in routes:
        for path in _paths(route):
            key = (route.method, path)
            if key in rows:
                raise ValueError(f"{route.method} {path} is served twice")
            rows[key] = replace(route, path=path, also=(), slash=False)
    return list(rows.values())


def _paths(route: Route[Any]) -> Iterable[str]:
    for path in (route.path, *route.also):
        names = [path]
        if path.startswith(CLIENT_V3):
            names.append(CLIENT_R0 + path.removeprefix(CLIENT_V3))
        for name in names:
            yield name
            if route.slash:
                yield name + "/"
