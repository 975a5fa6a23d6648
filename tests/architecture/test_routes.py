"""Every route row is an operation of the specification, answered by a handler of that name."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from tests.architecture.routes import RouteRow, handler_name, role_routes
from tests.architecture.specification import PROSE_ENDPOINTS, operations, same_name

OURS = re.compile(r"/_(synapse|hromada)/|/_matrix/\w+/unstable/")
STANDARD = ("/_matrix/", "/.well-known/")
VERSION = re.compile(r"^(/_matrix/\w+)/(?:api/)?(?:r|v)\d+/")

Names = dict[tuple[str, str], list[str]]


def versionless(path: str) -> str:
    """`path` without its version and trailing slash: what the old names of an endpoint have in common."""
    return VERSION.sub(r"\1/", path).rstrip("/")


def operation_names() -> Names:
    """(method, path) → the operationIds there; two operations may share an endpoint and differ by their body."""
    names: Names = {}
    for operation in operations():
        names.setdefault((operation.method, operation.path), []).append(operation.operation_id)
    return names


def outside_specification(path: str) -> bool:
    """Whether `path` is this project's own, unstable, or asked for by the prose alone."""
    return bool(OURS.match(path)) or not path.startswith(STANDARD) or path in PROSE_ENDPOINTS


def faults(route: RouteRow, names: Names) -> Iterator[str]:
    """What of the row is not in the specification."""
    expected = names.get((route.method, route.path))
    if expected is None:
        if not outside_specification(route.path):
            yield f"{route.method} {route.path} is not an operation of the specification"
    elif not any(same_name(route.handler.__name__, name) for name in expected):
        yield f"{route.method} {route.path} is answered by {handler_name(route)}, not by {' or '.join(expected)}"
    known = {(method, versionless(path)) for method, path in names}
    for path in route.also:
        if (route.method, versionless(path)) not in known and not outside_specification(path):
            yield f"{route.method} {path} is no old name of an operation of the specification"


def test_every_route_is_in_the_specification() -> None:
    names = operation_names()
    found = [fault for _, route in role_routes() for fault in faults(route, names)]
    assert not found, "\n".join(found)


def test_no_route_is_declared_twice() -> None:
    paths = [(route.method, path) for _, route in role_routes() for path in (route.path, *route.also)]
    rows = [(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in paths]
    assert len(rows) == len(set(rows)), sorted({row for row in rows if rows.count(row) > 1})


class Access(Enum):
    """Stands for the web layer's own enumeration."""

    USER = "user"


# Locked accounts may log out, so these check the token themselves.  spec: client-server-api#account-locking
LOGOUT = {("POST", "/_matrix/client/v3/logout"), ("POST", "/_matrix/client/v3/logout/all")}


def test_no_route_is_more_open_than_the_specification() -> None:
    closed = {(o.method, o.path) for o in operations() if "auth" in o.flags}
    found = [
        f"{route.method} {route.path}"
        for _, route in role_routes()
        if (route.method, route.path) in closed - LOGOUT and route.auth.value in ("none", "optional")
    ]
    assert not found, f"the specification wants an access token here: {found}"


@dataclass(frozen=True)
class Row:
    """A route row with the names that matter here."""

    method: str
    path: str
    name: str
    also: tuple[str, ...] = ()
    auth: Access = Access.USER
    limit: str | None = None
    body_limit: int | None = None

    @property
    def handler(self) -> Callable[..., Any]:
        """A handler of that name."""
        return types.FunctionType((lambda: None).__code__, globals(), self.name)


JOINED = "/_matrix/client/v3/joined_rooms"


@pytest.mark.parametrize(
    ("row", "count"),
    [
        (Row("GET", JOINED, "get_joined_rooms"), 0),
        (Row("GET", JOINED, "get_joined_rooms", also=("/_matrix/client/unstable/x/joined_rooms",)), 0),
        (Row("GET", JOINED, "get_joined_rooms", also=("/_matrix/client/api/v1/joined_rooms",)), 0),
        (Row("GET", JOINED, "get_joined_rooms", also=("/_matrix/client/v3/my_rooms",)), 1),
        (Row("GET", JOINED, "list_rooms"), 1),
        (Row("POST", JOINED, "get_joined_rooms"), 1),
        (Row("GET", "/_matrix/client/v3/my_rooms", "my_rooms"), 1),
        (Row("PUT", "/_matrix/client/v3/rooms/{room}/typing/{user}", "set_typing"), 1),
        (Row("GET", "/_synapse/admin/v1/register", "registration_nonce"), 0),
        (Row("GET", "/health", "health"), 0),
        (Row("POST", "/_matrix/client/v3/rooms/{roomId}/invite", "invite_user"), 0),
    ],
)
def test_faults_are_found(row: Row, count: int) -> None:
    assert len(list(faults(row, operation_names()))) == count


@pytest.mark.parametrize(
    ("handler", "operation_id", "expected"),
    [
        ("send_message", "sendMessage", True),
        ("get_account_3pids", "getAccount3PIDs", True),
        ("redirect_to_sso", "redirectToSSO", True),
        ("sendMessage", "sendMessage", False),
        ("post_message", "sendMessage", False),
    ],
)
def test_handler_names(handler: str, operation_id: str, expected: bool) -> None:
    assert same_name(handler, operation_id) is expected
