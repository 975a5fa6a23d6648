"""A bridge without a homeserver, stepped by hand: what it would send is read in its state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomysql
import asyncpg
import pytest

from bridges.capture import Capture
from bridges.config import Config, load
from bridges.ddl import statements
from bridges.sources.binlog import BinlogFeed
from bridges.sources.opening import open_source
from bridges.state import State
from tests.bridges.support import Bridge
from tests.support.client import eventually

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
listen = "127.0.0.1:1"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
[source.shop]
driver = "{driver}"
url = {{ env = "SHOP_URL" }}
[mapping.rows]
source = "shop"
table = "rows_"
key = ["id"]
columns = [{columns}]
capture = {capture}
{more}
room = {{ alias = "_db_rows_{{{{ id }}}}" }}
message = [
  {{ on = "insert", text = "{{{{ state }}}}" }},
  {{ on = "update", text = "{{{{ old.state }}}} -> {{{{ state }}}}" }},
  {{ on = "delete", text = "gone" }},
]
command.set = {{ set = {{ state = "{{{{ args }}}}" }}, require = {{ state = ["a"] }} }}
"""
TABLES = {
    "postgresql": "CREATE TABLE rows_ (id bigint PRIMARY KEY, state text, at timestamptz NOT NULL DEFAULT now());"
    "CREATE INDEX ON rows_ (at); CREATE PUBLICATION bridge FOR TABLE rows_;",
    # Whole seconds: everything here is a tie.
    "mysql": "CREATE TABLE rows_ (id bigint PRIMARY KEY, state varchar(80), at datetime NOT NULL "
    "DEFAULT current_timestamp ON UPDATE current_timestamp, KEY (at));"
    "CREATE USER IF NOT EXISTS hromada;",
}
OVERLAP = '{ mode = "overlap", cursor = "at", overlap = "60s" }'
HORIZON = '{ mode = "horizon", cursor = "at" }'
OUTBOX = '{ mode = "outbox" }'
LOGICAL = '{ mode = "logical" }'
BINLOG = '{ mode = "binlog" }'


class Bench:
    """A database with a table, and a bridge that is stepped by hand."""

    def __init__(self, config: Config, url: str) -> None:
        self.config, self.url = config, url
        self.state = State(config.state)
        self.source = open_source(config, "shop")
        self.capture = Capture(config, "rows", self.state, self.source, lambda: None)

    async def restart(self) -> None:
        """As after kill -9."""
        await self.close()
        self.__init__(self.config, self.url)  # type: ignore[misc] # all of it anew, as a new process has it

    async def close(self) -> None:
        """Stop."""
        await self.source.close()
        self.state.close()

    async def drain(self) -> None:
        """Take everything that is to be seen, twice: the second pass must not find it again."""
        for _ in range(2):
            await self.step()

            async def read() -> bool:
                await self.step()
                return await self.has_read()

            await eventually(read)

    async def step(self) -> None:
        """Take what is there."""
        while await self.capture.step():
            pass

    async def has_read(self) -> bool:
        """Whether the thread that reads a binary log has come to its end."""
        feed: Any = self.capture._feed
        if not isinstance(feed, BinlogFeed) or feed._tail is None:
            return True
        place = feed._tail.done.place or feed._at
        now = "@@global.gtid_binlog_pos" if feed._maria else "@@global.gtid_executed"
        end = str((await feed._source.fetch_all(f"SELECT {now}"))[0][0]).replace("\n", "")
        return bool(json.loads(place)["gtid"] == end and feed._tail.found.empty())

    def told(self, row: int | str) -> list[str]:
        """The messages of a row, by its key as JSON."""
        with sqlite3.connect(self.config.state) as db:
            found = db.execute(
                "SELECT content FROM delivery WHERE kind = 'm.room.message' AND lane = ? ORDER BY id",
                (f"rows:[{row}]",),
            ).fetchall()
        db.close()
        return [json.loads(content)["body"] for (content,) in found]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """A connection of an application: a function that runs a statement."""
        if self.url.startswith("postgres"):
            connection = await asyncpg.connect(self.url)
            try:
                yield connection.execute
            finally:
                await connection.close()
            return
        url = urlsplit(self.url)
        mine = await aiomysql.connect(
            host="127.0.0.1", port=url.port, user=url.username, password=unquote(url.password or ""), db=url.path[1:]
        )
        await mine.autocommit(True)

        async def run(statement: str) -> None:
            async with mine.cursor() as cursor:
                await cursor.execute(statement)

        try:
            yield run
        finally:
            mine.close()


def make_bench(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: str,
    capture: str,
    more: str = "",
    table: str = "",
    columns: str = '"id", "state"',
) -> Bench:
    """A bridge on a database of its own; `table` makes another one than usual."""
    server: Any = request.getfixturevalue("cluster" if driver == "postgresql" else "mariadb")
    url = server.make_database()
    name = url.rsplit("/", 1)[-1]
    monkeypatch.setenv("SHOP_URL", url)
    bridge = Bridge(tmp_path, SHOP_URL=url)
    if driver == "postgresql":
        slot = f'publication = "bridge", slot = "slot_{name}"'
        capture = capture.replace('"logical"', f'"logical", {slot}')
    bridge.file.write_text(CONFIG.format(folder=tmp_path, driver=driver, capture=capture, more=more, columns=columns))
    server.sql(table or TABLES[driver], name)
    if "outbox" in capture:
        server.sql("\n".join(statements(load(bridge.file), "hromada")).partition("-- write-back")[0], name)
    return Bench(load(bridge.file), url)
