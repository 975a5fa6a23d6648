"""The messages of PostgreSQL's `pgoutput`, protocol version 1, as far as changes of one table need them.

Source: PostgreSQL documentation, "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from types import EllipsisType
from typing import Literal

_EPOCH_MS = 946_684_800_000  # 2000-01-01
Tuple = list[str | EllipsisType | None]
"""Values as text, None for NULL, Ellipsis for a large value that did not change."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when the change was written."""

    name: str
    columns: tuple[tuple[str, int], ...]
    """Name and type."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    kind: Literal["insert", "update", "delete", "truncate", "commit", "other"]
    relation: Relation | None = None
    new: Tuple | None = None
    old: Tuple | None = None
    """The whole row before."""
    key: Tuple | None = None
    """Only its key, the rest NULL."""
    end: int = 0
    """Where the transaction ends in the log."""
    ts: int = 0
    """When it was committed."""


_OTHER = Message("other")


class Decoder:
    """Reads the messages of one look at a slot."""

    def __init__(self, table: str) -> None:
        """`table` is `schema.name`: changes of other tables are of no interest."""
        self._table = table
        self._relations: dict[int, Relation] = {}

    def read(self, data: bytes) -> Message:
        """One message."""
        match data[:1]:
            case b"I" | b"U" | b"D":
                return self._change(data)
            case b"R":
                self._relation(data)
            case b"C":
                _, _, end, at = struct.unpack_from(">BQQq", data, 1)
                return Message("commit", end=end, ts=at // 1000 + _EPOCH_MS)
            case b"T":
                count, _ = struct.unpack_from(">IB", data, 1)
                found = struct.unpack_from(f">{count}I", data, 6)
                if any(self._relations[oid].name == self._table for oid in found):
                    return Message("truncate")
            case _:
                pass
        return _OTHER

    def _relation(self, data: bytes) -> None:
        (oid,) = struct.unpack_from(">I", data, 1)
        schema, place = _string(data, 5)
        name, place = _string(data, place)
        (count,) = struct.unpack_from(">H", data, place + 1)
        place += 3
        columns = []
        for _ in range(count):
            column, place = _string(data, place + 1)
            (type_oid,) = struct.unpack_from(">I", data, place)
            columns.append((column, type_oid))
            place += 8
        self._relations[oid] = Relation(f"{schema or 'pg_catalog'}.{name}", tuple(columns))

    def _change(self, data: bytes) -> Message:
        (oid,) = struct.unpack_from(">I", data, 1)
        relation = self._relations[oid]
        if relation.name != self._table:
            return _OTHER
        parts: dict[bytes, Tuple] = {}
        place = 5
        while place < len(data):
            mark = data[place : place + 1]
            parts[mark], place = _tuple(data, place + 1)
        kind: Literal["insert", "update", "delete"] = (
            "insert" if data[:1] == b"I" else "update" if data[:1] == b"U" else "delete"
        )
        return Message(kind, relation, parts.get(b"N"), parts.get(b"O"), parts.get(b"K"))


def _string(data: bytes, place: int) -> tuple[str, int]:
    end = data.index(b"\0", place)
    return data[place:end].decode(), end + 1


def _tuple(data: bytes, place: int) -> tuple[Tuple, int]:
    (count,) = struct.unpack_from(">H", data, place)
    place += 2
    values: Tuple = []
    for _ in range(count):
        mark = data[place : place + 1]
        place += 1
        if mark == b"n":
            values.append(None)
        elif mark == b"u":
            values.append(...)
        else:
            (length,) = struct.unpack_from(">I", data, place)
            values.append(data[place + 4 : place + 4 + length].decode())
            place += 4 + length
    return values, place
