"""Records that are rows: fields and columns have the same names, so statements and records cannot drift apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, get_type_hints

Record = TypeVar("Record")


class Columns(Generic[Record]):
    """The columns that a dataclass names: `Sql(f"SELECT {USERS.names} FROM users")`, then `USERS.record(row)`."""

    def __init__(self, record: Callable[..., Record]) -> None:
        kinds = get_type_hints(record)
        self.names = ", ".join(kinds)
        self.parameters = ", ".join(f":{name}" for name in kinds)
        self.count = len(kinds)
        self._fields = tuple(kinds)
        self._make = record
        self._is_bool = [kind is bool for kind in kinds.values()]

    def index(self, name: str) -> int:
        """Which column it is."""
        return self._fields.index(name)

    def values(self, record: Record) -> dict[str, Any]:
        """The parameters of a statement by which this record is stored."""
        return {name: getattr(record, name) for name in self._fields}

    def record(self, row: Iterable[Any]) -> Record:
        """The record of a row of exactly these columns."""
        # SQLite has no booleans: it gives 0 and 1.
        return self._make(
            *[bool(value) if is_bool else value for value, is_bool in zip(row, self._is_bool, strict=True)]
        )
