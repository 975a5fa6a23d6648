"""From rows to texts: sandboxed templates of the configuration, and values that Matrix can carry.

Matrix has no fractions and no integers beyond 2^53: such numbers become strings.
spec: appendices#canonical-json
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_TEXT = 32 * 1024
_LARGEST_INTEGER = 2**53 - 1


class BadTemplate(Exception):
    """A template that cannot be used, or not with this row."""


class _Environment(ImmutableSandboxedEnvironment):
    """Templates see values only: no methods, no attributes of Python objects, no loops over ranges."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`old.items` is the column of that name."""
        return self.getitem(obj, attribute)

    def wrap_str_format(self, value: Any) -> None:
        """Nor `format`, which others may call with care."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return False


def mxlocalpart(value: object) -> str:
    """Any text as the localpart of a user id.  spec: appendices#mapping-from-other-character-sets"""
    text = str(value).strip().lower()
    return re.sub(r"[^a-z0-9._/+-]", lambda match: "".join(f"={byte:02x}" for byte in match[0].encode()), text)


def _environment(*, html: bool) -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=html)
    environment.globals.clear()
    environment.filters["mxlocalpart"] = mxlocalpart
    return environment


_PLAIN, _HTML = _environment(html=False), _environment(html=True)


class Template:
    """One template."""

    def __init__(self, text: str, *, html: bool = False) -> None:
        """Raises BadTemplate."""
        environment = _HTML if html else _PLAIN
        try:
            self.names: frozenset[str] = frozenset(meta.find_undeclared_variables(environment.parse(text)))
            self._template = environment.from_string(text)
        except TemplateError as error:
            raise BadTemplate(str(error)) from None

    def render(self, row: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> str:
        """The text for a row, cut to what an event can carry. Raises BadTemplate, whatever goes wrong."""
        parts: list[str] = []
        length = 0
        try:
            for part in self._template.generate({**row, "old": old or {}}):
                parts.append(part)
                length += len(part)
                if length > LONGEST_TEXT:
                    break
        except Exception as error:  # a template may fail in any way, and the row must not take the others with it
            raise BadTemplate(f"{type(error).__name__}: {error}") from None
        text = "".join(parts)[:LONGEST_TEXT]
        # Half of a pair, which no UTF-8 can say, and NUL, which many databases cannot.
        return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def parse_image(text: str | None) -> dict[str, Any] | None:
    """A row out of the JSON that a database made of it."""
    if text is None:
        return None
    image = json.loads(text, parse_float=str, parse_int=_integer, parse_constant=str)
    if not isinstance(image, dict):
        raise BadTemplate("the image of a row is no JSON object")
    return image


def parse_key(text: str) -> list[Any]:
    """A key out of the JSON that a database made of it: values as `parse_image` has them."""
    return list(json.loads(text, parse_float=str, parse_int=_integer, parse_constant=str))


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < 17 and abs(int(digits)) <= _LARGEST_INTEGER else digits
