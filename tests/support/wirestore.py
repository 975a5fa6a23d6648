"""A server as in `wiredouble` that keeps documents, with as much of MongoDB's updates as writes to elements need.

For what no server from PyPI does: a condition on the elements of a list, and the update of the element that met it.
spec of the behaviour: https://www.mongodb.com/docs/manual/reference/operator/update/positional/
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from typing import Any

from tests.support.wiredouble import WireDouble


class WireStore(WireDouble):
    """Keeps the documents of one collection. Whatever it does not know, it refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[dict[str, Any]] = []
        """The questions that change something."""
        self.together = 0
        """So many of them are waited for, before the first is answered."""
        self.lose_answers = 0
        """So many answers to them get lost, after it was done."""
        self._all_there = asyncio.Event()

    async def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name == "insert":
            self.documents += copy.deepcopy(command["documents"])
            return {"ok": 1, "n": len(command["documents"])}
        if name == "find":
            found = [one for one in self.documents if _meets(one, command.get("filter", {}))]
            return {"ok": 1, "cursor": {"id": 0, "ns": "test.c", "firstBatch": found}}
        if name == "count":
            return {"ok": 1, "n": len(self.documents)}
        if name != "findAndModify":
            return await super()._answer(command)
        self.updates.append(command)
        if len(self.updates) >= self.together:
            self._all_there.set()
        await self._all_there.wait()
        value = self._modified(command["query"], command["update"])
        if self.lose_answers:
            self.lose_answers -= 1
            raise ConnectionResetError
        return {"ok": 1, "value": value, "lastErrorObject": {"n": int(value is not None)}}

    def _modified(self, query: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first document that meets the query, changed: one step, as MongoDB promises of a document."""
        for number, document in enumerate(self.documents):
            if _meets(document, query):
                self.documents[number] = _changed(document, query, update)
                return self.documents[number]
        return None


def _values(document: Any, path: str) -> list[Any]:
    """What is at a path; each element's, where it leads through a list."""
    name, _, rest = path.partition(".")
    if isinstance(document, list):
        return [value for element in document for value in _values(element, path)]
    if not isinstance(document, Mapping) or name not in document:
        return []
    return [document[name]] if not rest else _values(document[name], rest)


def _meets(document: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    return all(_is(_values(document, path), wanted) for path, wanted in query.items())


def _is(values: list[Any], wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(name.startswith("$") for name in wanted)):
        return wanted in values
    [(operator, operand)] = wanted.items()
    match operator:
        case "$ne":  # of a path through a list: none of its elements has it
            return operand not in values
        case "$in":
            return any(value in operand for value in values)
    raise AssertionError(f"{operator} is not known here")


def _changed(document: Mapping[str, Any], query: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    after: dict[str, Any] = copy.deepcopy(dict(document))
    for operator, fields in update.items():
        for path, value in fields.items():
            if operator == "$push":
                after.setdefault(path, []).append(value)
            elif operator == "$inc":
                after[path] = after.get(path, 0) + value
            elif operator == "$set" and ".$." in path:
                array, _, field = path.partition(".$.")
                _matched(after[array], array, query)[field] = value
            elif operator == "$set" and "." not in path:
                after[path] = value
            else:
                raise AssertionError(f"{operator} of {path} is not known here")
    return after


def _matched(elements: list[dict[str, Any]], array: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """The first element that met the query: `$` stands for it."""
    wanted = {path.removeprefix(f"{array}."): value for path, value in query.items() if path.startswith(f"{array}.")}
    return next(element for element in elements if _meets(element, wanted))
