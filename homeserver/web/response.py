"""What handlers return, and how it becomes bytes.

A handler returns a `msgspec.Struct`, a `dict`, None (for `{}`), `Json` for JSON that is serialised already, or
`Response` for everything else. orjson writes all JSON; `orjson.Fragment` may stand anywhere in a value.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON answer as bytes."""

    data: bytes
    status: int = 200

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Json:
        """`value` serialised, with a status (a UIA challenge is a 401 without being an error)."""
        return cls(encode(value), status)


@dataclass(frozen=True, slots=True)
class Response:
    """Any other answer. A body that is an iterator is streamed; it is closed if the client goes away."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | AsyncIterator[bytes] = b""


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
