"""Values out of a binary log, as JSON_OBJECT has them: what a scan sees and what the log tells have to be the same."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bridges.render import parse_image
from bridges.sources import Row
from bridges.sources.tables import Tables

_EMPTY_SET, _NO_DATE = "empty set", "out of date"
MISSING = "cols bitmap"
"""What the reader says of a column that the log left out."""
_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
_REMEMBERED = 10_000


class Values:
    """Converts the rows of one table."""

    def __init__(self, source: Tables, table: str, columns: tuple[str, ...], *, maria: bool) -> None:
        self._source, self._table, self._columns = source, table, columns
        self.maria = maria
        self._json: set[str] | None = None
        self._asked: dict[tuple[str, float], Any] = {}

    def forget(self) -> None:
        """The table may be another one now."""
        self._json = None

    async def row(self, raw: Mapping[str, Any], nones: Mapping[str, str]) -> tuple[Row, frozenset[str]]:
        """The mapped columns, and those that the log left out. Raises SourceUnavailable.

        A column that the table did not have yet, or has no more, is None.
        """
        types = await self._source.types(self._table)
        if self._json is None:
            self._json = await self._json_columns()
        row: dict[str, Any] = {}
        missing = set()
        for column in self._columns:
            if nones.get(column) == MISSING:
                missing.add(column)
            else:
                kind = "json" if column in self._json else types.get(column, "")
                row[column] = await self._value(raw.get(column), nones.get(column, ""), kind)
        return row, frozenset(missing)

    async def _json_columns(self) -> set[str]:
        """MariaDB's JSON is a text that is checked, and only that makes it an object in JSON_OBJECT."""
        if not self.maria:
            return set()
        rows = await self._source.fetch_all(
            "SELECT check_clause FROM information_schema.check_constraints "
            "WHERE constraint_schema = coalesce(%s, database()) AND table_name = %s",
            *self._source.split(self._table),
        )
        found = [re.fullmatch(r"json_valid\(`(.+)`\)", str(row[0])) for row in rows]
        return {match[1] for match in found if match}

    async def _value(self, value: Any, none: str, kind: str) -> Any:
        if isinstance(value, float):
            return await self._float(value, kind)
        return self.plain(value, none, kind)

    async def _float(self, value: float, kind: str) -> Any:
        """As the database writes it, which no rule here does in the same way."""
        asked = ("FLOAT" if kind.startswith("float") else "DOUBLE", value)
        if asked not in self._asked:
            if len(self._asked) >= _REMEMBERED:
                self._asked.clear()
            rows = await self._source.fetch_all(f"SELECT JSON_OBJECT('value', CAST(%s AS {asked[0]}))", value)
            self._asked[asked] = (parse_image(rows[0][0]) or {})["value"]
        return self._asked[asked]

    # long: a line or two for each type of Python that the reader makes of a column
    def plain(self, value: Any, none: str, kind: str) -> Any:
        """A value of a type of the database that needs no question."""
        if value is None:
            return "" if none == _EMPTY_SET else self._zero(kind) if none.startswith(_NO_DATE) else None
        if isinstance(value, int):
            return _parsed(str(0 if kind.startswith("year") and value == 1900 else value))
        if isinstance(value, Decimal):
            return _parsed(f"{value:f}")
        if isinstance(value, datetime):
            stamp = kind.startswith("timestamp")
            return (
                self._zero(kind) if stamp and value == _EPOCH else self._time(value, f"{value:%Y-%m-%d %H:%M:%S}", kind)
            )
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, timedelta):
            seconds = abs(value) // timedelta(seconds=1)
            clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            return ("-" if value < timedelta() else "") + self._time(abs(value), clock, kind)
        if isinstance(value, set):
            order = re.findall(r"'((?:[^']|'')*)'", kind)
            return ",".join(one for one in (each.replace("''", "'") for each in order) if one in value)
        if isinstance(value, bytes | bytearray):
            return _binary(bytes(value), kind)
        if isinstance(value, dict | list):  # MySQL's own JSON
            return _parsed(json.dumps(_texts(value)))
        return _parsed(value) if kind == "json" else str(value)

    def _time(self, value: Any, text: str, kind: str) -> str:
        match = re.match(r"\w+\((\d)\)", kind)
        digits = int(match[1]) if match else 0
        if not self.maria:  # MySQL's JSON has them always
            digits = 6
        micro = value.microsecond if isinstance(value, datetime) else value.microseconds
        return f"{text}.{micro:06}"[: len(text) + 1 + digits] if digits else text

    def _zero(self, kind: str) -> str:
        if kind.startswith("date") and not kind.startswith("datetime"):
            return "0000-00-00"
        return self._time(timedelta(), "0000-00-00 00:00:00", kind)


def _parsed(text: str) -> Any:
    try:
        return (parse_image(f'{{"value":{text}}}') or {})["value"]
    except ValueError:
        return text


def _binary(value: bytes, kind: str) -> str:
    """The log leaves NUL bytes at the end out."""
    if kind.startswith("uuid"):
        return _uuid(value.ljust(16, b"\0"))
    if kind.startswith("inet6"):
        address = ipaddress.IPv6Address(value.ljust(16, b"\0"))
        return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)
    if kind.startswith("inet4"):
        return str(ipaddress.IPv4Address(value.ljust(4, b"\0")))
    return value.decode("utf-8", "replace")


def _uuid(value: bytes) -> str:
    """MariaDB keeps UUIDs of the versions 1 to 5 with their parts in the other order, for its indexes."""
    if value[6] & 0x80 and 0 < value[8] < 0x60:
        value = value[12:16] + value[10:12] + value[8:10] + value[6:8] + value[0:6]
    return str(uuid.UUID(bytes=value))


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {_texts(key): _texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Decimal | float):
        return str(value)
    return str(value) if isinstance(value, date | timedelta) else value
