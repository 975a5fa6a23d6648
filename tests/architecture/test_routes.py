"""Every route row is an operation of the specification, answered by a handler of that name."""

from __future__ import annotations

import re

import pytest

from tests.architecture.routes import RouteRow, handler_name, role_routes
from tests.architecture.specification import PROSE_ENDPOINTS, operations, same_name

OURS = re.compile(r"/_(synapse|hromada)/|/_matrix/\w+/unstable/")
STANDARD = ("/_matrix/", "/.well-known/")


def fault(route: RouteRow, names: dict[tuple[str, str], list[str]]) -> str | None:
    """Why the row does not belong to the specification, or None."""
    if OURS.match(route.path) or not route.path.startswith(STANDARD) or route.path in PROSE_ENDPOINTS:
        return None
    # Old clients still use r0, which v3 replaced without changing the paths.
    path = re.sub(r"^(/_matrix/\w+)/r0/", r"\1/v3/", route.path)
    expected = names.get((route.method, path))
    if expected is None:
        return f"{route.method} {route.path} is not an operation of the specification"
    if not any(same_name(route.handler.__name__, name) for name in expected):
        return f"{route.method} {route.path} is answered by {handler_name(route)}, not by {' or '.join(expected)}"
    return None


def test_every_route_is_in_the_specification() -> None:
    names: dict[tuple[str, str], list[str]] = {}
    for operation in operations():
        names.setdefault((operation.method, operation.path), []).append(operation.operation_id)
    faults = [found for _, route in role_routes() if (found := fault(route, names))]
    assert not faults, "\n".join(faults)


def test_no_route_is_declared_twice() -> None:
    rows = [(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for _, route in role_routes()]
    assert len(rows) == len(set(rows)), sorted({row for row in rows if rows.count(row) > 1})


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
