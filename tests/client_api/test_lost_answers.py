"""A client that lost an answer asks again, and must not be worse off for it."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, Home, password_auth, running

WHOAMI = "/account/whoami"


@pytest.mark.parametrize("used", [0, 1, 2])
async def test_whichever_answer_of_a_repeated_refresh_arrives_works(store: Database, used: int) -> None:
    async with running(Home(store)) as home:
        refresh = (await home.register("alice", refresh_token=True))["refresh_token"]
        answers = [await home.ok("POST", "/refresh", {"refresh_token": refresh}) for _ in range(3)]
        await home.ok("GET", WHOAMI, token=answers[used]["access_token"])
        again = await home.ok("POST", "/refresh", {"refresh_token": answers[used]["refresh_token"]})
        await home.ok("GET", WHOAMI, token=again["access_token"])
        others = [answer for number, answer in enumerate(answers) if number != used]
        for answer in others:  # one family lives
            assert (await home.call("GET", WHOAMI, token=answer["access_token"])).status == 401


async def test_a_registration_may_be_repeated_for_a_while(store: Database) -> None:
    async with running(Home(store)) as home:
        body: dict[str, Any] = {"username": "alice", "password": PASSWORD}
        session = (await home.call("POST", "/register", body)).json["session"]
        body["auth"] = {"type": "m.login.dummy", "session": session}
        first = await home.ok("POST", "/register", body)
        assert await home.ok("POST", "/register", body) == first
        await home.ok("GET", WHOAMI, token=first["access_token"])
        for changed in ({"username": "bob"}, {"password": "another one"}, {"auth": {"type": "m.login.dummy"}}):
            answer = await home.call("POST", "/register", {**body, **changed})
            assert answer.status != 200 or answer.json["user_id"] != first["user_id"], changed
        home.clock.ms += 10 * 60 * 1000
        assert (await home.call("POST", "/register", body)).status == 400


async def test_deleting_and_changing_may_be_repeated(store: Database) -> None:
    async with running(Home(store)) as home:
        alice = await home.register("alice")
        token = alice["access_token"]
        for method, path, body in (
            ("POST", "/delete_devices", {"devices": ["OTHER"]}),
            ("DELETE", "/devices/OTHER", {}),
            ("POST", "/account/password", {"new_password": "another secret", "logout_devices": False}),
        ):
            session = (await home.call(method, path, body, token=token)).json["session"]
            full = {**body, "auth": password_auth("alice", session)}
            assert await home.ok(method, path, full, token=token) == {}
            assert await home.ok(method, path, full, token=token) == {}
            # For the same request only: the proof is spent.
            other = {**full, "devices": ["MORE"], "new_password": "a third secret"}
            assert (await home.call(method, path, other, token=token)).status in (401, 403)
        assert (await home.login("alice", "another secret")).status == 200
