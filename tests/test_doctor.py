"""`hromada doctor` says what is there, finds what is wrong, and changes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import aiohttp
import asyncpg

from homeserver.storage.migrations import NEWEST
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.postgres import PostgresCluster
from tests.support.server import Server
from tests.test_commands import hromada


def findings(output: str) -> dict[str, tuple[str, str]]:
    """Subject → verdict and text."""
    return {line[5:23].strip(): (line[:5].strip(), line[23:]) for line in output.splitlines()}


def where(server: Server) -> list[str]:
    """The arguments that name a server."""
    url = server.options.database_url
    return [
        *("--data-dir", str(server.data_dir), "--server-name", server.name, "--listen", server.url[len("http://") :]),
        *(["--database-url", url] if url else []),
    ]


async def test_it_counts_beside_a_running_server(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database, rate_limits="on")
    alice = await Client(http, server.url).register("alice")
    bob = await Client(http, server.url).register("bob")
    room = await alice.shared_room(bob, visibility="public")
    await alice.send(room, "x")
    done = hromada("doctor", *where(server), "--thorough")
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(done.stdout)
    odd = {name: said for name, said in found.items() if said[0] not in ("ok", "info")}
    assert odd == {}
    events = len(await alice.history(room))
    counts = {"users": 2, "administrators": 0, "rooms": 1, "published rooms": 1, "devices": 2, "sessions": 2}
    for name, count in {**counts, "events": events}.items():
        assert found[name] == ("info", str(count)), name
    assert int(found["log position"][1]) >= events
    assert found["server"][0] == "ok"
    assert found["schema"] == ("ok", f"{NEWEST}, the newest")
    assert ("synchronous=FULL" if database == "sqlite" else "synchronous_commit=on") in found["durability"][1]


def test_it_makes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    done = hromada("doctor", "--data-dir", str(folder))
    assert done.returncode == 0
    assert not folder.exists()
    assert "does not exist yet" in findings(done.stdout)["database"][1]


def test_it_names_what_is_wrong(tmp_path: Path) -> None:
    here = ("--data-dir", str(tmp_path), "--server-name", "hromada.test")
    assert hromada("user", "add", *here, "--generate-password", "ann").returncode == 0
    tmp_path.chmod(0o700)
    assert hromada("doctor", *here).returncode == 0
    (tmp_path / "signing.key").chmod(0o644)
    done = hromada("doctor", *here, "--registration", "open", "--listen", "0.0.0.0:1", "--rate-limits", "off")
    assert done.returncode == 1
    found = findings(done.stdout)
    assert found["keys"][0] == "FAIL"
    assert "chmod 600" in found["keys"][1]
    assert found["file permissions"] == ("warn", "open to other users: signing.key")
    assert found["registration"][0] == found["rate limits"][0] == "warn"
    (tmp_path / "signing.key").chmod(0o600)
    with sqlite3.connect(tmp_path / "hromada.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = hromada("doctor", *here)
    assert (done.returncode, findings(done.stdout)["schema"][0]) == (1, "FAIL")
    (tmp_path / "hromada.db").write_bytes(b"no database at all, however long it is" * 100)
    for name in ("hromada.db-wal", "hromada.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    done = hromada("doctor", *here)
    assert (done.returncode, findings(done.stdout)["database"][0]) == (1, "FAIL")
    assert "Traceback" not in done.stderr


async def test_it_names_a_database_that_loses_data(tmp_path: Path, postgres_cluster: PostgresCluster) -> None:
    url = postgres_cluster.make_database().replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    await connection.execute(f'ALTER DATABASE "{url.rsplit("/", 1)[-1]}" SET synchronous_commit = off')
    await connection.close()
    for address, subject in ((url, "durability"), ("postgresql://nobody@127.0.0.1:1/nothing", "database")):
        done = hromada("doctor", "--data-dir", str(tmp_path), "--database-url", address)
        assert (done.returncode, findings(done.stdout)[subject][0]) == (1, "FAIL")
        assert "Traceback" not in done.stderr
