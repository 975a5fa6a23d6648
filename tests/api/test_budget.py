"""No request costs the server more than its share of time, whatever stands in it: everybody waits for the event loop.

Every route gets the worst of bodies that it accepts by size, and the worst of paths and queries. What is measured is
the processor time of the server's process, so that a busy machine changes nothing.  reliability: C11, O3, O4
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote

import msgspec
import orjson
import psutil  # type: ignore[import-untyped]
import pytest

from client_api.routes import ROUTES as CLIENT_ROUTES
from homeserver.web.route import Route
from media_repo.routes import ROUTES as MEDIA_ROUTES
from tests.support.client import Client, part
from tests.support.server import Server

# Some minutes on each database. How long they take is not what is measured: a busy machine may be slow.
pytestmark = [pytest.mark.all_only, pytest.mark.timeout(600)]
_PARTS = 6

SECONDS = 0.8
"""Of the processor, for one request and what the server does besides. An ordinary one takes some milliseconds."""
TRIES = 3
MEBIBYTE = 1024 * 1024
HEAD = 14_000  # a request's head has at most 16 KiB

# Marks that Unicode has to sort, letters that grow when folded, wildcards, separators, escapes, numbers, words.
UNITS = ("\u0315\u0300\u05ae\u0301", "\ufdfa", "*a", "a.", "\\.", "9", "a ", "%_!", '"', "💬")
ROUTES: list[Route[Any]] = [*CLIENT_ROUTES, *MEDIA_ROUTES]
ENDING = {"logout", "logout_all", "deactivate_account"}
KEYS = {
    "register": ("username", "password", "device_id", "initial_device_display_name", "session"),
    "login": ("user", "password", "token", "device_id", "initial_device_display_name"),
    "define_filter": ("event_fields", "event_format"),
    "set_push_rule": ("pattern", "conditions", "actions", "key"),
    "change_password": ("new_password",),
    "set_profile_field": ("displayname",),
}


def text(unit: str, size: int) -> str:
    """About `size` bytes of JSON."""
    return unit * (size // len(orjson.dumps(unit)[1:-1]))


def texts(size: int) -> Iterator[Any]:
    """Long texts and long lists of short ones."""
    for unit in UNITS:
        yield text(unit, size)
    yield [f"*{number}*" for number in range(size // 12)]
    yield [f"!{number}:x" for number in range(size // 14)]


def shapes(size: int) -> Iterator[Any]:
    """Values that are no text: wide, deep, and hard to read."""
    yield [[]] * (size // 4)
    yield {str(number): {} for number in range(size // 14)}
    yield [2**53 - 1] * (size // 18)
    deep: Any = []
    for _ in range(120):
        deep = [deep]
    yield [deep] * (size // 260)


def plain(hint: Any) -> Any:
    """The type behind bounds and `None`."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return plain(next(kind for kind in get_args(hint) if kind is not type(None)))
    return hint


def filler(kind: Any) -> Any:
    """A small value of this type."""
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {
            field.encode_name: filler(plain(field.type)) for field in msgspec.structs.fields(kind) if field.required
        }
    if origin is list or origin is dict:
        return origin()
    if kind is bool or kind is int:
        return kind()
    return get_args(kind)[0] if get_args(kind) else "a"


def bodies_of(kind: Any, size: int) -> Iterator[Any]:
    """The worst bodies of a model, member by member."""
    small = filler(kind)
    for field in msgspec.structs.fields(kind):
        member = plain(field.type)
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            for inner in bodies_of(member, size):
                yield {**small, field.encode_name: inner}
        elif member is str:
            for unit in UNITS:
                yield {**small, field.encode_name: text(unit, size)}
        elif get_origin(member) is list:
            item = filler(plain(get_args(member)[0]))
            yield {**small, field.encode_name: [item] * (size // (len(orjson.dumps(item)) + 1))}
        elif get_origin(member) is dict:
            for shape in shapes(size):
                yield {**small, field.encode_name: shape}


def free_bodies(name: str, size: int) -> Iterator[Any]:
    """The worst bodies where there is no model."""
    for shape in shapes(size):
        yield {"body": shape}
    for key in KEYS.get(name, ("body",)):
        for worst in texts(size):
            auth = {"session": worst if key == "session" else "x", "type": "m.login.dummy"}
            identifier = {"type": "m.id.user", "user": worst if key == "user" else "a"}
            yield {"type": "m.login.password", "identifier": identifier, "password": "wrong", "auth": auth, key: worst}
    if name == "define_filter":
        for key in ("types", "not_types", "senders", "rooms", "related_by_rel_types"):
            for worst in texts(size):
                listed = worst if isinstance(worst, list) else [worst]
                yield {"room": {"timeline": {key: listed}, key: listed}}


def bodies(route: Route[Any]) -> Iterator[bytes]:
    """The worst bodies for a route, as large as it takes them."""
    hint = get_type_hints(route.handler, include_extras=True).get("body")
    if hint is None:
        return
    size = (route.body_limit or MEBIBYTE) - 1_024
    kind = plain(hint)
    is_model = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    for body in bodies_of(kind, size) if is_model else free_bodies(route.handler.__name__, size):
        data = orjson.dumps(body)
        if len(data) <= size + 1_024:
            yield data


def targets(route: Route[Any], known: dict[str, str]) -> Iterator[str]:
    """The worst paths of a route, and the worst values of each of its query parameters."""
    ordinary = "/".join(known.get(part_, "x") if part_.startswith("{") else part_ for part_ in route.path.split("/"))
    for unit in ("*a", "a.", "%CC%80%CC%95", "%F0%9F%92%AC", "9"):
        long = unit * (HEAD // len(unit))
        for parameter in (piece for piece in route.path.split("/") if piece.startswith("{")):
            yield "/".join(
                long if piece == parameter else known.get(piece, "x") if piece.startswith("{") else piece
                for piece in route.path.split("/")
            )
        for name in get_type_hints(route.handler):
            wire = route.query_names.get(name, name)
            if name not in ("api", "who", "body", "request", "return"):
                yield f"{ordinary}?{wire if isinstance(wire, str) else wire[0]}={long}"
    if "filter" in get_type_hints(route.handler):
        for listed in ([f"*{number}*" for number in range(90)], ["a." * 3_000], ["\\." * 1_500]):
            worst = quote(orjson.dumps({"types": listed, "event_fields": listed}).decode(), safe="")[:HEAD]
            yield f"{ordinary}?filter={worst}"
    yield ordinary + "?" + "&" * HEAD
    yield ordinary + "?" + "a=1&" * (HEAD // 4)


class Meter:
    """Reads how long the server's process has worked."""

    def __init__(self, server: Server) -> None:
        self._process = psutil.Process(server.pid)

    def seconds(self) -> float:
        """Of the processor, since it began."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


async def measured(server: Server, client: Client, method: str, target: str, data: bytes | None) -> str | None:
    """What is wrong with the cost of a request, or with its answer.

    One that costs too much is asked again: what the server did besides, or shared processors slowed down, passes.
    """
    meter, spent = Meter(server), math.inf
    for _ in range(TRIES):
        before = meter.seconds()
        reply = await client.request(method, target, data=data)
        spent = min(spent, meter.seconds() - before)
        if reply.status >= 500 or spent <= SECONDS:
            break
    what = f"{method} {target[:90]} {(data or b'')[:60]!r}: {reply.status}"
    if reply.status >= 500:
        return what
    return f"{what} took {spent:.2f} s" if spent > SECONDS else None


async def known_values(alice: Client) -> dict[str, str]:
    """Path parameters that lead somewhere."""
    room = await alice.create_room(preset="public_chat", visibility="public", name="Budget")
    event = await alice.send(room, "a message")
    values = {"roomId": room, "roomIdOrAlias": room, "userId": alice.user_id, "eventId": event}
    values |= {"deviceId": alice.device_id, "kind": "content", "receiptType": "m.read", "keyName": "displayname"}
    return {"{" + name + "}": part(value) for name, value in values.items()}


@pytest.mark.parametrize("share", range(_PARTS))
async def test_bodies_stay_within_the_budget(alice: Client, server: Server, share: int) -> None:
    known = await known_values(alice)
    found = []
    for route in ROUTES[share::_PARTS]:
        if route.handler.__name__ in ENDING:
            continue
        target = "/".join(known.get(piece, "x") if piece.startswith("{") else piece for piece in route.path.split("/"))
        for data in bodies(route):
            fault = await measured(server, alice, route.method, target, data)
            found += [] if fault is None else [fault]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("share", range(_PARTS))
async def test_paths_and_queries_stay_within_the_budget(alice: Client, server: Server, share: int) -> None:
    known = await known_values(alice)
    found = []
    for route in ROUTES[share::_PARTS]:
        if route.handler.__name__ in ENDING:
            continue
        for target in targets(route, known):
            data = None if route.method == "GET" else b"{}"
            fault = await measured(server, alice, route.method, target, data)
            found += [] if fault is None else [fault]
    assert not found, "\n".join(found)
