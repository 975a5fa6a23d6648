"""kill -9 of everything, while writers hold their transactions open: committed rows are messages, in order, once.

What was committed is in a table of its own, written in the same transactions: nobody has to know whether a commit that
was not answered went through. Documents of MongoDB are their own history (`tests.bridges.documents`). People write back
into PostgreSQL and into documents (`tests.bridges.written`). The bridge dies
at each of the places that `bridges.faults` names, and the homeserver and the databases while it stands still there;
then everything dies at random. There are ten such rounds; `--crash-kills` of 120 makes 30, each with the others at
every place.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import aiomysql
import asyncpg
import pytest

from tests.bridges import documents, written
from tests.bridges.support import Bridge, answers, find_room, registration, told
from tests.support.client import Client, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import unavailable
from tests.support.mariadb import MariaDb, MariaDbUnavailable, running_mariadb
from tests.support.mongo import Mongo, MongoUnavailable, running_mongo
from tests.support.ports import free_port
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import Server, ServerOptions
from tests.support.wirestore import WireStore

PATIENCE_S = 120.0
ROWS, WRITERS = 2, 2
CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:{port}"
server_name = "hromada.test"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
listen = "127.0.0.1:{listen}"
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
columns = ["id", "n", "who"]
capture = {capture}
room = {{ alias = "_db_{name}_{{{{ id }}}}", invite = ["@sales:hromada.test"] }}
message = [{{ on = "update", sender = "ghost:who", text = "{{{{ old.n }}}} -> {{{{ n }}}}" }}]
"""
FILLED = (3, 250, 499, 500, 599)
"""Those of the rows from before that are told; they are in two pages of the scan."""
FILLING = """
[mapping.filled]
source = "postgres"
table = "filled"
key = ["id"]
columns = ["id", "n"]
capture = { mode = "outbox", poll = "50ms" }
backfill = { mode = "where", filter = { col = "n", op = "eq", value = 1 } }
room = { alias = "_db_filled_{{ id }}", invite = ["@sales:hromada.test"] }
message = [{ on = "insert", text = "filled {{ id }}" }]
[mapping.filled.write.message]
insert = "replies"
values = { id = "{{ event_uuid }}", body = "{{ body }}" }
"""
MAPPINGS = {
    "drained": ("postgres", '{ mode = "outbox", poll = "50ms" }'),
    "logged": ("postgres", '{ mode = "logical", poll = "50ms" }'),
    "binlogged": ("maria", '{ mode = "binlog", poll = "50ms" }'),
    "polled": ("postgres", '{ mode = "overlap", cursor = "at", overlap = "60s", poll = "50ms" }'),
    "settled": ("postgres", '{ mode = "horizon", cursor = "at", poll = "50ms" }'),
    "triggered": ("maria", '{ mode = "outbox", table = "bridge_outbox", poll = "50ms" }'),
}
LOOKED_AT = ("polled", "settled")
"""What is looked at from time to time: not every change is told, but how a row is in the end, and nothing twice."""
FILLED_TABLE = (
    "CREATE TABLE filled (id bigint PRIMARY KEY, n bigint NOT NULL); CREATE TABLE replies (id uuid PRIMARY KEY, "
    f"body text); INSERT INTO filled SELECT id, (id IN {FILLED})::int FROM generate_series(0, 620) id;"
)
SCANNED = ("filled", "logged", "binlogged", *LOOKED_AT, *documents.MAPPINGS, *written.MAPPINGS)
ROOM_PLACES = ("making-room", "made-room")
REPLY_PLACES = ("received", "written")
PLACES = ("read", "stored", "acknowledging", "acknowledged", *ROOM_PLACES, "sent", *REPLY_PLACES)
ROUNDS = 10
OTHERS = ("server", "postgres", "mariadb", "mongo", "answers")
REPLIES = ("filled", "inserted", "pushed", "stamped", "filled")
"""Kinds of replies, in turn: as many as are coprime with the places and the victims that they are sent at."""


class World:
    """What is killed, and who writes."""

    def __init__(
        self, folder: Path, cluster: PostgresCluster, mariadb: MariaDb, mongo: Mongo, double: WireStore, proxy: Any
    ) -> None:
        self.databases = {"postgres": cluster, "mariadb": mariadb, "mongo": mongo}
        self.proxy, self.documents = proxy, documents.Documents(mongo, ROWS)
        self.postgres, self.maria = cluster.make_database(), mariadb.make_database()
        self.written = written.Written(self.documents.url, double)
        urls = {"POSTGRES_URL": self.postgres, "MARIA_URL": self.maria, "HELPDESK_URL": self.documents.url}
        self.bridge = Bridge(folder, DOUBLE_URL=double.url, **urls)
        mappings = [MAPPING.format(name=n, source=s, capture=c) for n, (s, c) in MAPPINGS.items()]
        self.bridge.file.write_text(
            CONFIG.format(port=proxy.port, folder=folder, listen=free_port())
            + documents.CONFIG
            + written.CONFIG
            + "".join(mappings)
            + FILLING
        )
        environment = {"HROMADA_APPSERVICES_FILES": registration(self.bridge, folder)}
        self.server = Server(folder / "data", ServerOptions(environment=environment))
        tables = "CREATE TABLE {0} (id bigint PRIMARY KEY, n bigint NOT NULL, who bigint"
        tables += ", at timestamp NOT NULL DEFAULT now());"
        history = "CREATE TABLE history (seq {0} PRIMARY KEY, name varchar(20), id bigint, n bigint);"
        rows = "INSERT INTO {0} (id, n) VALUES " + ", ".join(f"({row}, 0)" for row in range(ROWS)) + ";"
        postgres = [history.format("bigint GENERATED ALWAYS AS IDENTITY"), "CREATE PUBLICATION bridge;"]
        postgres += ["ALTER ROLE hromada REPLICATION;"]
        postgres += [FILLED_TABLE]
        of_postgres = [name for name, (source, _) in MAPPINGS.items() if source == "postgres"]
        postgres += [tables.format(name).replace("timestamp", "timestamptz") for name in of_postgres]
        ddl = self.bridge.ok("sql", "--role", "hromada").split("-- mapping.")
        postgres += ["ALTER PUBLICATION bridge ADD TABLE logged; ALTER TABLE logged REPLICA IDENTITY FULL;"]
        postgres += ["-- mapping." + piece for piece in ddl if piece.startswith(("drained", "filled"))]
        postgres += [rows.format(name) for name in of_postgres]
        cluster.sql("\n".join(postgres), self.postgres.rsplit("/", 1)[-1])
        maria = ["CREATE USER IF NOT EXISTS hromada;", tables.format("triggered")]
        maria += [history.format("bigint AUTO_INCREMENT")]
        maria += ["-- mapping." + piece.partition("-- write-back")[0] for piece in ddl if piece.startswith("triggered")]
        maria += [tables.format("binlogged"), rows.format("binlogged"), rows.format("triggered")]
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

    def left(self) -> str:
        """What the bridge has not done yet, for a message."""
        with closing(sqlite3.connect(self.bridge.file.parent / "state.db")) as state:
            waiting = state.execute(
                "SELECT lane, kind, count(*), max(attempts), max(error) FROM delivery"
                " WHERE state <> 'done' GROUP BY lane, kind"
            ).fetchall()
            return f"{waiting}, {state.execute('SELECT * FROM progress').fetchall()}"

    async def meet(self, fault: str, cause: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start the bridge anew, and wait until the fault came."""
        await asyncio.to_thread(self.bridge.kill)
        self.bridge.start(fault)
        if cause is not None:
            await cause()

        async def faulted() -> bool:
            return self.bridge.faulted()

        try:
            await eventually(faulted, PATIENCE_S)
        except AssertionError:
            raise AssertionError(f"{fault} did not come: {self.left()}\n{self.bridge.log()[-3000:]}") from None
        if fault.startswith("kill:"):
            self.bridge.kill()  # and is waited for

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
            killed: Any = self.databases[victim]
            await asyncio.to_thread(killed.kill)
            await asyncio.to_thread(killed.start)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All of it, running, and its own."""
    try:
        async with WireStore().running() as double:
            with _world(tmp_path, double) as world:
                yield world
    except (PostgresUnavailable, MariaDbUnavailable, MongoUnavailable) as reason:
        unavailable(str(reason))


@contextmanager
def _world(folder: Path, double: WireStore) -> Iterator[World]:
    with (
        FaultProxy.running(1) as proxy,
        running_cluster({"wal_level": "logical"}) as cluster,
        running_mariadb(own=True) as mariadb,
        running_mongo() as mongo,
    ):
        world = World(folder, cluster, mariadb, mongo, double, proxy)
        world.server.start()
        proxy.target_port = urlsplit(world.server.url).port
        try:
            yield world
        finally:
            world.bridge.kill()
            world.server.stop()
            world.documents.drop()


async def write(world: World, name: str, row: int, done: asyncio.Event, chance: random.Random) -> None:
    """Count a row up, again and again, and forget about it one time in ten."""
    source = MAPPINGS[name][0]
    while not done.is_set():
        try:
            async with world.connection(source) as run:
                while not done.is_set():
                    await run("BEGIN")
                    await run(f"UPDATE {name} SET who = mod(n, 3), n = n + 1, at = now() WHERE id = $1", row)
                    number = (await run(f"SELECT n FROM {name} WHERE id = $1", row))[0][0]
                    await run(f"INSERT INTO history (name, id, n) VALUES ('{name}', {row}, {number})")
                    await asyncio.sleep(chance.uniform(0, 0.1))
                    await run("ROLLBACK" if chance.random() < 0.1 else "COMMIT")
                    await asyncio.sleep(chance.uniform(0.2, 1.0))
        except Exception:  # the database is away, however the driver says it
            await asyncio.sleep(0.2)


@pytest.mark.timeout(3600)
async def test_nothing_is_lost_or_doubled(
    world: World, http: aiohttp.ClientSession, pytestconfig: pytest.Config
) -> None:
    await world.meet("kill:scanned:2")
    world.bridge.start()
    sales = await Client(http, world.server.url).register("sales")
    await eventually(lambda: _begun(world.bridge), PATIENCE_S)  # what was before is told by backfill only
    chance = random.Random(pytestconfig.getoption("--crash-seed"))
    done = asyncio.Event()
    writers = [
        asyncio.create_task(write(world, name, row, done, random.Random(number)))
        for name in MAPPINGS
        for row in range(ROWS)
        for number in range(1 if name in LOOKED_AT else WRITERS)
    ]
    writers += [
        asyncio.create_task(world.documents.write(name, row, done, random.Random(row)))
        for name in documents.MAPPINGS
        for row in range(ROWS)
    ]
    asked = pytestconfig.getoption("--crash-kills") // 4
    moments = Moments(world, sales, chance)
    for number in range(max(asked, ROUNDS)):
        await moments.named(thorough=0 < number < asked)
        for victim in ("bridge", *OTHERS):
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            await moments.reply()
            await world.kill(victim)
    done.set()
    await asyncio.gather(*writers)
    await _caught_up(world)
    sales.base_url = world.server.url
    for name, (source, _) in MAPPINGS.items():
        async with world.connection(source) as run:
            rows = await run(f"SELECT DISTINCT id FROM history WHERE name = '{name}' ORDER BY id")
            assert len(rows) >= ROWS
            for (row,) in rows:
                numbers = await run(f"SELECT n FROM history WHERE name = '{name}' AND id = {row} ORDER BY seq")
                expected = [n for (n,) in numbers]
                if name in LOOKED_AT:
                    await _arrives(world, sales, f"_db_{name}_{row}", 0 if row < ROWS else 1, expected)
                else:
                    await _until(world, sales, f"_db_{name}_{row}", [f"{n - 1} -> {n}" for n in expected])
    for name in documents.MAPPINGS:
        for key, lines in (await world.documents.told(name)).items():
            await _until(world, sales, f"_db_{name}_{key}", lines)
    for row in FILLED:
        replies = [reply.body for reply in moments.replies if (reply.kind, reply.row) == ("filled", str(row))]
        await _until(world, sales, f"_db_filled_{row}", [f"filled {row}", *replies])
    await _answered(world, sales, moments)


async def _caught_up(world: World) -> None:
    """Until nothing waits: on a slow machine rows are written faster than told for as long as things are killed."""

    def left() -> int:
        with closing(sqlite3.connect(world.bridge.file.parent / "state.db")) as state:
            return int(state.execute("SELECT count(*) FROM delivery WHERE state <> 'done'").fetchone()[0])

    before = left()
    while before:

        async def fewer(before: int = before) -> bool:
            return left() < before

        try:
            await eventually(fewer, PATIENCE_S)
        except AssertionError:
            raise AssertionError(f"{world.left()}\n{world.bridge.log()[-6000:]}") from None
        before = left()


class Moments:
    """Kills at the named places, each with what leads there."""

    def __init__(self, world: World, sales: Client, chance: random.Random) -> None:
        self._world, self._sales, self._chance = world, sales, chance
        self._others = itertools.cycle(OTHERS)
        self._rows, self._kinds = itertools.count(ROWS), itertools.cycle(REPLIES)
        self.replies: list[written.Reply] = []
        self.sent: list[tuple[str, str]] = []
        """Room and event of each reply."""

    async def named(self, *, thorough: bool) -> None:
        """The bridge at each place, and one of the others at each third of them, or at each."""
        for number, place in enumerate(PLACES):
            await self._at(place, "bridge")
            if thorough or number % 3 == 0:
                await self._at(place, next(self._others))

    async def _at(self, place: str, victim: str) -> None:
        times = 1 if place in ROOM_PLACES + REPLY_PLACES else self._chance.randint(1, 3)
        action = "kill" if victim == "bridge" else "stop"
        cause = self._new_row if place in ROOM_PLACES else self.reply if place in REPLY_PLACES else None
        await self._world.meet(f"{action}:{place}:{times}", cause)
        if victim != "bridge":
            await self._world.kill(victim)
            self._world.bridge.go_on()

    async def _new_row(self) -> None:
        name, row = self._chance.choice([*MAPPINGS, *documents.MAPPINGS]), next(self._rows)
        if name in documents.MAPPINGS:
            await self._world.documents.add(name, row)
            return
        async with self._world.connection(MAPPINGS[name][0]) as run:
            await run("BEGIN")
            await run(f"INSERT INTO {name} (id, n) VALUES ({row}, 0)")
            await run(f"UPDATE {name} SET n = 1 WHERE id = {row}")
            await run(f"INSERT INTO history (name, id, n) VALUES ('{name}', {row}, 1)")
            await run("COMMIT")

    async def reply(self) -> None:
        """Somebody writes something."""
        kind, body = next(self._kinds), f"reply {len(self.sent)}"
        if kind == "filled":
            reply = written.Reply(kind, str(self._chance.choice(FILLED)), body)
            alias = f"_db_filled_{reply.row}"
        else:
            reply = self._world.written.reply(kind, body, self._chance)
            alias = reply.alias
        self._sales.base_url = self._world.server.url
        room: str | None = None

        async def there() -> bool:
            nonlocal room
            room = await find_room(self._sales, alias)
            return room is not None

        await eventually(there, PATIENCE_S)
        assert room is not None
        self.replies.append(reply)
        self.sent.append((room, await self._sales.send(room, {"msgtype": "m.text", "body": reply.text})))


async def _answered(world: World, sales: Client, moments: Moments) -> None:
    """Every reply is in its database once, and was answered once."""
    for room, event in moments.sent:

        async def answered(room: str = room, event: str = event) -> bool:
            return await answers(sales, room, event) == ["✅"]

        try:
            await eventually(answered, PATIENCE_S)
        except AssertionError:
            raise AssertionError(f"{await answers(sales, room, event)}\n{world.bridge.log()[-6000:]}") from None
    async with world.connection("postgres") as run:
        bodies = [body for (body,) in await run("SELECT body FROM replies")]
        applied = (await run("SELECT count(*) FROM bridge_applied"))[0][0]
    assert sorted(bodies) == sorted(reply.body for reply in moments.replies if reply.kind == "filled")
    assert applied == len(bodies) > 0
    await world.written.check(sales, moments.replies)


async def _begun(bridge: Bridge) -> bool:
    log = bridge.log()
    return all(re.search(rf"scan_ends .*mapping={name}\b", log) for name in SCANNED)


async def _arrives(world: World, sales: Client, alias: str, first: int, numbers: list[int]) -> None:
    """What is told leads from the first number to the last, each step from where the one before ended."""

    async def there() -> bool:
        found = await told(sales, alias)
        last = int(found[-1].partition(" -> ")[2]) if found else first
        return last == numbers[-1] and await find_room(sales, alias) is not None

    try:
        await eventually(there, PATIENCE_S)
    except AssertionError:
        raise AssertionError(f"{alias}: {await told(sales, alias)}\n{world.bridge.log()[-6000:]}") from None
    steps = [tuple(map(int, text.split(" -> "))) for text in await told(sales, alias)]
    assert [before for before, _ in steps] == [first, *(after for _, after in steps)][: len(steps)], alias
    assert all(before < after and after in numbers for before, after in steps), alias


async def _until(world: World, sales: Client, alias: str, expected: list[str]) -> None:
    async def holds() -> bool:
        return await told(sales, alias) == expected

    try:
        await eventually(holds, PATIENCE_S)
    except AssertionError:
        assert await told(sales, alias) == expected, f"{alias}: {world.left()}\n{world.bridge.log()[-6000:]}"
