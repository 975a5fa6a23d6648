"""SQL that both kinds of databases are asked: names quoted, values bound, conditions of the configuration pushed down.

A condition is pushed down as far as the database decides it as `bridges.filters` does, which decides in the end: what
the database lets through may be more than what holds, never less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bridges.config import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}\Z")
_SIGNS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ARGUMENT = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")
Kind = Literal["number", "text", "boolean", "time", "binary", "other"]
_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"tinyint\(1\)", "other"),
    (r"(small|big|tiny|medium)?int(eger)?\b|numeric|decimal|real|double|float|oid", "number"),
    (r"text|character varying|varchar|(tiny|medium|long)text|citext", "text"),
    (r"bool", "boolean"),
    (r"timestamp|datetime", "time"),
    (r"bytea|(tiny|medium|long)?blob|(var)?binary|bit\b|geometry", "binary"),
)


def kind_of(type_name: str) -> Kind:
    """What a type of a database is to us."""
    return next((kind for pattern, kind in _KINDS if re.match(pattern, type_name)), "other")


class Dialect:
    """How a database writes what all of them can say."""

    def __init__(self, driver: Literal["postgresql", "mysql"]) -> None:
        self.postgres = driver == "postgresql"
        self._quote = '"' if self.postgres else "`"

    def name(self, name: str) -> str:
        """`schema.table` or a column, quoted. Raises ConfigError for what is no plain name."""
        parts = name.split(".")
        if len(parts) > 2 or not all(_NAME.match(part) for part in parts):
            raise ConfigError([f"{name!r} is not the name of a table or column"])
        return ".".join(f"{self._quote}{part}{self._quote}" for part in parts)

    def image(self, columns: Sequence[str], of: str = "") -> str:
        """The columns of a row as an object of JSON."""
        dot = f"{of}." if of else ""
        if not self.postgres:
            pairs = [f"'{column}', {dot}{self.name(column)}" for column in columns]
            return f"JSON_OBJECT({', '.join(pairs)})"
        parts = []
        for first in range(0, len(columns), 45):  # a function takes a hundred arguments
            pairs = [f"'{column}', {dot}{self.name(column)}" for column in columns[first : first + 45]]
            parts.append(f"jsonb_build_object({', '.join(pairs)})")
        return f"({' || '.join(parts)})"

    def array(self, columns: Sequence[str]) -> str:
        """The columns of a row as a list of JSON."""
        names = ", ".join(self.name(column) for column in columns)
        return f"jsonb_build_array({names})" if self.postgres else f"JSON_ARRAY({names})"

    def text(self, expression: str) -> str:
        """An expression as text."""
        return f"({expression})::text" if self.postgres else f"CAST({expression} AS CHAR)"

    def milliseconds(self, column: str) -> str:
        """A time as milliseconds since 1970."""
        if self.postgres:
            return f"(extract(epoch FROM {column}) * 1000)::bigint"
        return f"CAST(UNIX_TIMESTAMP({column}) * 1000 AS SIGNED)"


class Binds:
    """The values of one statement, in the order in which the statement names them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.values: list[Any] = []

    def add(self, value: Any, type_name: str = "text") -> str:
        """A value of a type of the database; what stands for it in the statement."""
        if self._dialect.postgres:
            self.values.append(_postgres_text(value))
            return f"${len(self.values)}::text::{type_name}"
        self.values.append(json.dumps(value) if isinstance(value, dict | list) else value)
        return "%s"


def _postgres_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | dict | list) else str(value)


def condition(tree: Mapping[str, Any] | None, types: Mapping[str, str], binds: Binds, dialect: Dialect) -> str:
    """A condition of the configuration as SQL: it holds for every row that `Filter` keeps."""
    if tree is None:
        return "TRUE"
    for joint, word in (("all", " AND "), ("any", " OR ")):
        if joint in tree:
            parts = [condition(part, types, binds, dialect) for part in tree[joint]]
            return f"({word.join(parts)})" if parts else ("TRUE" if joint == "all" else "FALSE")
    column, operation, value = dialect.name(tree["col"]), tree["op"], tree.get("value")
    type_name = types.get(tree["col"], "")
    if operation == "exists":
        return f"{column} IS {'NULL' if value is False else 'NOT NULL'}"
    wanted = list(value or []) if operation == "in" else [value]
    if not all(_decides(kind_of(type_name), operation, one, dialect) for one in wanted):
        return "TRUE"
    cast = "numeric" if kind_of(type_name) == "number" else "boolean" if kind_of(type_name) == "boolean" else "text"
    if operation == "in":
        return f"{column} IN ({', '.join(binds.add(one, cast) for one in wanted)})" if wanted else "FALSE"
    collate = ' COLLATE "C"' if cast == "text" and operation in ("lt", "le", "gt", "ge") else ""
    return f"{column}{collate} {_SIGNS[operation]} {binds.add(value, cast)}"


def _decides(kind: Kind, operation: str, value: Any, dialect: Dialect) -> bool:
    if isinstance(value, bool):
        return kind == "boolean" and operation in ("eq", "ne", "in")
    if isinstance(value, int | float):
        return kind == "number"
    # MySQL compares without case: that lets more through where something is to be equal, and less elsewhere.
    return kind == "text" and (dialect.postgres or operation in ("eq", "in"))


def after(
    columns: Sequence[str], values: Sequence[Any], types: Mapping[str, str], binds: Binds, dialect: Dialect
) -> str:
    """Rows behind a place in the order of some columns."""
    names = [dialect.name(column) for column in columns]
    if dialect.postgres:
        bound = [binds.add(value, types[column]) for column, value in zip(columns, values, strict=True)]
        return f"({', '.join(names)}) > ({', '.join(bound)})"
    parts = []  # the long form: MySQL uses no index for the short one
    for number in range(len(names)):
        equal = [f"{name} = {binds.add(value)}" for name, value in zip(names[:number], values, strict=False)]
        parts.append(" AND ".join([*equal, f"{names[number]} > {binds.add(values[number])}"]))
    # The first column alone, which is what the index is asked.
    return f"({names[0]} >= {binds.add(values[0])} AND ({' OR '.join(f'({part})' for part in parts)}))"


def equal(
    columns: Sequence[str], values: Sequence[Any], types: Mapping[str, str], binds: Binds, dialect: Dialect
) -> str:
    """The row with a key."""
    parts = [f"{dialect.name(c)} = {binds.add(v, types[c])}" for c, v in zip(columns, values, strict=True)]
    return " AND ".join(parts)


def with_arguments(
    statement: str, values: Mapping[str, str], types: Mapping[str, str], binds: Binds, dialect: Dialect, limit: int
) -> str:
    """A named query of the configuration with its arguments bound."""
    text = statement.strip().rstrip(";")
    if not dialect.postgres:
        text = text.replace("%", "%%")
    bound = _ARGUMENT.sub(lambda match: binds.add(values[match[1]], types[match[1]]), text)
    return f"SELECT * FROM ({bound}) AS asked LIMIT {int(limit)}"
