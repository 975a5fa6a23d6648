"""No text, list or object of a request's body is without a bound before a handler sees it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from tests.architecture.routes import RouteRow, handler_name, role_routes

# What is stored as it came: its service measures it before it looks at it, and its size is a setting.
MEASURED = {"set_account_data", "set_account_data_per_room", "define_filter"}


def unbounded(hint: Any, where: str, *, bound: bool = False) -> Iterator[str]:
    """Where a value of this type may be as long as its sender likes."""
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *notes = get_args(hint)
        lengths = [note for note in notes if isinstance(note, msgspec.Meta) and note.max_length is not None]
        yield from unbounded(kind, where, bound=bool(lengths))
    elif origin in (Union, types.UnionType):
        for part in get_args(hint):
            yield from unbounded(part, where, bound=bound)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for name, kind in get_type_hints(hint, include_extras=True).items():
            yield from unbounded(kind, f"{where}.{name}")
    elif origin is list:
        if not bound:
            yield where
        yield from unbounded(get_args(hint)[0], f"{where}[]")
    elif (hint is str or hint is dict or origin is dict) and not bound:
        yield where


def faults(route: RouteRow) -> Iterator[str]:
    """What of the route's body has no bound."""
    hint = get_type_hints(route.handler, include_extras=True).get("body")
    if hint is None or route.body_limit is not None or route.handler.__name__ in MEASURED:
        return
    for where in unbounded(hint, "body"):
        yield f"{route.method} {route.path} → {handler_name(route)}: {where}"


def test_every_body_is_bounded() -> None:
    found = [fault for _, route in role_routes() for fault in faults(route)]
    assert not found, "\n".join(found)


class Inner(msgspec.Struct):
    """A part of a body."""

    loose: str
    tight: Annotated[str, msgspec.Meta(max_length=3)]


class Outer(msgspec.Struct):
    """A body."""

    number: int
    inner: Inner | None
    many: Annotated[list[Inner], msgspec.Meta(max_length=3)]
    loose: list[Annotated[str, msgspec.Meta(max_length=3)]] | None


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (Outer, ["body.inner.loose", "body.many[].loose", "body.loose"]),
        (dict[str, Any], ["body"]),
        (dict[str, Any] | None, ["body"]),
        (Annotated[dict[str, Any], msgspec.Meta(max_length=3)], []),
    ],
)
def test_faults_are_found(hint: Any, expected: list[str]) -> None:
    assert list(unbounded(hint, "body")) == expected
