"""Statements that read and write the rows of a mapping, in both dialects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bridges.config import TableMapping
from bridges.render import parse_image, parse_key
from bridges.sources import Key, Refused, Row, SourceUnavailable, Write, key_text
from bridges.sources.statements import Binds, Dialect, after, condition, equal

Statement = tuple[str, list[Any]]
AT_ONCE = 100
"""How many rows are fetched by their keys in one statement."""


def scan_statement(
    dialect: Dialect,
    mapping: TableMapping,
    types: Mapping[str, str],
    behind: Key | None,
    limit: int,
    chosen: Any,
    ts: str,
) -> Statement:
    """Rows in the order of the key: key, image (NULL if the filter keeps it out), chosen, ts."""
    binds = Binds(dialect)
    _require(mapping, types, ts)
    shown = condition(mapping.filter, types, binds, dialect)
    picked = _picked(chosen, mapping, types, binds, dialect)
    at = dialect.milliseconds(dialect.name(ts)) if ts else "NULL"
    where = "TRUE" if behind is None else after(mapping.key, behind, types, binds, dialect)
    order = ", ".join(dialect.name(column) for column in mapping.key)
    image = f"CASE WHEN {shown} THEN {dialect.text(dialect.image(mapping.columns))} END"
    picked = f"coalesce({picked}, FALSE)"
    text = (
        f"SELECT {dialect.text(dialect.array(mapping.key))}, {image}, {picked}, {at} "
        f"FROM {dialect.name(mapping.table)} WHERE {where} ORDER BY {order} LIMIT {int(limit)}"
    )
    return text, binds.values


def _picked(chosen: Any, mapping: TableMapping, types: Mapping[str, str], binds: Binds, dialect: Dialect) -> str:
    if isinstance(chosen, list | tuple):  # from a key on
        behind = after(mapping.key, chosen, types, binds, dialect)
        return f"({behind} OR ({equal(mapping.key, chosen, types, binds, dialect)}))"
    return condition(chosen, types, binds, dialect)


def fetch_statement(
    dialect: Dialect, mapping: TableMapping, types: Mapping[str, str], keys: Sequence[Key]
) -> Statement:
    """The rows of some keys: key and image."""
    binds = Binds(dialect)
    _require(mapping, types)
    where = " OR ".join(f"({equal(mapping.key, key, types, binds, dialect)})" for key in keys)
    columns = f"{dialect.text(dialect.array(mapping.key))}, {dialect.text(dialect.image(mapping.columns))}"
    return f"SELECT {columns} FROM {dialect.name(mapping.table)} WHERE {where}", binds.values


def in_order(mapping: TableMapping, keys: Sequence[Key], rows: Iterable[tuple[str, str]]) -> list[Row | None]:
    """What `fetch_statement` found, for each of the keys what meets the filter."""
    found = {key_text(parse_key(key)): parse_image(image) for key, image in rows}
    images = [found.get(key_text(key)) for key in keys]
    return [image if mapping.predicate.holds(image) else None for image in images]


def poll_statement(
    dialect: Dialect, mapping: TableMapping, types: Mapping[str, str], place: Mapping[str, Any], limit: int
) -> Statement:
    """Rows in the order of cursor and key, from a place: cursor, key, image, milliseconds of the cursor."""
    binds = Binds(dialect)
    cursor = mapping.capture.cursor
    _require(mapping, types, cursor)
    name = dialect.name(cursor)
    shown = condition(mapping.filter, types, binds, dialect)
    columns = (cursor, *mapping.key)
    if place.get("after") is not None:
        where = after(columns, place["after"], types, binds, dialect)
    else:
        where = f"{name} >= {binds.add(place['since'], types[cursor])}"
    if place.get("before") is not None:
        where += f" AND {name} < {binds.add(place['before'], types[cursor])}"
    image = f"CASE WHEN {shown} THEN {dialect.text(dialect.image(mapping.columns))} END"
    text = (
        f"SELECT {dialect.text(name)}, {dialect.text(dialect.array(mapping.key))}, {image}, "
        f"{dialect.milliseconds(name)} FROM {dialect.name(mapping.table)} WHERE {where} "
        f"ORDER BY {', '.join(dialect.name(column) for column in columns)} LIMIT {int(limit)}"
    )
    return text, binds.values


def _require(mapping: TableMapping, types: Mapping[str, str], *more: str) -> None:
    missing = {*mapping.columns, *(column for column in more if column)} - set(types)
    if missing:
        raise SourceUnavailable(f"{mapping.table} has no column {', '.join(sorted(missing))}")


def update_statement(dialect: Dialect, write: Write, mapping: TableMapping, types: Mapping[str, str]) -> Statement:
    """A guarded update, or an insert that does nothing the second time. Raises Refused."""
    binds = Binds(dialect)
    values = write.values or {}
    missing = [column for column in (*values, *(write.require or {})) if column not in types]
    if missing:
        raise Refused(f"{write.table} has no column {', '.join(missing)}")
    table = dialect.name(write.table)
    if write.kind == "insert":
        names = ", ".join(dialect.name(column) for column in values)
        bound = ", ".join(binds.add(value, types[column]) for column, value in values.items())
        first = dialect.name(next(iter(values)))
        again = "ON CONFLICT DO NOTHING" if dialect.postgres else f"ON DUPLICATE KEY UPDATE {first} = {first}"
        return f"INSERT INTO {table} ({names}) VALUES ({bound}) {again}", binds.values
    if write.kind != "update":
        raise Refused(f"{write.kind} is for MongoDB")
    changes = [f"{dialect.name(column)} = {binds.add(value, types[column])}" for column, value in values.items()]
    if write.bump:
        changes.append(f"{dialect.name(write.bump)} = {dialect.name(write.bump)} + 1")
    where = [equal(mapping.key, write.key, types, binds, dialect)]
    where += [_one_of(column, wanted, types, binds, dialect) for column, wanted in (write.require or {}).items()]
    return f"UPDATE {table} SET {', '.join(changes)} WHERE {' AND '.join(where)}", binds.values


def _one_of(column: str, wanted: Sequence[Any], types: Mapping[str, str], binds: Binds, dialect: Dialect) -> str:
    bound = ", ".join(binds.add(value, types[column]) for value in wanted if value is not None)
    parts = [f"{dialect.name(column)} IN ({bound})"] if bound else []
    if None in wanted:
        parts.append(f"{dialect.name(column)} IS NULL")
    return f"({' OR '.join(parts) or 'FALSE'})"
