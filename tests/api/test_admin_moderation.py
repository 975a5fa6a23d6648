"""Registration tokens and reports in the admin API."""

from __future__ import annotations

import time

import pytest

from tests.support.admin import OWN, V1, acts, administrator
from tests.support.client import Client, Json, part
from tests.support.fixtures import fresh

TOKENS = f"{V1}/registration_tokens"


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    return await administrator(anonymous)


async def test_registration_tokens(admin: Client) -> None:
    made = await admin.ok("POST", f"{TOKENS}/new", {})
    assert len(made["token"]) == 16
    assert (made["uses_allowed"], made["pending"], made["completed"], made["expiry_time"]) == (None, 0, 0, None)
    name, later = fresh("token"), int(time.time() * 1000) + 3_600_000
    own = await admin.ok("POST", f"{TOKENS}/new", {"token": name, "uses_allowed": 0, "expiry_time": later})
    assert await admin.ok("GET", f"{TOKENS}/{name}") == own
    path = f"{TOKENS}/{name}"

    async def listed(**params: bool) -> set[str]:
        found = (await admin.ok("GET", TOKENS, params=params))["registration_tokens"]
        return {token["token"] for token in found} & {name, made["token"]}

    assert await listed() == {name, made["token"]}
    assert await listed(valid=True) == {made["token"]}
    assert await listed(valid=False) == {name}
    changed = await admin.ok("PUT", path, {"uses_allowed": None})
    assert (changed["uses_allowed"], changed["expiry_time"]) == (None, later)
    assert (await admin.ok("PUT", path, {"expiry_time": None}))["expiry_time"] is None
    assert await listed(valid=True) == {name, made["token"]}
    validity = "/_matrix/client/v1/register/m.login.registration_token/validity"
    assert await admin.ok("GET", validity, params={"token": name}) == {"valid": True}
    assert await admin.ok("DELETE", path) == {}
    assert await admin.ok("GET", validity, params={"token": name}) == {"valid": False}
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
        (await admin.request(method, path, body)).error(404, "M_NOT_FOUND")
        (await admin.request(method, f"{TOKENS}/{part('no token')}", body)).error(404, "M_NOT_FOUND")
    assert [act["action"].partition(".")[2] for act in await acts(admin, target=name)] == [
        "delete",
        "change",
        "change",
        "create",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"token": "no blanks"},
        {"token": ""},
        {"token": "x" * 65},
        {"length": 0},
        {"length": 65},
        {"uses_allowed": -1},
        {"uses_allowed": 2**40},
        {"expiry_time": 1},
    ],
)
async def test_bad_tokens(admin: Client, body: Json) -> None:
    (await admin.request("POST", f"{TOKENS}/new", body)).error(400, "M_INVALID_PARAM")
    limits = {key: value for key, value in body.items() if key in ("uses_allowed", "expiry_time")}
    if limits:
        made = await admin.ok("POST", f"{TOKENS}/new", {})
        (await admin.request("PUT", f"{TOKENS}/{made['token']}", limits)).error(400, "M_INVALID_PARAM")
        assert await admin.ok("GET", f"{TOKENS}/{made['token']}") == made


async def test_a_token_is_made_once(admin: Client) -> None:
    name = fresh("token")
    await admin.ok("POST", f"{TOKENS}/new", {"token": name, "uses_allowed": 1})
    (await admin.request("POST", f"{TOKENS}/new", {"token": name})).error(400, "M_INVALID_PARAM")
    assert (await admin.ok("GET", f"{TOKENS}/{name}"))["uses_allowed"] == 1


async def test_reports_are_read_and_settled(admin: Client, alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob, name="Reported room")
    event = await alice.send(room, "rude")
    await bob.ok("POST", f"/rooms/{part(room)}/report/{part(event)}", {"reason": "one"})
    await bob.ok("POST", f"/rooms/{part(room)}/report", {"reason": "two"})
    await bob.ok("POST", f"/users/{part(alice.user_id)}/report", {"reason": "three"})
    mine = {"user_id": bob.user_id}

    found = await admin.ok("GET", f"{V1}/event_reports", params=mine)
    assert found["total"] == 1
    assert "next_token" not in found
    (report,) = found["event_reports"]
    shown = {key: report[key] for key in ("event_id", "room_id", "user_id", "sender", "reason", "name", "score")}
    assert shown == {
        "event_id": event,
        "room_id": room,
        "user_id": bob.user_id,
        "sender": alice.user_id,
        "reason": "one",
        "name": "Reported room",
        "score": None,
    }
    every = await admin.ok("GET", f"{OWN}/reports", params=mine)
    assert [one["reason"] for one in every["reports"]] == ["three", "two", "one"]
    oldest = await admin.ok("GET", f"{OWN}/reports", params={**mine, "dir": "f", "limit": 1, "from": 1})
    assert ([one["reason"] for one in oldest["reports"]], oldest["next_token"]) == (["two"], 2)
    assert (await admin.ok("GET", f"{OWN}/reports", params={**mine, "room_id": room}))["total"] == 2

    path = f"{V1}/event_reports/{report['id']}"
    one = await admin.ok("GET", path)
    assert one["event_json"]["content"]["body"] == "rude"
    assert await admin.ok("DELETE", path) == {}
    for method in ("GET", "DELETE"):
        (await admin.request(method, path)).error(404, "M_NOT_FOUND")
        (await admin.request(method, f"{V1}/event_reports/nonsense")).error(400, "M_INVALID_PARAM")
        (await admin.request(method, f"{V1}/event_reports/{'9' * 30}")).error(400, "M_INVALID_PARAM")
    assert [act["detail"]["about"] for act in await acts(admin, target=str(report["id"]), action="report.delete")] == [
        event
    ]
