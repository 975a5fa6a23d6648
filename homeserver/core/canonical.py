"""Canonical JSON: the one byte encoding that is hashed, signed, stored and sent.

Owns the encoding and the check that a value may be encoded at all. Does not parse (see `strictjson`).
spec: appendices#canonical-json
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from homeserver.core.errors import BadEvent

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 128
"""Nesting beyond this is refused everywhere; the specification sets no limit, databases and parsers do."""


def encode(value: Any) -> bytes:
    """The canonical JSON of `value`, which holds only what `check_strict` allows.

    orjson sorts keys by UTF-8 bytes, which is the order of code points, and escapes exactly what the grammar demands.
    Raises BadEvent if `value` cannot be JSON at all (lone surrogates, keys that are not strings, foreign types).
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise BadEvent(f"Not representable as JSON: {error}") from error


def trimmed(encoded: bytes) -> bytes:
    """The same bytes in no more memory than they need, for what is kept: orjson leaves kilobytes of room behind."""
    return bytes(memoryview(encoded))


def encode_lenient(value: Any) -> bytes:
    """Canonical JSON for room versions 1 to 5, whose events may hold floats and large integers.

    Those are written the way the network has always written them: as Python's `json` does.
    Raises BadEvent if `value` cannot be JSON at all.  spec: rooms/v1#canonical-json
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadEvent(f"Not representable as JSON: {error}") from error


def check_strict(value: Any) -> None:
    """Refuse what canonical JSON forbids: floats, integers beyond ±(2^53-1), lone surrogates; and deep nesting.

    Raises BadEvent with M_BAD_JSON.
    """
    check_numbers(value)
    encode(value)  # refuses surrogates, keys that are not strings and foreign types


def check_numbers(value: Any, max_depth: int = MAX_DEPTH, *, allow_floats: bool = False) -> bool:
    """Refuse large integers, floats (unless allowed) and nesting deeper than `max_depth`.

    Walks level by level, so that depth costs no recursion. Raises BadEvent with M_BAD_JSON. Returns whether one of the
    floats is beyond ±(2^53-1), as an integer would be that a parser made into a float.
    """
    level: list[Any] = [value]
    has_large_float = False
    for remaining in range(max_depth, -1, -1):
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                continue
            if kind is dict or kind is list or kind is tuple:
                if not remaining:
                    raise BadEvent(f"JSON is nested deeper than {max_depth} levels")
                deeper.extend(item.values() if kind is dict else item)
            elif kind is int:
                if not -MAX_INTEGER <= item <= MAX_INTEGER:
                    raise BadEvent("Integers must be within ±(2^53-1)")
            elif kind is float:
                if not allow_floats:
                    raise BadEvent("Numbers must be integers, without fraction or exponent")
                has_large_float = has_large_float or not -MAX_INTEGER <= item <= MAX_INTEGER
        if not deeper:
            break
        level = deeper
    return has_large_float
