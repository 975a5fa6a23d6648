"""The route rows of every role that has them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Protocol

from tests.architecture.source import ROLE_PACKAGES, ROOT


class RouteRow(Protocol):
    """What these tests need of `homeserver.web.route.Route`."""

    @property
    def method(self) -> str:
        """The HTTP method."""

    @property
    def path(self) -> str:
        """The path template, with the specification's parameter names."""

    @property
    def also(self) -> tuple[str, ...]:
        """Further path templates: unstable names and old versions."""

    @property
    def handler(self) -> Callable[..., Any]:
        """The function that answers."""

    @property
    def auth(self) -> Enum:
        """What the route wants to know about its caller."""

    @property
    def limit(self) -> str | None:
        """The rate-limit bucket."""

    @property
    def body_limit(self) -> int | None:
        """Largest body in bytes, if the route has a bound of its own."""


def handler_name(route: RouteRow) -> str:
    """`client_api.events:send_message`."""
    return f"{route.handler.__module__}:{route.handler.__name__}"


def role_routes() -> Iterator[tuple[str, RouteRow]]:
    """The role package and the row, for every row of every role's `routes.ROUTES`."""
    for package in ROLE_PACKAGES:
        if (ROOT / package / "routes.py").exists():
            rows: list[RouteRow] = importlib.import_module(f"{package}.routes").ROUTES
            yield from ((package, row) for row in rows)
