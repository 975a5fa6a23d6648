"""PostgreSQL's values, from the text in which the log has them to the JSON that the database makes of them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from bridges.render import parse_image
from bridges.sources.tables import Tables

_BOOLEAN, _INTEGERS, _NUMBERS = 16, {20, 21, 23, 26}, {700, 701, 1700}
_TEXTS = {18, 19, 25, 1042, 1043, 2950, 1082, 1083, 1266, 1186, 869, 650, 829}
"""Text, uuid, date, time, interval, inet … : JSON has the same text."""
_TIMES = {1114, 1184}
_JSON = {114, 3802}


class Converter:
    """Converts values by their type. What it does not know, it asks the database for."""

    def __init__(self, source: Tables) -> None:
        self._source = source
        self._names: dict[int, tuple[str, str]] = {}

    async def value(self, type_oid: int, text: Any) -> Any:
        """The value of a column. Raises SourceUnavailable."""
        if text is None or type_oid in _TEXTS:
            return text
        if type_oid == _BOOLEAN:
            return text == "t"
        if type_oid in _INTEGERS or type_oid in _NUMBERS:
            return _parsed(_plain(text)) if re.fullmatch(r"-?[0-9][0-9.e+-]*", text) else text
        if type_oid in _TIMES:
            return _iso(text)
        if type_oid in _JSON:
            return _parsed(text)
        return await self._asked(type_oid, text)

    async def _asked(self, type_oid: int, text: str) -> Any:
        if type_oid not in self._names:
            # With NULL for -1 it would be the type of SQL, which is one character or bit long.
            rows = await self._source.fetch_all(
                "SELECT format_type(oid, -1), typtype::text FROM pg_type WHERE oid = $1::bigint::oid", type_oid
            )
            self._names[type_oid] = (rows[0][0], rows[0][1]) if rows else ("text", "e")
        name, kind = self._names[type_oid]
        if kind == "e":  # an enumeration
            return text
        rows = await self._source.fetch_all(f"SELECT to_jsonb($1::text::{name})::text", text)
        return _parsed(rows[0][0])


def _plain(number: str) -> str:
    """`1e+15` as `1000000000000000`, as JSON in the database has it."""
    return f"{Decimal(number):f}" if "e" in number else number


def _parsed(text: str) -> Any:
    return (parse_image(f'{{"value":{text}}}') or {})["value"]


def _iso(text: str) -> str:
    """`2026-01-31 10:00:00+00` as `2026-01-31T10:00:00+00:00`, as `to_jsonb` has it."""
    if text in ("infinity", "-infinity") or text.endswith("BC"):
        return text
    iso = text.replace(" ", "T", 1)
    return f"{iso}:00" if re.search(r"T.*[+-][0-9]{2}$", iso) else iso
