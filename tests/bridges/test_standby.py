"""Bridges that stand by. Two on one state in PostgreSQL: one runs, the other takes over from it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bridges.config import load
from bridges.ddl import statements
from tests.bridges.support import PATIENCE_S, Bridge, answers, find_room, registration, told
from tests.bridges.test_mappings import EXAMPLE, be_bot_of, example
from tests.support.appservice import free_port
from tests.support.client import Client, eventually
from tests.support.fixtures import unavailable
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import Server, ServerOptions

pytestmark = pytest.mark.timeout(1800)
ORDERS = 4
SITE = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
listen = "127.0.0.1:{port}"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
state = "{folder}/bridges.db"

[endpoint.site]
url = "https://site.example/hook"
secret = {{ env = "KEY" }}
text = "{{{{ event.content.body }}}}"
"""


class World:
    """A homeserver, a database that is shop and state, and two bridges."""

    def __init__(self, folder: Path, cluster: PostgresCluster) -> None:
        self.cluster = cluster
        shop, state = cluster.make_database(), cluster.make_database()
        self.shop = shop.rsplit("/", 1)[-1]
        urls = {"SHOP_URL": shop, "SHOP_RW_URL": shop, "BRIDGE_STATE_URL": state}
        (folder / "other").mkdir()
        port, listen = free_port(), free_port()
        self.bridges = [Bridge(folder, **urls), Bridge(folder / "other", **urls)]
        for bridge in self.bridges:
            bridge.file.write_text(example(port, listen, bridge.file.parent))
        files = registration(self.bridges[0], folder)
        options = ServerOptions(listen=f"127.0.0.1:{port}", environment={"HROMADA_APPSERVICES_FILES": files})
        self.server = Server(folder / "data", options)
        cluster.sql("ALTER ROLE hromada REPLICATION", self.shop)
        self.sql((EXAMPLE / "orders.sql").read_text().replace("reader", "hromada").replace("writer", "hromada"))
        self.sql("\n".join(statements(load(self.bridges[0].file), "hromada")))

    def sql(self, statement: str) -> str:
        """Run a statement in the shop."""
        return self.cluster.sql(statement, self.shop)

    def log(self) -> str:
        """What both said."""
        return "\n---\n".join(bridge.log()[-6000:] for bridge in self.bridges)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """All of it, running; the second bridge stands by."""
    try:
        with running_cluster({"wal_level": "logical"}) as cluster:
            world = World(tmp_path, cluster)
            try:
                world.server.start()
                world.bridges[0].start()
                yield world
            finally:
                for bridge in world.bridges:
                    bridge.kill()
                world.server.stop()
    except PostgresUnavailable as reason:
        unavailable(str(reason))


async def test_one_takes_over_from_the_other(
    world: World, http: aiohttp.ClientSession, pytestconfig: pytest.Config
) -> None:
    """Orders change while bridges and their database are killed; `--crash-kills N` for N of them."""
    chance = random.Random(pytestconfig.getoption("--crash-seed"))
    sales = await Client(http, world.server.url).register("sales")
    first, second = world.bridges
    await said(world, first, "ready", 1)
    second.start(arguments=("--standby",))
    await said(world, second, "standing by", 1)
    assert second.stop() == 0  # while it stands by
    second.start(arguments=("--standby",))
    await said(world, second, "standing by", 2)
    expected: dict[int, list[str]] = {}
    for order in range(100, 100 + ORDERS):
        world.sql(f"INSERT INTO orders (id, status, total) VALUES ({order}, 's0', 70)")
        expected[order] = [f"New order {order}: 70.00 EUR"]
    await all_told(world, sales, expected)
    states = dict.fromkeys(expected, 0)

    def change(count: int) -> None:
        for _ in range(count):
            order = chance.choice(list(expected))
            was, states[order] = states[order], states[order] + 1
            world.sql(f"UPDATE orders SET status = 's{states[order]}' WHERE id = {order}")
            expected[order].append(f"s{was} -> s{states[order]}")

    running, waiting = first, second
    for number in range(max(2, pytestconfig.getoption("--crash-kills") // 2)):
        change(5)
        ready = [bridge.log().count("ready") for bridge in world.bridges]
        if number % 2:  # the database of both, and of the shop; whoever is first goes on
            world.cluster.kill()
            world.cluster.start()
            running, waiting = await gone_on(world, ready)
        else:
            running.kill()
            change(5)
            await gone_on(world, ready)
            running, waiting = waiting, running
            looked = waiting.log().count("standing by")
            waiting.start(arguments=("--standby",))
            await said(world, waiting, "standing by", looked + 1)
        await all_told(world, sales, expected)
    room = await find_room(sales, "_db_orders_100")
    assert room is not None
    levels = await sales.state(room, "m.room.power_levels")
    levels["users"][sales.user_id] = 50
    await be_bot_of(world.server, sales, room, "m.room.power_levels", levels)
    world.sql("UPDATE orders SET status = 'paid' WHERE id = 100")
    expected[100].append(f"s{states[100]} -> paid")
    await all_told(world, sales, expected)
    shipped = await sales.send(room, {"msgtype": "m.text", "body": "!ship"})

    async def answered() -> bool:
        return await answers(sales, room, shipped) == ["✅"]

    await eventually(answered, PATIENCE_S)
    assert world.sql("SELECT status FROM orders WHERE id = 100") == "shipped"
    assert [running.stop(), waiting.stop()] == [0, 0], world.log()


async def test_who_stands_by_waits_for_the_address(tmp_path: Path) -> None:
    """Whoever had the state listens until it has noticed that it lost it; another one shall not give up on that."""
    bridge = Bridge(tmp_path, KEY="c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDEyMzQ=")
    with socket.create_server(("127.0.0.1", 0)) as other:
        bridge.file.write_text(SITE.format(port=other.getsockname()[1], folder=tmp_path))
        refused = bridge.call("run")
        assert refused.returncode == 1
        assert "Address already in use" in refused.stderr
        bridge.start(arguments=("--standby",))
        try:
            await eventually(lambda: says(bridge, "waiting: "), PATIENCE_S)
            other.close()
            await eventually(lambda: says(bridge, "ready"), PATIENCE_S)
            assert bridge.stop() == 0, bridge.log()
        finally:
            bridge.kill()


async def says(bridge: Bridge, text: str, times: int = 1) -> bool:
    """Whether it has said it."""
    return bridge.log().count(text) >= times


async def gone_on(world: World, ready: list[int]) -> tuple[Bridge, Bridge]:
    """Wait until one of the two runs anew; it, and the other."""

    async def has() -> bool:
        return any(bridge.log().count("ready") > before for bridge, before in zip(world.bridges, ready, strict=True))

    try:
        await eventually(has, PATIENCE_S)
    except AssertionError:
        raise AssertionError(f"nobody goes on: {world.log()}") from None
    first, second = world.bridges
    return (first, second) if first.log().count("ready") > ready[0] else (second, first)


async def said(world: World, bridge: Bridge, text: str, times: int) -> None:
    """Wait until a bridge has said something."""
    try:
        await eventually(lambda: says(bridge, text, times), PATIENCE_S)
    except AssertionError:
        raise AssertionError(f"no {text!r}: {world.log()}") from None


async def all_told(world: World, sales: Client, expected: dict[int, list[str]]) -> None:
    """Wait until every order is told as it went, once and in order."""

    async def holds() -> bool:
        return all([await told(sales, f"_db_orders_{order}") == texts for order, texts in expected.items()])

    try:
        await eventually(holds, PATIENCE_S)
    except AssertionError:
        for order, texts in expected.items():
            assert await told(sales, f"_db_orders_{order}") == texts, world.log()
