"""What the bridge serves: the homeserver's transactions and questions, health, metrics, and what others add to `app`.

spec: application-service-api#pushing-events
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import os
import socket
from collections.abc import Callable
from typing import Any

import structlog
from hypercorn.asyncio import serve
from hypercorn.config import Config as Hypercorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from quart import Quart, Response, request

from bridges.config import Config
from bridges.ending import end
from bridges.faults import reach
from bridges.metrics import REGISTRY
from bridges.state import State, StateLost

_LARGEST_BODY = 32 * 1024 * 1024  # a hundred events with their states' prev_content
_BACKLOG = 100
_log = structlog.get_logger(__name__)

Answer = tuple[dict[str, Any], int]


# One closure for each route: the rule of complexity counts them together.
def make_app(  # noqa: C901 - one small function for each path
    config: Config, state: State, arrived: Callable[[], None]
) -> Quart:
    """The application. `arrived` is called when events are stored."""
    app = Quart("bridges")
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    app.register_error_handler(StateLost, _lost)
    service = config.appservice
    secret = service.hs_token.read().encode()

    def refusal() -> Answer | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return {"errcode": "M_UNAUTHORIZED", "error": "The homeserver's token is missing"}, 401
        if not hmac.compare_digest(token.strip().encode(), secret):
            return {"errcode": "M_FORBIDDEN", "error": "This is not the homeserver's token"}, 403
        return None

    @app.put("/_matrix/app/v1/transactions/<path:txn_id>")
    async def transaction(txn_id: str) -> Answer:
        """Events: stored before they are answered, once each."""
        if (refused := refusal()) is not None:
            return refused
        events = _events(await request.get_data())
        if events is None or len(txn_id) > 255:
            return {"errcode": "M_BAD_JSON", "error": "A transaction has a list of events"}, 400
        # What the bridge's own users said comes back, and means nothing to it.
        others = [event for event in events if isinstance(event, dict) and not service.owns(str(event.get("sender")))]
        if others and state.receive(txn_id, others):
            arrived()
            reach("received")
        return {}, 200

    @app.get("/_matrix/app/v1/users/<path:user_id>")
    async def user(user_id: str) -> Answer:
        """Users are made before they are needed."""
        return refusal() or (({}, 200) if state.has_ghost(user_id) else _unknown())

    @app.get("/_matrix/app/v1/rooms/<path:alias>")
    async def room(alias: str) -> Answer:
        """Rooms are made when their rows come."""
        local = alias.removeprefix("#").rpartition(":")[0]
        return refusal() or (({}, 200) if state.room_by_alias(local) else _unknown())

    @app.post("/_matrix/app/v1/ping")
    async def ping() -> Answer:
        """The homeserver looks whether we are there."""
        return refusal() or ({}, 200)

    @app.get("/health")
    async def health() -> Answer:
        return {"waiting": state.waiting()}, 200

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)

    return app


async def _lost(error: Exception) -> Answer:
    """Nothing is stored, or nobody knows: it is to be asked again."""
    _log.error("state_lost", error=str(error))
    return {"errcode": "M_UNKNOWN", "error": "The state of the bridge is away"}, 503


def _events(body: str | bytes) -> list[object] | None:
    """Those of a transaction; None if it has no list of them."""
    try:
        events = json.loads(body)["events"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return events if isinstance(events, list) else None


def _unknown() -> Answer:
    return {"errcode": "M_NOT_FOUND", "error": "The bridge has no such user or room"}, 404


class AddressInUse(OSError):
    """Another process listens at the address."""


def listen(config: Config) -> socket.socket | None:
    """The socket that `appservice.listen` names, listening, so that a second bridge fails at once.

    Raises AddressInUse, OSError.
    """
    service = config.appservice
    if (address := service.address) is None:
        return None
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        text = f"appservice.listen: {service.listen}: {error.strerror}"
        raise (AddressInUse if error.errno == errno.EADDRINUSE else OSError)(error.errno, text) from None
    return listener


async def run(app: Quart, listener: socket.socket) -> None:
    """Serve until cancelled."""
    settings = Hypercorn()
    # One of its own, which it closes: the number of a closed one can be another's by then.
    settings.bind = [f"fd://{os.dup(listener.fileno())}"]
    settings.accesslog, settings.errorlog = None, None
    settings.graceful_timeout = 2
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, settings, shutdown_trigger=stop.wait))
    try:
        await asyncio.shield(serving)
    finally:
        stop.set()
        listener.close()
        _, late = await asyncio.wait([serving], timeout=5)
        await end(late)
