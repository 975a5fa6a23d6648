"""`python -m benchmarks.bridges`: how fast changes of a PostgreSQL become messages, and what the bridge spends on it.

Everything is started for it on loopback and stopped again: a PostgreSQL with logical decoding, our homeserver, bridges.
Each figure may be asked for alone; the runs end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil  # type: ignore[import-untyped] # has no types

from bridges.capture import Capture
from bridges.config import load
from bridges.sources.opening import open_source
from bridges.state import State
from tests.bridges.support import Bridge, registration
from tests.support.client import Client
from tests.support.postgres import PostgresCluster, running_cluster
from tests.support.server import Server, ServerOptions

HEAD = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:{port}"
server_name = "hromada.test"
listen = "127.0.0.1:{back}"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
state = "{folder}/state.db"
max_queue = {queue}
lanes = 16
[source.shop]
driver = "postgresql"
url = {{ env = "SHOP_URL" }}
"""
MAPPING = """
[mapping.{name}]
source = "shop"
table = "{table}"
key = ["id"]
columns = ["id", "n", "text"]
capture = {capture}
backfill = {backfill}
room = {{ alias = "_db_{name}_{{{{ id }}}}", name = "{{{{ id }}}}", invite = ["@sales:hromada.test"] }}
message = [
  {{ on = "insert", text = "{{{{ n }}}}" }},
  {{ on = "update", sender = "ghost:text", text = "{{{{ n }}}}" }},
]
"""
TABLE = (
    "CREATE TABLE {0} (id bigint PRIMARY KEY, n bigint, text text, at timestamptz NOT NULL DEFAULT clock_timestamp());"
)
LOGICAL = '{ mode = "logical", poll = "100ms" }'
NONE = '{ mode = "none" }'
ROOMS = 20


def say(text: str) -> None:
    """A line of the result."""
    print(text, flush=True)


@contextmanager
def world(mappings: str, sql: str, *, queue: int = 10_000) -> Iterator[tuple[PostgresCluster, Server, Bridge, str]]:
    """A database, a homeserver that runs, and a bridge that does not yet."""
    with (
        tempfile.TemporaryDirectory() as name,
        running_cluster({"wal_level": "logical", "max_replication_slots": "60"}) as cluster,
    ):
        folder, url = Path(name), cluster.make_database()
        cluster.sql(sql, url.rsplit("/", 1)[-1])
        server = Server(folder / "data", ServerOptions())
        bridge = Bridge(folder, SHOP_URL=url)
        os.environ["SHOP_URL"] = url
        listen = _port()
        text = HEAD.format(port=listen, back=_port(), folder=folder, queue=queue) + mappings
        bridge.file.write_text(text)
        server.reconfigure(
            listen=f"127.0.0.1:{listen}", environment={"HROMADA_APPSERVICES_FILES": registration(bridge, folder)}
        )
        server.start()
        try:
            yield cluster, server, bridge, url
        finally:
            bridge.kill()
            server.stop()


def _port() -> int:
    from tests.support.appservice import free_port  # noqa: PLC0415 - benchmarks run without the tests but for this

    return free_port()


def mapping(name: str, capture: str, backfill: str = NONE, table: str = "") -> str:
    """A mapping of the configuration."""
    return MAPPING.format(name=name, table=table or name, capture=capture, backfill=backfill)


async def latency(count: int) -> None:
    """From the commit to the message in the answer of `/sync`, at ten changes a second."""
    sql = TABLE.format("a") + f"INSERT INTO a SELECT n, 0, 'x' FROM generate_series(1, {ROOMS}) n;"
    sql += "CREATE PUBLICATION bridge FOR TABLE a;"
    with world(mapping("a", LOGICAL, '{ mode = "all" }'), sql) as (_, server, bridge, url):
        bridge.start()
        async with aiohttp.ClientSession() as session:
            sales = await Client(session, server.url).register("sales")
            await _joined(sales)
            shop = await asyncpg.connect(url)
            sent: dict[str, float] = {}
            seen: dict[str, float] = {}
            reader = asyncio.create_task(_read(sales, seen, count))
            await asyncio.sleep(2)
            for number in range(1, count + 1):
                await shop.execute("UPDATE a SET n = $1 WHERE id = $2", number, number % ROOMS + 1)
                sent[str(number)] = time.monotonic()
                await asyncio.sleep(0.1)
            await asyncio.wait_for(reader, 60)
            await shop.close()
    times = sorted(seen[name] - at for name, at in sent.items())
    p95 = times[int(len(times) * 0.95) - 1]
    say(f"change to synced client, {count} changes at 10/s: p50 {statistics.median(times) * 1000:.0f} ms, "
        f"p95 {p95 * 1000:.0f} ms")  # fmt: skip


async def _joined(client: Client) -> None:
    joined: set[str] = set()
    since = None
    while len(joined) < ROOMS:
        answer = await client.sync(since, timeout=1000)
        since = answer["next_batch"]
        for room in answer.get("rooms", {}).get("invite", {}):
            await client.join(room)
            joined.add(room)


async def _read(client: Client, seen: dict[str, float], count: int) -> None:
    since = (await client.sync())["next_batch"]
    while len(seen) < count:
        answer = await client.sync(since, timeout=10000)
        since, now = answer["next_batch"], time.monotonic()
        for room in answer.get("rooms", {}).get("join", {}).values():
            for event in room["timeline"]["events"]:
                if event["type"] == "m.room.message" and event["content"]["body"] != "0":
                    seen.setdefault(event["content"]["body"], now)


async def rates(count: int) -> None:
    """Changes captured and stored a second, and then messages delivered a second."""
    sql = TABLE.format("a") + f"INSERT INTO a SELECT n, 0, 'x' FROM generate_series(1, {ROOMS}) n;"
    sql += "CREATE PUBLICATION bridge FOR TABLE a; ALTER TABLE a REPLICA IDENTITY FULL;"
    with world(mapping("a", LOGICAL), sql, queue=10 * count) as (_, server, bridge, url):
        config = load(bridge.file)
        state, source = State(config.state), open_source(config, "shop")
        capture = Capture(config, "a", state, source, lambda: None)
        while await capture.step():
            pass
        shop = await asyncpg.connect(url)
        for number in range(1, count // ROOMS + 1):
            await shop.execute("UPDATE a SET n = $1", number)
        began, cpu = time.monotonic(), time.process_time()
        while state.waiting() < count:
            await capture.step()
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        say(f"captured and stored: {count / took:,.0f} changes/s, {cpu / count * 1e6:.0f} µs of CPU each")
        await source.close()
        state.close()
        bridge.start()
        began = time.monotonic()
        left, look = count, State(config.state, shared=True)
        while left and time.monotonic() - began < 180:
            await asyncio.sleep(0.5)
            left = look.waiting()
        took = time.monotonic() - began
        look.close()
        own, theirs = (sum(psutil.Process(pid).cpu_times()[:2]) for pid in (bridge.pid, server.pid))
        say(f"delivered into {ROOMS} rooms: {(count - left) / took:,.0f} messages/s with the start of the bridge; "
            f"CPU each: bridge {own / count * 1e3:.1f} ms, homeserver {theirs / count * 1e3:.1f} ms")  # fmt: skip
        await shop.close()


async def backfill(rows: int) -> None:
    """A table read at the first start: memory and time."""
    sql = TABLE.format("a") + f"INSERT INTO a SELECT n, n, repeat('x', 100) FROM generate_series(1, {rows}) n;"
    sql += "CREATE PUBLICATION bridge FOR TABLE a; ANALYZE a;"
    with world(mapping("a", LOGICAL, '{ mode = "last", limit = 100 }'), sql) as (_, _server, bridge, _url):
        bridge.start()
        process, most, began = psutil.Process(bridge.pid), 0, time.monotonic()
        while "scan_ends" not in bridge.log() and time.monotonic() - began < 1_800:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.1)
        took = time.monotonic() - began
        cpu = sum(process.cpu_times()[:2])
        say(f"backfill of {rows:,} rows: {took:.0f} s ({rows / took:,.0f}/s), {cpu:.0f} s of CPU, at most "
            f"{most >> 20} MiB")  # fmt: skip


async def idle(seconds: float) -> None:
    """Fifty mappings of each kind of which nothing comes."""
    for kind, capture in (
        ("logical", '{ mode = "logical", slot = "s%d", publication = "p" }'),
        ("overlap", '{ mode = "overlap", cursor = "at" }'),
    ):
        number = 50
        sql = "".join(TABLE.format(f"t{n}") for n in range(number)) + "CREATE PUBLICATION p FOR ALL TABLES;"
        texts = [mapping(f"t{n}", capture % n if "%" in capture else capture) for n in range(number)]
        with world("".join(texts), sql) as (_, _server, bridge, _url):
            bridge.start()
            while bridge.log().count("scan_ends") < number:
                await asyncio.sleep(0.2)
            await asyncio.sleep(5)
            process = psutil.Process(bridge.pid)
            before, began = sum(process.cpu_times()[:2]), time.monotonic()
            await asyncio.sleep(seconds)
            share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
            say(f"{number} idle mappings by {kind}: {share * 100:.1f} % of a core")


def main(arguments: list[str]) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridges")
    parser.add_argument("--only", choices=("latency", "rates", "backfill", "idle"))
    parser.add_argument("--rows", type=int, default=200_000, help="of the backfill")
    parser.add_argument("--changes", type=int, default=10_000, help="captured and delivered")
    options = parser.parse_args(arguments)
    works: dict[str, Any] = {
        "latency": lambda: latency(200),
        "rates": lambda: rates(options.changes),
        "backfill": lambda: backfill(options.rows),
        "idle": lambda: idle(20),
    }
    for name, work in works.items():
        if options.only in (None, name):
            asyncio.run(work())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
