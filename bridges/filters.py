"""Which rows are mapped: structured conditions on columns, never text of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "in", "exists")
_DEPTH = 8


def check_filter(tree: Any, columns: set[str] | None, depth: int = 0) -> Iterator[str]:
    """What is wrong with a condition; `columns` are those it may be about, None for any."""
    if tree is None and depth == 0:
        return
    if not isinstance(tree, dict) or depth > _DEPTH:
        yield "a condition is a table with col, op and value, or with all or any"
        return
    for joint in ("all", "any"):
        if joint in tree:
            if set(tree) != {joint} or not isinstance(tree[joint], list):
                yield f"{joint} is a list of conditions and stands alone"
                return
            for part in tree[joint]:
                yield from check_filter(part, columns, depth + 1)
            return
    exists = tree.get("op") == "exists"
    if set(tree) | ({"value"} if exists else set()) != {"col", "op", "value"}:
        yield "a condition has col, op and value"
        return
    if columns is not None and tree["col"] not in columns:
        yield f"{tree['col']} is not in columns"
    if tree["op"] not in _COMPARISONS:
        yield f"{tree['op']} is none of {', '.join(_COMPARISONS)}"
    if (tree["op"] == "in") != isinstance(tree.get("value"), list):
        yield "in takes a list of values, and nothing else does"


class Filter:
    """A condition, checked."""

    def __init__(self, tree: Mapping[str, Any] | None) -> None:
        self._tree = tree

    def holds(self, row: Mapping[str, Any] | None) -> bool:
        """Whether the row is there and meets the condition. NULL meets none."""
        return row is not None and (self._tree is None or _holds(self._tree, row))


def _holds(tree: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    if "all" in tree:
        return all(_holds(part, row) for part in tree["all"])
    if "any" in tree:
        return any(_holds(part, row) for part in tree["any"])
    value = row.get(tree["col"])
    if tree["op"] == "exists":
        return (value is not None) is (tree.get("value", True) is not False)
    if value is None:
        return False
    if tree["op"] == "in":
        return any(_compare("eq", value, wanted) for wanted in tree["value"])
    return _compare(tree["op"], value, tree["value"])


def _compare(operation: str, value: Any, wanted: Any) -> bool:
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        try:
            value, wanted = Decimal(str(value)), Decimal(str(wanted))
        except InvalidOperation:
            return operation == "ne"
        if value.is_nan():
            return operation == "ne"
    elif isinstance(wanted, str):
        value = str(value)
    elif type(value) is not type(wanted):
        return operation == "ne"
    match operation:
        case "eq":
            return bool(value == wanted)
        case "ne":
            return bool(value != wanted)
        case "lt":
            return bool(value < wanted)
        case "le":
            return bool(value <= wanted)
        case "gt":
            return bool(value > wanted)
        case _:
            return bool(value >= wanted)
