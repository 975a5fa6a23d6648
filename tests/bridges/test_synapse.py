"""The bridge on somebody else's homeserver: everything that it needs is in the public APIs.

One Synapse and one bridge for all of it: starting them is what costs. Logins are not in here: Synapse asks nobody else
for passwords unless somebody's module makes it (docs/bridges/login.md).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pymongo import AsyncMongoClient

from tests.bridges.support import PATIENCE_S, Bridge, answers, find_room, messages, registration, told
from tests.bridges.test_webhooks import KEY, receiver
from tests.support.client import Client, eventually, part
from tests.support.fixtures import unavailable
from tests.support.mariadb import MariaDb
from tests.support.mongo import MongoUnavailable, running_mongo
from tests.support.ports import free_port
from tests.support.postgres import PostgresCluster
from tests.support.synapse import Synapse, SynapseUnavailable

CONFIG = """
[appservice]
id = "db"
homeserver = "{homeserver}"
server_name = "hromada.test"
listen = "127.0.0.1:{listen}"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
admin_room = {{ invite = ["@sales:hromada.test"] }}
[source.shop]
driver = "postgresql"
url = {{ env = "SHOP_URL" }}
[mapping.orders]
source = "shop"
table = "public.orders"
key = ["id"]
columns = ["id", "status", "customer_id", "customer"]
capture = {{ mode = "outbox", poll = "50ms" }}
backfill = {{ mode = "all" }}
ghost.customer_id = {{ name = "{{{{ customer }}}}" }}
[[mapping.orders.message]]
on = "insert"
text = "New order {{{{ id }}}}"
[[mapping.orders.message]]
on = "update"
when = {{ changed = ["status"] }}
sender = "ghost:customer_id"
text = "{{{{ old.status }}}} -> {{{{ status }}}}"
[[mapping.orders.message]]
on = "delete"
text = "gone"
[mapping.orders.room]
alias = "_db_orders_{{{{ id }}}}"
name = "Order {{{{ id }}}} ({{{{ status }}}})"
invite = ["@sales:hromada.test"]
space = "#_db_orders:hromada.test"
power = {{ "@sales:hromada.test" = 50 }}
[mapping.orders.command.ship]
set = {{ status = "shipped" }}
require = {{ status = ["paid"] }}
power_level = 50
[mapping.orders.write.message]
insert = "public.notes"
values = {{ id = "{{{{ event_uuid }}}}", order_id = "{{{{ id }}}}", body = "{{{{ body }}}}" }}
"""
OTHERS = """
[source.stock]
driver = "mysql"
url = { env = "STOCK_URL" }
[source.helpdesk]
driver = "mongodb"
url = { env = "HELPDESK_URL" }
[mapping.parts]
source = "stock"
table = "parts"
key = ["id"]
columns = ["id", "name", "price"]
capture = { mode = "outbox", poll = "50ms" }
backfill = { mode = "where", filter = { col = "name", op = "eq", value = "nails" }, ts = "made_at" }
room = { alias = "_db_parts_{{ id }}", name = "{{ name }}", invite = ["@sales:hromada.test"] }
message = [
  { on = "insert", text = "{{ name }} cost {{ price }}" },
  { on = "update", text = "{{ old.price }} -> {{ price }}" },
]
command.reprice = { set = { price = "{{ args }}" }, require = { name = ["nails"] } }
[mapping.tickets]
source = "helpdesk"
collection = "tickets"
key = ["_id"]
columns = ["_id", "subject", "status", "lines"]
deliver = "latest"
capture = { mode = "changestream", poll = "50ms" }
backfill = { mode = "all" }
room = { alias = "_db_tickets_{{ _id }}", name = "{{ subject }}", invite = ["@sales:hromada.test"] }
each = [{ array = "lines", element_key = "id", sender = "ghost:who", text = "{{ el.text }}" }]
command.close = { set = { status = "closed" }, require = { status = ["open"] } }
[hook.site]
style = "github"
secret = { env = "HOOK" }
text = "Order {{ body.order }}: {{ body.status }}"
invite = ["@sales:hromada.test"]
[endpoint.crm]
url = { env = "CRM_URL" }
secret = { env = "CRM_KEY" }
mappings = ["site"]
text = "{{ event.content.body }}"
allow = ["127.0.0.0/8"]
"""
LOOKED_AT = """
[mapping.{name}]
source = "{source}"
table = "{name}"
key = ["id"]
columns = ["id", "n"]
capture = {capture}
room = {{ alias = "_db_{name}_{{{{ id }}}}", invite = ["@sales:hromada.test"] }}
message = [
  {{ on = "insert", text = "is {{{{ n }}}}" }},
  {{ on = "update", text = "{{{{ old.n }}}} -> {{{{ n }}}}" }},
]
"""
CAPTURES = {
    "logged": ("shop", '{ mode = "logical", publication = "bridge", slot = "synapse_logged", poll = "50ms" }'),
    "polled": ("shop", '{ mode = "overlap", cursor = "at", overlap = "60s", poll = "50ms" }'),
    "binlogged": ("stock", '{ mode = "binlog", poll = "50ms" }'),
}
SCANNED = (*CAPTURES, "parts", "tickets")
TABLES = """
CREATE TABLE logged (id bigint PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE polled (id bigint PRIMARY KEY, n bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'new', customer_id text, customer text);
CREATE TABLE notes (id uuid PRIMARY KEY, order_id bigint, body text);
INSERT INTO orders VALUES (1, 'new', 'anna', 'Anna');
"""
STOCK = """
CREATE TABLE binlogged (id bigint PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE parts (id bigint PRIMARY KEY, name varchar(80), price decimal(12,2), made_at datetime);
INSERT INTO parts VALUES (1, 'nails', 1.50, '2020-01-02 03:04:05'), (2, 'screws', 9, '2020-01-02 03:04:05');
"""
MADE_MS = 1_577_934_245_000
"""The time of the parts."""
SECRET = "of the site"


@dataclass
class World:
    """A homeserver, a bridge, three databases, and a site."""

    synapse: Synapse
    bridge: Bridge
    http: aiohttp.ClientSession
    listen: int
    sql: Callable[[str], str]
    stock: Callable[[str], str]
    tickets: Any
    taken: list[str] = field(default_factory=list)
    """What the site was told."""

    async def until(self, get: Callable[[], Awaitable[Any]], expected: Any) -> None:
        """Wait for something that is to become so."""

        async def holds() -> bool:
            return bool(await get() == expected)

        try:
            await eventually(holds, PATIENCE_S)
        except AssertionError:
            assert await get() == expected, self.bridge.log()[-6000:]

    async def heard(self) -> list[str]:
        """What the site was told."""
        return self.taken

    async def post(self, order: int, secret: str = SECRET) -> int:
        """What the site is answered that says that an order is paid; 0 if nobody does."""
        body = json.dumps({"order": order, "status": "paid"}).encode()
        headers = {"X-Hub-Signature-256": "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()}
        try:
            async with self.http.post(f"http://127.0.0.1:{self.listen}/hook/site", data=body, headers=headers) as reply:
                return reply.status
        except aiohttp.ClientConnectionError:
            return 0

    async def say(self, ticket: str, *texts: str) -> None:
        """What a ticket has in its list from now on."""
        lines = [{"id": str(number), "who": "ann", "text": text} for number, text in enumerate(texts)]
        document = {"subject": f"Ticket {ticket}", "status": "open", "lines": lines}
        if not (await self.tickets.update_one({"_id": ticket}, {"$set": document})).matched_count:
            await self.tickets.insert_one({"_id": ticket, **document})


@pytest.mark.timeout(600)
async def test_a_bridge_on_synapse(
    tmp_path: Path, cluster: PostgresCluster, mariadb: MariaDb, http: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        try:
            synapse, mongo = Synapse(tmp_path), stack.enter_context(running_mongo())
        except (SynapseUnavailable, MongoUnavailable) as reason:
            unavailable(str(reason))
        taken = list[str]()

        def take(_request: web.Request, data: bytes) -> web.Response:
            taken.append(json.loads(data)["text"])
            return web.Response()

        helpdesk, site = mongo.url(), await stack.enter_async_context(receiver(take))
        client: Any = AsyncMongoClient(helpdesk)
        stack.push_async_callback(client.close)
        if mongo.outside:
            stack.push_async_callback(client.drop_database, client.get_default_database().name)
        shop, stock = cluster.make_database().replace("+asyncpg", "", 1), mariadb.make_database()
        urls = {"SHOP_URL": shop, "STOCK_URL": stock, "HELPDESK_URL": helpdesk, "CRM_URL": site}
        bridge, listen = Bridge(tmp_path, HOOK=SECRET, CRM_KEY=KEY, **urls), free_port()
        sql, stock_sql = (
            lambda statement: cluster.sql(statement, shop.rsplit("/", 1)[-1]),
            lambda statement: mariadb.sql(statement, stock.rsplit("/", 1)[-1]),
        )
        tickets = client.get_default_database()["tickets"]
        world = World(synapse, bridge, http, listen, sql, stock_sql, tickets, taken)
        stack.callback(synapse.kill)
        stack.callback(bridge.kill)
        file = await _begin(world, tmp_path)
        sales = await Client(http, synapse.url).register("sales")
        await _rooms_and_ghosts(world, sales)
        await _what_people_write(world, sales)
        await _other_databases(world, sales)
        await _webhooks(world, sales)
        await _kills(world, sales, file)


async def _begin(world: World, folder: Path) -> str:
    """All of it, running; the registration file."""
    text = CONFIG.format(homeserver=world.synapse.url, folder=folder, listen=world.listen) + OTHERS
    text += "".join(LOOKED_AT.format(name=n, source=s, capture=c) for n, (s, c) in CAPTURES.items())
    world.bridge.file.write_text(text)
    world.sql(TABLES)
    world.stock(STOCK)
    await world.say("t1", "from before")
    for piece in re.split(r"(?m)^(?=-- (?:mapping|write-back))", world.bridge.ok("sql", "--role", "hromada"))[1:]:
        (world.stock if "source.stock" in piece.partition("\n")[0] else world.sql)(piece)
    file = registration(world.bridge, folder)
    world.synapse.start(file)
    world.bridge.start()
    return file


async def _room(sales: Client, alias: str) -> str:
    room = await find_room(sales, alias)
    assert room is not None
    return room


async def _rooms_and_ghosts(world: World, sales: Client) -> None:
    await world.until(lambda: told(sales, "_db_orders_1"), ["New order 1"])
    world.sql("UPDATE orders SET status = '<paid>' WHERE id = 1")
    world.sql("UPDATE orders SET status = 'paid' WHERE id = 1")
    await world.until(lambda: told(sales, "_db_orders_1"), ["New order 1", "new -> <paid>", "<paid> -> paid"])
    assert (await messages(sales, "_db_orders_1"))[1]["sender"] == "@_db_shop_anna:hromada.test"
    profile = await sales.ok("GET", f"/profile/{part('@_db_shop_anna:hromada.test')}")
    assert profile["displayname"] == "Anna"
    room, space = await _room(sales, "_db_orders_1"), await _room(sales, "_db_orders")
    await world.until(lambda: sales.state(room, "m.room.name"), {"name": "Order 1 (paid)"})
    assert "via" in await sales.state(space, "m.space.child", room)


async def _what_people_write(world: World, sales: Client) -> None:
    room = await _room(sales, "_db_orders_1")
    good = await sales.send(room, {"msgtype": "m.text", "body": "!ship"})
    await world.until(lambda: answers(sales, room, good), ["✅"])
    assert world.sql("SELECT status FROM orders WHERE id = 1") == "shipped"
    again = await sales.send(room, {"msgtype": "m.text", "body": "!reopen"})
    await world.until(lambda: answers(sales, room, again), ["There is no command !reopen; !help lists them"])
    note = await sales.send(room, {"msgtype": "m.text", "body": 'it\'s "his" $1; --'})
    await world.until(lambda: answers(sales, room, note), ["✅"])
    assert world.sql("SELECT order_id || body FROM notes") == '1it\'s "his" $1; --'
    assert not [text for text in await told(sales, "_db_orders_1") if "shipped" in text], "our own echo"


async def _other_databases(world: World, sales: Client) -> None:
    """MariaDB and MongoDB: rows from before with their own times, changes, and commands."""
    await world.until(lambda: told(sales, "_db_parts_1"), ["nails cost 1.50"])
    assert (await messages(sales, "_db_parts_1"))[0]["origin_server_ts"] == MADE_MS
    assert await told(sales, "_db_parts_2") == [], "not asked for"
    await world.until(lambda: told(sales, "_db_tickets_t1"), ["from before"])
    assert (await messages(sales, "_db_tickets_t1"))[0]["sender"] == "@_db_helpdesk_ann:hromada.test"
    world.stock("UPDATE parts SET price = 2; UPDATE parts SET price = 3")
    await world.say("t1", "from before", "new")
    await world.say("t2", "second")
    await world.until(lambda: told(sales, "_db_parts_2"), ["9.00 -> 2.00", "2.00 -> 3.00"])
    await world.until(lambda: told(sales, "_db_tickets_t1"), ["from before", "new"])
    await world.until(lambda: told(sales, "_db_tickets_t2"), ["second"])
    parts, ticket = await _room(sales, "_db_parts_1"), await _room(sales, "_db_tickets_t1")
    priced = await sales.send(parts, {"msgtype": "m.text", "body": "!reprice 4.25"})
    closed = await sales.send(ticket, {"msgtype": "m.text", "body": "!close"})
    await world.until(lambda: answers(sales, parts, priced), ["✅"])
    await world.until(lambda: answers(sales, ticket, closed), ["✅"])
    assert world.stock("SELECT price FROM parts WHERE id = 1") == "4.25"
    assert (await world.tickets.find_one({"_id": "t1"}))["status"] == "closed"
    room = await _room(sales, "_db_parts_2")
    refused = await sales.send(room, {"msgtype": "m.text", "body": "!reprice 1"})
    await world.until(lambda: answers(sales, room, refused), ["The row is not as it has to be for that"])


async def _webhooks(world: World, sales: Client) -> None:
    assert await world.post(1, "somebody else's") == 401
    assert [await world.post(1), await world.post(1)] == [202, 202]
    await world.until(lambda: told(sales, "_db_hook_site"), ["Order 1: paid"])
    await sales.send(await _room(sales, "_db_hook_site"), {"msgtype": "m.text", "body": "thank you"})
    await world.until(world.heard, ["thank you"])


async def _kills(world: World, sales: Client, file: str) -> None:
    """Each side dies while the other has something for it."""

    async def begun() -> bool:  # what was there before is not told
        return all(re.search(rf"scan_ends .*mapping={name}\b", world.bridge.log()) for name in SCANNED)

    await eventually(begun, PATIENCE_S)
    assert await world.post(2) == 202
    await asyncio.to_thread(world.bridge.kill)  # as soon as it has answered
    await _while_the_bridge_is_away(world, sales)
    await asyncio.to_thread(world.synapse.kill)
    world.sql("UPDATE logged SET n = 1; UPDATE logged SET n = 2; UPDATE polled SET n = 2, at = now()")
    world.stock("UPDATE binlogged SET n = 1; UPDATE binlogged SET n = 2; UPDATE parts SET price = 6 WHERE id = 1")
    await world.say("t3", "third")
    assert await world.post(3) == 202
    world.sql("INSERT INTO orders VALUES (2, 'new', 'borys', 'Borys')")
    for status in "bcd":
        world.sql(f"UPDATE orders SET status = '{status}' WHERE id = 1")
    await asyncio.to_thread(world.synapse.start, file)
    expected = ["shipped -> a", "a -> b", "b -> c", "c -> d"]

    async def shipped() -> list[str]:
        return [text for text in await told(sales, "_db_orders_1") if text in expected]

    await world.until(shipped, expected)
    for table in ("logged", "binlogged"):
        await world.until(_of(sales, f"_db_{table}_1"), ["is 0", "0 -> 1", "1 -> 2"])
    await world.until(_of(sales, "_db_polled_1"), ["is 0", "0 -> 2"])
    await world.until(_of(sales, "_db_orders_2"), ["New order 2"])
    prices = ["1.50 -> 2.00", "2.00 -> 3.00", "4.25 -> 5.00", "5.00 -> 6.00"]
    await world.until(_of(sales, "_db_parts_1"), ["nails cost 1.50", *prices])
    await world.until(_of(sales, "_db_tickets_t3"), ["third"])
    await world.until(_of(sales, "_db_hook_site"), [f"Order {number}: paid" for number in (1, 2, 3)])
    world.sql("DELETE FROM orders WHERE id = 2")
    await world.until(_of(sales, "_db_orders_2"), ["New order 2", "gone"])


async def _while_the_bridge_is_away(world: World, sales: Client) -> None:
    """Rows, documents and messages; all of it follows, once, when it is there again."""
    order, ticket = await _room(sales, "_db_orders_1"), await _room(sales, "_db_tickets_t2")
    note = await sales.send(order, {"msgtype": "m.text", "body": "while it was away"})
    closed = await sales.send(ticket, {"msgtype": "m.text", "body": "!close"})
    await sales.send(await _room(sales, "_db_hook_site"), {"msgtype": "m.text", "body": "thanks again"})
    world.sql("UPDATE orders SET status = 'a' WHERE id = 1")
    world.stock("UPDATE parts SET price = 5 WHERE id = 1")
    await world.say("t1", "from before", "new", "newer")
    for table, (source, _) in CAPTURES.items():
        (world.sql if source == "shop" else world.stock)(f"INSERT INTO {table} (id, n) VALUES (1, 0)")
    world.bridge.start()
    for table in CAPTURES:
        await world.until(_of(sales, f"_db_{table}_1"), ["is 0"])
    await world.until(lambda: answers(sales, order, note), ["✅"])
    await world.until(lambda: answers(sales, ticket, closed), ["✅"])
    assert (await world.tickets.find_one({"_id": "t2"}))["status"] == "closed"
    await world.until(_of(sales, "_db_tickets_t1"), ["from before", "new", "newer"])
    await world.until(world.heard, ["thank you", "thanks again"])


def _of(sales: Client, alias: str) -> Callable[[], Awaitable[list[str]]]:
    """What the bridge says in a room."""

    async def texts() -> list[str]:
        found = await messages(sales, alias)
        return [event["content"]["body"] for event in found if _is_told(event)]

    return texts


def _is_told(event: dict[str, Any]) -> bool:
    """Whether a message is of a row: neither somebody's own, nor an answer to it."""
    return event["sender"].startswith("@_db_") and "m.relates_to" not in event["content"]
