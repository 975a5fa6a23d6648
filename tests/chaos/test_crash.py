"""The server and its database are killed under load, again and again: nothing acknowledged is lost or doubled.

reliability: D1 (kill -9 of the server), D2 (of PostgreSQL), D3 (a lost COMMIT reply). Each test breaks one thing, again
and again, where test_chaos mixes them; the load and the rules are the same.
`--crash-kills N` sets how often, `--crash-seed S` the moments; every failure names its seed.
"""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest

from tests.chaos.crowd import Crowd, saved_on_failure
from tests.chaos.target import ENVIRONMENT, Target
from tests.support.client import Client, part, rooms, timeline
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer
from tests.support.postgres import PostgresCluster

pytestmark = pytest.mark.timeout(900)

# How much is acknowledged between two kills, at most: the moment is random within it.
SENDS_BETWEEN_KILLS = 60


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill."""
    return int(request.config.getoption("--crash-kills"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of the run, printed with a failure."""
    chosen = int(request.config.getoption("--crash-seed"))
    print(f"crash seed {chosen}")
    return chosen


async def test_kill_the_server(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    target = Target(start_server(database, environment=ENVIRONMENT))
    crowd = await Crowd.gather(target, http, seed)
    async with saved_on_failure(crowd):
        crowd.start()
        for _ in range(kills):
            await crowd.progress(chance.randint(1, SENDS_BETWEEN_KILLS))
            # Between two acknowledgements, not at one: a commit may be half-way.
            await asyncio.sleep(chance.uniform(0, 0.03))
            await target.kill()
            await crowd.progress(1)
            await crowd.check_sessions()
        await crowd.stop()
        assert not await crowd.verdict()


async def test_kill_postgres(
    start_server: StartServer, http: aiohttp.ClientSession, own_cluster: PostgresCluster, kills: int, seed: int
) -> None:
    chance = random.Random(seed)
    server = start_server("postgres", database_url=own_cluster.make_database(), environment=ENVIRONMENT)
    crowd = await Crowd.gather(Target(server, cluster=own_cluster), http, seed)
    async with saved_on_failure(crowd):
        crowd.start()
        pid = server.pid
        for number in range(kills):
            await crowd.progress(chance.randint(1, SENDS_BETWEEN_KILLS))
            await asyncio.to_thread(own_cluster.kill if number % 2 == 0 else own_cluster.stop)
            await asyncio.sleep(chance.uniform(0, 0.5))
            await asyncio.to_thread(own_cluster.start)
            await crowd.progress(10)
        await crowd.stop()
        assert not await crowd.verdict()
        await crowd.check_sessions()
    server.assert_alive()
    assert server.pid == pid, "it recovers without being restarted"
    # 0: a socket that the server closed because it had no database.
    assert crowd.failures.keys() <= {0, 500, 502, 503, 504}


async def test_requests_without_a_database_fail_as_503(
    start_server: StartServer, http: aiohttp.ClientSession, own_cluster: PostgresCluster
) -> None:
    server = start_server("postgres", database_url=own_cluster.make_database(), environment=ENVIRONMENT)
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    own_cluster.kill()
    path = f"/rooms/{part(room)}/send/m.room.message/t"
    failed = await alice.request("PUT", path, {"msgtype": "m.text", "body": "x"})
    failed.error((500, 502, 503, 504))
    assert b"Traceback" not in failed.raw
    assert b"asyncpg" not in failed.raw
    assert (await alice.request("GET", "/_matrix/client/versions")).status == 200
    own_cluster.start()
    event = None
    async with asyncio.timeout(120):
        while event is None:
            reply = await alice.request("PUT", path, {"msgtype": "m.text", "body": "x"})
            event = reply.body["event_id"] if reply.status == 200 else None
    texts = [e["event_id"] for e in await alice.history(room) if e["type"] == "m.room.message"]
    assert texts == [event]


async def test_a_lost_commit_reply_sends_nothing_twice(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster, seed: int
) -> None:
    database = postgres_cluster.make_database().rsplit("/", 1)[-1]
    with FaultProxy.running(postgres_cluster.port) as proxy:
        server = start_server(
            "postgres", database_url=postgres_cluster.url(database, proxy.port), environment=ENVIRONMENT
        )
        crowd = await Crowd.gather(Target(server), http, seed)
        async with saved_on_failure(crowd):
            crowd.start()
            for _ in range(5):
                await crowd.progress(5)
                before = proxy.lost_commits
                proxy.lose_commits(1)
                await crowd.progress(20)
                assert proxy.lost_commits == before + 1, "no commit went by"
                proxy.cut()
            await crowd.progress(5)
            await crowd.stop()
            assert not await crowd.verdict()
        server.stop()


async def test_what_a_lost_commit_has_written_is_in_the_next_sync(
    start_server: StartServer, http: aiohttp.ClientSession, postgres_cluster: PostgresCluster
) -> None:
    """Where nothing else is sent that would move the log on."""
    database = postgres_cluster.make_database().rsplit("/", 1)[-1]
    with FaultProxy.running(postgres_cluster.port) as proxy:
        server = start_server(
            "postgres", database_url=postgres_cluster.url(database, proxy.port), environment=ENVIRONMENT
        )
        alice = await Client(http, server.url).register("alice")
        room = await alice.create_room()
        since = (await alice.sync())["next_batch"]
        path = f"/rooms/{part(room)}/send/m.room.message/t"
        proxy.lose_commits(1)
        statuses = []
        while 200 not in statuses:
            reply = await alice.request("PUT", path, {"msgtype": "m.text", "body": "x"})
            statuses.append(reply.status)
        answer = await alice.sync(since)
        assert 503 in statuses
        assert [event["event_id"] for event in timeline(rooms(answer, "join")[room])] == [reply.body["event_id"]]
        server.stop()


async def test_a_graceful_stop_answers_what_it_holds(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, seed: int
) -> None:
    server = start_server(database, environment=ENVIRONMENT)
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    token = (await alice.sync())["next_batch"]
    poll = asyncio.create_task(alice.request("GET", "/sync", params={"since": token, "timeout": 60_000}))
    sends = [asyncio.create_task(_try_send(alice, room, f"t{number}")) for number in range(20)]
    await sends[0]
    assert await asyncio.to_thread(server.stop) == 0
    reply = await poll
    assert reply.status in {200, 503}, reply
    acknowledged = {event for event in await asyncio.gather(*sends) if event is not None}
    await asyncio.to_thread(server.start)
    alice.base_url = server.url
    found = {event["event_id"] for event in await alice.history(room)}
    assert acknowledged <= found


async def _try_send(client: Client, room: str, txn: str) -> str | None:
    path = f"/rooms/{part(room)}/send/m.room.message/{txn}"
    try:
        reply = await client.request("PUT", path, {"msgtype": "m.text", "body": txn})
    except (aiohttp.ClientError, OSError):
        return None
    assert reply.status in {200, 503}, reply
    return str(reply.body["event_id"]) if reply.status == 200 else None


async def test_it_starts_again_after_dying_while_starting(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, seed: int
) -> None:
    chance = random.Random(seed)
    server = start_server(database, environment=ENVIRONMENT)
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    event = await alice.send(room, "kept")
    for _ in range(3):
        server.kill()
        server.launch()
        await asyncio.sleep(chance.uniform(0, 1.0))
    server.kill()
    await asyncio.to_thread(server.start)
    alice.base_url = server.url
    assert (await alice.event(room, event))["content"]["body"] == "kept"
