"""A disk that fills up, and a disk that fails: nothing acknowledged is lost, and nothing is acknowledged that may be.

reliability: D4 (disk full), D5 (an I/O error of fsync).
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.crowd import Crowd, saved_on_failure
from tests.chaos.target import ENVIRONMENT, Target
from tests.support.client import PASSWORD, Client, Json, part
from tests.support.faults import Filler, failing_syncs, small_disk
from tests.support.fixtures import StartServer, unavailable
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster
from tests.support.server import Server, ServerOptions
from tests.support.texts import text_of

pytestmark = pytest.mark.timeout(900)

DISK_MB = 8
TABLESPACE_MB = 32


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of one's own."""
    with small_disk(tmp_path / "disk", DISK_MB) as folder:
        yield folder


@pytest.fixture
def server(disk: Path) -> Iterator[Server]:
    """A server on SQLite whose data and log are on the small disk."""
    running = Server(disk / "server", ServerOptions(environment=ENVIRONMENT))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def cramped_postgres(tmp_path: Path) -> Iterator[tuple[PostgresCluster, Path]]:
    """A PostgreSQL that keeps its databases on a small disk (its log of changes is elsewhere), and that disk."""
    try:
        with small_disk(tmp_path / "disk", TABLESPACE_MB) as folder, running_cluster() as cluster:
            for above in (folder, *folder.parents):
                if not os.access(above, os.X_OK) or above.stat().st_mode & 0o005 != 0o005:
                    above.chmod(above.stat().st_mode | 0o011)
            space = folder / "space"
            space.mkdir()
            owner = cluster.data.stat()
            os.chown(space, owner.st_uid, owner.st_gid)
            cluster.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
            yield cluster, folder
    except PostgresUnavailable as reason:
        unavailable(str(reason))


async def writes(client: Client, room: str, txn: str) -> list[tuple[str, str, Json]]:
    """Some request of each kind that writes."""
    user = part(client.user_id)
    text = text_of(20_000, random.Random(txn))
    return [
        ("PUT", f"/rooms/{part(room)}/send/m.room.message/{txn}", {"msgtype": "m.text", "body": text}),
        ("PUT", f"/rooms/{part(room)}/state/m.room.topic", {"topic": txn * 1000}),
        ("POST", "/createRoom", {"name": txn}),
        ("PUT", f"/user/{user}/account_data/m.{txn}", {"a": text}),
        ("POST", f"/user/{user}/filter", {"room": {"rooms": [f"!{txn}{number}:x" for number in range(500)]}}),
    ]


async def fill_up(client: Client, room: str, filler: Filler) -> None:
    """Fill the disk, and what is still free inside the database, until writing is refused."""
    filler.fill()
    chance = random.Random(1)
    for number in range(500):
        path = f"/rooms/{part(room)}/send/m.room.message/fill{number}"
        reply = await client.request("PUT", path, {"msgtype": "m.text", "body": text_of(20_000, chance)})
        if reply.status != 200:
            assert reply.error(503, "M_UNKNOWN")["retry_after_ms"] > 0
            assert int(reply.headers["Retry-After"]) >= 1
            return
    raise AssertionError("the disk does not fill up")


async def read_everything(client: Client, room: str) -> None:
    """Reads go on while nothing can be written."""
    assert (await client.sync())["rooms"]["join"].keys() >= {room}
    assert await client.history(room)
    assert await client.full_state(room)
    assert await client.ok("GET", "/account/whoami")


async def live_through_a_full_disk(server: Server, http: aiohttp.ClientSession, disk: Path, check: bool) -> None:
    """The case itself, on a server whose database is on `disk`."""
    filler = Filler(disk)
    crowd = await Crowd.gather(Target(server), http, 1)
    async with saved_on_failure(crowd):
        alice = await crowd.users[0].anonymous().register("alice")  # whose rooms are none of the crowd's
        room = await alice.create_room()
        crowd.start()
        await crowd.progress(30)
        for turn in range(2):
            await fill_up(alice, room, filler)
            for method, path, body in await writes(alice, room, f"full{turn}"):
                # Something small may still find room in a page that the database has already.
                reply = await alice.request(method, path, body)
                assert reply.status in {200, 503}, f"{method} {path}: {reply}\n{server.log_tail(200)}"
            await read_everything(alice, room)
            if check:
                quick_check(server)
            server.assert_alive()
            filler.free()
            await crowd.progress(30)
            for method, path, body in await writes(alice, room, f"free{turn}"):
                assert (await alice.request(method, path, body)).status == 200
        await alice.another_device(PASSWORD)
        await crowd.stop()
        assert not await crowd.verdict()
        assert set(crowd.failures) == {503}, server.log_tail(200)


def quick_check(server: Server) -> None:
    database = sqlite3.connect(f"file:{server.data_dir / 'hromada.db'}?mode=ro", uri=True)
    assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    database.close()


async def test_a_full_disk(server: Server, http: aiohttp.ClientSession, disk: Path) -> None:
    await live_through_a_full_disk(server, http, disk, check=True)
    server.stop()
    quick_check(server)


async def test_a_full_disk_under_postgres(
    start_server: StartServer, http: aiohttp.ClientSession, cramped_postgres: tuple[PostgresCluster, Path]
) -> None:
    cluster, disk = cramped_postgres
    cluster.sql(
        "CREATE DATABASE cramped TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TABLESPACE small"
    )
    server = start_server("postgres", database_url=cluster.url("cramped"), environment=ENVIRONMENT)
    await live_through_a_full_disk(server, http, disk, check=False)
    server.stop()


@pytest.mark.parametrize("when", ["1", "4", "3+"])
async def test_a_disk_that_fails(
    start_server: StartServer, http: aiohttp.ClientSession, tmp_path: Path, when: str
) -> None:
    """One failure is enough, even if all is well afterwards: the kernel has forgotten what it could not write."""
    target = Target(start_server(environment=ENVIRONMENT))
    server = target.server
    crowd = await Crowd.gather(target, http, 1)
    async with saved_on_failure(crowd):
        crowd.start()
        await crowd.progress(10)
        with failing_syncs(server.pid, tmp_path / "strace", when):
            assert await asyncio.to_thread(server.wait) == 1
        tail = server.log_tail()
        assert "the database could not be kept on its disk" in tail
        assert "Traceback" not in tail
        await target.start()
        await crowd.progress(10)
        await crowd.stop()
        assert not await crowd.verdict_after_restart()
