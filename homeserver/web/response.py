"""What handlers return, and how it becomes bytes.

A handler returns a `msgspec.Struct`, a `dict`, None (for `{}`), `Json` for JSON that is serialised already, or
`Response` for everything else. orjson writes all JSON; `orjson.Fragment` may stand anywhere in a value.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

WHOLE_BYTES = 2 * 2**20
"""Lists of more JSON than this are streamed (`json_list`)."""
_PIECE_BYTES = 64 * 2**10
JSON_TYPE = ("Content-Type", "application/json")


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON answer as bytes."""

    data: bytes
    status: int = 200

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Json:
        """`value` serialised, with a status (a UIA challenge is a 401 without being an error)."""
        return cls(encode(value), status)


class FileBody(AsyncIterator[bytes]):
    """A body that lies in a file: sent from there where the connection can, else iterated like any other."""

    @property
    @abstractmethod
    def descriptor(self) -> int | None:
        """The open file; None if there is none after all."""

    @abstractmethod
    def spans(self) -> AsyncIterator[tuple[int, int]]:
        """Offsets and lengths of what is to be sent, one after the other, each in memory when it is given."""


@dataclass(frozen=True, slots=True)
class Response:
    """Any other answer. A body that is an iterator is streamed; it is closed if the client goes away."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | AsyncIterator[bytes] = b""


async def json_list(head: bytes, pages: AsyncGenerator[list[bytes], None], tail: bytes) -> Json | Response:
    """A list between `head` and `tail`, of pages of JSON: whole if it is not large, else streamed as it is read.

    So that many who read large answers slowly cost a page each.
    """
    parts: list[bytes] = []
    size = 0
    async for page in pages:
        if not page:
            continue
        part = b",".join(page)
        parts.append(part)
        size += len(part)
        if size > WHOLE_BYTES:
            return Response(headers=(JSON_TYPE,), body=_streamed(head + b",".join(parts), pages, tail))
    return Json(head + b",".join(parts) + tail)


def json_parts(parts: bytes | list[bytes]) -> Json | Response:
    """JSON that may come in parts, which are let go of one by one as the client takes them."""
    return Json(parts) if isinstance(parts, bytes) else Response(headers=(JSON_TYPE,), body=_one_by_one(parts))


async def _one_by_one(parts: list[bytes]) -> AsyncIterator[bytes]:
    """At least `_PIECE_BYTES` at once: rooms of whom little is said are many small parts."""
    parts.reverse()
    while parts:
        piece = [parts.pop()]
        size = len(piece[0])
        while parts and size < _PIECE_BYTES:
            piece.append(parts.pop())
            size += len(piece[-1])
        yield b"".join(piece)


async def _streamed(begun: bytes, pages: AsyncGenerator[list[bytes], None], tail: bytes) -> AsyncIterator[bytes]:
    async with aclosing(pages):
        yield begun
        async for page in pages:
            if page:
                yield b"," + b",".join(page)
        yield tail


def encode(value: Any) -> bytes:
    """`value` as JSON. A lone surrogate, which no input may hold, becomes U+FFFD instead of a failure."""
    try:
        return orjson.dumps(value, default=_builtins)
    except TypeError as error:
        if "surrogates" not in str(error):
            raise
    text = json.dumps(value, ensure_ascii=False, default=_builtins_for_json)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _builtins(value: Any) -> Any:
    """What orjson does not know: Structs (with their renames and omitted defaults) and what they hold."""
    return msgspec.to_builtins(value, builtin_types=(orjson.Fragment,))


def _builtins_for_json(value: Any) -> Any:
    if isinstance(value, orjson.Fragment):
        return json.loads(orjson.dumps(value))
    return _builtins(value)
