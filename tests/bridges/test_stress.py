"""Five applications write at random, and each way of capture tells what was committed: all of it, once, in order.

Transactions stay open for a while, end in another order than they began, and are rolled back one time in ten; times
tie. `HROMADA_TEST_STRESS=400` for so many transactions of each application.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from bridges.config import load
from tests.bridges.bench import BINLOG, HORIZON, LOGICAL, OUTBOX, Bench, make_bench
from tests.bridges.support import Bridge
from tests.bridges.test_mongodb import mongo
from tests.support.client import eventually
from tests.support.mongo import Mongo

__all__ = ["mongo"]

WRITERS = 5
TRANSACTIONS = int(os.environ.get("HROMADA_TEST_STRESS", "12"))
ROWS = 4
LATE = 100
"""The first row of all, and the last one to be committed."""
OVERLAP = '{ mode = "overlap", cursor = "at", overlap = "10m" }'
WAYS = [
    ("postgresql", OVERLAP),
    ("postgresql", HORIZON),
    ("postgresql", OUTBOX),
    ("postgresql", LOGICAL),
    ("mysql", OVERLAP),
    ("mysql", OUTBOX),
    ("mysql", BINLOG),
]
EVERY = ("outbox", "logical", "binlog")
"""Ways that see each change; the others see what a row is when they look."""


class History:
    """What was committed: how often each row was changed."""

    def __init__(self) -> None:
        self.changes: dict[int, int] = {}
        self.numbers = itertools.count(LATE + 1)

    async def write(self, run: Callable[[str], Awaitable[Any]], bench: Bench, chance: random.Random) -> None:
        """The transactions of one application."""
        now = ", at = now()" if bench.url.startswith("postgres") else ""
        for _ in range(TRANSACTIONS):
            await run("BEGIN")
            row = chance.randrange(ROWS) if chance.random() < 0.7 else next(self.numbers)
            if row < ROWS:
                await run(f"UPDATE rows_ SET state = state + 1{now} WHERE id = {row}")
            else:
                await run(f"INSERT INTO rows_ (id, state) VALUES ({row}, 0)")
            await asyncio.sleep(chance.choice((0, 0, 0.02, 0.1)))
            if chance.random() < 0.1:
                await run("ROLLBACK")
            else:
                await run("COMMIT")
                self.changes[row] = self.changes.get(row, -1) + 1


TABLES = {
    "postgresql": "CREATE TABLE rows_ (id bigint PRIMARY KEY, state bigint, at timestamptz NOT NULL DEFAULT now());"
    "CREATE INDEX ON rows_ (at); CREATE PUBLICATION bridge FOR TABLE rows_;",
    "mysql": "CREATE TABLE rows_ (id bigint PRIMARY KEY, state bigint, at datetime NOT NULL "
    "DEFAULT current_timestamp ON UPDATE current_timestamp, KEY (at)); CREATE USER IF NOT EXISTS hromada;",
}


@pytest.mark.parametrize(
    ("driver", "capture"), WAYS, ids=[f"{driver}-{capture.split(chr(34))[1]}" for driver, capture in WAYS]
)
async def test_random_writers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, capture: str
) -> None:
    bench = make_bench(request, tmp_path, monkeypatch, driver, capture, table=TABLES[driver])
    await bench.drain()
    history = History()
    naive: set[int] = set()

    async def ask() -> None:
        """The query that everybody writes first."""
        rows = await bench.source.fetch_all(  # type: ignore[attr-defined] # of both kinds of tables
            f"SELECT id FROM rows_ WHERE id > {max(naive, default=-1)} ORDER BY id"
        )
        naive.update(row[0] for row in rows)

    async with bench.session() as late:
        async with bench.session() as first:
            for row in range(ROWS):
                await first(f"INSERT INTO rows_ (id, state) VALUES ({row}, 0)")
                history.changes[row] = 0
        await late("BEGIN")
        await late(f"INSERT INTO rows_ (id, state) VALUES ({LATE}, 0)")

        async def application(number: int) -> None:
            async with bench.session() as run:
                await history.write(run, bench, random.Random(f"{driver} {capture} {number}"))

        writing = asyncio.gather(*(application(number) for number in range(WRITERS)))
        while not writing.done():
            await bench.step()
            await ask()
            await asyncio.sleep(0.03)
        await writing
        await ask()
        await late("COMMIT")
        history.changes[LATE] = 0
    await bench.drain()
    await ask()
    committed = set(history.changes)
    assert len(committed) > ROWS + 1
    for row, changes in history.changes.items():
        check(bench.told(row), changes, every=any(way in capture for way in EVERY))
    assert not any(bench.told(row) for row in set(range(LATE, next(history.numbers))) - committed), "rolled back"
    assert LATE in committed - naive, "the naive query loses what ours does not"
    await bench.close()


def check(told: list[str], changes: int, *, every: bool) -> None:
    """Messages of a row that began with 0 and was counted up so often."""
    links = [(int(text.partition(" -> ")[0]), int(text.rpartition(" -> ")[2])) for text in told]
    assert links, "lost"
    assert links[0][0] == links[0][1], "the first one says what the row is"
    assert links[-1][1] == changes, (told, changes)
    for (_, before), (old, new) in itertools.pairwise(links):
        assert before == old < new, told
    if every:
        assert [new for _, new in links] == list(range(changes + 1)), told


MONGO = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
state = "{folder}/state.db"
[source.shop]
driver = "mongodb"
url = {{ env = "SHOP_URL" }}
[mapping.rows]
source = "shop"
collection = "rows"
key = ["_id"]
columns = ["_id", "state"]
deliver = "latest"
capture = {{ mode = "changestream", poll = "100ms" }}
room = {{ alias = "_db_rows_{{{{ _id }}}}" }}
message = [
  {{ on = "insert", text = "{{{{ state }}}}" }},
  {{ on = "update", text = "{{{{ old.state }}}} -> {{{{ state }}}}" }},
]
"""


async def test_random_writers_of_documents(mongo: Mongo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change stream says that a document has changed; what it is then is read."""
    monkeypatch.setenv("SHOP_URL", url := mongo.url())
    file = Bridge(tmp_path).file
    file.write_text(MONGO.format(folder=tmp_path))
    bench = Bench(load(file), url)
    client: Any = AsyncMongoClient(url)
    rows = client.get_default_database()["rows"]
    await bench.step()
    changes: dict[str, int] = {}  # by names: nx-27017 tells of documents with numbers under other keys
    numbers = itertools.count(LATE)

    async def application(number: int) -> None:
        chance = random.Random(number)
        for _ in range(TRANSACTIONS):
            if changes and chance.random() < 0.7:
                row = chance.choice(list(changes))
                changes[row] += 1
                await rows.update_one({"_id": row}, {"$inc": {"state": 1}})
            else:
                row = f"row {next(numbers)}"
                await rows.insert_one({"_id": row, "state": 0})
                changes[row] = 0
            await asyncio.sleep(chance.choice((0, 0, 0.02)))

    writing = asyncio.gather(*(application(number) for number in range(WRITERS)))
    while not writing.done():
        await bench.step()
        await asyncio.sleep(0.03)
    await writing

    async def told() -> bool:
        await bench.step()
        last = {row: ["", *bench.told(f'"{row}"')][-1].rpartition(" ")[2] for row in changes}
        return last == {row: str(count) for row, count in changes.items()}

    await eventually(told, 60)
    for row, count in changes.items():
        check(bench.told(f'"{row}"'), count, every=False)
    await client.close()
    await bench.close()
