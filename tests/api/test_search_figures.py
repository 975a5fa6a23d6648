"""What searching many messages costs: answers of both databases, newest first and by rank.

`HROMADA_FIGURES=1` searches 1,000,000 messages and prints what docs/performance.md has; without it a thousand show that
all are found. One in fifty is sent, the others are copied in the database: sending them all would take an hour.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import aiohttp
import pytest

from tests.api.test_search import search
from tests.support.client import Client
from tests.support.fixtures import StartServer, fresh
from tests.support.server import Server

FULL = bool(os.environ.get("HROMADA_FIGURES"))
MESSAGES, COPIES = (20_000, 50) if FULL else (200, 5)
ROOMS, ENTERED = (300, 50) if FULL else (6, 3)
SEARCHES = 60 if FULL else 5
WRITERS = 8
CYRILLIC = "ка мо ні та ра во ле сі до па ру ти не зу ба гі ло ви ща йо"  # noqa: RUF001 - Ukrainian
LATIN = "re ta mi no lu ke si do pa vu ne zo cha jo an er"

pytestmark = [pytest.mark.all_only, pytest.mark.timeout(1_800 if FULL else 300)]

# What a copy has like its original; its number, place and id are its own.
_SAME = "type, state_key, sender, snapshot_nid, flags, push, json, unsigned, replaces, redacted_by"
_COPY = (
    "INSERT INTO events (nid, event_id, room_nid, ord, {same}) "
    "SELECT nid + {step}, substr(event_id, 1, 40) || '{mark}', room_nid, ord + {places}, {same} "
    "FROM events WHERE type = 'm.room.message' AND nid < {first}"
)
_COPY_WORDS = (
    "INSERT INTO event_search ({row}, words) SELECT s.{row} + {step}, s.words FROM event_search s "
    "JOIN events e ON e.nid = s.{row} WHERE e.type = 'm.room.message' AND s.{row} < {first}"
)


class Words:
    """A vocabulary of which few words are in most messages, and most words in few."""

    def __init__(self) -> None:
        self._chance = random.Random(5)
        syllables = f"{CYRILLIC} {LATIN}".split()
        made = ("".join(self._chance.choices(syllables, k=self._chance.randint(2, 4))) for _ in range(20_000))
        self.all = list(dict.fromkeys(made))
        self._weights = [1 / (place + 5) for place in range(len(self.all))]

    def text(self, least: int = 4, most: int = 15) -> str:
        """What somebody writes."""
        return " ".join(self._chance.choices(self.all, self._weights, k=self._chance.randint(least, most)))

    def one(self, first: int, last: int) -> str:
        """One of those between two places, the most frequent being the first."""
        return self.all[self._chance.randrange(first, min(last, len(self.all)))]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_searching_many_messages(
    start_server: StartServer, http: aiohttp.ClientSession, request: pytest.FixtureRequest, database: str
) -> None:
    server = start_server(database)
    words = Words()
    reader, rooms = await _people(server, http)
    texts = [words.text() for _ in range(MESSAGES)]

    async def write(which: int) -> None:
        for number in range(which, MESSAGES, WRITERS):
            who, room = rooms[number % ROOMS]
            await who.send(room, texts[number])

    await asyncio.gather(*(write(which) for which in range(WRITERS)))
    server.stop()
    _multiply(server, request)
    server.start()
    reader.base_url = server.url
    seen = [text.split() for number, text in enumerate(texts) if number % ROOMS < ENTERED]
    frequent = words.all[0]
    expected = COPIES * sum(any(word.startswith(frequent) for word in text) for text in seen)
    answer = await search(reader, frequent, order_by="rank")
    assert answer["count"] == min(expected, 1_000)
    kinds: dict[str, Callable[[], str]] = {
        "a frequent word": lambda: words.one(0, 50),
        "a middling word": lambda: words.one(50, 2_000),
        "a rare word": lambda: words.one(2_000, 20_000),
        "two words": lambda: f"{words.one(0, 300)} {words.one(0, 300)}",
        "a beginning": lambda: words.one(0, 2_000)[:4],
        "as people type": lambda: words.text(1, 2),
    }
    for name, make in kinds.items():
        for order in ("recent", "rank"):
            print(f"{database} {name}, {order}: {await _measured(reader, make, order)}")


async def _people(server: Server, http: aiohttp.ClientSession) -> tuple[Client, list[tuple[Client, str]]]:
    """Who searches, and each room with who writes there; the first ENTERED rooms are those that can be searched."""
    reader = await Client(http, server.url).register(fresh("reader"))
    writers = [await Client(http, server.url).register(fresh(f"writer{number}")) for number in range(WRITERS)]
    rooms = []
    for number in range(ROOMS):
        who = writers[number % WRITERS]
        rooms.append((who, await who.create_room(preset="public_chat")))
    for _, room in rooms[:ENTERED]:
        await reader.join(room)
    return reader, rooms


def _multiply(server: Server, request: pytest.FixtureRequest) -> None:
    """Copy every message COPIES - 1 times, behind all that there is."""
    if server.options.database_url is None:
        with closing(sqlite3.connect(server.data_dir / "hromada.db")) as store, store:
            _copy(lambda statement: str((store.execute(statement).fetchone() or ("",))[0]), "rowid")
    else:
        cluster, name = request.getfixturevalue("postgres_cluster"), server.options.database_url.rsplit("/", 1)[-1]
        _copy(lambda statement: str(cluster.sql(statement, name)), "nid")
        cluster.sql("VACUUM ANALYZE", name)


def _copy(run: Callable[[str], str], row: str) -> None:
    step = int(run("SELECT max(nid) FROM events")) + 10
    # Places in the timeline are as many times as far apart as this.
    apart = int(run("SELECT max(ord) FROM events WHERE nid = (SELECT max(nid) FROM events)")) // (step - 10)
    for number in range(1, COPIES):
        values = {"same": _SAME, "step": number * step, "mark": f"{number:04}", "places": number * step * apart}
        run(_COPY.format(first=step, **values))
        run(_COPY_WORDS.format(row=row, step=number * step, first=step))
    run("UPDATE counters SET value = (SELECT max(nid) + 10 FROM events) WHERE name = 'log'")


async def _measured(reader: Client, make: Callable[[], str], order: str) -> str:
    took: list[float] = []
    for _ in range(SEARCHES):
        term, began = make(), time.perf_counter()
        answer: dict[str, Any] = await search(reader, term, order_by=order)
        took.append((time.perf_counter() - began) * 1000)
        assert len(answer["results"]) <= answer["count"] <= 1_000
    took.sort()
    return f"p50 {took[SEARCHES // 2]:.0f} ms, p95 {took[SEARCHES * 95 // 100]:.0f} ms, most {took[-1]:.0f} ms"
