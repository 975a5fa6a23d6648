"""Somebody else holds locks, or the pool is empty: a bounded number of retries, a bounded wait, then 503, and recovery.

reliability: D6 (40001, 40P01, SQLITE_BUSY, an empty pool). The somebody is a real second connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.client import Client, Reply, part
from tests.support.fixtures import StartServer
from tests.support.postgres import PostgresCluster
from tests.support.server import Server

RETRIES = 5


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A second connection to the server's database."""
    connection = await asyncpg.connect(url.replace("+asyncpg", "", 1))
    try:
        yield connection
    finally:
        await connection.close()


async def send(client: Client, room: str, txn: str) -> Reply:
    path = f"/rooms/{part(room)}/send/m.room.message/{part(txn)}"
    return await client.request("PUT", path, {"msgtype": "m.text", "body": txn})


def refused(reply: Reply) -> None:
    """503, with when to come again."""
    body = reply.error(503, "M_UNKNOWN")
    assert 1000 <= body["retry_after_ms"] <= 5000
    assert 1 <= int(reply.headers["Retry-After"]) <= 5


async def all_is_well(client: Client, room: str, expected: set[str]) -> None:
    """Everything acknowledged is there once, and sending works."""
    assert (await send(client, room, "well")).status == 200
    texts = [event["content"]["body"] for event in await client.history(room) if event["type"] == "m.room.message"]
    assert sorted(texts) == sorted({*expected, "well"})


def conflicts(server: Server) -> int:
    """How often the committer had to try a batch again."""
    return len(re.findall(r"commit_conflict", server.log.read_text()))


async def test_sqlite_is_locked_by_another_process(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(environment={"HROMADA_DATABASE_WAIT_SECONDS": "2"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    other = sqlite3.connect(server.data_dir / "hromada.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for turn in range(2):
        for reply in await asyncio.gather(*(send(alice, room, f"{turn}.{number}") for number in range(50))):
            refused(reply)
        refused(await alice.request("POST", f"/user/{part(alice.user_id)}/filter", {"room": {"rooms": [f"!{turn}:x"]}}))
        assert room in (await alice.sync())["rooms"]["join"]  # reads go on
    other.execute("ROLLBACK")
    other.close()
    await all_is_well(alice, room, set())


async def test_a_row_is_locked(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster
) -> None:
    url = postgres_cluster.make_database()
    server = start_server("postgres", database_url=url, environment={"HROMADA_DATABASE_WAIT_SECONDS": "2"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    async with connected(url) as other:
        async with other.transaction():
            await other.execute("UPDATE counters SET value = value WHERE name = 'log'")
            for reply in await asyncio.gather(*(send(alice, room, f"t{number}") for number in range(50))):
                refused(reply)
            assert room in (await alice.sync())["rooms"]["join"]
        await all_is_well(alice, room, set())


async def test_deadlocks_are_tried_again(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster
) -> None:
    """The other takes the locks in the wrong order. The server is always the one that loses: it looks first."""
    url = postgres_cluster.make_database()
    database = url.rsplit("/", 1)[-1]
    postgres_cluster.sql(f"ALTER DATABASE {database} SET deadlock_timeout = '200ms'")
    server = start_server("postgres", database_url=url, environment={"HROMADA_DATABASE_WAIT_SECONDS": "60"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    async with connected(url) as other:
        await other.execute("SET deadlock_timeout = '60s'")
        async with other.transaction():
            await other.execute("UPDATE counters SET value = value WHERE name = 'log'")
            sending = asyncio.create_task(send(alice, room, "kept"))
            await _until_blocked(other)
            # Now we wait for the room that the server has locked, and the server for the counter that we have.
            await other.execute("UPDATE rooms SET room_nid = room_nid")
            assert conflicts(server) <= RETRIES
        assert (await sending).status == 200
    assert 1 <= conflicts(server) <= RETRIES
    await all_is_well(alice, room, {"kept"})


async def _until_blocked(watcher: Any, by: int | None = None) -> None:
    """Wait until the server waits for a lock of the session `by`, by default of our own."""
    blocked = """SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'hromada' AND coalesce($1, pg_backend_pid()) = ANY(pg_blocking_pids(pid))"""
    async with asyncio.timeout(60):
        while not await watcher.fetchval(blocked, by):
            await asyncio.sleep(0.01)


GATES = """
    CREATE SEQUENCE attempts;
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') = 'hromada' AND current_query() LIKE '%''log''%' THEN
            PERFORM pg_advisory_xact_lock_shared(1, nextval('attempts')::int);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER gate BEFORE UPDATE ON counters FOR EACH STATEMENT EXECUTE FUNCTION gate();
"""
"""The server's attempts to take positions of the log wait, each at a gate of its own: whoever closed it opens it."""


@pytest.mark.parametrize(("rounds", "status"), [(RETRIES - 1, 200), (RETRIES, 503)])
async def test_serialization_failures(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster, rounds: int, status: int
) -> None:
    """40001: as often as `rounds`, the server's commit finds its row changed by others since the transaction began."""
    url = postgres_cluster.make_database()
    server = start_server("postgres", database_url=url, environment={"HROMADA_DATABASE_WAIT_SECONDS": "60"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    database = url.rsplit("/", 1)[-1]
    postgres_cluster.sql(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")
    server.restart()
    alice.base_url = server.url
    async with connected(url) as watcher, connected(url) as other:
        await other.execute(GATES)
        for number in range(1, rounds + 1):
            await other.execute("SELECT pg_advisory_lock(1, $1)", number)
        sending = asyncio.create_task(send(alice, room, "kept"))
        for number in range(1, rounds + 1):
            await _until_blocked(watcher, other.get_server_pid())
            await other.execute("UPDATE counters SET value = value WHERE name = 'log'")
            await other.execute("SELECT pg_advisory_unlock(1, $1)", number)
        reply = await sending
    assert reply.status == status, reply
    assert conflicts(server) == RETRIES - 1
    if status == 503:
        refused(reply)
    await all_is_well(alice, room, {"kept"} if status == 200 else set())


async def test_an_empty_pool(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster
) -> None:
    """Every connection waits for a lock: who needs one is refused, who needs none is served, and it ends by itself."""
    url = postgres_cluster.make_database()
    options = {"HROMADA_DATABASE_WAIT_SECONDS": "2", "HROMADA_DATABASE_POOL_SIZE": "3"}
    server = start_server("postgres", database_url=url, environment=options)
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    token = (await alice.sync())["next_batch"]
    async with connected(url) as other:
        async with other.transaction():
            await other.execute("LOCK TABLE filters IN ACCESS EXCLUSIVE MODE")
            path = f"/user/{part(alice.user_id)}/filter"
            for _ in range(2):
                asked = [alice.request("POST", path, {"room": {"rooms": [f"!{n}:x"]}}) for n in range(60)]
                for reply in await asyncio.gather(*asked):
                    refused(reply)
            assert (await alice.request("GET", "/account/whoami")).status == 200
            assert (await alice.request("GET", "/_matrix/client/versions")).status == 200
            await alice.sync(since=token)
        for number in range(10):
            await alice.ok("POST", path, {"room": {"rooms": [f"!after{number}:x"]}})
    await all_is_well(alice, room, set())


async def test_readers_wait_for_no_writer(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster
) -> None:
    """Long polls are held and history is read while nothing can be committed."""
    url = postgres_cluster.make_database()
    server = start_server("postgres", database_url=url, environment={"HROMADA_DATABASE_WAIT_SECONDS": "60"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    async with connected(url) as other:
        async with other.transaction():
            await other.execute("UPDATE counters SET value = value WHERE name = 'log'")
            polls = [asyncio.create_task(alice.sync(since=since, timeout=30_000)) for _ in range(20)]
            sending = asyncio.create_task(send(alice, room, "soon"))
            await _until_blocked(other)
            for _ in range(20):
                assert await alice.history(room)
        assert (await sending).status == 200
        for answer in await asyncio.gather(*polls):
            (event,) = answer["rooms"]["join"][room]["timeline"]["events"]
            assert event["content"]["body"] == "soon"
