"""Endpoints for operators: health and measures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import Network
from homeserver.web.request import Request
from homeserver.web.response import Response
from homeserver.web.route import Auth, Route


@dataclass(frozen=True, slots=True)
class Operations:
    """What the operators' endpoints need."""

    metrics: Metrics
    allow: Sequence[Network]


async def health(api: Operations) -> dict[str, Any]:
    """Whether this process answers."""
    return {"status": "ok"}


async def metrics(api: Operations, *, request: Request) -> Response:
    """The Prometheus exposition, for the networks it is configured for.

    Everybody behind a reverse proxy on this machine has its address, so a forwarded request is never answered.
    """
    forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    if forwarded or not _allowed(request.client_ip, api.allow):
        raise MatrixError(ErrCode.FORBIDDEN, "Metrics are not served to this address")
    return Response(200, (("Content-Type", api.metrics.content_type),), await asyncio.to_thread(api.metrics.text))


def _allowed(address: str, allow: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in allow)


ROUTES: list[Route[Operations]] = [
    Route("GET", "/health", health, auth=Auth.NONE, spare=True),
    Route("GET", "/metrics", metrics, auth=Auth.NONE, spare=True),
]
