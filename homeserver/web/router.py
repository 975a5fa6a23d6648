"""From a raw request path to a route.

Works on the path as it came over the wire: segments are split first and decoded one by one, so `%2F` inside a room
alias or a state key stays inside its parameter. Literal segments are compared undecoded: there is one spelling of
every path, for proxies and for us.  spec: client-server-api#api-standards
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from homeserver.core.errors import ErrCode, MatrixError

Target = TypeVar("Target")


@dataclass(slots=True)
class _Node(Generic[Target]):
    literal: dict[bytes, _Node[Target]] = field(default_factory=dict)
    parameter: _Node[Target] | None = None
    methods: dict[str, Target] = field(default_factory=dict)


class Router(Generic[Target]):
    """A tree of path segments; a literal segment goes before a parameter."""

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()

    def add(self, method: str, template: str, target: Target) -> None:
        """Serve `template` (`/a/{b}/c`). Raises ValueError if it is served already."""
        node = self._root
        for part in template.split("/")[1:]:
            if part.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(part.encode(), _Node())
        if method in node.methods:
            raise ValueError(f"{method} {template} is served twice")
        node.methods[method] = target

    def find(self, method: str, raw_path: bytes) -> tuple[Target, list[str]]:
        """The target and its path values.

        Raises MatrixError: UNRECOGNIZED with 404 for an unknown path and 405 for a known one with another method,
        INVALID_PARAM for values that are not UTF-8 or hold NUL.
        """
        wanted = "GET" if method == "HEAD" else method
        known = False
        before, *segments = raw_path.split(b"/")
        # Nearly always the first way is the one: it needs no going back.
        if not before and (found := _straight(self._root, segments)) is not None:
            target = found[0].methods.get(wanted)
            if target is not None:
                return target, [_decode(value) for value in found[1]]
        # What stands before the first slash is no path of ours: a proxy's rules did not see what we would serve.
        for node, values in () if before else _walk(self._root, segments, 0, []):
            target = node.methods.get(wanted)
            if target is not None:
                return target, [_decode(value) for value in values]
            known = True
        if known:
            raise MatrixError(ErrCode.UNRECOGNIZED, "This path does not know this method", status=405)
        raise MatrixError(ErrCode.UNRECOGNIZED, "This server does not know this path")


def _straight(node: _Node[Target], segments: list[bytes]) -> tuple[_Node[Target], list[bytes]] | None:
    """The first node that `_walk` would give, if it gives one without going back."""
    values: list[bytes] = []
    for segment in segments:
        following = node.literal.get(segment)
        if following is None:
            following = node.parameter
            if following is None or not segment:
                return None
            values.append(segment)
        node = following
    return node, values


def _walk(
    node: _Node[Target], segments: list[bytes], at: int, values: list[bytes]
) -> Iterator[tuple[_Node[Target], list[bytes]]]:
    """Every node with methods that the segments lead to, the most literal first."""
    if at == len(segments):
        if node.methods:
            yield node, values
        return
    segment = segments[at]
    literal = node.literal.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, at + 1, values)
    if segment and node.parameter is not None:
        yield from _walk(node.parameter, segments, at + 1, [*values, segment])


def _decode(segment: bytes) -> str:
    if b"%" in segment:
        segment = unquote_to_bytes(segment)
    try:
        text = segment.decode()
    except UnicodeDecodeError:
        raise MatrixError(ErrCode.INVALID_PARAM, "A part of the path is not UTF-8") from None
    if "\0" in text:
        raise MatrixError(ErrCode.INVALID_PARAM, "A part of the path holds NUL")
    return text


def parse_query(query_string: bytes) -> dict[str, list[str]]:
    """The query parameters in order of appearance.

    Raises MatrixError INVALID_PARAM for text that is not UTF-8 or holds NUL.
    """
    query: dict[str, list[str]] = {}
    if not query_string:
        return query
    for pair in query_string.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name or value:
            query.setdefault(_decode_query(name), []).append(_decode_query(value))
    return query


def _decode_query(text: bytes) -> str:
    try:
        return _decode(text.replace(b"+", b" "))
    except MatrixError:
        raise MatrixError(ErrCode.INVALID_PARAM, "The query is not UTF-8 or holds NUL") from None
