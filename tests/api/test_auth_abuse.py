"""Abuse of accounts and sessions: enumeration, brute force, revocation, forged tokens, replayed proofs, leaks.

The cases are A1 to A7 and A9 to A11 of the reliability plan. spec: client-server-api#client-authentication
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.client import PASSWORD, Client, Json, part
from tests.support.fixtures import StartServer, fresh
from tests.support.postgres import PostgresCluster
from tests.support.server import Server, ServerFailed, ServerOptions

pytestmark = pytest.mark.all_only

WRONG = "not the password"


def login_body(user: str, password: str) -> Json:
    """A password login."""
    return {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password}


def proof(client: Client, session: str, password: str = PASSWORD) -> Json:
    """The password stage of user-interactive authentication."""
    return {**login_body(client.user_id, password), "session": session}


async def challenge(client: Client, method: str, path: str, body: Json) -> str:
    """The session of a request that asks for a proof."""
    asked = await client.request(method, path, body)
    assert asked.status == 401, asked
    assert asked.body["flows"]
    assert "password" not in json.dumps(asked.body["params"])
    return str(asked.body["session"])


# ---- A1, A2: guessing ----


async def test_a1_a_failed_login_says_nothing_about_the_user(alice: Client, bob: Client, server: Server) -> None:
    session = await challenge(bob, "POST", "/account/deactivate", {})
    await bob.ok("POST", "/account/deactivate", {"auth": proof(bob, session)})
    names = (alice.user_id, f"@{fresh('nobody')}:{server.name}", bob.user_id)
    answers = [await alice.request("POST", "/login", login_body(name, WRONG), token=None) for name in names]
    assert len({(answer.status, answer.raw) for answer in answers}) == 1
    answers[0].error(403, "M_FORBIDDEN")


async def test_a2_guessing_is_slowed_down_whatever_the_headers_say(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database, rate_limits="on")
    client = Client(http, server.url)
    statuses = []
    for number in range(100):
        # The server trusts no proxy by default, so this header is only what the guesser writes.
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        reply = await client.request("POST", "/login", login_body("victim", WRONG), headers=headers)
        statuses.append(reply.status)
        if reply.status == 429:
            break
    body = reply.error(429, "M_LIMIT_EXCEEDED")
    assert body["retry_after_ms"] > 0
    assert int(reply.headers["Retry-After"]) > 0
    assert set(statuses) == {403, 429}


# ---- A3, A4: ended accounts and sessions ----


async def test_a3_a_deactivated_account_opens_nothing(alice: Client) -> None:
    device = await alice.another_device(refresh_token=True)
    session = await challenge(alice, "POST", "/account/deactivate", {})
    await alice.ok("POST", "/account/deactivate", {"auth": proof(alice, session)})
    login = await alice.request("POST", "/login", login_body(alice.user_id, PASSWORD), token=None)
    login.error(403, "M_USER_DEACTIVATED", "M_FORBIDDEN")
    refresh = await alice.request("POST", "/refresh", {"refresh_token": device.refresh_token}, token=None)
    refresh.error((401, 403), "M_UNKNOWN_TOKEN", "M_USER_DEACTIVATED")
    for client in (alice, device):
        (await client.request("GET", "/sync")).error(401, "M_UNKNOWN_TOKEN")


async def _logout(alice: Client, device: Client) -> None:
    await device.ok("POST", "/logout", {})


async def _logout_all(alice: Client, device: Client) -> None:
    await device.ok("POST", "/logout/all", {})


async def _delete_device(alice: Client, device: Client) -> None:
    path = f"/devices/{part(device.device_id)}"
    session = await challenge(alice, "DELETE", path, {})
    await alice.ok("DELETE", path, {"auth": proof(alice, session)})


async def _change_password(alice: Client, device: Client) -> None:
    body = {"new_password": "a new and good password", "logout_devices": True}
    session = await challenge(alice, "POST", "/account/password", body)
    await alice.ok("POST", "/account/password", {**body, "auth": proof(alice, session)})


@pytest.mark.parametrize("end", [_logout, _logout_all, _delete_device, _change_password])
async def test_a4_an_ended_session_ends_everywhere(alice: Client, end: Any) -> None:
    device = await alice.another_device(refresh_token=True)
    room = await alice.create_room()
    since = (await device.sync())["next_batch"]
    waiting = asyncio.create_task(device.request("GET", "/sync", params={"since": since, "timeout": 30_000}))
    await device.ok("GET", "/account/whoami")
    await end(alice, device)
    for _ in range(3):
        (await device.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    send = await device.request("PUT", f"/rooms/{part(room)}/send/m.room.message/t", {"body": "ghost"})
    send.error(401, "M_UNKNOWN_TOKEN")
    refresh = await device.request("POST", "/refresh", {"refresh_token": device.refresh_token}, token=None)
    refresh.error(401, "M_UNKNOWN_TOKEN")
    (await waiting).error(401, "M_UNKNOWN_TOKEN")


# ---- A5: forged tokens ----


def _encoded(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _forgeries(token: str) -> list[str]:
    """Tokens made from a good one that must not open anything."""
    parts = token.split(".")
    forged = [".", "..", "a.b.c", token + "x", token[:-4], "x" + token, token * 3, "nonsense", "null", "💬"]
    if len(parts) != 3:
        return forged
    header, payload = (json.loads(base64.urlsafe_b64decode(piece + "==")) for piece in parts[:2])
    claims = (
        {**payload, "sub": "@admin:hromada.test"},
        {**payload, "exp": 4_102_444_800},
        {**payload, "nbf": 4_102_444_800},
        {**payload, "iss": "https://elsewhere.example", "aud": "other"},
    )
    forged += [f"{parts[0]}.{_encoded(claim)}.{parts[2]}" for claim in claims]
    forged += [f"{_encoded({**header, 'alg': alg})}.{parts[1]}." for alg in ("none", "None", "NONE")]
    forged += [f"{_encoded({**header, **change})}.{parts[1]}.{parts[2]}" for change in ({"kid": "x"}, {"alg": "HS256"})]
    unsigned = f"{_encoded({**header, 'alg': 'HS256'})}.{parts[1]}"
    for key in (b"", str(header.get("kid", "")).encode(), b"secret"):
        mac = hmac.new(key, unsigned.encode(), hashlib.sha256).digest()
        forged.append(f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    return forged


async def test_a5_forged_tokens_open_nothing(alice: Client) -> None:
    assert alice.token is not None
    for forged in _forgeries(alice.token):
        reply = await alice.request("GET", "/account/whoami", token=forged)
        reply.error(401, "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN")
    start = b"GET /_matrix/client/v3/account/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    huge = await alice.raw(start + b"A" * 1_000_000 + b"\r\n\r\n")
    assert not huge.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    await alice.ok("GET", "/account/whoami")


async def test_a10_tokens_in_the_query(alice: Client) -> None:
    both = await alice.request("GET", "/account/whoami", params={"access_token": alice.token})
    both.error(401, "M_MISSING_TOKEN", "M_UNKNOWN_TOKEN")
    alone = await alice.request("GET", "/account/whoami", params={"access_token": alice.token}, token=None)
    assert alone.status in {200, 401}


# ---- A6: refresh tokens ----


async def _refresh(client: Client, token: str | None) -> Any:
    return await client.request("POST", "/refresh", {"refresh_token": token}, token=None)


async def test_a6_an_old_refresh_token_works_until_the_new_one_is_used(alice: Client) -> None:
    # spec: client-server-api#refreshing-access-tokens
    device = await alice.another_device(refresh_token=True)
    first = (await _refresh(device, device.refresh_token)).ok()
    # The answer may have been lost: the old token is good once more.
    second = (await _refresh(device, device.refresh_token)).ok()
    await device.ok("GET", "/account/whoami", token=second["access_token"])
    (await _refresh(device, device.refresh_token)).error(401, "M_UNKNOWN_TOKEN")
    assert first["refresh_token"] != second["refresh_token"]


async def test_a6_reuse_after_rotation_revokes_the_family(alice: Client) -> None:
    device = await alice.another_device(refresh_token=True)
    new = (await _refresh(device, device.refresh_token)).ok()
    newest = (await _refresh(device, new["refresh_token"])).ok()
    (await _refresh(device, device.refresh_token)).error(401, "M_UNKNOWN_TOKEN")
    (await device.request("GET", "/account/whoami", token=newest["access_token"])).error(401, "M_UNKNOWN_TOKEN")
    (await _refresh(device, newest["refresh_token"])).error(401, "M_UNKNOWN_TOKEN")
    await alice.ok("GET", "/account/whoami")


async def test_a6_parallel_refreshes_leave_one_live_family(alice: Client) -> None:
    device = await alice.another_device(refresh_token=True)
    replies = await asyncio.gather(*(_refresh(device, device.refresh_token) for _ in range(20)))
    assert {reply.status for reply in replies} <= {200, 401}
    # Answers may be lost, so several may be good; but only one of them leads on.
    renewed = [await _refresh(device, reply.body["refresh_token"]) for reply in replies if reply.status == 200]
    assert {reply.status for reply in renewed} <= {200, 401}
    assert sum(reply.status == 200 for reply in renewed) <= 1


# ---- A7: user-interactive authentication ----


async def test_a7_a_session_is_bound_to_its_request(alice: Client, bob: Client) -> None:
    # spec: client-server-api#user-interactive-authentication-api
    one, two = await alice.another_device(), await alice.another_device()
    path = f"/devices/{part(one.device_id)}"
    session = await challenge(alice, "DELETE", path, {})
    elsewhere = f"/devices/{part(two.device_id)}"
    for client, method, where, body in (
        (alice, "DELETE", elsewhere, {}),
        (alice, "POST", "/delete_devices", {"devices": [two.device_id]}),
        (alice, "POST", "/account/deactivate", {}),
        (bob, "POST", "/account/deactivate", {}),
    ):
        reply = await client.request(method, where, {**body, "auth": proof(client, session)})
        assert reply.status in {400, 401, 403}, f"{method} {where}: {reply}"
    for client in (alice, bob, two):
        await client.ok("GET", "/account/whoami")


async def test_a7_a_proof_is_good_once(alice: Client) -> None:
    one, two = await alice.another_device(), await alice.another_device()
    session = await challenge(alice, "POST", "/delete_devices", {"devices": [one.device_id]})
    await alice.ok("POST", "/delete_devices", {"devices": [one.device_id], "auth": proof(alice, session)})
    for auth in ({"session": session}, proof(alice, session)):
        again = await alice.request("POST", "/delete_devices", {"devices": [two.device_id], "auth": auth})
        assert again.status in {400, 401, 403}, again
    await two.ok("GET", "/account/whoami")


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"type": "m.login.dummy"},
        {"type": "m.login.password"},
        {"type": "m.login.password", "password": {}},
        {"type": "m.login.password", "password": {"password": PASSWORD}},
        {"type": "m.login.password", "password": WRONG},
        {"type": "m.login.nonsense"},
        {"type": 5},
        {"session": "made up"},
        {"session": {}},
        "nonsense",
    ],
)
async def test_a7_what_is_no_proof(alice: Client, bob: Client, auth: Any) -> None:
    device = await alice.another_device()
    path = f"/devices/{part(device.device_id)}"
    session = await challenge(alice, "DELETE", path, {})
    if isinstance(auth, dict):
        auth = {"session": session, "identifier": {"type": "m.id.user", "user": alice.user_id}, **auth}
    reply = await alice.request("DELETE", path, {"auth": auth})
    assert reply.status in {400, 401, 403}, reply
    await device.ok("GET", "/account/whoami")


async def test_a7_somebody_elses_password_is_no_proof(alice: Client, bob: Client) -> None:
    device = await alice.another_device()
    path = f"/devices/{part(device.device_id)}"
    session = await challenge(alice, "DELETE", path, {})
    reply = await alice.request("DELETE", path, {"auth": proof(bob, session)})
    assert reply.status in {401, 403}, reply
    await device.ok("GET", "/account/whoami")


# ---- A10, A11: secrets ----


async def test_a10_nothing_secret_is_written_down(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, postgres_cluster: PostgresCluster
) -> None:
    server = start_server(database, log_level="debug")
    password = "Tr0ub4dor-and-horse-battery"
    alice = await Client(http, server.url).register("alice", password)
    device = await alice.another_device(password, refresh_token=True)
    await device.request("GET", "/sync", params={"access_token": "query-token-7c1f"}, token=None)
    await device.request("POST", "/login", data=b'{"password": "typed-wrongly-93d",')
    await device.request("POST", "/login", login_body("alice", "typed-wrongly-93d"), token=None)
    await device.request("POST", "/account/password", {"new_password": "wished-for-password-51"})
    secrets = {password, "query-token-7c1f", "typed-wrongly-93d", "wished-for-password-51", alice.token, device.token}
    secrets |= {device.refresh_token, server.options.shared_secret}
    server.stop()
    haystacks = {path: path.read_bytes() for path in server.data_dir.rglob("*") if _may_hold_no_secret(path)}
    haystacks[server.log] = server.log.read_bytes()
    if database == "postgres":
        assert server.options.database_url is not None
        name = server.options.database_url.rsplit("/", 1)[-1]
        haystacks[Path("postgres")] = postgres_cluster.dump(name)
    for path, content in haystacks.items():
        for secret in secrets:
            assert secret is not None
            assert secret.encode() not in content, f"{path} holds {secret}"
    assert b"access_token=" not in server.log.read_bytes()


def _may_hold_no_secret(path: Path) -> bool:
    return path.is_file() and "config" not in path.name and not path.name.endswith(".toml")


async def test_a11_key_files_are_private_and_must_stay_so(start_server: StartServer) -> None:
    server = start_server("sqlite")
    server.stop()
    keys = [path for path in server.data_dir.rglob("*") if path.is_file() and "key" in path.name]
    assert keys, "signing keys live in files of their own"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys)
    for key in keys:
        key.chmod(0o644)
        server.launch()
        assert server.wait() == 2
        assert key.name in server.log_tail() or str(key) in server.log_tail()
        key.chmod(0o600)
    damaged = keys[0].read_bytes()
    keys[0].write_bytes(b"not a key\n")
    server.launch()
    assert server.wait() == 2
    keys[0].write_bytes(damaged)
    server.start()


@pytest.mark.parametrize("secret", ["", "short", "changeme", "secret"])
def test_a11_weak_secrets_are_refused(tmp_path: Path, secret: str) -> None:
    server = Server(tmp_path / "data", ServerOptions(shared_secret=secret))
    server.launch()
    assert server.wait() == 2
    assert "registration" in server.log_tail()
    assert not secret or f"'{secret}'" not in server.log_tail()


@pytest.mark.parametrize(
    "options",
    [
        {"registration": "nonsense"},
        {"rate_limits": "nonsense"},
        {"server_name": "not a server name"},
        {"database_url": "nonsense://x"},
        {"log_level": "nonsense"},
    ],
)
def test_a11_wrong_settings_are_named(tmp_path: Path, options: dict[str, str]) -> None:
    server = Server(tmp_path / "data", ServerOptions(**options))  # type: ignore[arg-type]
    with pytest.raises(ServerFailed, match="exited with status 2") as failed:
        server.start()
    (name,) = options
    # The flag's last word is the setting's: `--log-level` sets `logging.level`.
    assert name.rsplit("_", 1)[-1] in str(failed.value).lower()
