"""What differs between SQLite and PostgreSQL, in one place.

A statement is written once as a template; fragments fill in the few forms on which the databases disagree. The
text of every statement is constant: lists travel as one JSON parameter, so that compiled and prepared statements
are reused whatever the number of values. Nothing else in the project asks which database it runs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

LOWEST = -(2**63)
HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL in both dialects."""

    sqlite: str
    postgres: str


# SQLite has no row locks and needs none: its write transactions exclude each other.
FOR_UPDATE = Fragment("", " FOR UPDATE")


class Sql:
    """A statement in both dialects: `Sql("SELECT … WHERE {nids}", nids=in_ints("nid", "nids"))`."""

    __slots__ = ("_postgres", "_sqlite")

    def __init__(self, template: str, **fragments: Fragment) -> None:
        self._sqlite = text(template.format(**{name: part.sqlite for name, part in fragments.items()}))
        self._postgres = text(template.format(**{name: part.postgres for name, part in fragments.items()}))

    def on(self, connection: AsyncConnection) -> TextClause:
        """The statement for this connection's database."""
        return self._sqlite if connection.dialect.name == "sqlite" else self._postgres

    async def rows(self, connection: AsyncConnection, **parameters: Any) -> Sequence[Any]:
        """Execute once; all rows, as tuples."""
        return (await connection.execute(self.on(connection), parameters)).all()

    async def first(self, connection: AsyncConnection, **parameters: Any) -> Any:
        """Execute once; the first row, or None if there is none."""
        return (await connection.execute(self.on(connection), parameters)).first()

    async def run(self, connection: AsyncConnection, **parameters: Any) -> int:
        """Execute once; the number of rows changed."""
        return (await connection.execute(self.on(connection), parameters)).rowcount

    async def run_many(self, connection: AsyncConnection, rows: list[dict[str, Any]]) -> None:
        """Execute for every row in one round trip; nothing at all if there are none."""
        if rows:
            await connection.execute(self.on(connection), rows)


def in_texts(column: str, parameter: str) -> Fragment:
    """`column` is one of the strings in the JSON array `parameter`."""
    return Fragment(
        f"{column} IN (SELECT value FROM json_each(:{parameter}))",
        f"{column} = ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:{parameter} AS jsonb))))",
    )


def in_ints(column: str, parameter: str) -> Fragment:
    """`column` is one of the integers in the JSON array `parameter`."""
    return Fragment(
        f"{column} IN (SELECT value FROM json_each(:{parameter}))",
        f"{column} = ANY(ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:{parameter} AS jsonb)) AS bigint)))",
    )


def rows_of(parameter: str, alias: str, **columns: str) -> Fragment:
    """A table expression over the JSON array of objects `parameter`; `columns` maps names to SQL types."""
    extracted = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in columns)
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    return Fragment(
        f"(SELECT {extracted} FROM json_each(:{parameter})) AS {alias}",
        f"jsonb_to_recordset(CAST(:{parameter} AS jsonb)) AS {alias}({declared})",
    )


def json_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """The JSON parameter of `rows_of`."""
    return orjson.dumps(list(rows)).decode()


def json_ints(values: Iterable[int]) -> str:
    """The JSON parameter of `in_ints`."""
    return orjson.dumps(list(values)).decode()


def json_texts(values: Iterable[str]) -> str:
    """The JSON parameter of `in_texts`.

    What no stored identifier can contain (PostgreSQL refuses NUL, UTF-8 lone surrogates) is left out, so that a
    lookup of nonsense finds nothing instead of failing.
    """
    return orjson.dumps([value for value in values if is_storable(value)]).decode()


def is_storable(value: str) -> bool:
    """Whether both databases can hold the text."""
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
