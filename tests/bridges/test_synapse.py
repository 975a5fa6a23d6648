"""The bridge on somebody else's homeserver: everything that it needs is in the public APIs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bridges.support import PATIENCE_S, Bridge, answers, find_room, messages, registration, told
from tests.support.appservice import free_port
from tests.support.client import Client, eventually, part
from tests.support.fixtures import unavailable
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
LOOKED_AT = """
[mapping.{name}]
source = "shop"
table = "public.{name}"
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
    "logged": '{ mode = "logical", publication = "bridge", slot = "synapse_logged", poll = "50ms" }',
    "polled": '{ mode = "overlap", cursor = "at", overlap = "60s", poll = "50ms" }',
}
TABLES = """
CREATE TABLE logged (id bigint PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE polled (id bigint PRIMARY KEY, n bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL DEFAULT 'new', customer_id text, customer text);
CREATE TABLE notes (id uuid PRIMARY KEY, order_id bigint, body text);
INSERT INTO orders VALUES (1, 'new', 'anna', 'Anna');
"""


@dataclass
class World:
    """A homeserver, a bridge and a database."""

    synapse: Synapse
    bridge: Bridge
    sql: Callable[[str], str]

    async def until(self, get: Callable[[], Awaitable[Any]], expected: Any) -> None:
        """Wait for something that is to become so."""

        async def holds() -> bool:
            return bool(await get() == expected)

        try:
            await eventually(holds, PATIENCE_S)
        except AssertionError:
            assert await get() == expected, self.bridge.log()[-6000:]


@pytest.mark.timeout(600)
async def test_orders_on_synapse(tmp_path: Path, cluster: PostgresCluster, http: aiohttp.ClientSession) -> None:
    try:
        synapse = Synapse(tmp_path)
    except SynapseUnavailable as reason:
        unavailable(str(reason))
    url = cluster.make_database().replace("+asyncpg", "", 1)
    name = url.rsplit("/", 1)[-1]
    bridge = Bridge(tmp_path, SHOP_URL=url)
    text = CONFIG.format(homeserver=synapse.url, folder=tmp_path, listen=free_port())
    text += "".join(LOOKED_AT.format(name=name, capture=capture) for name, capture in CAPTURES.items())
    bridge.file.write_text(text)
    cluster.sql(TABLES, name)
    cluster.sql(bridge.ok("sql", "--role", "hromada"), name)
    file = registration(bridge, tmp_path)
    world = World(synapse, bridge, lambda statement: cluster.sql(statement, name))
    try:
        synapse.start(file)
        bridge.start()
        sales = await Client(http, synapse.url).register("sales")
        await _rooms_and_ghosts(world, sales)
        await _what_people_write(world, sales)
        await _kills(world, sales, file)
    finally:
        bridge.kill()
        synapse.kill()


async def _rooms_and_ghosts(world: World, sales: Client) -> None:
    await world.until(lambda: told(sales, "_db_orders_1"), ["New order 1"])
    world.sql("UPDATE orders SET status = '<paid>' WHERE id = 1")
    world.sql("UPDATE orders SET status = 'paid' WHERE id = 1")
    await world.until(lambda: told(sales, "_db_orders_1"), ["New order 1", "new -> <paid>", "<paid> -> paid"])
    assert (await messages(sales, "_db_orders_1"))[1]["sender"] == "@_db_shop_anna:hromada.test"
    profile = await sales.ok("GET", f"/profile/{part('@_db_shop_anna:hromada.test')}")
    assert profile["displayname"] == "Anna"
    room, space = await find_room(sales, "_db_orders_1"), await find_room(sales, "_db_orders")
    assert room is not None
    assert space is not None
    await world.until(lambda: sales.state(room, "m.room.name"), {"name": "Order 1 (paid)"})
    assert "via" in await sales.state(space, "m.space.child", room)


async def _what_people_write(world: World, sales: Client) -> None:
    room = await find_room(sales, "_db_orders_1")
    assert room is not None
    good = await sales.send(room, {"msgtype": "m.text", "body": "!ship"})
    await world.until(lambda: answers(sales, room, good), ["✅"])
    assert world.sql("SELECT status FROM orders WHERE id = 1") == "shipped"
    again = await sales.send(room, {"msgtype": "m.text", "body": "!reopen"})
    await world.until(lambda: answers(sales, room, again), ["There is no command !reopen; !help lists them"])
    note = await sales.send(room, {"msgtype": "m.text", "body": 'it\'s "his" $1; --'})
    await world.until(lambda: answers(sales, room, note), ["✅"])
    assert world.sql("SELECT order_id || body FROM notes") == '1it\'s "his" $1; --'
    assert not [text for text in await told(sales, "_db_orders_1") if "shipped" in text], "our own echo"


async def _kills(world: World, sales: Client, file: str) -> None:
    """Each side dies while the other has something for it."""

    async def begun() -> bool:  # what was there before is not told
        return all(re.search(rf"scan_ends .*mapping={name}\b", world.bridge.log()) for name in CAPTURES)

    await eventually(begun, PATIENCE_S)
    world.bridge.kill()
    room = await find_room(sales, "_db_orders_1")
    assert room is not None
    note = await sales.send(room, {"msgtype": "m.text", "body": "while it was away"})
    world.sql("UPDATE orders SET status = 'a' WHERE id = 1")
    for table in CAPTURES:
        world.sql(f"INSERT INTO {table} VALUES (1, 0)")
    world.bridge.start()
    for table in CAPTURES:
        await world.until(lambda table=table: told(sales, f"_db_{table}_1"), ["is 0"])  # type: ignore[misc] # no type is inferred for it
    await world.until(lambda: answers(sales, room, note), ["✅"])
    world.synapse.kill()
    world.sql("UPDATE logged SET n = 1; UPDATE logged SET n = 2; UPDATE polled SET n = 2, at = now()")
    world.sql("INSERT INTO orders VALUES (2, 'new', 'borys', 'Borys')")
    for status in "bcd":
        world.sql(f"UPDATE orders SET status = '{status}' WHERE id = 1")
    world.synapse.start(file)
    expected = ["shipped -> a", "a -> b", "b -> c", "c -> d"]

    async def shipped() -> list[str]:
        return [text for text in await told(sales, "_db_orders_1") if text in expected]

    await world.until(shipped, expected)
    await world.until(lambda: told(sales, "_db_logged_1"), ["is 0", "0 -> 1", "1 -> 2"])
    await world.until(lambda: told(sales, "_db_polled_1"), ["is 0", "0 -> 2"])
    await world.until(lambda: told(sales, "_db_orders_2"), ["New order 2"])
    world.sql("DELETE FROM orders WHERE id = 2")
    await world.until(lambda: told(sales, "_db_orders_2"), ["New order 2", "gone"])
