"""Routes made ready to serve: each row with its compiled call, the services it works on and its measures."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic

from homeserver.ports.requester import Requester
from homeserver.web.call import Call, HandlerMismatch, compile_call
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import RateLimiter
from homeserver.web.request import Request
from homeserver.web.route import Auth, Route, Services, WebSocketRoute, expand
from homeserver.web.router import Router


@dataclass(frozen=True)
class Mount(Generic[Services]):
    """The routes of one role with the services they work on."""

    services: Services
    routes: Iterable[Route[Services]]
    sockets: Iterable[WebSocketRoute[Services]] = ()


class Endpoint:
    """One path and method that is served."""

    __slots__ = ("_metrics", "_responses", "call", "duration", "route", "services")

    def __init__(self, route: Route[Any], call: Call, services: Any, metrics: Metrics) -> None:
        self.route = route
        self.call = call
        self.services = services
        self.duration = metrics.duration.labels(route.method, route.path)
        self._metrics = metrics
        self._responses: dict[int, Any] = {}

    async def arguments(self, request: Request, path_values: list[str]) -> dict[str, Any]:
        """The handler's keyword arguments; the body is read last. Raises MatrixError."""
        call = self.call
        arguments = call.arguments(path_values, request.query)
        if call.wants_request:
            arguments["request"] = request
        if call.body is not None:
            arguments["body"] = call.body(await request.read())
        return arguments

    def start(self, who: Requester | None, arguments: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """The handler's coroutine."""
        if self.route.auth is Auth.NONE:
            return self.route.handler(self.services, **arguments)
        return self.route.handler(self.services, who, **arguments)

    def count(self, status: int) -> None:
        """Count one answer."""
        counter = self._responses.get(status)
        if counter is None:
            counter = self._metrics.responses.labels(self.route.method, self.route.path, status)
            self._responses[status] = counter
        counter.inc()


def build_router(mounts: Iterable[Mount[Any]], limits: RateLimiter, metrics: Metrics) -> Router[Endpoint]:
    """The router of all mounts. Raises HandlerMismatch or ValueError for rows that cannot work."""
    router: Router[Endpoint] = Router()
    for mount in mounts:
        for route in mount.routes:
            # Compiled from the row as written: its aliases have the same parameters, under the same names.
            call = compile_call(route)
            for bucket in (route.limit, route.visitors):
                if bucket is not None and not limits.knows(bucket):
                    raise HandlerMismatch(f"{route.method} {route.path}: no rate limit is called {bucket}")
            for row in expand([route]):
                router.add(row.method, row.path, Endpoint(row, call, mount.services, metrics))
    return router
