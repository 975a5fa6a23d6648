"""Guessing is slow, nobody locks another out by it, and interactive authentication tells nothing about others."""

from __future__ import annotations

from typing import Any

from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, Home, Options, password_auth, running
from tests.support.asgi import Answer

HERE, THERE = "192.0.2.1", "198.51.100.7"


def login(user: str, password: str) -> dict[str, Any]:
    return {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password}


async def tries(home: Home, user: str, peer: str, count: int) -> list[int]:
    return [(await home.call("POST", "/login", login(user, "wrong"), peer=peer)).status for _ in range(count)]


async def delete_device(home: Home, token: str, user: str, password: str, peer: str = HERE) -> Answer:
    body = {"auth": password_auth(user, None, password)}
    return await home.call("DELETE", "/devices/NONE", body, token=token, peer=peer)


async def test_wrong_passwords_from_elsewhere_lock_nobody_out(store: Database) -> None:
    async with running(Home(store, Options(limits=True, wrong_passwords=20))) as home:
        alice = await home.register("alice")
        assert 429 in await tries(home, "alice", THERE, 8)
        assert (await home.call("POST", "/login", login("alice", PASSWORD), peer=THERE)).status == 429
        assert (await home.call("POST", "/login", login("alice", PASSWORD), peer=HERE)).status == 200
        answer = await delete_device(home, alice["access_token"], "alice", PASSWORD)
        assert answer.status == 200


async def test_an_account_bears_no_end_of_guesses_from_many_addresses(store: Database) -> None:
    async with running(Home(store, Options(limits=True, wrong_passwords=20))) as home:
        await home.register("alice")
        statuses = [(await tries(home, "alice", f"192.0.2.{number}", 1))[0] for number in range(40)]
        assert statuses[:19] == [403] * 19
        assert statuses[-1] == 429


async def test_interactive_authentication_is_no_oracle_for_other_passwords(store: Database) -> None:
    async with running(Home(store)) as home:
        alice, mallory = await home.register("alice"), await home.register("mallory")
        answers = [
            await delete_device(home, mallory["access_token"], name, password)
            for name in ("alice", alice["user_id"], "nobody", "@alice:elsewhere")
            for password in (PASSWORD, "wrong")
        ]
        said = {(answer.status, answer.json["errcode"], answer.json["error"]) for answer in answers}
        assert len(said) == 1 and said.pop()[:2] == (401, "M_FORBIDDEN")


async def test_passwords_shown_are_counted_with_logins_by_address(store: Database) -> None:
    async with running(Home(store, Options(limits=True, wrong_passwords=20))) as home:
        alice = await home.register("alice")
        token = alice["access_token"]
        answers = [(await delete_device(home, token, "alice", "wrong", THERE)).status for _ in range(8)]
        assert answers[0] == 401 and answers[-1] == 429
        assert (await home.call("POST", "/login", login("bob", "wrong"), peer=THERE)).status == 429
        assert (await delete_device(home, token, "alice", PASSWORD)).status == 200


async def test_refreshing_takes_nothing_from_logins(store: Database) -> None:
    async with running(Home(store, Options(limits=True, wrong_passwords=20))) as home:
        alice = await home.register("alice", refresh_token=True)
        refresh = alice["refresh_token"]
        for _ in range(5):
            refresh = (await home.ok("POST", "/refresh", {"refresh_token": refresh}))["refresh_token"]
            await home.call("GET", "/register/available?username=x")
        assert (await home.login("alice")).status == 200
