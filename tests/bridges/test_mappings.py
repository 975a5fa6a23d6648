"""One bridge with a mapping for each way of capture, between a homeserver, PostgreSQL and MariaDB, all of them real."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bridges.support import PATIENCE_S, Bridge, answers, find_room, messages, registration, told
from tests.support.client import PASSWORD, Client, becomes, eventually, part
from tests.support.fixtures import unavailable
from tests.support.mariadb import MariaDb
from tests.support.ports import free_port
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import ROOT, Server, ServerOptions

pytestmark = pytest.mark.timeout(900)
EXAMPLE = ROOT / "examples/bridges"

MORE = """
[source.stock]
driver = "mysql"
url = { env = "STOCK_URL" }

[mapping.notes]
source = "notes_rw"
table = "public.notes"
key = ["team", "id"]
columns = ["team", "id", "title", "author", "author_name", "done", "comments"]
capture = { mode = "overlap", cursor = "changed_at", overlap = "30s" }
backfill = { mode = "all", ts = "created_at" }
on_delete = "redact"
filter = { col = "done", op = "eq", value = false }
room = { alias = "_db_notes_{{ team }}_{{ id }}", name = "{{ title }}", invite = ["@sales:hromada.test"] }
ghost.author = { name = "{{ author_name }}" }
external_url = "https://notes.example/{{ id }}"
message = [
  { on = "insert", sender = "ghost:author", text = "{{ title }}" },
  { on = "update", when = { changed = ["title"] }, text = "{{ old.title }} => {{ title }}" },
]
command.rename = { set = { title = "{{ args }}" }, help = "gives it another title" }
command.close = { set = { done = true }, users = ["@boss:hromada.test"] }

[mapping.notes.write.message]
insert = "public.replies"
values = { id = "{{ event_uuid }}", note = "{{ id }}", by = "{{ sender }}", body = "{{ body }}" }

[[mapping.notes.each]]
array = "comments"
element_key = "id"
sender = "ghost:by"
text = "{{ el.text }}"
skip_if = { col = "hidden", op = "exists" }

[source.notes_rw]
driver = "postgresql"
url = { env = "SHOP_RW_URL" }

[query.replies]
source = "shop"
statement = "SELECT by, body FROM public.replies WHERE note = :id ORDER BY body"
arguments = { id = "bigint" }
mappings = ["notes"]

[mapping.exact]
source = "notes_rw"
table = "public.exact"
key = ["id"]
columns = ["id", "state"]
capture = { mode = "horizon", cursor = "at" }
room = { alias = "_db_exact_{{ id }}", invite = ["@sales:hromada.test"] }
message = [
  { on = "insert", text = "{{ state }}" },
  { on = "update", text = "{{ old.state }} -> {{ state }}" },
]

[mapping.parts]
source = "stock"
table = "parts"
key = ["id"]
columns = ["id", "name", "price", "kind", "data"]
capture = { mode = "outbox", table = "bridge_outbox" }
room = { alias = "_db_parts_{{ id }}", name = "{{ name }}", invite = ["@sales:hromada.test"] }
message = [
  { on = "insert", text = "{{ name }} {{ price }} {{ kind }} {{ data.a }}" },
  { on = "update", text = "{{ old.price }} -> {{ price }}" },
  { on = "delete", text = "gone" },
]
command.reprice = { set = { price = "{{ args }}" }, require = { kind = ["old"] } }

[mapping.shelves]
source = "stock"
table = "shelves"
key = ["room", "nr"]
columns = ["room", "nr", "content"]
capture = { mode = "overlap", cursor = "changed_at", overlap = "30s" }
room = { alias = "_db_shelves_{{ room }}_{{ nr }}", name = "{{ content }}", invite = ["@sales:hromada.test"] }
message = [
  { on = "insert", text = "{{ content }}" },
  { on = "update", text = "{{ old.content }} -> {{ content }}" },
]
command.fill = { set = { content = "{{ args }}" } }
"""
NOTES = """
CREATE TABLE public.notes (team text, id bigint, title text NOT NULL, author text, author_name text,
    done boolean NOT NULL DEFAULT false, comments jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (team, id));
CREATE INDEX ON public.notes (changed_at);
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.changed_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON public.notes FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TABLE public.replies (id uuid PRIMARY KEY, note bigint, by text, body text CHECK (body <> 'forbidden'));
CREATE TABLE public.exact (id bigint PRIMARY KEY, state text, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON public.exact (at);
INSERT INTO public.notes (team, id, title, author, author_name, created_at)
    VALUES ('x', 1, 'from before', 'ann', 'Ann', '2020-01-02 03:04:05Z');
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
GRANT SELECT, UPDATE (title, done) ON public.notes TO writer;
GRANT SELECT, INSERT ON public.replies TO writer;
GRANT SELECT ON public.exact TO writer;
GRANT SELECT, UPDATE (status) ON public.orders TO writer;
GRANT pg_read_all_stats TO writer;
"""
STOCK = """
CREATE TABLE parts (id bigint unsigned PRIMARY KEY, name varchar(80), price decimal(12,2), kind enum('new', 'old'),
    data json, hidden varchar(80));
CREATE TABLE shelves (room varchar(20), nr int, content text, changed_at datetime(6) NOT NULL
    DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6), PRIMARY KEY (room, nr), KEY (changed_at));
INSERT INTO shelves (room, nr, content, changed_at) VALUES ('a', 1, 'from before', '2020-01-01');
CREATE USER IF NOT EXISTS bridge IDENTIFIED BY 'x';
"""


@dataclass
class World:
    """All of it."""

    server: Server
    bridge: Bridge
    cluster: PostgresCluster
    database: str
    mariadb: MariaDb
    stock: str

    def sql(self, statement: str) -> str:
        """Run a statement in the shop."""
        return self.cluster.sql(statement, self.database)

    def stock_sql(self, statement: str) -> str:
        """Run a statement in the stock."""
        return self.mariadb.sql(statement, self.stock)


def example(port: int, listen: int, folder: Path) -> str:
    """The configuration of the example, at this test's addresses."""
    text = (EXAMPLE / "orders.toml").read_text()
    for old, new in (
        ("http://127.0.0.1:8008", f"http://127.0.0.1:{port}"),
        ("127.0.0.1:29400", f"127.0.0.1:{listen}"),
        ("example.org", "hromada.test"),
        ("/run/secrets/", f"{folder}/"),
        ('tls = { mode = "verify-full", ca = "/etc/ssl/shop-ca.pem" }\n', ""),
        ("max_queue = 10000\n", 'admin_room = { invite = ["@sales:hromada.test"] }\n'),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDb) -> Iterator[World]:
    """A homeserver, a bridge, and two databases with rows from before."""
    folder = tmp_path_factory.mktemp("bridge")
    try:
        with running_cluster({"wal_level": "logical", "max_replication_slots": "10"}) as cluster:
            yield from _world(folder, cluster, mariadb)
    except PostgresUnavailable as reason:
        unavailable(str(reason))


def _world(folder: Path, cluster: PostgresCluster, mariadb: MariaDb) -> Iterator[World]:
    url, stock = cluster.make_database(), mariadb.make_database()
    name = url.rsplit("/", 1)[-1]
    environment = {
        "SHOP_URL": url.replace("//hromada@", "//reader@"),
        "SHOP_RW_URL": url.replace("//hromada@", "//writer@"),
        "STOCK_URL": stock,
        "BRIDGE_STATE_URL": f"sqlite:///{folder}/state.db",
    }
    bridge = Bridge(folder, **environment)
    port = free_port()
    bridge.file.write_text(example(port, free_port(), folder) + MORE)
    server = Server(
        folder / "data",
        ServerOptions(
            listen=f"127.0.0.1:{port}", environment={"HROMADA_APPSERVICES_FILES": registration(bridge, folder)}
        ),
    )
    world = World(server, bridge, cluster, name, mariadb, stock.rsplit("/", 1)[-1])
    cluster.sql("CREATE ROLE reader LOGIN", name)
    cluster.sql("CREATE ROLE writer LOGIN", name)
    world.sql((EXAMPLE / "orders.sql").read_text())
    world.sql(NOTES)
    world.stock_sql(STOCK)
    ddl = bridge.ok("sql", "--role", "reader")
    postgres, maria = [], []
    for piece in re.split(r"(?m)^(?=-- (?:mapping|write-back))", ddl):
        heading = piece.partition("\n")[0]
        if "stock" in heading:
            maria.append(piece.replace("`reader`", "`bridge`"))
        elif "shop_rw" in heading or "notes_rw" not in heading:
            postgres.append(piece)
    world.sql("\n".join(postgres))
    world.sql("GRANT SELECT, INSERT ON public.bridge_applied TO writer")
    world.stock_sql("\n".join(maria))
    try:
        server.start()
        bridge.start()
        yield world
    finally:
        bridge.kill()
        server.stop()


@pytest.fixture
async def sales(world: World, http: aiohttp.ClientSession) -> Client:
    """Somebody from sales."""
    client = Client(http, world.server.url)
    login = await client.request("POST", "/login", _login())
    if login.status == 200:
        return client.adopt(login.body)
    return await client.register("sales")


def _login() -> dict[str, Any]:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "sales"},
        "password": PASSWORD,
    }


async def until(world: World, get: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Wait for something that is to become so."""

    async def holds() -> bool:
        return bool(await get() == expected)

    try:
        await eventually(holds, PATIENCE_S)
    except AssertionError:
        assert await get() == expected, world.bridge.log()[-6000:]


async def be_bot(world: World, sales: Client, room: str, event_type: str, content: dict[str, Any]) -> None:
    """Set a state as the bridge's bot."""
    await be_bot_of(world.server, sales, room, event_type, content)


async def be_bot_of(server: Server, sales: Client, room: str, event_type: str, content: dict[str, Any]) -> None:
    """Set a state as the bot of the server's bridge."""
    bot = Client(sales.session, server.url)
    bot.token = "the-as_token"
    await bot.set_state(room, event_type, content)


async def test_orders_as_they_are_written_in_the_example(world: World, sales: Client) -> None:
    assert "FAIL" not in (checked := world.bridge.call("check").stdout), checked
    await until(world, lambda: told(sales, "_db_orders_1"), ["New order 1: 120.00 EUR"])
    assert await told(sales, "_db_orders_2") == [], "backfill takes new and paid"
    world.sql("UPDATE orders SET status = 'returned' WHERE id = 2")
    await until(world, lambda: told(sales, "_db_orders_2"), ["shipped -> returned"])
    world.sql("UPDATE orders SET status = '<paid>', card_number = '4111' WHERE id = 1")
    world.sql("UPDATE orders SET status = 'paid' WHERE id = 1")
    world.sql("UPDATE orders SET card_number = '4112' WHERE id = 1")
    expected = ["New order 1: 120.00 EUR", "new -> <paid>", "<paid> -> paid"]
    await until(world, lambda: told(sales, "_db_orders_1"), expected)
    room = await find_room(sales, "_db_orders_1")
    assert room is not None
    notice = (await messages(sales, "_db_orders_1"))[1]
    assert notice["sender"] == "@_db_shop_anna:hromada.test"
    assert notice["content"]["formatted_body"] == "<b>&lt;paid&gt;</b> (was new)"
    await until(world, lambda: sales.state(room, "m.room.name"), {"name": "Order 1 (paid)"})
    space = await find_room(sales, "_db_orders")
    assert space is not None
    children = [event["state_key"] for event in await sales.full_state(space) if event["type"] == "m.space.child"]
    assert room in children
    assert (await sales.state(room, "m.space.parent", space))["via"] == ["hromada.test"]


async def test_a_command_is_guarded_and_its_echo_is_not_told(world: World, sales: Client) -> None:
    world.sql("INSERT INTO orders (id, status, total) VALUES (20, 'new', 70)")
    await until(world, lambda: told(sales, "_db_orders_20"), ["New order 20: 70.00 EUR"])
    room = await find_room(sales, "_db_orders_20")
    assert room is not None
    early = await sales.send(room, {"msgtype": "m.text", "body": "!ship"})
    await until(world, lambda: answers(sales, room, early), ["That needs a power level of 50"])
    levels = await sales.state(room, "m.room.power_levels")
    await be_bot(world, sales, room, "m.room.power_levels", {**levels, "users": {**levels["users"], sales.user_id: 50}})
    unpaid = await sales.send(room, {"msgtype": "m.text", "body": "!ship"})
    await until(world, lambda: answers(sales, room, unpaid), ["The row is not as it has to be for that"])
    world.sql("UPDATE orders SET status = 'paid' WHERE id = 20")
    await until(world, lambda: sales.state(room, "m.room.name"), {"name": "Order 20 (paid)"})
    good = await sales.send(room, {"msgtype": "m.text", "body": "!ship"})
    await until(world, lambda: answers(sales, room, good), ["✅"])
    assert world.sql("SELECT status FROM orders WHERE id = 20") == "shipped"
    assert world.sql(f"SELECT count(*) FROM bridge_applied WHERE event_id = '{good}'") == "1"
    world.sql("UPDATE orders SET status = 'lost' WHERE id = 20")
    await until(world, lambda: sales.state(room, "m.room.name"), {"name": "Order 20 (lost)"})
    await until(world, lambda: _changes(sales, "_db_orders_20"), ["new -> paid", "shipped -> lost"])
    unknown = await sales.send(room, {"msgtype": "m.text", "body": "!drop table"})
    await until(world, lambda: answers(sales, room, unknown), ["There is no command !drop; !help lists them"])


async def _changes(client: Client, alias: str) -> list[str]:
    return [text for text in await told(client, alias) if "->" in text]


async def test_polling_tells_what_was_before_and_what_comes(world: World, sales: Client) -> None:
    await until(world, lambda: told(sales, "_db_notes_x_1"), ["from before"])
    first = (await messages(sales, "_db_notes_x_1"))[0]
    assert first["origin_server_ts"] == 1577934245000
    assert first["content"]["external_url"] == "https://notes.example/1"
    profile = await sales.ok("GET", f"/profile/{part('@_db_notes_rw_ann:hromada.test')}")
    assert profile["displayname"] == "Ann"
    world.sql("UPDATE notes SET title = 'now' WHERE id = 1")
    await until(world, lambda: told(sales, "_db_notes_x_1"), ["from before", "from before => now"])
    comments = '[{"id": 1, "by": "bob", "text": "hi"}, {"id": 2, "by": "bob", "text": "psst", "hidden": true}]'
    world.sql(f"UPDATE notes SET comments = '{comments}' WHERE id = 1")
    await until(world, lambda: told(sales, "_db_notes_x_1"), ["from before", "from before => now", "hi"])
    assert (await messages(sales, "_db_notes_x_1"))[-1]["sender"] == "@_db_notes_rw_bob:hromada.test"
    world.sql("UPDATE notes SET done = true WHERE id = 1")  # it no longer meets the filter
    room = await find_room(sales, "_db_notes_x_1")
    assert room is not None
    await until(world, lambda: told(sales, "_db_notes_x_1"), ["", "", ""])
    await until(world, lambda: _writers(sales, room), 100)


async def _writers(client: Client, room: str) -> int:
    return int((await client.state(room, "m.room.power_levels"))["events_default"])


async def test_messages_and_questions_reach_the_database_as_values(world: World, sales: Client) -> None:
    world.sql("INSERT INTO notes (team, id, title, author) VALUES ('x', 2, 'second', 'ann')")
    await until(world, lambda: told(sales, "_db_notes_x_2"), ["second"])
    room = await find_room(sales, "_db_notes_x_2")
    assert room is not None
    nasty = "'); DROP TABLE replies; -- $1 %s {{ id }} \U0001f600"
    sent = await sales.send(room, {"msgtype": "m.text", "body": nasty})
    await until(world, lambda: answers(sales, room, sent), ["✅"])
    assert world.sql("SELECT by || ' ' || body FROM replies WHERE note = 2") == f"{sales.user_id} {nasty}"
    asked = await sales.send(room, {"msgtype": "m.text", "body": "!replies"})
    await until(world, lambda: answers(sales, room, asked), [f"by\tbody\n{sales.user_id}\t{nasty}"])
    bad = await sales.send(room, {"msgtype": "m.text", "body": "!replies 2;drop"})
    await eventually(lambda: _answered(sales, room, bad, "The database refuses"), PATIENCE_S)
    refused = await sales.send(room, {"msgtype": "m.text", "body": "forbidden"})
    await eventually(lambda: _answered(sales, room, refused, "The database refuses"), PATIENCE_S)
    renamed = await sales.send(room, {"msgtype": "m.text", "body": "!rename <b>third</b>"})
    await until(world, lambda: answers(sales, room, renamed), ["✅"])
    await until(world, lambda: sales.state(room, "m.room.name"), {"name": "<b>third</b>"})
    closed = await sales.send(room, {"msgtype": "m.text", "body": "!close"})
    await until(world, lambda: answers(sales, room, closed), ["You may not do that"])
    help_ = await sales.send(room, {"msgtype": "m.text", "body": "!help"})
    await eventually(lambda: _answered(sales, room, help_, "!rename gives it another title"), PATIENCE_S)
    assert [text for text in await told(sales, "_db_notes_x_2") if "=>" in text] == [], "echoes are not told"


async def _answered(client: Client, room: str, event: str, text: str) -> bool:
    return any(text in answer for answer in await answers(client, room, event))


async def test_horizon(world: World, sales: Client) -> None:
    world.sql("INSERT INTO exact VALUES (1, 'a'), (2, 'b')")
    await until(world, lambda: told(sales, "_db_exact_1"), ["a"])
    world.sql("UPDATE exact SET state = 'c', at = now() WHERE id = 1")
    await until(world, lambda: told(sales, "_db_exact_1"), ["a", "a -> c"])
    await until(world, lambda: told(sales, "_db_exact_2"), ["b"])


async def test_mariadb_by_outbox(world: World, sales: Client) -> None:
    name = "Größe 😀 \\ ' \" %s"
    quoted = name.replace("\\", "\\\\").replace("'", "''")
    world.stock_sql(f"INSERT INTO parts VALUES (18446744073709551615, '{quoted}', 1.50, 'new', '{{\"a\": 1.25}}', 'x')")
    alias = "_db_parts_18446744073709551615"
    first = f"{name} 1.50 new 1.25"
    await until(world, lambda: told(sales, alias), [first])
    world.stock_sql(
        "UPDATE parts SET price = 2, kind = 'old'; UPDATE parts SET hidden = 'y'; UPDATE parts SET price = 3"
    )
    await until(world, lambda: told(sales, alias), [first, "1.50 -> 2.00", "2.00 -> 3.00"])
    room = await find_room(sales, alias)
    assert room is not None
    sent = await sales.send(room, {"msgtype": "m.text", "body": "!reprice 4.25"})
    await until(world, lambda: answers(sales, room, sent), ["✅"])
    assert world.stock_sql("SELECT price FROM parts") == "4.25"
    bad = await sales.send(room, {"msgtype": "m.text", "body": "!reprice 1' OR '1"})
    await eventually(lambda: _answered(sales, room, bad, "The database refuses"), PATIENCE_S)
    world.stock_sql("UPDATE parts SET price = 5")
    await until(world, lambda: _changes(sales, alias), ["1.50 -> 2.00", "2.00 -> 3.00", "4.25 -> 5.00"])
    world.stock_sql("DELETE FROM parts")
    await until(world, lambda: _writers(sales, room), 100)
    assert (await told(sales, alias))[-1] == "gone"
    await becomes(lambda: asyncio.to_thread(world.stock_sql, "SELECT count(*) FROM bridge_outbox"), "0")


async def _changes(client: Client, alias: str) -> list[str]:
    return [text for text in await told(client, alias) if "->" in text]


async def test_mariadb_by_polling(world: World, sales: Client) -> None:
    world.stock_sql("INSERT INTO shelves (room, nr, content) VALUES ('b', 2, 'nails')")
    await until(world, lambda: told(sales, "_db_shelves_b_2"), ["nails"])
    assert await told(sales, "_db_shelves_a_1") == [], "no backfill was asked for"
    world.stock_sql("UPDATE shelves SET content = 'screws' WHERE nr = 1")
    await until(world, lambda: told(sales, "_db_shelves_a_1"), ["from before -> screws"])
    room = await find_room(sales, "_db_shelves_b_2")
    assert room is not None
    sent = await sales.send(room, {"msgtype": "m.text", "body": "!fill bolts"})
    await until(world, lambda: answers(sales, room, sent), ["✅"])
    await until(world, lambda: sales.state(room, "m.room.name"), {"name": "bolts"})
    world.stock_sql("UPDATE shelves SET content = 'nuts' WHERE nr = 2")
    await until(world, lambda: _changes(sales, "_db_shelves_b_2"), ["bolts -> nuts"])
