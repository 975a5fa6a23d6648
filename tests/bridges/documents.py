"""Documents of MongoDB whose lists grow while everything is killed: each element that is in one is a message, once.

The lists are their own history: what counts as committed is what the server holds in the end, and that has to hold
whatever it has answered. There is one writer per document, who reads it again after a write that was not answered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from tests.support.mongo import Mongo

SOURCE = """
[source.helpdesk]
driver = "mongodb"
url = { env = "HELPDESK_URL" }
"""
MAPPING = """
[mapping.{name}]
source = "helpdesk"
collection = "{name}"
key = ["_id"]
columns = ["_id", "n", "lines"]
capture = {capture}
room = {{ alias = "_db_{name}_{{{{ _id }}}}", invite = ["@sales:hromada.test"] }}
each = [{{ array = "lines", element_key = "id", sender = "ghost:who", text = "{{{{ el.text }}}}" }}]
"""
MAPPINGS = {
    "streamed": '{ mode = "changestream", fallback = "overlap", cursor = "at", overlap = "60s", poll = "50ms" }',
    "asked": '{ mode = "overlap", cursor = "at", overlap = "60s", poll = "50ms" }',
}
"""By the stream, and as where there is none: what its `fallback` does."""
CONFIG = SOURCE + "".join(MAPPING.format(name=name, capture=capture) for name, capture in MAPPINGS.items())


def _line(number: int) -> dict[str, Any]:
    return {"id": str(number), "who": number % 3, "text": f"line {number}"}


def _id(row: int) -> str:
    """A text: nx-27017 tells of documents with numbers as if they had texts."""
    return f"row{row}"


def _document(row: int, lines: int) -> dict[str, Any]:
    return {"_id": _id(row), "n": lines, "lines": [_line(n) for n in range(1, lines + 1)], "at": datetime.now(UTC)}


class Documents:
    """One database, and who writes into it."""

    def __init__(self, mongo: Mongo, rows: int) -> None:
        self.url = mongo.url()
        self._outside = bool(mongo.outside)
        self._answered: dict[tuple[str, int], int] = {}
        """So many lines are there for certain."""
        with MongoClient[Any](self.url) as client:
            for name in MAPPINGS:
                client.get_default_database()[name].insert_many([_document(row, 0) for row in range(rows)])

    @asynccontextmanager
    async def _collection(self, name: str) -> AsyncIterator[Any]:
        client: Any = AsyncMongoClient(self.url, retryWrites=False)
        try:
            yield client.get_default_database()[name]
        finally:
            await client.close()

    async def write(self, name: str, row: int, done: asyncio.Event, chance: random.Random) -> None:
        """Append to the list of a document, again and again."""
        async with self._collection(name) as collection:
            while not done.is_set():
                try:
                    await self._append(collection, row)
                except PyMongoError:  # the server is away
                    await asyncio.sleep(0.2)
                else:
                    await asyncio.sleep(chance.uniform(0.3, 1.2))

    async def _append(self, collection: Any, row: int) -> None:
        number = (await collection.find_one({"_id": _id(row)}))["n"] + 1
        where = {"_id": _id(row), "n": number - 1}
        changed = await collection.update_one(where, {"$set": _document(row, number)})
        assert changed.matched_count == 1
        self._answered[collection.name, row] = number

    async def add(self, name: str, row: int) -> None:
        """A document with a line in it."""
        async with self._collection(name) as collection:
            await collection.insert_one(_document(row, 1))
            self._answered[name, row] = 1

    async def told(self, name: str) -> dict[str, list[str]]:
        """Key of a document → what is to be told of it."""
        async with self._collection(name) as collection:
            found = {one["_id"]: [line["text"] for line in one["lines"]] async for one in collection.find({})}
        for (written, row), number in self._answered.items():
            assert written != name or len(found[_id(row)]) >= number, f"{name} {row}: what was answered is not there"
        assert all(lines == [f"line {n}" for n in range(1, len(lines) + 1)] for lines in found.values())
        return found

    def drop(self) -> None:
        """Leave nothing behind at a server of somebody else."""
        if self._outside:
            with MongoClient[Any](self.url) as client:
                client.drop_database(client.get_default_database().name)
