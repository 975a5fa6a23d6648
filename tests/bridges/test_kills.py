"""kill -9 of everything, while writers hold their transactions open: committed rows are messages, in order, once.

What was committed is in a table of its own, written in the same transactions: nobody has to know whether a commit that
was not answered went through. In a round two of five die; `--crash-kills` counts the dead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import aiomysql
import asyncpg
import pytest

from tests.bridges.support import Bridge, registration, told
from tests.support.client import Client, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import unavailable
from tests.support.mariadb import MariaDb, MariaDbUnavailable, running_mariadb
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import Server, ServerOptions

PATIENCE_S = 120.0
ROWS, WRITERS = 2, 2
CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:{port}"
server_name = "hromada.test"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
state = "{folder}/state.db"
[source.postgres]
driver = "postgresql"
url = {{ env = "POSTGRES_URL" }}
[source.maria]
driver = "mysql"
url = {{ env = "MARIA_URL" }}
"""
MAPPING = """
[mapping.{name}]
source = "{source}"
table = "{name}"
key = ["id"]
columns = ["id", "n"]
capture = {capture}
room = {{ alias = "_db_{name}_{{{{ id }}}}", invite = ["@sales:hromada.test"] }}
message = [{{ on = "update", sender = "ghost:n", text = "{{{{ old.n }}}} -> {{{{ n }}}}" }}]
"""
MAPPINGS = {
    "drained": ("postgres", '{ mode = "outbox", poll = "50ms" }'),
    "logged": ("postgres", '{ mode = "logical", poll = "50ms" }'),
    "triggered": ("maria", '{ mode = "outbox", table = "bridge_outbox", poll = "50ms" }'),
}


class World:
    """What is killed, and who writes."""

    def __init__(self, folder: Path, cluster: PostgresCluster, mariadb: MariaDb, proxy: Any) -> None:
        self.cluster, self.mariadb, self.proxy = cluster, mariadb, proxy
        self.postgres, self.maria = cluster.make_database(), mariadb.make_database()
        self.bridge = Bridge(folder, POSTGRES_URL=self.postgres, MARIA_URL=self.maria)
        mappings = [MAPPING.format(name=n, source=s, capture=c) for n, (s, c) in MAPPINGS.items()]
        self.bridge.file.write_text(CONFIG.format(port=proxy.port, folder=folder) + "".join(mappings))
        environment = {"HROMADA_APPSERVICES_FILES": registration(self.bridge, folder)}
        self.server = Server(folder / "data", ServerOptions(environment=environment))
        tables = "CREATE TABLE {0} (id bigint PRIMARY KEY, n bigint NOT NULL);"
        history = "CREATE TABLE history (seq {0} PRIMARY KEY, name varchar(20), id bigint, n bigint);"
        rows = "INSERT INTO {0} VALUES " + ", ".join(f"({row}, 0)" for row in range(ROWS)) + ";"
        postgres = [history.format("bigint GENERATED ALWAYS AS IDENTITY"), "CREATE PUBLICATION bridge;"]
        postgres += ["ALTER ROLE hromada REPLICATION;"]
        for name in ("drained", "logged"):
            postgres += [tables.format(name)]
        ddl = self.bridge.ok("sql", "--role", "hromada").split("-- mapping.")
        postgres += ["ALTER PUBLICATION bridge ADD TABLE logged; ALTER TABLE logged REPLICA IDENTITY FULL;"]
        postgres += ["-- mapping." + piece for piece in ddl if piece.startswith("drained")]
        postgres += [rows.format(name) for name in ("drained", "logged")]
        cluster.sql("\n".join(postgres), self.postgres.rsplit("/", 1)[-1])
        maria = ["CREATE USER IF NOT EXISTS hromada;", tables.format("triggered")]
        maria += [history.format("bigint AUTO_INCREMENT")]
        maria += ["-- mapping." + piece.partition("-- write-back")[0] for piece in ddl if piece.startswith("triggered")]
        maria += [rows.format("triggered")]
        mariadb.sql("\n".join(maria), self.maria.rsplit("/", 1)[-1])

    @asynccontextmanager
    async def connection(self, source: str) -> AsyncIterator[Any]:
        """A function that executes statements of an application, and returns rows."""
        if source == "postgres":
            connection = await asyncpg.connect(self.postgres)
            try:
                yield connection.fetch
            finally:
                connection.terminate()
            return
        url = urlsplit(self.maria)
        user = {"user": url.username, "password": unquote(url.password or ""), "db": url.path[1:]}
        mine = await aiomysql.connect(host="127.0.0.1", port=url.port, **user)
        try:

            async def run(statement: str, *values: Any) -> Any:
                async with mine.cursor() as cursor:
                    await cursor.execute(statement.replace("$1", "%s"), values)
                    return await cursor.fetchall()

            yield run
        finally:
            mine.close()

    async def kill(self, victim: str) -> None:
        """kill -9, and start again."""
        if victim == "bridge":
            await asyncio.to_thread(self.bridge.kill)
            self.bridge.start()
        elif victim == "answers":
            self.proxy.reset()
        elif victim == "server":
            await asyncio.to_thread(self.server.kill)
            await asyncio.to_thread(self.server.start)
            self.proxy.target_port = urlsplit(self.server.url).port
        else:
            killed: Any = self.cluster if victim == "postgres" else self.mariadb
            await asyncio.to_thread(killed.kill)
            await asyncio.to_thread(killed.start)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """All of it, running, and its own."""
    try:
        with (
            FaultProxy.running(1) as proxy,
            running_cluster({"wal_level": "logical"}) as cluster,
            running_mariadb() as mariadb,
        ):
            world = World(tmp_path, cluster, mariadb, proxy)
            world.server.start()
            proxy.target_port = urlsplit(world.server.url).port
            world.bridge.start()
            try:
                yield world
            finally:
                world.bridge.kill()
                world.server.stop()
    except (PostgresUnavailable, MariaDbUnavailable) as reason:
        unavailable(str(reason))


async def write(world: World, name: str, row: int, done: asyncio.Event, chance: random.Random) -> None:
    """Count a row up, again and again, and forget about it one time in ten."""
    source = MAPPINGS[name][0]
    while not done.is_set():
        try:
            async with world.connection(source) as run:
                while not done.is_set():
                    await run("BEGIN")
                    await run(f"UPDATE {name} SET n = n + 1 WHERE id = $1", row)
                    number = (await run(f"SELECT n FROM {name} WHERE id = $1", row))[0][0]
                    await run(f"INSERT INTO history (name, id, n) VALUES ('{name}', {row}, {number})")
                    await asyncio.sleep(chance.uniform(0, 0.1))
                    await run("ROLLBACK" if chance.random() < 0.1 else "COMMIT")
                    await asyncio.sleep(chance.uniform(0, 0.4))
        except Exception:  # the database is away, however the driver says it
            await asyncio.sleep(0.2)


@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_doubled(
    world: World, http: aiohttp.ClientSession, pytestconfig: pytest.Config
) -> None:
    sales = await Client(http, world.server.url).register("sales")
    await eventually(lambda: _begun(world.bridge), PATIENCE_S)  # what was before is told by backfill only
    chance = random.Random(pytestconfig.getoption("--crash-seed"))
    done = asyncio.Event()
    writers = [
        asyncio.create_task(write(world, name, row, done, random.Random(number)))
        for name in MAPPINGS
        for row in range(ROWS)
        for number in range(WRITERS)
    ]
    others = ("server", "postgres", "mariadb", "answers")
    for number in range(max(1, pytestconfig.getoption("--crash-kills") // 2)):
        for victim in ("bridge", others[number % len(others)]):
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            await world.kill(victim)
    done.set()
    await asyncio.gather(*writers)
    sales.base_url = world.server.url
    for name, (source, _) in MAPPINGS.items():
        async with world.connection(source) as run:
            for row in range(ROWS):
                numbers = await run(f"SELECT n FROM history WHERE name = '{name}' AND id = {row} ORDER BY seq")
                expected = [f"{n - 1} -> {n}" for (n,) in numbers]
                assert expected
                await _until(world, sales, f"_db_{name}_{row}", expected)


async def _begun(bridge: Bridge) -> bool:
    return "scan_ends" in bridge.log()


async def _until(world: World, sales: Client, alias: str, expected: list[str]) -> None:
    async def holds() -> bool:
        return await told(sales, alias) == expected

    try:
        await eventually(holds, PATIENCE_S)
    except AssertionError:
        assert await told(sales, alias) == expected, world.bridge.log()[-6000:]
