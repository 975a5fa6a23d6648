"""Paths to a property of an event, as filters and push rules name them.

spec: appendices#dot-separated-property-paths
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def split_path(path: str) -> list[str]:
    r"""The keys of a dot-separated path; `\.` and `\\` stand for a dot and a backslash inside a key."""
    keys: list[str] = []
    key: list[str] = []  # joined at its end: adding to a text in a list copies it each time
    characters = iter(path)
    for character in characters:
        if character == ".":
            keys.append("".join(key))
            key = []
        elif character == "\\":
            escaped = next(characters, "")
            key.append(escaped if escaped and escaped in ".\\" else "\\" + escaped)
        else:
            key.append(character)
    return [*keys, "".join(key)]


def look_up(source: Mapping[str, Any], keys: Sequence[str], absent: Any) -> Any:
    """The value at the end of the path, or `absent` if the path leads nowhere."""
    value: Any = source
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return absent
        value = value[key]
    return value
