"""Accounts as a client sees them: registering, logging in and out, refreshing, devices, passwords, profiles, filters.

spec: client-server-api#client-authentication
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import aiohttp
import pytest

from tests.support.client import PASSWORD, Client, eventually, part
from tests.support.fixtures import StartServer, fresh
from tests.support.server import SHARED_SECRET, Server

ADMIN_REGISTER = "/_synapse/admin/v1/register"


def password_auth(client: Client, session: str, password: str = PASSWORD) -> dict[str, Any]:
    """The proof of a password for user-interactive authentication."""
    identifier = {"type": "m.id.user", "user": client.user_id}
    return {"type": "m.login.password", "identifier": identifier, "password": password, "session": session}


async def with_password(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """A request that first asks for the password."""
    asked = await client.request(method, path, body or {})
    assert asked.status == 401, asked
    assert any("m.login.password" in flow["stages"] for flow in asked.body["flows"])
    auth = password_auth(client, asked.body["session"])
    return await client.ok(method, path, {**(body or {}), "auth": auth})


# ---- registering ----


async def test_registering_asks_for_stages_then_logs_in(anonymous: Client, server: Server) -> None:
    name = fresh("reg")
    asked = await anonymous.request("POST", "/register", {"username": name, "password": PASSWORD})
    assert asked.status == 401
    assert {"stages": ["m.login.dummy"]} in asked.body["flows"]
    assert isinstance(asked.body["params"], dict)
    assert asked.body["session"]
    client = await anonymous.register(name)
    assert client.user_id == f"@{name}:{server.name}"
    who = await client.ok("GET", "/account/whoami")
    assert who["user_id"] == client.user_id
    assert who["device_id"] == client.device_id
    assert who.get("is_guest", False) is False


async def test_a_server_makes_up_names(anonymous: Client, server: Server) -> None:
    body = {"password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    made = await anonymous.request("POST", "/register", body)
    assert made.ok()["user_id"].endswith(f":{server.name}")


async def test_registering_may_name_the_device_or_inhibit_the_login(anonymous: Client) -> None:
    body = {"password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    named = (await anonymous.request("POST", "/register", {**body, "username": fresh("n"), "device_id": "DEV/1"})).ok()
    assert named["device_id"] == "DEV/1"
    inhibited = (
        await anonymous.request("POST", "/register", {**body, "username": fresh("n"), "inhibit_login": True})
    ).ok()
    assert "access_token" not in inhibited
    assert "device_id" not in inhibited


async def test_taken_and_invalid_names_are_refused(alice: Client, server: Server) -> None:
    localpart = alice.user_id[1:].partition(":")[0]
    taken = await alice.request("POST", "/register", {"username": localpart, "password": PASSWORD}, token=None)
    taken.error(400, "M_USER_IN_USE")
    for name in ("", "UPPER CASE", "with space", "ünïcode", "a:b", "@x", "x" * 256, "nul\0"):
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        (await alice.request("POST", "/register", body, token=None)).error(400, "M_INVALID_USERNAME")
    available = "/register/available"
    (await alice.request("GET", available, params={"username": localpart}, token=None)).error(400, "M_USER_IN_USE")
    (await alice.request("GET", available, params={"username": "not valid"}, token=None)).error(
        400, "M_INVALID_USERNAME"
    )
    assert (await alice.ok("GET", available, params={"username": fresh("free")}))["available"] is True


async def test_guests_are_refused(anonymous: Client) -> None:
    reply = await anonymous.request("POST", "/register", {}, params={"kind": "guest"})
    reply.error(403, "M_FORBIDDEN", "M_GUEST_ACCESS_FORBIDDEN")
    (await anonymous.request("POST", "/register", {}, params={"kind": "nonsense"})).error(400)


async def _register_by_secret(client: Client, name: str, *, admin: bool, secret: str = SHARED_SECRET) -> Any:
    nonce = (await client.ok("GET", ADMIN_REGISTER))["nonce"]
    signed = b"\0".join([nonce.encode(), name.encode(), PASSWORD.encode(), b"admin" if admin else b"notadmin"])
    mac = hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": admin, "mac": mac}
    return body, await client.request("POST", ADMIN_REGISTER, body)


async def test_operators_register_by_shared_secret(anonymous: Client) -> None:
    for admin in (False, True):
        body, reply = await _register_by_secret(anonymous, fresh("op"), admin=admin)
        client = anonymous.anonymous().adopt(reply.ok())
        assert (await client.ok("GET", "/account/whoami"))["user_id"] == client.user_id
        # A nonce is good for one use.
        (await anonymous.request("POST", ADMIN_REGISTER, body)).error(400)
    _, forged = await _register_by_secret(anonymous, fresh("op"), admin=True, secret="wrong")
    forged.error((400, 403))
    (await anonymous.request("POST", ADMIN_REGISTER, {"nonce": "x"})).error(400)


async def test_closed_registration_lets_only_operators_in(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    closed = start_server(database, registration="closed")
    client = Client(http, closed.url)
    _, reply = await _register_by_secret(client, "first", admin=True)
    reply.ok()
    body = {"username": "second", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    (await client.request("POST", "/register", body)).error(403, "M_FORBIDDEN")
    (await client.request("POST", "/register", {"username": "third", "password": PASSWORD})).error(403, "M_FORBIDDEN")
    await client.login("first")
    (await client.request("GET", "/profile/" + part(f"@second:{closed.name}"))).error(404, "M_NOT_FOUND")


async def test_token_registration_offers_only_the_token_stage(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    client = Client(http, start_server("sqlite", registration="token").url)
    asked = await client.request("POST", "/register", {"username": "x", "password": PASSWORD})
    assert asked.status in {401, 403}, asked
    if asked.status == 401:
        assert all("m.login.registration_token" in flow["stages"] for flow in asked.body["flows"])
        auth = {"type": "m.login.registration_token", "token": "nonsense", "session": asked.body["session"]}
        refused = await client.request("POST", "/register", {"username": "x", "password": PASSWORD, "auth": auth})
        assert refused.status in {401, 403}
        assert "user_id" not in refused.body
    checked = await client.ok(
        "GET", "/_matrix/client/v1/register/m.login.registration_token/validity", params={"token": "nonsense"}
    )
    assert checked["valid"] is False


# ---- logging in and out ----


async def test_login_flows_and_password_login(alice: Client, server: Server) -> None:
    flows = (await alice.ok("GET", "/login"))["flows"]
    assert {"type": "m.login.password"} in [{"type": flow["type"]} for flow in flows]
    localpart = alice.user_id[1:].partition(":")[0]
    for name in (alice.user_id, localpart):
        device = await alice.anonymous().login(name, initial_device_display_name="Phone")
        assert device.user_id == alice.user_id
        assert device.device_id != alice.device_id
    body = {"type": "m.login.password", "user": localpart, "password": PASSWORD}
    assert (await alice.request("POST", "/login", body, token=None)).ok()["user_id"] == alice.user_id


NOBODY = {"type": "m.id.user", "user": "nobody"}


@pytest.mark.parametrize(
    ("body", "status", "codes"),
    [
        ({}, 400, ("M_MISSING_PARAM", "M_BAD_JSON", "M_UNKNOWN")),
        ({"type": "m.login.nonsense"}, 400, ("M_UNKNOWN", "M_INVALID_PARAM", "M_UNRECOGNIZED")),
        ({"type": 5}, 400, ("M_BAD_JSON", "M_INVALID_PARAM")),
        ({"type": "m.login.password"}, 400, ()),
        ({"type": "m.login.password", "identifier": NOBODY}, 400, ()),
        ({"type": "m.login.password", "identifier": {"type": "m.id.user"}, "password": "x"}, 400, ()),
        ({"type": "m.login.password", "identifier": 5, "password": "x"}, 400, ()),
        (
            {"type": "m.login.password", "identifier": NOBODY, "password": "x"},
            403,
            ("M_FORBIDDEN",),
        ),
        ({"type": "m.login.token", "token": "nonsense"}, (400, 403), ()),
    ],
)
async def test_bad_logins(anonymous: Client, body: Any, status: Any, codes: tuple[str, ...]) -> None:
    (await anonymous.request("POST", "/login", body)).error(status, *codes)


async def test_logging_in_again_on_a_device_replaces_its_session(alice: Client) -> None:
    again = await alice.another_device(device_id=alice.device_id)
    assert again.device_id == alice.device_id
    (await alice.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await again.ok("GET", "/account/whoami")


async def test_logout_ends_one_session_and_logout_all_every_one(alice: Client) -> None:
    one, two = await alice.another_device(), await alice.another_device()
    await one.ok("POST", "/logout", {})
    (await one.request("GET", "/sync")).error(401, "M_UNKNOWN_TOKEN")
    assert one.device_id not in {device["device_id"] for device in (await alice.ok("GET", "/devices"))["devices"]}
    await two.ok("POST", "/logout/all", {})
    for client in (alice, two):
        (await client.request("GET", "/sync")).error(401, "M_UNKNOWN_TOKEN")


async def test_refresh_tokens_rotate(alice: Client) -> None:
    device = await alice.another_device(refresh_token=True)
    assert device.refresh_token is not None
    new = await device.ok("POST", "/refresh", {"refresh_token": device.refresh_token}, token=None)
    assert new["access_token"] != device.token
    assert new["refresh_token"] != device.refresh_token
    assert isinstance(new["expires_in_ms"], int)
    who = await device.ok("GET", "/account/whoami", token=new["access_token"])
    assert who["device_id"] == device.device_id
    (await device.request("POST", "/refresh", {"refresh_token": "nonsense"}, token=None)).error(401, "M_UNKNOWN_TOKEN")
    (await device.request("POST", "/refresh", {}, token=None)).error(400)


# ---- devices, password, account ----


async def test_devices_are_listed_renamed_and_deleted_with_the_password(alice: Client) -> None:
    other = await alice.another_device(initial_device_display_name="Laptop")
    devices = {d["device_id"]: d for d in (await alice.ok("GET", "/devices"))["devices"]}
    assert set(devices) == {alice.device_id, other.device_id}
    assert devices[other.device_id]["display_name"] == "Laptop"
    path = f"/devices/{part(other.device_id)}"
    await alice.ok("PUT", path, {"display_name": "Tablet"})
    assert (await alice.ok("GET", path))["display_name"] == "Tablet"
    await with_password(alice, "DELETE", path)
    (await other.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    (await alice.request("GET", path)).error(404, "M_NOT_FOUND")
    (await alice.request("PUT", "/devices/NOSUCH", {"display_name": "x"})).error(404, "M_NOT_FOUND")
    third = await alice.another_device()
    await with_password(alice, "POST", "/delete_devices", {"devices": [third.device_id]})
    (await third.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await alice.ok("GET", "/account/whoami")


async def test_changing_the_password(alice: Client) -> None:
    other = await alice.another_device()
    new = "an even better password"
    await with_password(alice, "POST", "/account/password", {"new_password": new, "logout_devices": False})
    await other.ok("GET", "/account/whoami")
    identifier = {"type": "m.id.user", "user": alice.user_id}
    old = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    (await alice.request("POST", "/login", old, token=None)).error(403, "M_FORBIDDEN")
    await alice.another_device(new)


async def test_a_new_password_logs_the_other_devices_out(alice: Client) -> None:
    other = await alice.another_device()
    await with_password(alice, "POST", "/account/password", {"new_password": "another good password"})
    (await other.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await alice.ok("GET", "/account/whoami")


async def test_deactivation_ends_everything(alice: Client, bob: Client) -> None:
    room = await bob.shared_room(alice)
    await with_password(alice, "POST", "/account/deactivate")
    (await alice.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    identifier = {"type": "m.id.user", "user": alice.user_id}
    body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    (await bob.request("POST", "/login", body, token=None)).error(403, "M_USER_DEACTIVATED", "M_FORBIDDEN")
    localpart = alice.user_id[1:].partition(":")[0]
    taken = {"username": localpart, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    (await bob.request("POST", "/register", taken, token=None)).error(400, "M_USER_IN_USE")

    async def gone() -> bool:
        return alice.user_id not in (await bob.ok("GET", f"/rooms/{part(room)}/joined_members"))["joined"]

    await eventually(gone)


# ---- profile, filters, account data ----


async def test_profiles_are_set_read_and_shown_in_rooms(alice: Client, bob: Client) -> None:
    room = await bob.shared_room(alice)
    me = f"/profile/{part(alice.user_id)}"
    await alice.ok("PUT", f"{me}/displayname", {"displayname": "Alice ✨"})
    await alice.ok("PUT", f"{me}/avatar_url", {"avatar_url": "mxc://hromada.test/face"})
    profile = await bob.ok("GET", me)
    assert (profile["displayname"], profile["avatar_url"]) == ("Alice ✨", "mxc://hromada.test/face")
    assert await bob.ok("GET", f"{me}/displayname") == {"displayname": "Alice ✨"}

    async def shown() -> bool:
        member = await bob.state(room, "m.room.member", alice.user_id)
        return (member.get("displayname"), member["membership"]) == ("Alice ✨", "join")

    await eventually(shown)
    (await bob.request("PUT", f"{me}/displayname", {"displayname": "Mallory"})).error(403, "M_FORBIDDEN")
    (await bob.request("GET", "/profile/" + part("@nobody:hromada.test"))).error(404, "M_NOT_FOUND")


async def test_filters_are_stored_per_user(alice: Client, bob: Client) -> None:
    mine = f"/user/{part(alice.user_id)}/filter"
    content = {"room": {"timeline": {"limit": 3, "types": ["m.room.*"]}, "state": {"lazy_load_members": True}}}
    made = (await alice.ok("POST", mine, content))["filter_id"]
    assert isinstance(made, str)
    assert not made.startswith("{")
    stored = await alice.ok("GET", f"{mine}/{made}")
    assert stored["room"]["timeline"]["limit"] == 3
    (await alice.request("GET", f"{mine}/999999")).error(404, "M_NOT_FOUND")
    (await bob.request("POST", mine, content)).error(403, "M_FORBIDDEN")
    (await bob.request("GET", f"{mine}/{made}")).error((403, 404))


async def test_account_data_global_and_per_room(alice: Client, bob: Client) -> None:
    room = await alice.create_room()
    mine = f"/user/{part(alice.user_id)}"
    for path in (f"{mine}/account_data/org.example", f"{mine}/rooms/{part(room)}/account_data/org.example"):
        (await alice.request("GET", path)).error(404, "M_NOT_FOUND")
        await alice.ok("PUT", path, {"deep": {"list": [1, "two", None]}})
        assert await alice.ok("GET", path) == {"deep": {"list": [1, "two", None]}}
        (await bob.request("GET", path)).error(403, "M_FORBIDDEN")
        (await bob.request("PUT", path, {})).error(403, "M_FORBIDDEN")
        (await alice.request("PUT", path, [1])).error(400, "M_BAD_JSON")
    (await alice.request("PUT", f"{mine}/rooms/nonsense/account_data/x", {})).error(400, "M_INVALID_PARAM")
    for controlled in ("m.fully_read", "m.push_rules"):
        reply = await alice.request("PUT", f"{mine}/rooms/{part(room)}/account_data/{controlled}", {})
        reply.error(405, "M_BAD_JSON")
    (await alice.request("PUT", f"{mine}/account_data/m.push_rules", {})).error(405, "M_BAD_JSON")


async def test_names_are_taken_once_when_many_ask_at_once(anonymous: Client) -> None:
    body = {"username": fresh("race"), "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    replies = await asyncio.gather(*(anonymous.request("POST", "/register", body) for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [200, 400, 400, 400, 400]
    assert {reply.errcode for reply in replies if reply.status == 400} == {"M_USER_IN_USE"}
