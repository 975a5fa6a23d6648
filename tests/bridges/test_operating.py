"""`hromada bridges …` beside a running bridge and without one; rows that capture cannot see; logs that are gone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.bridges.support import PATIENCE_S, Bridge, find_room, registration, told
from tests.support.client import Client, eventually
from tests.support.fixtures import unavailable
from tests.support.ports import free_port
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import Server, ServerOptions

pytestmark = pytest.mark.timeout(900)

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:{port}"
server_name = "hromada.test"
listen = "127.0.0.1:{listen}"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
state = "{folder}/state.db"
admin_room = {{ invite = ["@sales:hromada.test"] }}

[source.shop]
driver = "postgresql"
url = {{ env = "SHOP_URL" }}

[mapping.items]
source = "shop"
table = "items"
key = ["id"]
columns = ["id", "name", "big"]
capture = {{ mode = "logical" }}
backfill = {{ mode = "last", limit = 2 }}
room = {{ alias = "_db_items_{{{{ id }}}}", name = "{{{{ name }}}}", invite = ["@sales:hromada.test"] }}
message = [
  {{ on = "insert", text = "{{{{ name }}}} {{{{ big | length }}}}" }},
  {{ on = "update", text = "{{{{ old.name }}}} -> {{{{ name }}}} {{{{ big | length }}}}" }},
  {{ on = "delete", text = "{{{{ name }}}} is gone" }},
]

[mapping.odd]
source = "shop"
table = "odd"
key = ["id"]
columns = ["id", "name", "tags"]
capture = {{ mode = "overlap", cursor = "at", overlap = "1s" }}
reconcile = "24h"
room = {{ alias = "_db_odd_{{{{ id }}}}", invite = ["@sales:hromada.test"] }}
message = [
  {{ on = "insert", text = "{{{{ name }}}} {{{{ tags | join('+') }}}}" }},
  {{ on = "update", text = "{{{{ old.name }}}} -> {{{{ name }}}}" }},
  {{ on = "delete", text = "gone" }},
]
"""
TABLES = """
CREATE TABLE items (id bigint PRIMARY KEY, name text, big text);
ALTER TABLE items ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE PUBLICATION bridge FOR TABLE items;
INSERT INTO items SELECT n, 'item ' || n, repeat('x', 5000) FROM generate_series(1, 1200) n;
CREATE TABLE odd (id bigint PRIMARY KEY, name text, tags text[] NOT NULL DEFAULT '{}', at timestamptz);
CREATE INDEX ON odd (at);
INSERT INTO odd VALUES (1, 'first', '{a,b}', NULL);
"""


class World:
    """A homeserver, a bridge and a database."""

    def __init__(self, server: Server, bridge: Bridge, cluster: PostgresCluster, database: str, listen: int) -> None:
        self.server, self.bridge, self.cluster, self.database = server, bridge, cluster, database
        self.address = f"http://127.0.0.1:{listen}"

    def sql(self, statement: str) -> str:
        """Run a statement."""
        return self.cluster.sql(statement, self.database)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All of it, running."""
    folder: Path = tmp_path_factory.mktemp("operating")
    try:
        with running_cluster({"wal_level": "logical", "max_replication_slots": "10"}) as cluster:
            url = cluster.make_database()
            bridge, port, listen = Bridge(folder, SHOP_URL=url), free_port(), free_port()
            bridge.file.write_text(CONFIG.format(port=port, listen=listen, folder=folder))
            environment = {"HROMADA_APPSERVICES_FILES": registration(bridge, folder)}
            server = Server(folder / "data", ServerOptions(listen=f"127.0.0.1:{port}", environment=environment))
            world = World(server, bridge, cluster, url.rsplit("/", 1)[-1], listen)
            world.sql(TABLES)
            try:
                server.start()
                bridge.start()
                yield world
            finally:
                bridge.kill()
                server.stop()
    except PostgresUnavailable as reason:
        unavailable(str(reason))


_SALES: dict[str, Client] = {}


@pytest.fixture
async def sales(world: World, http: aiohttp.ClientSession) -> Client:
    """Somebody from sales."""
    client = Client(http, world.server.url)
    if (known := _SALES.get(world.server.url)) is not None:
        client.token, client.user_id, client.device_id = known.token, known.user_id, known.device_id
        return client
    _SALES[world.server.url] = await client.register("sales")
    return client


async def until(world: World, client: Client, alias: str, expected: list[str]) -> None:
    """Wait until a room has just these messages."""

    async def holds() -> bool:
        return await told(client, alias) == expected

    try:
        await eventually(holds, PATIENCE_S)
    except AssertionError:
        assert await told(client, alias) == expected, world.bridge.log()[-6000:]


async def the_last_rows_of_a_table_and_values_that_the_log_leaves_out(world: World, sales: Client) -> None:
    await until(world, sales, "_db_items_1200", ["item 1200 5000"])
    await until(world, sales, "_db_items_1199", ["item 1199 5000"])
    assert await told(sales, "_db_items_1198") == []
    world.sql("UPDATE items SET name = 'small' WHERE id = 1198")  # the large value is not in the log
    await until(world, sales, "_db_items_1198", ["item 1198 -> small 5000"])
    world.sql("UPDATE items SET id = 5000 WHERE id = 1198")
    await until(world, sales, "_db_items_5000", ["small 5000"])
    await until(world, sales, "_db_items_1198", ["item 1198 -> small 5000", "small is gone"])
    world.sql("BEGIN; DELETE FROM items WHERE id = 5000; INSERT INTO items VALUES (5000, 'again', ''); COMMIT")
    await until(world, sales, "_db_items_5000", ["small 5000", "small is gone", "again 0"])
    world.sql("ALTER TABLE items ADD COLUMN more text; UPDATE items SET more = 'x', name = 'b' WHERE id = 5000")
    await until(world, sales, "_db_items_5000", ["small 5000", "small is gone", "again 0", "again -> b 0"])


async def a_scan_finds_what_polling_cannot_see(world: World, sales: Client) -> None:
    world.sql("INSERT INTO odd VALUES (2, 'second', '{}', now())")
    await until(world, sales, "_db_odd_2", ["second "])
    world.sql("INSERT INTO odd VALUES (3, 'third', '{}', NULL)")
    world.sql("DELETE FROM odd WHERE id = 2")
    world.sql("UPDATE odd SET name = 'FIRST' WHERE id = 1")
    summary = world.bridge.ok("reconcile", "--mapping", "odd")
    assert "2 rows looked at" in summary
    assert "3 differed and are told" in summary
    await until(world, sales, "_db_odd_3", ["third "])
    await until(world, sales, "_db_odd_2", ["second ", "gone"])
    await until(world, sales, "_db_odd_1", ["first -> FIRST"])
    assert "0 differed" in world.bridge.ok("reconcile", "--mapping", "odd")
    assert "0 differed" in world.bridge.ok("reconcile", "--mapping", "items")


async def pause_and_resume(world: World, sales: Client) -> None:
    assert world.bridge.ok("pause", "--mapping", "odd", "--reason", "moving house") == "mapping.odd: paused\n"
    assert "mapping.odd: paused (by the command line: moving house)" in world.bridge.ok("status")
    world.sql("INSERT INTO odd VALUES (10, 'ten', '{}', now())")
    world.sql("UPDATE items SET name = 'other' WHERE id = 1200")
    await until(world, sales, "_db_items_1200", ["item 1200 5000", "item 1200 -> other 5000"])
    assert await told(sales, "_db_odd_10") == []
    world.bridge.ok("resume")
    world.sql("UPDATE odd SET at = now() WHERE id = 10")
    await until(world, sales, "_db_odd_10", ["ten "])


async def it_counts(world: World, http: aiohttp.ClientSession) -> None:
    """All that was done since it began, the row that no template could tell included."""
    async with http.get(f"{world.address}/metrics") as answer:
        text = await answer.text()
    assert 'bridge_deliveries_total{result="dead"} 1.0' in text
    for name in (
        'deliveries_total{result="done"}',
        'changes_total{mapping="items"}',
        'changes_total{mapping="odd"}',
        'reconcile_mismatches_total{mapping="odd"}',
        'retained_bytes{mapping="items"}',
        'source_up{mapping="items"}',
        "delivery_seconds_count",
    ):
        found = re.search(rf"^bridge_{re.escape(name)} ([0-9.e+]+)$", text, re.MULTILINE)
        assert found is not None, f"{name}: {text}"
        assert float(found[1]) > 0, name
    for name in ('lag_seconds{mapping="items"}', "queue", "retries_total"):
        assert f"\nbridge_{name} " in text


async def a_row_that_cannot_be_told_is_put_aside(world: World, sales: Client) -> None:
    world.sql("UPDATE items SET big = NULL, name = 'poison' WHERE id = 1199")  # NULL has no length
    world.sql("UPDATE items SET big = '', name = 'cured' WHERE id = 1199")
    await until(world, sales, "_db_items_1199", ["item 1199 5000", "poison -> cured 0"])
    dead = [line.split("\t") for line in world.bridge.ok("dead").splitlines()]
    assert [(row[1], row[2]) for row in dead] == [("dead", "items")]
    await eventually(lambda: _says(sales, "items: A row cannot be told"), PATIENCE_S)
    assert world.bridge.call("dead", "--retry", dead[0][0]).returncode == 1
    assert world.bridge.ok("dead", "--drop", dead[0][0]) == "Done\n"
    assert world.bridge.ok("dead") == ""


async def _says(client: Client, text: str) -> bool:
    return any(text in body for body in await told(client, "_db_admin"))


async def a_slot_that_is_gone_is_not_passed_over(world: World, sales: Client) -> None:
    world.bridge.kill()
    world.sql("UPDATE items SET name = 'unseen' WHERE id = 1200")
    world.sql("SELECT pg_drop_replication_slot('bridge_items')")
    world.sql("UPDATE items SET name = 'seen late' WHERE id = 1200")
    world.bridge.start()
    expected = ["item 1200 5000", "item 1200 -> other 5000", "other -> seen late 5000"]
    await until(world, sales, "_db_items_1200", expected)
    world.sql("UPDATE items SET name = 'new slot' WHERE id = 1200")
    await until(world, sales, "_db_items_1200", [*expected, "seen late -> new slot 5000"])
    world.sql("TRUNCATE items")
    await eventually(lambda: _ends_with(sales, "_db_items_1200", "new slot is gone"), PATIENCE_S)
    assert await find_room(sales, "_db_items_1200")


async def _ends_with(client: Client, alias: str, text: str) -> bool:
    return (await told(client, alias))[-1:] == [text]


async def only_the_homeserver_is_heard(world: World, http: aiohttp.ClientSession) -> None:
    path = f"{world.address}/_matrix/app/v1/transactions/1"
    good = {"Authorization": "Bearer the-hs_token"}
    for headers, body, status, errcode in (
        ({}, "{}", 401, "M_UNAUTHORIZED"),
        ({"Authorization": "Bearer wrong"}, "{}", 403, "M_FORBIDDEN"),
        (good, "{", 400, "M_BAD_JSON"),
        (good, '{"events": 1}', 400, "M_BAD_JSON"),
        (good, "[" * 100_000, 400, "M_BAD_JSON"),
    ):
        async with http.put(path, data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["errcode"]) == (status, errcode)
    events = [{"event_id": "$a", "room_id": "!x:y", "type": "m.room.message", "sender": "@a:b", "content": {}}, 5, {}]
    for _ in range(2):
        async with http.put(path, data=json.dumps({"events": events}), headers=good) as answer:
            assert (answer.status, await answer.json()) == (200, {})
    async with http.post(f"{world.address}/_matrix/app/v1/ping", headers=good) as answer:
        assert answer.status == 200
    for path, status in (
        ("users/@_db_bot:hromada.test", 200),
        ("users/@_db_x:hromada.test", 404),
        ("rooms/%23x:y", 404),
    ):
        async with http.get(f"{world.address}/_matrix/app/v1/{path}", headers=good) as answer:
            assert answer.status == status, path
    async with http.get(f"{world.address}/metrics") as answer:
        text = await answer.text()
    assert 'bridge_events_total{result="ignored"}' in text
    assert 'bridge_gaps_total{mapping="items"} 1.0' in text
    assert 'bridge_source_up{mapping="items"} 1.0' in text


def doctor_and_plan(world: World) -> None:
    world.bridge.kill()  # the last of this file
    doctor = world.bridge.call("doctor")
    assert "FAIL mapping.items: the bridge logs in as a superuser" in doctor.stdout
    assert "ok   mapping.items: slot bridge_items is reserved" in doctor.stdout
    assert "FAIL mapping.items: max_slot_wal_keep_size is -1" in doctor.stdout
    planned = world.bridge.ok("plan", "--mapping", "odd", "--limit", "1")
    assert planned == "mapping.odd [1]: #_db_odd_1 ''\n    @_db_bot:hromada.test: FIRST a+b\n"
    world.sql("INSERT INTO items SELECT n, 'late', '' FROM generate_series(1, 700) n")
    assert "700 rows looked at" in world.bridge.ok("backfill", "--mapping", "items")
    assert world.bridge.call("backfill", "--mapping", "odd").returncode == 1
    assert world.bridge.call("plan", "--mapping", "nothing").returncode == 2


async def test_a_bridge_is_seen_to(world: World, sales: Client, http: aiohttp.ClientSession) -> None:
    """One bridge through all of it, in this order: tests of their own would be run by several processes."""
    await the_last_rows_of_a_table_and_values_that_the_log_leaves_out(world, sales)
    await a_scan_finds_what_polling_cannot_see(world, sales)
    await pause_and_resume(world, sales)
    await a_row_that_cannot_be_told_is_put_aside(world, sales)
    await it_counts(world, http)
    await a_slot_that_is_gone_is_not_passed_over(world, sales)
    await only_the_homeserver_is_heard(world, http)
    doctor_and_plan(world)
