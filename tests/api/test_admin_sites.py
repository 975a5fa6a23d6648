"""Sites with a support chat in the admin API."""

from __future__ import annotations

import asyncio
import itertools
import os
import time

import pytest

from tests.support.admin import OWN, acts, administrator
from tests.support.client import Client, Json, part
from tests.support.fixtures import fresh

SITES = f"{OWN}/sites"
ORIGIN = "https://shop.example.org"
_numbers = itertools.count()


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    return await administrator(anonymous)


async def made(admin: Client, **settings: object) -> str:
    """A new site's id."""
    site_id = f"a{os.getpid()}x{next(_numbers)}"
    body = {"site_id": site_id, "settings": {"name": "Teren", "origins": [ORIGIN], **settings}}
    answer = await admin.request("POST", SITES, body)
    assert answer.status == 201
    return site_id


async def test_a_site_is_made_changed_and_removed(admin: Client, anonymous: Client) -> None:
    agent = await anonymous.anonymous().register(fresh("agent"))
    site_id = f"a{os.getpid()}x{next(_numbers)}"
    settings = {"name": "Teren", "origins": [ORIGIN], "theme": {"accent": "#FFFF00"}}
    answer = await admin.request("POST", SITES, {"site_id": site_id, "settings": settings, "agents": [agent.user_id]})
    assert answer.status == 201
    site = answer.body
    assert [(one["user_id"], one["membership"]) for one in site["agents"]] == [(agent.user_id, "invite")]
    assert site["figures"]["open"] == site["figures"]["week"] == 0
    assert site["figures"]["by_day"] == [0] * 14
    path = f"{SITES}/{site_id}"
    assert site_id in {one["site_id"] for one in (await admin.ok("GET", SITES))["sites"]}
    # Members that are not named stay.
    changed = await admin.ok("PUT", path, {"settings": {"theme": {"side": "start"}, "enabled": False}})
    assert changed["settings"]["theme"] == {"accent": "#FFFF00", "side": "start"}
    assert changed["enabled"] is False
    assert await admin.ok("PUT", path, {"settings": {"enabled": False}}) == changed
    preview = await admin.ok("POST", f"{path}/preview", {"settings": {"name": "Other"}})
    assert preview["given"]["name"] == "Other"
    assert preview["given"]["accent"] == preview["readable"] != "#FFFF00"
    assert preview["contrast"] < 4.5
    assert (await admin.ok("GET", path))["settings"]["name"] == "Teren"
    await agent.ok("POST", f"/join/{part(site['desk_id'])}", {})
    other = await anonymous.anonymous().register(fresh("other"))
    await admin.ok("POST", f"{path}/agents", {"user_id": other.user_id})
    await admin.ok("DELETE", f"{path}/agents/{part(agent.user_id)}")
    assert [one["user_id"] for one in (await admin.ok("GET", path))["agents"]] == [other.user_id]
    (await admin.request("DELETE", f"{path}/agents/{part(agent.user_id)}")).error(404, "M_NOT_FOUND")
    assert (await admin.ok("DELETE", path))["removing"]["error"] is None
    deadline = time.monotonic() + 30
    while (await admin.request("GET", path)).status != 404:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert [act["action"] for act in await acts(admin, target=site_id)] == [
        *("site.remove", "site.dismiss", "site.invite", "site.change", "site.create"),
    ]


async def test_a_site_that_is_being_removed_says_so_until_it_is_gone(admin: Client) -> None:
    """Whoever waits for its end asks again for as long as it says so."""
    paths = [f"{SITES}/{await made(admin)}" for _ in range(5)]

    async def looked(path: str) -> None:
        while (found := await admin.request("GET", path)).status == 200:
            assert found.body["removing"] == {"closed": 0, "error": None}, path
        assert found.status == 404

    for path in paths:
        await admin.ok("DELETE", path)
        async with asyncio.timeout(60):
            await asyncio.gather(*[looked(path) for _ in range(8)])


async def test_a_key_is_shown_once_and_kept_by_changes(admin: Client) -> None:
    site_id = await made(admin)
    path = f"{SITES}/{site_id}"
    key = await admin.ok("POST", f"{path}/rotate_key", {})
    assert len(key["secret"]) >= 32
    keys = (await admin.ok("GET", path))["settings"]["identity"]["keys"]
    assert keys == [{"kid": key["kid"], "alg": "HS256"}]
    # A list of keys as it is shown, without secrets, is what there is.
    same = await admin.ok("PUT", path, {"settings": {"identity": {"mode": "required", "keys": keys}}})
    assert same["settings"]["identity"] == {"mode": "required", "keys": keys}
    (await admin.request("POST", f"{path}/rotate_key", {"alg": "EdDSA"})).error(400, "M_INVALID_PARAM")
    (await admin.request("POST", f"{path}/rotate_key", {"alg": "none"})).error(400, "M_BAD_JSON")
    (await admin.request("PUT", path, {"settings": {"identity": {"keys": []}}})).error(400, "M_INVALID_PARAM")
    found = await acts(admin, target=site_id)
    assert [act["action"] for act in found] == ["site.change", "site.rotate_key", "site.create"]
    assert key["secret"] not in str(found)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"origins": []},
        {"origins": ["shop.example.org"]},
        {"name": "x" * 200},
        {"theme": {"accent": "red"}},
        {"theme": {"css": "*{}"}},
        {"nothing": 1},
        {"hours": {"tz": "Nowhere"}},
    ],
)
async def test_bad_settings_change_nothing(admin: Client, settings: Json) -> None:
    site_id = await made(admin)
    before = await admin.ok("GET", f"{SITES}/{site_id}")
    new = {"site_id": f"b{site_id}", "settings": {"name": "x", **settings} if settings else {}}
    (await admin.request("POST", SITES, new)).error(400, "M_INVALID_PARAM")
    if settings:
        (await admin.request("PUT", f"{SITES}/{site_id}", {"settings": settings})).error(400, "M_INVALID_PARAM")
        (await admin.request("POST", f"{SITES}/{site_id}/preview", {"settings": settings})).error(
            400, "M_INVALID_PARAM"
        )
    assert await admin.ok("GET", f"{SITES}/{site_id}") == before
    assert [act["action"] for act in await acts(admin, target=site_id)] == ["site.create"]


async def test_only_administrators_and_known_sites(admin: Client, anonymous: Client) -> None:
    site_id = await made(admin)
    user = await anonymous.anonymous().register(fresh("user"))
    body = {"site_id": site_id, "settings": {"name": "Teren", "origins": [ORIGIN]}}
    requests: list[tuple[str, str, Json | None]] = [
        ("GET", "", None),
        ("PUT", "", {"settings": {}}),
        ("DELETE", "", None),
        ("POST", "/preview", {"settings": {}}),
        ("POST", "/rotate_key", {}),
        ("POST", "/agents", {"user_id": "x"}),
        ("DELETE", "/agents/x", None),
        ("GET", "/blocked", None),
        ("DELETE", "/blocked/1", None),
    ]
    for method, tail, json in requests:
        (await user.request(method, f"{SITES}/{site_id}{tail}", json)).error(403, "M_FORBIDDEN")
        (await admin.request(method, f"{SITES}/nosuchsite{tail}", json)).error(404, "M_NOT_FOUND")
    assert await admin.ok("GET", f"{SITES}/{site_id}/blocked") == {"blocked": []}
    for wrong in ({"from": "9" * 18}, {"from": "9" * 30}, {"from": "-1"}, {"from": "x"}, {"limit": "-1"}):
        (await admin.request("GET", f"{SITES}/{site_id}/blocked", params=wrong)).error(400, "M_INVALID_PARAM")
    for number in ("1", "-1", "x", "9" * 30):
        (await admin.request("DELETE", f"{SITES}/{site_id}/blocked/{number}")).error(404, "M_NOT_FOUND")
    (await user.request("GET", SITES)).error(403, "M_FORBIDDEN")
    (await user.request("POST", SITES, body)).error(403, "M_FORBIDDEN")
    (await admin.request("POST", SITES, body)).error(400, "M_INVALID_PARAM")
    nobody = {"site_id": f"b{site_id}", "settings": body["settings"], "agents": ["@nobody-there"]}
    (await admin.request("POST", SITES, nobody)).error(404, "M_NOT_FOUND")
    (await admin.request("POST", SITES, {**body, "site_id": "-"})).error(400, "M_INVALID_PARAM")
