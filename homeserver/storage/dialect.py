"""What differs between SQLite and PostgreSQL, in one place.

A statement is written once as a template; fragments fill in the few forms on which the databases disagree. The
text of every statement is constant: lists travel as one JSON parameter, so that prepared statements are reused
whatever the number of values. Nothing else in the project asks which database it runs on.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import orjson

from homeserver.storage.sealing import Sealing

LOWEST = -(2**63)
HIGHEST = 2**63 - 1

_PLAIN_INSERT = re.compile(r"INSERT INTO ([a-z_]+) \{rows\}")
_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL in both dialects."""

    sqlite: str
    postgres: str


# SQLite has no row locks and needs none: its write transactions exclude each other.
FOR_UPDATE = Fragment("", " FOR UPDATE")


class Sql:
    """A statement in both dialects: `Sql("SELECT … WHERE {nids}", nids=in_ints("nid", "nids"))`.

    Parameters are written `:name` and must be given the Python type of what they are compared with or stored in.
    Rows are tuples, to be read by position.
    """

    __slots__ = ("names", "postgres", "sqlite", "sqlite_names")

    values_decide: ClassVar[bool] = False
    """Whether PostgreSQL may make a plan for the values of an execution."""

    def __init__(self, template: str, **fragments: Fragment) -> None:
        named = template.format(**{name: part.postgres for name, part in fragments.items()})
        self.names = tuple(dict.fromkeys(_PARAMETER.findall(named)))
        self.postgres = _PARAMETER.sub(lambda found: f"${self.names.index(found[1]) + 1}", named)
        """The text with numbered parameters, as PostgreSQL takes it, and their names in the order of the numbers."""
        named = template.format(**{name: part.sqlite for name, part in fragments.items()})
        # By position: for names the driver would ask SQLite for each parameter's at every execution, and numbers count
        # as names, which go with no sequence of values from Python 3.14 on.
        self.sqlite_names = tuple(_PARAMETER.findall(named))
        self.sqlite = _PARAMETER.sub("?", named)
        """The same, as SQLite takes it: a name for each mark, as often as it is used."""

    def rows(self, connection: Connection, **parameters: Any) -> Awaitable[Sequence[Any]]:
        """Execute once; all rows, as tuples."""
        return connection.fetch(self, parameters)

    async def first(self, connection: Connection, **parameters: Any) -> Any:
        """Execute once; the first row, or None if there is none."""
        rows = await connection.fetch(self, parameters)
        return rows[0] if rows else None

    async def last(self, connection: Connection, accept: Callable[[Any], bool], **parameters: Any) -> Any:
        """As `first`, and nothing follows in the transaction if `accept` says so of the row: that saves a visit."""
        rows = await connection.fetch_last(self, parameters, lambda rows: bool(rows) and accept(rows[0]))
        return rows[0] if rows else None

    def run(self, connection: Connection, **parameters: Any) -> Awaitable[int]:
        """Execute once; the number of rows changed."""
        return connection.execute(self, parameters)

    async def run_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute for every row in one round trip; nothing at all if there are none."""
        if rows:
            await connection.execute_many(self, rows)


class SqlByValues(Sql):
    """A statement that is executed best in one way for some values and in another for others: searches by patterns."""

    __slots__ = ()

    values_decide = True


class Rows:
    """A statement that stores many rows at once: `Rows("INSERT INTO t {rows} ON CONFLICT …", id="bigint", …)`.

    The template's only parameters are the columns of the rows, named with their SQL types, and so is the list of
    columns that stands for `{rows}`. PostgreSQL gets one statement with an array for each column, which costs it a
    fifth of as many statements; SQLite runs a prepared one for each row, which costs it nothing.
    """

    __slots__ = ("columns", "postgres", "sqlite", "table")

    def __init__(self, template: str, **columns: str) -> None:
        plain = _PLAIN_INSERT.fullmatch(template)
        self.table = plain[1] if plain else None
        """What nothing but an `INSERT` stores into: many rows of it PostgreSQL may be sent by `COPY`."""
        self.columns = tuple(columns)
        names = ", ".join(columns)
        marks = ", ".join("?" for _ in columns)
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(columns.values(), 1))
        self.sqlite = template.format(rows=f"({names}) VALUES ({marks})")
        self.postgres = template.format(rows=f"({names}) SELECT * FROM unnest({arrays})")

    async def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Execute for rows of values in the order of the columns; nothing at all if there are none."""
        if rows:
            await connection.execute_rows(self, rows)


class Connection(Protocol):
    """A connection as statements see it. Raises what the transaction around it turns into the port's errors."""

    @property
    def is_sqlite(self) -> bool:
        """Which text of a statement it takes."""
        ...

    @property
    def sealing(self) -> Sealing:
        """How what people write is stored."""
        ...

    def foresee(self, statement: Sql) -> None:
        """Ask a statement, which is asked again in this transaction before its answer changes, with the first other
        one. Does nothing where that would cost a round trip.
        """
        ...

    def foreseen(self, statement: Sql) -> Sequence[Any] | None:
        """The rows of a statement that was foreseen, or None if they are not known."""
        ...

    async def prepare(self, statements: Iterable[Sql]) -> None:
        """Have the database know statements before they are needed. Does nothing where that would save nothing."""
        ...

    async def fetch(self, statement: Sql, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """All rows of a statement."""
        ...

    async def fetch_last(
        self, statement: Sql, parameters: Mapping[str, Any], accept: Callable[[Sequence[Any]], bool]
    ) -> Sequence[Any]:
        """As `fetch`. Nothing follows in this transaction if `accept`, which may run in a thread, says so of them."""
        ...

    async def execute(self, statement: Sql, parameters: Mapping[str, Any]) -> int:
        """The number of rows that a statement changed."""
        ...

    async def execute_many(self, statement: Sql, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute for each of the rows."""
        ...

    async def execute_rows(self, statement: Rows, rows: Sequence[Sequence[Any]]) -> None:
        """Store the rows."""
        ...


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
    if "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
