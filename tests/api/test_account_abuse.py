"""Accounts under attack, over real sockets: one token and a hundred registrations, ended accounts, forged tokens.

The cases are A3, A5 and A9 of the reliability plan. spec: client-server-api#client-authentication
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.client import PASSWORD, Client, Json, Reply, part
from tests.support.fixtures import StartServer
from tests.support.server import Server
from tests.test_commands import hromada

pytestmark = pytest.mark.all_only

ISSUER = "https://id.example"


def where(server: Server) -> list[str]:
    """The arguments of a command beside a server."""
    url = server.options.database_url
    return [
        *("--data-dir", str(server.data_dir), "--server-name", server.name),
        *(["--database-url", url] if url else []),
    ]


# ---- A9: registration ----


async def _post(client: Client, body: Json) -> Reply:
    """A request to register, again if the server is too busy to look at it."""
    while True:
        reply = await client.request("POST", "/register", body)
        if reply.status != 503:
            return reply
        await asyncio.sleep(0.2)


async def _register(client: Client, name: str, token: str) -> Reply:
    """Register with a registration token, as clients do: ask for a session, then prove."""
    body: Json = {"username": name, "password": PASSWORD}
    asked = await _post(client, body)
    if asked.status != 401:
        return asked
    auth = {"type": "m.login.registration_token", "token": token, "session": asked.body["session"]}
    answer = await _post(client, {**body, "auth": auth})
    if answer.status == 401 and "m.login.registration_token" in answer.body.get("completed", []):
        dummy = {"type": "m.login.dummy", "session": asked.body["session"]}
        answer = await _post(client, {**body, "auth": dummy})
    return answer


@pytest.mark.parametrize("uses", [1, 3])
async def test_a9_a_token_makes_no_more_accounts_than_it_may(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, uses: int
) -> None:
    server = start_server(database, registration="token")
    # The first account is the administrator's, and needs no token.
    assert hromada("user", "add", *where(server), "--admin", "--generate-password", "admin").returncode == 0
    made = hromada("registration-token", "add", *where(server), "--uses-allowed", str(uses), "welcome")
    assert made.returncode == 0, made.stderr
    clients = [Client(http, server.url) for _ in range(100)]
    replies = await asyncio.gather(*(_register(client, f"u{n}", "welcome") for n, client in enumerate(clients)))
    accepted = [reply for reply in replies if reply.status == 200]
    assert len(accepted) == uses
    assert {reply.status for reply in replies} <= {200, 401, 403, 429}
    for reply in accepted:
        assert (await clients[0].ok("GET", "/account/whoami", token=reply.body["access_token"]))["user_id"]
    listed = hromada("user", "list", *where(server)).stdout.splitlines()
    assert len(listed) == 1 + uses
    assert (
        hromada("registration-token", "list", *where(server))
        .stdout.split("\n")[0]
        .startswith(f"welcome\tused {uses} of {uses}")
    )
    valid = "/_matrix/client/v1/register/m.login.registration_token/validity"
    assert await clients[0].ok("GET", valid, params={"token": "welcome"}) == {"valid": False}


async def test_a9_a_closed_server_makes_no_accounts(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database, registration="closed")
    assert hromada("user", "add", *where(server), "--generate-password", "admin").returncode == 0
    body = {"username": "eve", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    (await Client(http, server.url).request("POST", "/register", body)).error(403, "M_FORBIDDEN")
    assert len(hromada("user", "list", *where(server)).stdout.splitlines()) == 1


# ---- A3: accounts that were ended, locked or suspended ----


class Doors:
    """A server with password and JWT login, and every way into it."""

    def __init__(self, server: Server, key: Ed25519PrivateKey, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.client = Client(http, server.url)
        self._key = key

    async def by_password(self, user: str) -> Reply:
        identifier = {"type": "m.id.user", "user": user}
        return await self._login({"type": "m.login.password", "identifier": identifier, "password": PASSWORD})

    async def by_jwt(self, user: str) -> Reply:
        claims = {"iss": ISSUER, "sub": user, "exp": int(time.time()) + 60}
        return await self._login({"type": "org.matrix.login.jwt", "token": jwt.encode(claims, self._key, "EdDSA")})

    async def by_refresh(self, device: Client) -> Reply:
        return await self.client.request("POST", "/refresh", {"refresh_token": device.refresh_token})

    async def by_login_token(self, token: str) -> Reply:
        return await self._login({"type": "m.login.token", "token": token})

    async def _login(self, body: Json) -> Reply:
        return await self.client.request("POST", "/login", body)


@pytest.fixture
def doors(start_server: StartServer, http: aiohttp.ClientSession, database: str, tmp_path: Path) -> Doors:
    """A server with password and JWT login."""
    key = Ed25519PrivateKey.generate()
    file = tmp_path / "issuer.pem"
    file.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    environment = {
        "HROMADA_REGISTRATION_FIRST_USER": "true",
        "HROMADA_AUTH_JWT_LOGIN": "true",
        "HROMADA_AUTH_JWT_ISSUER": ISSUER,
        "HROMADA_AUTH_JWT_PUBLIC_KEY_FILE": str(file),
    }
    return Doors(start_server(database, environment=environment), key, http)


async def _login_token(alice: Client) -> str:
    path = "/_matrix/client/v1/login/get_token"
    identifier = {"type": "m.id.user", "user": alice.user_id}
    asked = await alice.request("POST", path, {})
    auth = {
        "type": "m.login.password",
        "identifier": identifier,
        "password": PASSWORD,
        "session": asked.body["session"],
    }
    return str((await alice.ok("POST", path, {"auth": auth}))["login_token"])


async def test_a3_every_door_is_closed_to_ended_accounts(doors: Doors) -> None:
    server = doors.server
    admin = await doors.client.anonymous().register("admin")
    alice = await doors.client.anonymous().register("alice")
    device = await alice.another_device(refresh_token=True)
    assert (await doors.by_jwt("alice")).status == 200
    token, another = await _login_token(alice), await _login_token(alice)

    # Locked: 401 with soft_logout at every door, and all works again when it is unlocked.
    assert hromada("user", "lock", *where(server), "alice").returncode == 0
    await _until(alice, 401)
    for reply in (
        await doors.by_password("alice"),
        await doors.by_jwt("alice"),
        await doors.by_refresh(device),
        await doors.by_login_token(token),
        await alice.request("GET", "/sync"),
        await device.request("GET", "/account/whoami"),
    ):
        assert reply.error(401, "M_USER_LOCKED")["soft_logout"] is True
    assert hromada("user", "unlock", *where(server), "alice").returncode == 0
    await _until(alice, 200)
    renewed = (await doors.by_refresh(device)).ok()
    device.token, device.refresh_token = renewed["access_token"], renewed["refresh_token"]
    assert (await doors.by_password("alice")).status == 200

    # Suspended: may come in and read, but not act.
    path = f"/_matrix/client/v1/admin/suspend/{part(alice.user_id)}"
    await admin.ok("PUT", path, {"suspended": True})
    assert (await doors.by_password("alice")).status == (await doors.by_jwt("alice")).status == 200
    await alice.sync()
    (await alice.request("POST", "/createRoom", {})).error(403, "M_USER_SUSPENDED")
    await admin.ok("PUT", path, {"suspended": False})

    # Deactivated: for good.
    assert hromada("user", "deactivate", *where(server), "alice").returncode == 0
    await _until(alice, 401)
    for reply in (await doors.by_password("alice"), await doors.by_jwt("alice")):
        reply.error(403, "M_USER_DEACTIVATED")
    for reply in (
        await doors.by_refresh(device),
        await alice.request("GET", "/sync"),
        await device.request("GET", "/account/whoami"),
    ):
        reply.error(401, "M_UNKNOWN_TOKEN")
    (await doors.by_login_token(another)).error(403, "M_FORBIDDEN", "M_USER_DEACTIVATED")
    again = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    (await doors.client.request("POST", "/register", again)).error(400, "M_USER_IN_USE")


async def _until(client: Client, status: int) -> None:
    for _ in range(1_200):
        if (await client.request("GET", "/account/whoami")).status == status:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"whoami never answered {status}")


async def test_a3_forged_logins_by_jwt(doors: Doors) -> None:
    await doors.client.anonymous().register("alice")
    good = {"iss": ISSUER, "sub": "alice", "exp": int(time.time()) + 60}
    public = doors._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = Ed25519PrivateKey.generate()
    forged = [
        *(jwt.encode({**good, **change}, doors._key, "EdDSA") for change in ({"iss": "x"}, {"exp": 5}, {"nbf": 2**32})),
        *(jwt.encode({k: v for k, v in good.items() if k != lacking}, doors._key, "EdDSA") for lacking in good),
        jwt.encode(good, stranger, "EdDSA"),
        jwt.encode(good, None, "none"),  # type: ignore[arg-type] # no key is what makes it a forgery
        _hs256(good, {}, public),
        "x" * 100_000,
    ]
    for token in forged:
        reply = await doors.client.request("POST", "/login", {"type": "org.matrix.login.jwt", "token": token})
        reply.error((400, 403), "M_FORBIDDEN", "M_INVALID_PARAM", "M_MISSING_PARAM")
    assert (await doors.by_jwt("alice")).status == 200
    (await doors.by_jwt("nobody")).error(403, "M_FORBIDDEN")


# ---- A5: forged access tokens ----


def _piece(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _hs256(claims: Json, headers: Json, key: bytes) -> str:
    """A token signed with `key` as a shared secret, which libraries refuse to do with a public key."""

    unsigned = f"{_piece({'alg': 'HS256', 'typ': 'JWT', **headers})}.{_piece(claims)}"
    mac = hmac.digest(key, unsigned.encode(), hashlib.sha256)
    return f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


async def test_a5_only_tokens_of_living_sessions_open(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database)
    alice = await Client(http, server.url).register("alice")
    bob = await Client(http, server.url).register("bob")
    gone = await alice.another_device()
    assert alice.token is not None and gone.token is not None
    gone_claims = jwt.decode(gone.token, options={"verify_signature": False})
    await gone.ok("POST", "/logout", {})
    header, claims = (
        jwt.get_unverified_header(alice.token),
        jwt.decode(alice.token, options={"verify_signature": False}),
    )
    entry = json.loads((server.data_dir / "jwt.keys").read_text())[0]
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(entry["key"]))
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kid = {"kid": header["kid"], "typ": header["typ"]}

    def signed(signer: Any = key, headers: Json = kid, **changes: Any) -> str:
        return jwt.encode({**claims, **changes}, signer, "EdDSA", headers=headers)

    assert (await alice.ok("GET", "/account/whoami", token=signed()))["user_id"] == alice.user_id
    stranger = Ed25519PrivateKey.generate()
    forged: dict[str, str] = {
        "none": jwt.encode(claims, None, "none", headers=kid),  # type: ignore[arg-type] # as above
        "HS256 with the raw public key": _hs256(claims, kid, raw),
        "HS256 with the public key as PEM": _hs256(claims, kid, pem),
        "another key": signed(stranger),
        "unknown kid": signed(headers={**kid, "kid": "unknown"}),
        "kid as a path": signed(headers={**kid, "kid": "../jwt.keys"}),
        "another type": signed(headers={**kid, "typ": "JWT"}),
        "another issuer": signed(iss="elsewhere.example"),
        "another audience": signed(aud="elsewhere.example"),
        "not yet valid": signed(nbf=int(time.time()) + 3600),
        "expired": signed(exp=int(time.time()) - 3600),
        "an ended session": signed(**gone_claims),
        "a session that never was": signed(sid="AAAA"),
        "somebody else's session": signed(sub=bob.user_id),
        "a megabyte": "A" * 1_000_000,
    }
    for name, token in forged.items():
        if len(token) < 8_000:
            reply = await alice.request("GET", "/account/whoami", token=token)
            assert (reply.status, reply.errcode) == (401, "M_UNKNOWN_TOKEN"), f"{name}: {reply}"
            assert not reply.body.get("soft_logout") or name == "expired", name
        else:
            start = b"GET /_matrix/client/v3/account/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            answer = await alice.raw(start + token.encode() + b"\r\n\r\n")
            assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5")), name
    for client in (alice, bob):
        await client.ok("GET", "/account/whoami")


async def test_a5_a_key_that_was_rotated_out_opens_nothing(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database)
    alice = await Client(http, server.url).register("alice")
    file = server.data_dir / "jwt.keys"

    def rotate(change: Callable[[list[Json]], list[Json]]) -> None:
        server.stop()
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
        server.start()
        alice.base_url = server.url

    new = {"kid": "newer", "key": base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()}
    rotate(lambda keys: [new, *keys])
    await alice.ok("GET", "/account/whoami")
    device = await alice.another_device()
    assert device.token is not None and jwt.get_unverified_header(device.token)["kid"] == "newer"
    rotate(lambda keys: keys[:1])
    device.base_url = server.url
    await device.ok("GET", "/account/whoami")
    (await alice.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
