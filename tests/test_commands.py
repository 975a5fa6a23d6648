"""Operators' commands, through the real program."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.client import Client, eventually, part
from tests.support.fixtures import DATABASES, StartServer
from tests.support.keys import device_keys, one_time_keys
from tests.support.postgres import PostgresCluster

pytestmark = pytest.mark.all_only


def hromada(
    *arguments: str, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "homeserver", *arguments]
    env = None if environment is None else {**os.environ, **environment}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False, env=env)


def test_users_are_made_and_listed(tmp_path: Path) -> None:
    here = ("--data-dir", str(tmp_path / "data"), "--server-name", "hromada.test")
    made = hromada("user", "add", *here, "--admin", "--password-stdin", "ann", stdin="a good long one\n")
    assert (made.returncode, made.stdout) == (0, "Made the administrator @ann:hromada.test\n")
    assert hromada("user", "add", *here, "--generate-password", "bob").returncode == 0
    again = hromada("user", "add", *here, "--generate-password", "bob")
    assert (again.returncode, again.stderr) == (1, "hromada: The user name is taken\n")
    assert hromada("user", "add", *here, "--password-stdin", "carol", stdin="short\n").returncode == 1
    listed = hromada("user", "list", *here)
    assert listed.stdout == "@ann:hromada.test\tadmin\n@bob:hromada.test\n"
    assert hromada("doctor", *here).returncode == 0


def test_nobody_else_reads_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    hromada("user", "add", "--data-dir", str(data), "--generate-password", "ann")
    modes = {name: stat.S_IMODE(os.stat(data / name).st_mode) for name in os.listdir(data)}
    assert modes
    assert not [name for name, mode in modes.items() if mode & 0o077]


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    failed = hromada("run", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--database-url", nowhere)
    assert failed.returncode == 1
    assert failed.stderr.startswith("hromada: database.url: ")
    assert "Traceback" not in failed.stderr


async def test_a_new_password_works_at_once_on_a_running_server(
    start_server: StartServer, database: str, http: aiohttp.ClientSession
) -> None:
    server = start_server(database)
    url = server.options.database_url
    where = (
        "--data-dir",
        str(server.data_dir),
        "--server-name",
        server.options.server_name,
        *(("--database-url", url) if url else ()),
    )
    made = hromada("user", "add", *where, "--password-stdin", "dora", stdin="the first password\n")
    assert made.returncode == 0, made.stderr
    changed = hromada("user", "reset-password", *where, "--password-stdin", "dora", stdin="the second password\n")
    assert changed.returncode == 0, changed.stderr
    client = Client(http, server.url)
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "dora"}}
    refused = await client.request("POST", "/login", {**login, "password": "the first password"})
    assert refused.status == 403
    assert (await client.request("POST", "/login", {**login, "password": "the second password"})).status == 200


async def test_a_running_server_learns_of_changes(
    start_server: StartServer, database: str, http: aiohttp.ClientSession
) -> None:
    server = start_server(database)
    url = server.options.database_url
    where = ["--data-dir", str(server.data_dir), "--server-name", server.options.server_name]
    where += ["--database-url", url] if url else []
    ann = await Client(http, server.url).register("ann")
    bob = await Client(http, server.url).register("bob")
    room = await ann.create_room(preset="public_chat")
    await bob.join(room)

    def order(*arguments: str, stdin: str = "") -> None:
        done = hromada(*arguments[:2], *where, *arguments[2:], stdin=stdin)
        assert done.returncode == 0, done.stderr

    async def answers(client: Client, status: int) -> None:
        async def answered() -> bool:
            return (await client.request("GET", "/account/whoami")).status == status

        await eventually(answered)

    order("user", "lock", "bob")
    await answers(bob, 401)
    assert (await bob.request("GET", "/account/whoami")).errcode == "M_USER_LOCKED"
    order("user", "unlock", "bob")
    await answers(bob, 200)

    since = (await bob.sync())["next_batch"]
    held = asyncio.create_task(bob.request("GET", "/sync", params={"since": since, "timeout": 60_000}))
    order("user", "reset-password", "--password-stdin", "bob", stdin="another long one\n")
    (await asyncio.wait_for(held, 50)).error(401, "M_UNKNOWN_TOKEN")
    await answers(bob, 401)
    await answers(ann, 200)

    bob = await bob.anonymous().login("bob", "another long one")
    order("user", "deactivate", "bob")
    await answers(bob, 401)

    async def left() -> bool:
        return str((await ann.state(room, "m.room.member", bob.user_id))["membership"]) == "leave"

    await eventually(left)
    again = hromada("user", "lock", *where, "bob")
    assert (again.returncode, again.stderr) == (1, f"hromada: There is no account {bob.user_id}\n")


async def test_a_deactivation_without_a_server_is_finished_by_the_next(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = start_server("sqlite")
    ann = await Client(http, server.url).register("ann")
    bob = await Client(http, server.url).register("bob")
    room = await ann.create_room(preset="public_chat")
    await bob.join(room)
    server.stop()
    where = ("--data-dir", str(server.data_dir), "--server-name", server.options.server_name)
    assert hromada("user", "deactivate", *where, "bob").returncode == 0
    server.start()
    ann.base_url = server.url

    async def left() -> bool:
        return str((await ann.state(room, "m.room.member", bob.user_id))["membership"]) == "leave"

    await eventually(left)


def test_registration_tokens_are_made_listed_and_deleted(tmp_path: Path) -> None:
    here = ("--data-dir", str(tmp_path / "data"), "--server-name", "hromada.test")

    def token(action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return hromada("registration-token", action, *here, *arguments)

    assert token("add", "--uses-allowed", "2", "welcome").stdout == "welcome\n"
    assert token("add", "welcome").returncode == 1
    assert token("add", "not a token").returncode == 1
    assert token("add", "--uses-allowed", "0").returncode == 2
    made = token("add", "--valid-days", "3").stdout.strip()
    listed = token("list").stdout.splitlines()
    assert "welcome\tused 0 of 2" in listed
    assert [line for line in listed if line.startswith(f"{made}\tused 0 of any\tuntil ")]
    assert token("delete", "welcome").returncode == 0
    gone = token("delete", "welcome")
    assert (gone.returncode, gone.stderr) == (1, "hromada: There is no such token\n")


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "file"
    file.write_text("not a key")
    pem = tmp_path / "rsa.pem"
    key = rsa.generate_private_key(65537, 2048).public_key()
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    here = ("run", "--data-dir", str(data), "--server-name", "hromada.test", "--listen", "127.0.0.1:0")

    def issuer(path: Path) -> dict[str, str]:
        names = {"LOGIN": "true", "ISSUER": "https://id.example", "PUBLIC_KEY_FILE": str(path)}
        return {f"HROMADA_AUTH_JWT_{name}": value for name, value in names.items()}

    cases: list[tuple[tuple[str, ...], dict[str, str], str]] = [
        (("run", "--data-dir", str(file)), {}, "server.data_dir: "),
        ((*here, "--database-url", "postgresql://x@127.0.0.1:1/y?nonsense=1"), {}, "database.url: 'nonsense'"),
        (here, issuer(tmp_path / "missing.pem"), "auth.jwt_public_key_file: "),
        (here, issuer(file), "auth.jwt_public_key_file: "),
        (here, issuer(pem), "auth.jwt_public_key_file: "),
    ]
    for arguments, environment, named in cases:
        done = hromada(*arguments, environment=environment)
        assert (done.returncode, done.stderr.startswith(f"hromada: {named}")) == (2, True), done.stderr
        assert "Traceback" not in done.stderr


async def test_the_usual_name_of_the_tls_option_is_understood(
    start_server: StartServer, postgres_cluster: PostgresCluster, http: aiohttp.ClientSession
) -> None:
    server = start_server("postgres", database_url=postgres_cluster.make_database() + "?sslmode=prefer")
    await Client(http, server.url).register("ann")


async def test_reports_do_not_command_the_terminal(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server()
    alice = await Client(http, server.url).register("alice")
    evil = "\x1b]0;owned\x07 \x9b31m \u202e\n@admin:x"
    await alice.ok("POST", f"/users/{part(alice.user_id)}/report", {"reason": evil})
    listed = hromada("report", "list", "--data-dir", str(server.data_dir), "--server-name", server.name)
    assert "owned" in listed.stdout
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(listed.stdout)
    assert len(listed.stdout.splitlines()) == 1


def test_a_password_is_asked_for_at_a_terminal_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "homeserver", "user", "add", "--data-dir", str(tmp_path / "data"), "eve"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "--password-stdin" in done.stderr


async def test_doctor_knows_how_the_server_was_started(start_server: StartServer) -> None:
    server = start_server(registration="token")
    done = hromada("doctor", "--data-dir", str(server.data_dir))
    assert f"answers on {server.url.removeprefix('http://')}" in done.stdout
    assert server.name in done.stdout
    assert "registration      token" in done.stdout
    server.stop()
    done = hromada("doctor", "--data-dir", str(server.data_dir))
    assert "registration      closed" in done.stdout


@pytest.mark.parametrize("database", DATABASES)
async def test_a_restored_database_gives_no_key_twice(
    database: str, start_server: StartServer, http: aiohttp.ClientSession, request: pytest.FixtureRequest
) -> None:
    """And whoever was told something after the backup need not begin anew."""
    server = start_server(database)
    alice = await Client(http, server.url).register("alice")
    bob = await Client(http, server.url).register("bob")
    room = (await alice.ok("POST", "/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.ok("POST", f"/join/{part(room)}")
    keys = {"device_keys": device_keys(alice.user_id, alice.device_id)}
    await alice.ok(
        "POST", "/keys/upload", {**keys, "one_time_keys": one_time_keys(alice.user_id, alice.device_id, "a")}
    )
    before = (await bob.ok("GET", "/sync"))["next_batch"]
    options = ("--data-dir", str(server.data_dir), "--server-name", server.name)
    url = server.options.database_url
    options = options if url is None else (*options, "--database-url", url)
    assert hromada("database", "restored", *options).returncode == 1, "not while the server runs"
    server.stop()
    if url is None:
        shutil.copy(server.data_dir / "hromada.db", server.data_dir / "backup.db")
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        copied = cluster.make_database(url)
    server.start()
    alice.base_url = bob.base_url = server.url
    claim = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    taken = await bob.ok("POST", "/keys/claim", claim)
    assert list(taken["one_time_keys"][alice.user_id][alice.device_id]) == ["signed_curve25519:a"]
    await alice.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/1", {"msgtype": "m.text", "body": "lost"})
    told = (await bob.ok("GET", f"/sync?since={before}"))["next_batch"]
    server.stop()

    if url is None:
        for left in server.data_dir.glob("hromada.db*"):
            left.unlink()
        shutil.copy(server.data_dir / "backup.db", server.data_dir / "hromada.db")
    else:
        server.options = replace(server.options, database_url=copied)
        options = (*options[:-1], copied)
    done = hromada("database", "restored", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Dropped 1 one-time keys of 1 users")
    server.start()
    alice.base_url = bob.base_url = server.url
    again = await bob.ok("POST", "/keys/claim", claim)
    assert not again["one_time_keys"].get(alice.user_id, {}).get(alice.device_id)
    assert not (await alice.ok("POST", "/keys/upload", {}))["one_time_key_counts"].get("signed_curve25519")
    since = await bob.ok("GET", f"/sync?since={told}")
    assert since["device_lists"]["changed"] == [alice.user_id]
    await alice.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/2", {"msgtype": "m.text", "body": "found"})
    news = await bob.ok("GET", f"/sync?since={since['next_batch']}")
    assert [event["content"]["body"] for event in news["rooms"]["join"][room]["timeline"]["events"]] == ["found"]
    await alice.ok("POST", "/keys/upload", {"one_time_keys": one_time_keys(alice.user_id, alice.device_id, "b")})
    taken = await bob.ok("POST", "/keys/claim", claim)
    assert list(taken["one_time_keys"][alice.user_id][alice.device_id]) == ["signed_curve25519:b"]
