"""Rows of PostgreSQL as rooms: the mapping of orders, from a committed change to what a client reads."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from bridges.config import load
from tests.bridges.support import PATIENCE_S, Bridge, messages
from tests.support.client import Client, becomes, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer
from tests.support.postgres import PostgresCluster
from tests.support.server import ROOT, Server

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:{port}"
server_name = "hromada.test"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}

[source.shop]
driver = "postgresql"
url = {{ env = "SHOP_URL" }}

[mapping.orders]
source = "shop"
table = "public.orders"
key = ["id"]
columns = ["id", "status", "total", "currency", "customer_id"]
filter = {{ all = [{{ col = "total", op = "ge", value = 50 }}, {{ col = "currency", op = "eq", value = "EUR" }}] }}
capture = {{ mode = "outbox", poll = "100ms" }}

[mapping.orders.room]
alias = "_db_orders_{{{{ id }}}}"
name = "Order {{{{ id }}}} ({{{{ status }}}})"
topic = "{{{{ total }}}} {{{{ currency }}}}"
invite = ["@sales:hromada.test"]

[[mapping.orders.message]]
on = "insert"
text = "New order {{{{ id }}}}: {{{{ total }}}} {{{{ currency }}}}"

[[mapping.orders.message]]
on = "update"
when = {{ changed = ["status"] }}
sender = "ghost:customer_id"
msgtype = "m.notice"
text = "{{{{ old.status }}}} -> {{{{ status }}}}"
html = "<b>{{{{ status }}}}</b>"
"""
TABLE = "CREATE TABLE orders (id bigint PRIMARY KEY, status text, total numeric(12,2), currency text, customer_id text)"


class Shop:
    """The server, the database, the bridge between them, and somebody from sales."""

    def __init__(self, server: Server, bridge: Bridge, database: str, sales: Client) -> None:
        self.server, self.bridge, self.database, self.sales = server, bridge, database, sales

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of the application."""
        connection = await asyncpg.connect(self.database)
        try:
            yield connection
        finally:
            await connection.close()

    async def messages(self, order: object) -> list[dict[str, Any]]:
        """What sales read in the room of an order, oldest first; nothing before there is a room."""
        return await messages(self.sales, f"_db_orders_{order}")

    async def told(self, order: object) -> list[str]:
        """The texts of `messages`."""
        return [event["content"]["body"] for event in await self.messages(order)]


MakeShop = Callable[[], Awaitable[Shop]]


@pytest.fixture
def proxy() -> Iterator[Any]:
    """The homeserver's address: it stays while the server restarts."""
    with FaultProxy.running(1) as running:
        yield running


@pytest.fixture
async def shop(
    start_server: StartServer,
    postgres_cluster: PostgresCluster,
    proxy: Any,
    tmp_path: Path,
    http: aiohttp.ClientSession,
) -> AsyncIterator[Shop]:
    """All of it, running."""
    folder = tmp_path / "bridge"
    folder.mkdir()
    url = postgres_cluster.make_database()
    bridge = Bridge(folder, SHOP_URL=url)
    bridge.file.write_text(CONFIG.format(port=proxy.port, folder=folder))
    registration = folder / "registration.yaml"
    printed = bridge.call("registration")
    assert printed.returncode == 0, printed.stderr
    registration.write_text(printed.stdout)
    server = start_server(environment={"HROMADA_APPSERVICES_FILES": str(registration)})
    proxy.target_port = urlsplit(server.url).port
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    sql = bridge.call("sql", "--role", "hromada")
    assert sql.returncode == 0, sql.stderr
    await connection.execute(sql.stdout)
    await connection.close()
    sales = await Client(http, server.url).register("sales")
    bridge.start()
    yield Shop(server, bridge, url, sales)
    bridge.kill()


@pytest.mark.timeout(900)
async def test_orders(shop: Shop) -> None:
    checked = shop.bridge.call("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    async with shop.connection() as db:
        await db.execute("INSERT INTO orders VALUES (7, 'new', 99.50, 'EUR', 'Anna/1'), (8, 'new', 20, 'EUR', 'x')")
        await db.execute("UPDATE orders SET status = '<paid>' WHERE id = 7")
        await db.execute("UPDATE orders SET total = 100 WHERE id = 7")
    expected = ["New order 7: 99.50 EUR", "new -> <paid>"]
    await eventually(lambda: _is(shop, 7, expected), PATIENCE_S)
    messages = await shop.messages(7)
    assert [event["sender"] for event in messages] == ["@_db_bot:hromada.test", "@_db_shop_=41nna/1:hromada.test"]
    assert messages[1]["content"]["formatted_body"] == "<b>&lt;paid&gt;</b>"
    assert messages[1]["content"]["m.mentions"] == {}
    room = messages[0]["room_id"]
    await becomes(lambda: shop.sales.state(room, "m.room.name"), {"name": "Order 7 (<paid>)"})
    assert (await shop.sales.state(room, "m.room.create"))["m.federate"] is False, "rows stay on this server"
    await eventually(lambda: _topic_is(shop.sales, room, "100.00 EUR"), PATIENCE_S)
    assert await shop.told(8) == [], "the filter keeps it out"
    async with shop.connection() as db:
        await db.execute("DELETE FROM orders WHERE id = 7")
    await eventually(lambda: _is_archived(shop.sales, room, True), PATIENCE_S)
    async with shop.connection() as db:
        await db.execute("INSERT INTO orders VALUES (7, 'again', 60, 'EUR', NULL)")
    await eventually(lambda: _is(shop, 7, [*expected, "New order 7: 60.00 EUR"]), PATIENCE_S)
    await eventually(lambda: _is_archived(shop.sales, room, False), PATIENCE_S)
    async with shop.connection() as db:
        await becomes(lambda: db.fetchval("SELECT count(*) FROM bridge_outbox"), 0)
    assert shop.bridge.stop() == 0


async def test_two_bridges_do_not_share_a_state(shop: Shop) -> None:
    await eventually(lambda: _ready(shop.bridge), PATIENCE_S)
    second = shop.bridge.call("run")
    assert second.returncode == 1
    assert "another bridge" in second.stderr


async def _is(shop: Shop, order: object, expected: list[str]) -> bool:
    return await shop.told(order) == expected


async def _topic_is(client: Client, room: str, topic: str) -> bool:
    return bool((await client.state(room, "m.room.topic"))["topic"] == topic)


async def _is_archived(client: Client, room: str, archived: bool) -> bool:
    levels = await client.state(room, "m.room.power_levels")
    return bool(levels["events_default"] == (100 if archived else 0))


async def _ready(bridge: Bridge) -> bool:
    return "ready orders" in bridge.log()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('key = ["id"]', 'key = ["nr"]', "mapping.orders.key: nr is not in columns"),
        ('"public.orders"', '"public.orders; DROP"', "not the name of a table"),
        ("{{ id }}: {{ total", "{{ secret }}: {{ total", "secret is not in columns"),
        ("{{ old.status }}", "{{ old.", "mapping.orders.message[1].text"),
        ('op = "ge"', 'op = "like"', "like is none of"),
        ('mode = "outbox"', 'mode = "magic"', "Invalid enum value 'magic'"),
        ('alias = "_db', 'alias = "db', "room.alias must begin with"),
        ('id = "db"', 'id = "db"\nunknown = 1', "unknown"),
        ("[source.shop]", "[source.", "bridges.toml"),
    ],
)
def test_wrong_configurations(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = CONFIG.format(port=1, folder=tmp_path)
    assert old in text
    bridge = Bridge(tmp_path, SHOP_URL="postgresql://nowhere")
    bridge.file.write_text(text.replace(old, new, 1))
    refused = bridge.call("sql")
    assert refused.returncode == 2, refused.stdout
    assert fault in refused.stderr


def test_the_registration_is_one(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    bridge.file.write_text(CONFIG.format(port=1, folder=tmp_path))
    printed = json.loads(bridge.call("registration").stdout)
    assert printed["namespaces"]["users"] == [{"exclusive": True, "regex": "@_db_.*:hromada\\.test"}]


def test_what_the_documents_show_can_be_loaded(tmp_path: Path) -> None:
    tutorial = (ROOT / "docs/bridges/tutorial.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", tutorial, re.DOTALL)
    texts = [textwrap.dedent("   " + block) for block in blocks]
    texts += [file.read_text() for file in (ROOT / "examples/bridges").glob("*.toml")]
    assert len(texts) > 1
    for text in texts:
        (tmp_path / "bridges.toml").write_text(text)
        load(tmp_path / "bridges.toml")


def test_help_is_the_bridges_own(tmp_path: Path) -> None:
    asked = Bridge(tmp_path).call("--help")
    assert asked.returncode == 0
    assert "registration" in asked.stdout
