"""The strict JSON parser for everything that comes from outside: bodies, filters, federation, WebSocket frames.

Accepts UTF-8 only, without byte order mark; no NaN or infinity, no integer beyond ±(2^53-1), no lone surrogate, no
nesting beyond 128 levels. Of duplicate keys the last wins; `-0` reads as `0`. Nothing else in the server may parse
input from outside, because every parser is lenient in its own way.
spec: appendices#canonical-json, client-server-api#api-standards
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from homeserver.core.canonical import MAX_DEPTH, MAX_INTEGER, check_numbers
from homeserver.core.errors import ErrCode, MatrixError

# An integer beyond ±(2^53-1) has at least 16 digits. orjson reads those beyond 64 bits as floats without a word.
# A pattern takes ten times as long to search a large body as this: digits become zeros, and zeros are looked for.
_DIGITS_TO_ZEROS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LARGE_INTEGER = b"0" * 16
_WALKED_BYTES = 4_096
"""A look at each value is quicker than one at each byte where there are more."""

# orjson's refusals that concern a value rather than the syntax; the tests pin the wording.
_VALUE_ERRORS = ("surrogate in string", "number is infinity", "depth limit")


def parse(data: bytes, *, max_depth: int = MAX_DEPTH, allow_floats: bool = True) -> Any:
    """The JSON value in `data`.

    `allow_floats=False` is for event content: there `1.0` and `1e5` are refused too.
    Raises MatrixError: NOT_JSON for bad syntax or encoding, BAD_JSON for a value that is not allowed.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if any(text in error.msg for text in _VALUE_ERRORS):
            raise MatrixError(ErrCode.BAD_JSON, f"Content has a value that is not allowed: {error}") from None
        raise MatrixError(ErrCode.NOT_JSON, f"Content is not JSON: {error}") from None
    if not allow_floats:
        check_numbers(value, max_depth)  # an integer that became a float is refused as one
        return value
    if len(data) > _WALKED_BYTES or data.count(b"{") + data.count(b"[") > max_depth:
        if not check_numbers(value, max_depth, allow_floats=True):
            return value
    if _LARGE_INTEGER in data.translate(_DIGITS_TO_ZEROS):
        # Depth is known to be bounded here, so the recursive parser of the standard library is safe.
        json.loads(data, parse_int=_check_integer)
    return value


def parse_object(data: bytes, *, max_depth: int = MAX_DEPTH, allow_floats: bool = True) -> dict[str, Any]:
    """As `parse`, for a value that must be an object. Raises BAD_JSON for any other."""
    value = parse(data, max_depth=max_depth, allow_floats=allow_floats)
    if not isinstance(value, dict):
        raise MatrixError(ErrCode.BAD_JSON, "Content must be a JSON object")
    return value


def _check_integer(digits: str) -> None:
    # Leading zeros are no JSON, so length decides before `int` meets 5,000 digits.
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise MatrixError(ErrCode.BAD_JSON, "Integers must be within ±(2^53-1)")
