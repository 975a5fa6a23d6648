"""Registration and interactive authentication.  (reliability: A7, A9)"""

from __future__ import annotations

import asyncio
import hmac
from hashlib import sha1
from typing import Any

import pytest

from homeserver.ports.accounts import RegistrationToken
from homeserver.services.accounts.register import Mode
from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, SECRET, Home, Options, password_auth, running
from tests.support.store import SERVER_NAME

SHARED_SECRET = "/_synapse/admin/v1/register"
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"


def auth(type_: str, session: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": type_, **more} if session is None else {"type": type_, "session": session, **more}


async def test_the_challenge_has_the_form_of_the_specification(store: Database) -> None:
    async with running(Home(store)) as home:
        answer = await home.call("POST", "/register", {"username": "alice", "password": PASSWORD})
        assert answer.status == 401
        assert set(answer.json) == {"flows", "params", "session"}
        assert answer.json["flows"] == [{"stages": ["m.login.dummy"]}]
        assert len(answer.json["session"]) >= 22  # 128 bits


async def test_auth_without_a_session(store: Database) -> None:
    async with running(Home(store)) as home:
        body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        assert (await home.ok("POST", "/register", body))["user_id"] == f"@alice:{SERVER_NAME}"


async def test_a_probe_with_an_empty_body_binds_nothing(store: Database) -> None:
    async with running(Home(store)) as home:
        session = (await home.call("POST", "/register", {})).json["session"]
        body = {"username": "alice", "password": PASSWORD, "auth": auth("m.login.dummy", session)}
        await home.ok("POST", "/register", body)


@pytest.mark.parametrize(
    ("username", "code"),
    [
        ("", "M_INVALID_USERNAME"),
        ("a b", "M_INVALID_USERNAME"),
        ("naïve", "M_INVALID_USERNAME"),
        ("a\0b", "M_INVALID_USERNAME"),
        ("_bridge", "M_INVALID_USERNAME"),
        ("x" * 250, "M_INVALID_USERNAME"),
        ("@alice:elsewhere.test", "M_INVALID_USERNAME"),
        ("visitor-shop-abcdef", "M_EXCLUSIVE"),
        ("TAKEN", "M_USER_IN_USE"),
    ],
)
async def test_names_that_cannot_be_had(store: Database, username: str, code: str) -> None:
    async with running(Home(store)) as home:
        await home.register("taken")
        answer = await home.call("POST", "/register", {"username": username, "password": PASSWORD})
        assert (answer.status, answer.json["errcode"]) == (400, code)
        if "\0" not in username:  # which no query may hold
            answer = await home.call("GET", f"/register/available?username={_quoted(username)}")
            assert (answer.status, answer.json["errcode"]) == (400, code)
        assert await home.ok("GET", "/register/available?username=free") == {"available": True}


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"username": 5}, "M_BAD_JSON"),
        ({"password": ["x"]}, "M_BAD_JSON"),
        ({"device_id": "\0"}, "M_INVALID_PARAM"),
        ({"password": "short"}, "M_WEAK_PASSWORD"),
        ({"password": "x" * 513}, "M_WEAK_PASSWORD"),
        ({"auth": "x"}, "M_BAD_JSON"),
        ({"auth": {"type": 5}}, "M_BAD_JSON"),
        ({"auth": {"type": "m.login.dummy", "session": []}}, "M_BAD_JSON"),
        ({"auth": {"type": "m.login.dummy"}}, "M_MISSING_PARAM"),
    ],
)
async def test_malformed_registrations(store: Database, body: dict[str, Any], code: str) -> None:
    async with running(Home(store)) as home:
        answer = await home.call("POST", "/register", body)
        assert (answer.status, answer.json["errcode"]) == (400, code)


async def test_hundred_registrations_of_one_name(store: Database) -> None:
    async with running(Home(store)) as home:
        body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        answers = await asyncio.gather(*(home.call("POST", "/register", body) for _ in range(40)))
        assert sorted(answer.status for answer in answers) == [200] + [400] * 39
        assert {answer.json["errcode"] for answer in answers if answer.status == 400} == {"M_USER_IN_USE"}


async def test_inhibit_login_and_made_up_names(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("alice", inhibit_login=True)
        assert alice == {"user_id": f"@alice:{SERVER_NAME}", "home_server": SERVER_NAME}
        body = {"password": PASSWORD, "refresh_token": True, "auth": {"type": "m.login.dummy"}}
        made_up = await home.ok("POST", "/register", body)
        assert made_up["user_id"].startswith("@user-") and made_up["refresh_token"]


async def test_closed_but_for_the_first_user(store: Database) -> None:
    async with running(Home(store, Options(mode=Mode.CLOSED))) as home:
        bodies = [{"username": f"user{n}", "password": PASSWORD, "auth": {"type": "m.login.dummy"}} for n in range(10)]
        answers = await asyncio.gather(*(home.call("POST", "/register", body) for body in bodies))
        assert sorted(answer.status for answer in answers) == [200] + [403] * 9
        first = next(answer.json for answer in answers if answer.status == 200)
        assert (await home.sessions.authenticate(first["access_token"])).is_admin
        answer = await home.call("POST", "/register", {"username": "late", "password": PASSWORD})
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_token_of_one_use_makes_one_account(store: Database) -> None:
    """A9: 100 at once."""
    async with running(Home(store, Options(mode=Mode.TOKEN, first_user_admin=False))) as home:
        await home.api.admin.add_registration_token(RegistrationToken("once", uses_allowed=1))
        stage = auth("m.login.registration_token", token="once")
        bodies = [{"username": f"user{n}", "password": PASSWORD, "auth": stage} for n in range(100)]
        # In two waves: at most 50 passwords are hashed at once.
        answers = await asyncio.gather(*(home.call("POST", "/register", body) for body in bodies[:50]))
        answers += await asyncio.gather(*(home.call("POST", "/register", body) for body in bodies[50:]))
        assert [answer.status for answer in answers].count(200) == 1
        assert {answer.status for answer in answers} <= {200, 401, 403}
        async with store.read() as tx:
            token = await tx.registration_tokens.get("once")
            assert token == RegistrationToken("once", 1, 0, 1)
            assert len(await tx.users.page()) == 1
        assert await home.ok("GET", f"{VALIDITY}?token=once") == {"valid": False}


async def test_a_token_is_reserved_while_other_stages_are_open(store: Database) -> None:
    policies = {"terms": {"version": "1", "en": {"name": "Terms", "url": "https://hromada.test/terms"}}}
    options = Options(mode=Mode.TOKEN, policies=policies, first_user_admin=False)
    async with running(Home(store, options)) as home:
        await home.api.admin.add_registration_token(RegistrationToken("once", uses_allowed=1))
        assert await home.ok("GET", f"{VALIDITY}?token=once") == {"valid": True}
        body = {"username": "alice", "password": PASSWORD}
        challenge = (await home.call("POST", "/register", body)).json
        assert challenge["flows"] == [{"stages": ["m.login.registration_token", "m.login.terms"]}]
        assert challenge["params"] == {"m.login.terms": {"policies": policies}}
        session = challenge["session"]
        stage = auth("m.login.registration_token", session, token="once")
        half = await home.call("POST", "/register", {**body, "auth": stage})
        assert (half.status, half.json["completed"]) == (401, ["m.login.registration_token"])
        assert "errcode" not in half.json
        other = {"username": "bob", "password": PASSWORD, "auth": auth("m.login.registration_token", token="once")}
        refused = await home.call("POST", "/register", other)
        assert (refused.status, refused.json["errcode"]) == (401, "M_FORBIDDEN")
        # The other body of an authenticated request is another request.
        changed = {**body, "username": "mallory", "auth": auth("m.login.terms", session)}
        assert (await home.call("POST", "/register", changed)).status == 403
        await home.ok("POST", "/register", {**body, "auth": auth("m.login.terms", session)})
        async with store.read() as tx:
            assert await tx.registration_tokens.get("once") == RegistrationToken("once", 1, 0, 1)


async def test_an_abandoned_registration_gives_its_token_back(store: Database) -> None:
    policies = {"terms": {"version": "1"}}
    options = Options(mode=Mode.TOKEN, policies=policies, first_user_admin=False)
    async with running(Home(store, options)) as home:
        await home.api.admin.add_registration_token(RegistrationToken("once", uses_allowed=1))
        stage = auth("m.login.registration_token", token="once")
        await home.call("POST", "/register", {"username": "alice", "password": PASSWORD, "auth": stage})
        assert await home.ok("GET", f"{VALIDITY}?token=once") == {"valid": False}
        home.clock.ms += 11 * 60 * 1000
        await home.call("POST", "/register", {})
        assert await home.ok("GET", f"{VALIDITY}?token=once") == {"valid": True}


@pytest.mark.parametrize("token", ["unknown", "", "nul\0", "x" * 5000, "expired", 5, None])
async def test_tokens_that_do_not_work(store: Database, token: Any) -> None:
    async with running(Home(store, Options(mode=Mode.TOKEN, first_user_admin=False))) as home:
        expired = RegistrationToken("expired", expires_ms=home.clock.now_ms())
        await home.api.admin.add_registration_token(expired)
        stage = auth("m.login.registration_token", token=token)
        answer = await home.call("POST", "/register", {"username": "a", "password": PASSWORD, "auth": stage})
        assert answer.status == 401 and answer.json["errcode"] in {"M_FORBIDDEN", "M_MISSING_PARAM"}
        assert answer.json["session"]


async def test_guests(store: Database) -> None:
    async with running(Home(store)) as home:
        answer = await home.call("POST", "/register?kind=guest", {})
        assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        assert (await home.call("POST", "/register?kind=other", {})).status == 400
    async with running(Home(store, Options(guests=True))) as home:
        guest = await home.ok("POST", "/register?kind=guest", {"device_id": "IGNORED", "username": "x"})
        assert guest["device_id"] != "IGNORED" and guest["user_id"].startswith("@guest-")
        assert (await home.ok("GET", "/account/whoami", token=guest["access_token"]))["is_guest"]
        answer = await home.call("POST", "/account/deactivate", {}, token=guest["access_token"])
        assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        profile = f"/profile/{guest['user_id']}"
        await home.ok("PUT", f"{profile}/displayname", {"displayname": "G"}, token=guest["access_token"])
        for field in ("avatar_url", "org.example.field"):
            for method, body in (("PUT", {field: "mxc://a.example/b"}), ("DELETE", None)):
                answer = await home.call(method, f"{profile}/{field}", body, token=guest["access_token"])
                assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        admin = await home.register("root")
        assert (await home.sessions.authenticate(admin["access_token"])).is_admin  # a guest is not the first user


async def test_appservice_registration_needs_its_token(store: Database) -> None:
    async with running(Home(store)) as home:
        body = {"type": "m.login.application_service", "username": "_bridge_x"}
        answer = await home.call("POST", "/register", body)
        assert (answer.status, answer.json["errcode"]) == (401, "M_MISSING_TOKEN")
        answer = await home.call("POST", "/register", body, token="x")
        assert (answer.status, answer.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_shared_secret(store: Database) -> None:
    async with running(Home(store, Options(mode=Mode.CLOSED))) as home:

        async def attempt(nonce: str, name: str, *, admin: bool, secret: str = SECRET) -> tuple[int, Any]:
            parts = [nonce, name, PASSWORD, "admin" if admin else "notadmin"]
            mac = hmac.new(secret.encode(), "\0".join(parts).encode(), sha1).hexdigest()
            body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": admin, "mac": mac}
            answer = await home.call("POST", SHARED_SECRET, body)
            return answer.status, answer.json

        async def nonce() -> str:
            return str((await home.ok("GET", SHARED_SECRET))["nonce"])

        used = await nonce()
        status, root = await attempt(used, "root", admin=True)
        assert status == 200 and root["user_id"] == f"@root:{SERVER_NAME}"
        assert (await home.sessions.authenticate(root["access_token"])).is_admin
        assert (await attempt(used, "again", admin=True))[0] == 400
        assert (await attempt("made up", "again", admin=True))[0] == 400
        assert (await attempt(await nonce(), "bob", admin=False, secret="guess"))[0] == 403
        status, bob = await attempt(await nonce(), "bob", admin=False)
        assert not (await home.sessions.authenticate(bob["access_token"])).is_admin
        late = await nonce()
        home.clock.ms += 61_000
        assert (await attempt(late, "late", admin=False))[0] == 400


async def test_a_proof_is_for_one_request_only(store: Database) -> None:
    """A7."""
    async with running(Home(store)) as home:
        alice = await home.register("alice", device_id="A")
        await home.login("alice", device_id="B")
        bob = await home.register("bob")
        token = alice["access_token"]
        body = {"devices": ["B"]}
        session = (await home.call("POST", "/delete_devices", body, token=token)).json["session"]
        good = password_auth("alice", session)

        for method, path, other, who in [
            ("POST", "/account/deactivate", {}, token),
            ("DELETE", "/devices/B", {}, token),
            ("POST", "/delete_devices", {"devices": ["A"]}, token),
            ("POST", "/delete_devices", body, bob["access_token"]),
        ]:
            answer = await home.call(method, path, {**other, "auth": good}, token=who)
            assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN"), path

        for bad in (
            password_auth("alice", session, "wrong password"),
            password_auth("bob", session),
            {**good, "password": None},
            {**good, "password": {"x": 1}},
            {"type": "m.login.dummy", "session": session},
            {"session": session},
        ):
            answer = await home.call("POST", "/delete_devices", {**body, "auth": bad}, token=token)
            assert (answer.status, answer.json["session"]) == (401, session), bad
            assert answer.json.get("completed", []) == []
        await home.ok("POST", "/delete_devices", {**body, "auth": good}, token=token)
        again = await home.call("POST", "/delete_devices", {**body, "auth": good}, token=token)
        assert (again.status, again.json) == (200, {})  # the answer once more; nothing is done by it
        home.clock.ms += 5 * 60 * 1000
        again = await home.call("POST", "/delete_devices", {**body, "auth": good}, token=token)
        assert (again.status, again.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_of_two_racing_requests_one_wins(store: Database) -> None:
    """A7."""
    async with running(Home(store)) as home:
        alice = await home.register("alice")
        body = {"new_password": "a new password", "logout_devices": False}
        challenge = await home.call("POST", "/account/password", body, token=alice["access_token"])
        full = {**body, "auth": password_auth("alice", challenge.json["session"])}
        calls = (home.call("POST", "/account/password", full, token=alice["access_token"]) for _ in range(10))
        statuses = sorted([answer.status for answer in await asyncio.gather(*calls)])
        assert statuses[0] == 200 and statuses.count(200) == 1 and set(statuses) <= {200, 401, 403}


async def test_sessions_expire(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("alice")
        challenge = await home.call("POST", "/account/deactivate", {}, token=alice["access_token"])
        home.clock.ms += 10 * 60 * 1000
        # The session means nothing any more, but the password is in this very request.
        body = {"auth": {"session": challenge.json["session"]}}
        answer = await home.call("POST", "/account/deactivate", body, token=alice["access_token"])
        assert answer.status == 401 and answer.json["session"] != challenge.json["session"]
        made_up = await home.call(
            "POST", "/account/deactivate", {"auth": {"session": "x"}}, token=alice["access_token"]
        )
        assert made_up.status == 401 and made_up.json["session"] != "x"


async def test_old_sessions_are_forgotten(store: Database) -> None:
    async with running(Home(store)) as home:
        for _ in range(5):
            home.clock.ms += 1000
            await home.call("POST", "/register", {})
        async with store.write() as tx:
            assert len(await tx.interactive.purge(0, 3, limit=9)) == 2
            assert len(await tx.interactive.purge(home.clock.now_ms() + 3_600_000, 100, limit=9)) == 3


async def test_a_guest_becomes_a_user(store: Database) -> None:
    """spec: client-server-api#guest-access"""
    async with running(Home(store, Options(guests=True))) as home:
        user = await home.register("alice")
        guest = await home.ok("POST", "/register?kind=guest", {})
        token, name = guest["access_token"], guest["user_id"][1:].partition(":")[0]
        await home.ok("PUT", f"/profile/{guest['user_id']}/displayname", {"displayname": "G"}, token=token)
        wanted = {"username": name, "password": PASSWORD, "guest_access_token": token}

        for wrong, errcode in (
            ({**wanted, "username": "somebody"}, "M_FORBIDDEN"),
            ({**wanted, "guest_access_token": user["access_token"]}, "M_FORBIDDEN"),
            ({**wanted, "guest_access_token": "unknown"}, "M_FORBIDDEN"),
            ({**wanted, "guest_access_token": 1}, "M_BAD_JSON"),
            ({key: value for key, value in wanted.items() if key != "username"}, "M_MISSING_PARAM"),
            ({**wanted, "password": "x"}, "M_WEAK_PASSWORD"),
            ({"username": name, "password": PASSWORD}, "M_USER_IN_USE"),
        ):
            answer = await home.call("POST", "/register", wrong)
            assert answer.json["errcode"] == errcode, wrong
        assert (await home.ok("GET", "/account/whoami", token=token))["is_guest"]

        session = (await home.call("POST", "/register", wanted)).json["session"]
        done = await home.ok("POST", "/register", {**wanted, "auth": auth("m.login.dummy", session=session)})
        assert (done["user_id"], done["device_id"]) == (guest["user_id"], guest["device_id"])
        assert not (await home.ok("GET", "/account/whoami", token=done["access_token"]))["is_guest"]
        assert (await home.call("GET", "/account/whoami", token=token)).status == 401, "the guest's token is over"
        assert (await home.login(name)).status == 200
        assert (await home.ok("GET", f"/profile/{guest['user_id']}"))["displayname"] == "G"
        profile = f"/profile/{guest['user_id']}/avatar_url"
        await home.ok("PUT", profile, {"avatar_url": "mxc://a.example/b"}, token=done["access_token"])
        again = await home.call("POST", "/register", {**wanted, "guest_access_token": done["access_token"]})
        assert again.json["errcode"] == "M_FORBIDDEN"


async def test_guests_of_a_closed_server_stay_guests(store: Database) -> None:
    async with running(Home(store, Options(guests=True, mode=Mode.CLOSED, first_user_admin=False))) as home:
        guest = await home.ok("POST", "/register?kind=guest", {})
        name = guest["user_id"][1:].partition(":")[0]
        body = {"username": name, "password": PASSWORD, "guest_access_token": guest["access_token"]}
        answer = await home.call("POST", "/register", body)
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
