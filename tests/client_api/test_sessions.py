"""Login, tokens, refresh and logout.  (reliability: A1, A3 to A6, A10)"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import jwt as pyjwt
import orjson
import pytest

from homeserver.core.errors import MatrixError
from homeserver.ports.accounts import Session, UserFlags
from homeserver.services.accounts.jwt_login import JwtIssuer
from homeserver.services.accounts.tokens import new_key
from homeserver.storage.dialect import Sql
from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, Home, Options, TestEntropy, password_auth, running
from tests.support.statements import counted
from tests.support.store import SERVER_NAME

WHOAMI = "/account/whoami"


async def test_register_login_whoami_logout(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("Alice", device_id="PHONE", initial_device_display_name="Phone")
        assert alice["user_id"] == f"@alice:{SERVER_NAME}" and alice["device_id"] == "PHONE"
        assert alice["home_server"] == SERVER_NAME
        answer = await home.login("alice")
        assert answer.status == 200
        login = answer.json
        assert login["well_known"] == {"m.homeserver": {"base_url": "https://matrix.hromada.test"}}
        assert "refresh_token" not in login and "expires_in_ms" not in login
        owner = await home.ok("GET", WHOAMI, token=login["access_token"])
        assert owner == {"user_id": alice["user_id"], "is_guest": False, "device_id": login["device_id"]}
        await home.ok("POST", "/logout", token=login["access_token"])
        gone = await home.call("GET", WHOAMI, token=login["access_token"])
        assert (gone.status, gone.json["errcode"], gone.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", False)
        await home.ok("GET", WHOAMI, token=alice["access_token"])
        devices = await home.ok("GET", "/devices", token=alice["access_token"])
        assert devices == {"devices": [{"device_id": "PHONE", "display_name": "Phone"}]}


@pytest.mark.parametrize("form", ["alice", f"@alice:{SERVER_NAME}", "ALICE"])
async def test_login_by_localpart_or_user_id(store: Database, form: str) -> None:
    async with running(Home(store)) as home:
        await home.register("alice")
        assert (await home.login(form)).status == 200
        deprecated = {"type": "m.login.password", "user": form, "password": PASSWORD}
        assert (await home.call("POST", "/login", deprecated)).status == 200


async def test_wrong_logins_look_the_same(store: Database) -> None:
    async with running(Home(store)) as home:
        await home.register("alice")
        answers = [
            await home.login("alice", "wrong password"),
            await home.login("nobody"),
            await home.login("@alice:elsewhere.test"),
            await home.login("nul\0"),
            await home.login("alice", "x" * 10_000),
        ]
        assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}
        assert answers[0].json["errcode"] == "M_FORBIDDEN"


async def test_malformed_logins(store: Database) -> None:
    async with running(Home(store)) as home:
        for body, code in [
            ({}, "M_MISSING_PARAM"),
            ({"type": "m.login.unknown"}, "M_UNKNOWN"),
            ({"type": "m.login.password"}, "M_MISSING_PARAM"),
            ({"type": "m.login.password", "user": "a", "password": 5}, "M_BAD_JSON"),
            ({"type": "m.login.password", "user": "a", "password": "b", "device_id": "x\0"}, "M_INVALID_PARAM"),
            ({"type": "m.login.password", "user": "a", "password": "b", "device_id": "x" * 256}, "M_INVALID_PARAM"),
        ]:
            answer = await home.call("POST", "/login", body)
            assert (answer.status, answer.json["errcode"]) == (400, code), body
        third_party = {"type": "m.id.thirdparty", "medium": "email", "address": "a@b.c"}
        answer = await home.call(
            "POST", "/login", {"type": "m.login.password", "identifier": third_party, "password": "x"}
        )
        assert answer.status == 403
        appservice = await home.call("POST", "/login", {"type": "m.login.application_service", "user": "a"})
        assert (appservice.status, appservice.json["errcode"]) == (401, "M_MISSING_TOKEN")


async def test_authentication_costs_no_statement_once_known(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("alice")
        await home.sessions.authenticate(alice["access_token"])
        with counted(store) as statements:
            for _ in range(10):
                await home.sessions.authenticate(alice["access_token"])
        assert statements == []


async def test_a_visitor_s_handle_that_ends_serves_until_then(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("alice")
        who = await home.sessions.authenticate(alice["access_token"])
        session = Session(who.session_id or "", who.user_id, who.device_id or "", False)
        lasting = home.sessions.visitor_cookie(session)
        until_ms = home.clock.ms + 60_000
        ending = home.sessions.visitor_cookie(session, until_ms)
        home.clock.ms = until_ms - 1
        assert (await home.sessions.authenticate_visitor(ending)).until_ms == until_ms
        home.clock.ms = until_ms
        with pytest.raises(MatrixError, match="is over"):
            await home.sessions.authenticate_visitor(ending)
        assert (await home.sessions.authenticate_visitor(lasting)).until_ms is None


async def test_tokens_survive_a_restart_and_a_key_rotation(store: Database) -> None:
    keys = [new_key(TestEntropy())]
    async with running(Home(store, Options(keys=keys))) as home:
        alice = await home.register("alice")
    async with running(Home(store, Options(keys=[new_key(TestEntropy()), *keys]))) as home:
        await home.ok("GET", WHOAMI, token=alice["access_token"])
        new = (await home.login("alice")).json["access_token"]
        assert pyjwt.get_unverified_header(new)["kid"] != keys[0].kid
    async with running(Home(store, Options(keys=[new_key(TestEntropy())]))) as home:
        assert (await home.call("GET", WHOAMI, token=alice["access_token"])).status == 401


async def test_forged_tokens(store: Database) -> None:
    """A5."""
    async with running(Home(store)) as home:
        token: str = (await home.register("alice"))["access_token"]
        header, payload, signature = token.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
        kid = pyjwt.get_unverified_header(token)["kid"]
        public = home.tokens._keys[kid].public_bytes_raw()

        def hs256(content: dict[str, Any]) -> str:
            return pyjwt.encode(content, public + b"\0" * 32, algorithm="HS256", headers={"kid": kid, "typ": "at+jwt"})

        other = Home(store)  # the same server's database, other keys
        foreign = other.tokens.sign(home.tokens.verify(token), home.clock.now_ms())
        forged = [
            "",
            "x",
            "a.b.c",
            "é" * 10,
            "A" * 1_000_000,
            f"{header}.{payload}.",
            pyjwt.encode(claims, None, algorithm="none", headers={"kid": kid, "typ": "at+jwt"}),  # type: ignore[arg-type]
            hs256(claims),
            foreign,
            f"{header}.{payload[:-4]}AAAA.{signature}",
        ]
        for text_ in forged:
            if text_.isascii() and text_:
                answer = await home.call("GET", WHOAMI, token=text_)
                assert (answer.status, answer.json["errcode"]) == (401, "M_UNKNOWN_TOKEN"), text_[:80]
        other.passwords.close()


async def test_refresh(store: Database) -> None:
    """A6: the old refresh token works until the new tokens are used, then its use ends the session."""
    async with running(Home(store)) as home:
        await home.register("alice")
        first = (await home.login("alice", refresh_token=True)).json
        assert first["expires_in_ms"] == 15 * 60 * 1000
        await home.ok("GET", WHOAMI, token=first["access_token"])
        second = await home.ok("POST", "/refresh", {"refresh_token": first["refresh_token"]})
        again = await home.ok("POST", "/refresh", {"refresh_token": first["refresh_token"]})
        await home.ok("GET", WHOAMI, token=again["access_token"])
        for dead in (first["access_token"], second["access_token"]):
            answer = await home.call("GET", WHOAMI, token=dead)
            assert (answer.status, answer.json["soft_logout"]) == (401, True)
        ended: list[Session] = []
        home.sessions.on_ended(ended.append)
        reuse = await home.call("POST", "/refresh", {"refresh_token": first["refresh_token"]})
        assert (reuse.status, reuse.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
        assert [session.user_id for session in ended] == [f"@alice:{SERVER_NAME}"]
        for dead in (again["access_token"], first["access_token"]):
            answer = await home.call("GET", WHOAMI, token=dead)
            assert (answer.status, answer.json["soft_logout"]) == (401, False)
        assert (await home.call("POST", "/refresh", {"refresh_token": again["refresh_token"]})).status == 401


async def test_using_the_new_refresh_token_ends_the_old_one(store: Database) -> None:
    async with running(Home(store)) as home:
        await home.register("alice")
        first = (await home.login("alice", refresh_token=True)).json
        second = await home.ok("POST", "/refresh", {"refresh_token": first["refresh_token"]})
        third = await home.ok("POST", "/refresh", {"refresh_token": second["refresh_token"]})
        await home.ok("GET", WHOAMI, token=third["access_token"])
        assert (await home.call("POST", "/refresh", {"refresh_token": first["refresh_token"]})).status == 401
        assert (await home.call("GET", WHOAMI, token=third["access_token"])).status == 401


async def test_parallel_refreshes_leave_one_living_family(store: Database) -> None:
    """A6, 50 at once."""
    async with running(Home(store)) as home:
        await home.register("alice")
        first = (await home.login("alice", refresh_token=True)).json
        body = {"refresh_token": first["refresh_token"]}
        answers = await asyncio.gather(*(home.call("POST", "/refresh", body) for _ in range(50)))
        assert {answer.status for answer in answers} == {200}
        newest = max(
            (answer.json for answer in answers), key=lambda one: home.tokens.verify(one["access_token"]).generation
        )
        await home.ok("GET", WHOAMI, token=newest["access_token"])
        statuses = [(await home.call("GET", WHOAMI, token=answer.json["access_token"])).status for answer in answers]
        assert sorted(statuses) == [200] + [401] * 49
        async with store.read() as tx:
            assert len(await tx.devices.of_user(f"@alice:{SERVER_NAME}")) == 2


async def test_expired_tokens(store: Database) -> None:
    async with running(Home(store)) as home:
        await home.register("alice")
        tokens = (await home.login("alice", refresh_token=True)).json
        home.clock.ms += 16 * 60 * 1000
        answer = await home.call("GET", WHOAMI, token=tokens["access_token"])
        assert (answer.status, answer.json["errcode"], answer.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
        fresh = await home.ok("POST", "/refresh", {"refresh_token": tokens["refresh_token"]})
        await home.ok("GET", WHOAMI, token=fresh["access_token"])
        home.clock.ms += 366 * 24 * 3600 * 1000
        assert (await home.call("POST", "/refresh", {"refresh_token": fresh["refresh_token"]})).status == 401


@pytest.mark.parametrize("token", ["", "x", "nul\0", "é", "x" * 100_000])
async def test_unknown_refresh_tokens(store: Database, token: str) -> None:
    async with running(Home(store)) as home:
        answer = await home.call("POST", "/refresh", {"refresh_token": token})
        assert (answer.status, answer.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_logout_all_and_replaced_sessions(store: Database) -> None:
    """A4: tokens die at once, and listeners hear of every session."""
    async with running(Home(store)) as home:
        first = await home.register("alice", device_id="A")
        second = (await home.login("alice", device_id="A")).json
        third = (await home.login("alice", device_id="B")).json
        assert (await home.call("GET", WHOAMI, token=first["access_token"])).status == 401
        await home.ok("GET", WHOAMI, token=second["access_token"])
        ended: list[Session] = []
        home.sessions.on_ended(ended.append)
        await home.ok("POST", "/logout/all", token=third["access_token"])
        assert {session.device_id for session in ended} == {"A", "B"}
        for dead in (second, third):
            assert (await home.call("GET", WHOAMI, token=dead["access_token"])).status == 401


async def test_parallel_logins_of_one_device(store: Database) -> None:
    async with running(Home(store)) as home:
        await home.register("alice")
        answers = await asyncio.gather(*(home.login("alice", device_id="NEW") for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        tokens = [answer.json["access_token"] for answer in answers]
        statuses = [(await home.call("GET", WHOAMI, token=token)).status for token in tokens]
        assert sorted(statuses) == [200] + [401] * 19


async def test_locked_and_suspended_accounts(store: Database) -> None:
    """A3."""
    async with running(Home(store)) as home:
        admin = await home.register("root")
        alice = await home.register("alice")
        tokens = (await home.login("alice", refresh_token=True)).json
        lock = f"/_matrix/client/v1/admin/lock/{alice['user_id']}"
        refused = await home.call("PUT", lock, {"locked": True}, token=alice["access_token"])
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
        await home.ok("GET", WHOAMI, token=alice["access_token"])
        assert await home.ok("PUT", lock, {"locked": True}, token=admin["access_token"]) == {"locked": True}
        for answer in (
            await home.call("GET", WHOAMI, token=alice["access_token"]),
            await home.login("alice"),
            await home.call("POST", "/refresh", {"refresh_token": tokens["refresh_token"]}),
        ):
            assert (answer.status, answer.json["errcode"], answer.json["soft_logout"]) == (401, "M_USER_LOCKED", True)
        assert (await home.login("alice", "wrong password")).json["errcode"] == "M_FORBIDDEN"
        await home.ok("POST", "/logout", token=tokens["access_token"])
        await home.ok("PUT", lock, {"locked": False}, token=admin["access_token"])
        await home.ok("GET", WHOAMI, token=alice["access_token"])

        suspend = f"/_matrix/client/v1/admin/suspend/{alice['user_id']}"
        await home.ok("PUT", suspend, {"suspended": True}, token=admin["access_token"])
        name = f"/profile/{alice['user_id']}/displayname"
        answer = await home.call("PUT", name, {"displayname": "A"}, token=alice["access_token"])
        assert (answer.status, answer.json["errcode"]) == (403, "M_USER_SUSPENDED")
        assert await home.ok("GET", suspend, token=admin["access_token"]) == {"suspended": True}
        own = f"/_matrix/client/v1/admin/lock/{admin['user_id']}"
        assert (await home.call("PUT", own, {"locked": True}, token=admin["access_token"])).status == 403
        unknown = f"/_matrix/client/v1/admin/lock/@x:{SERVER_NAME}"
        assert (await home.call("GET", unknown, token=admin["access_token"])).status == 404
        foreign = "/_matrix/client/v1/admin/lock/@x:elsewhere.test"
        assert (await home.call("GET", foreign, token=admin["access_token"])).status == 400


async def test_login_tokens(store: Database) -> None:
    async with running(Home(store, Options(login_tokens_ms=120_000))) as home:
        alice = await home.register("alice")
        path = "/_matrix/client/v1/login/get_token"
        answer = await home.with_password("POST", path, {}, token=alice["access_token"], user="alice")
        body = {"type": "m.login.token", "token": answer.json["login_token"]}
        answers = await asyncio.gather(*(home.call("POST", "/login", body) for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [200, 403, 403, 403, 403]
        answer = await home.with_password("POST", path, {}, token=alice["access_token"], user="alice")
        home.clock.ms += 120_000
        late = await home.call("POST", "/login", {"type": "m.login.token", "token": answer.json["login_token"]})
        assert late.status == 403


async def test_login_by_jwt(store: Database) -> None:
    key = "k" * 32
    issuer = JwtIssuer("https://id.test", "hromada", "HS256", key, create_users=True)
    async with running(Home(store, Options(jwt=issuer))) as home:
        now = home.clock.now_ms() // 1000
        good = {"iss": "https://id.test", "aud": "hromada", "sub": "Carol", "exp": now + 10}

        async def login(claims: dict[str, object], key: str = key, algorithm: str = "HS256") -> int:
            token = pyjwt.encode(claims, key, algorithm=algorithm)
            return (await home.call("POST", "/login", {"type": "org.matrix.login.jwt", "token": token})).status

        assert await asyncio.gather(*(login(good) for _ in range(5))) == [200] * 5
        assert await login({**good, "exp": now - 59}) == 200
        for bad in (
            {**good, "exp": now - 60},
            {**good, "exp": "soon"},
            {**good, "nbf": now + 61},
            {**good, "iss": "https://other.test"},
            {**good, "aud": "other"},
            {name: value for name, value in good.items() if name != "exp"},
            {name: value for name, value in good.items() if name != "sub"},
        ):
            assert await login(bad) == 403, bad
        assert await login(good, "x" * 32) == 403
        assert await login(good, key * 2, "HS512") == 403
        assert await login({**good, "sub": "not a name"}) == 400


async def test_failed_logins_are_limited(store: Database) -> None:
    async with running(Home(store, Options(limits=True))) as home:
        statuses = [
            (
                await home.call(
                    "POST", "/login", {"type": "m.login.password", "user": "a", "password": "b"}, peer=f"10.0.0.{n}"
                )
            ).status
            for n in range(7)
        ]
        assert statuses == [403] * 5 + [429] * 2


async def test_no_secret_is_stored(store: Database) -> None:
    """A10: neither passwords nor tokens, nor anything a password could be guessed from but the Argon2id hash."""
    async with running(Home(store)) as home:
        alice = await home.register("alice", refresh_token=True)
        await home.call("POST", "/account/password", {"new_password": "another secret"}, token=alice["access_token"])
        body = {"new_password": "another secret", "auth": password_auth("alice", None, "wrong one")}
        await home.call("POST", "/account/password", body, token=alice["access_token"])
        async with store.engine.read_committed() as connection:
            stored = b""
            for table in ("users", "devices", "sessions", "refresh_tokens", "interactive_sessions"):
                for row in await Sql(f"SELECT * FROM {table}").rows(connection):
                    stored += repr(tuple(row)).encode()
        for secret in (PASSWORD, "another secret", "wrong one", alice["access_token"], alice["refresh_token"]):
            assert secret.encode() not in stored
        for password in (PASSWORD, "another secret", "wrong one"):
            assert repr(hashlib.sha256(password.encode()).digest())[2:-1].encode() not in stored


async def test_flags_reach_the_requester_at_once(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("alice")
        assert (await home.sessions.authenticate(alice["access_token"])).is_admin
        async with store.write() as tx:
            await tx.users.set_flags(alice["user_id"], UserFlags(is_admin=False))
        home.sessions.changed(alice["user_id"])
        assert not (await home.sessions.authenticate(alice["access_token"])).is_admin


@pytest.mark.parametrize("path", ["/logout", "/logout/all"])
async def test_tokens_in_the_query_log_out_where_they_are_taken(store: Database, path: str) -> None:
    """`auth.query_tokens`"""
    for taken in (True, False):
        async with running(Home(store, Options(query_tokens=taken))) as home:
            token = (await home.register(f"alice{taken}".lower()))["access_token"]
            out = await home.call("POST", f"{path}?access_token={token}")
            assert (out.status, (await home.call("GET", "/account/whoami", token=token)).status) == (
                (200, 401) if taken else (401, 200)
            )
