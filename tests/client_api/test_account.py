"""Devices, password, deactivation, profiles, account data and filters through their endpoints."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from homeserver.ports.log import AccountDataEntry
from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, Home, Options, running
from tests.support.store import SERVER_NAME

ALICE = f"@alice:{SERVER_NAME}"
WHOAMI = "/account/whoami"


async def test_devices(store: Database) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice", device_id="A"))["access_token"]
        other = (await home.login("alice", device_id="B", initial_device_display_name="Laptop")).json
        await home.ok("PUT", "/devices/B", {"display_name": "Old laptop"}, token=token)
        home.api.devices.saw(ALICE, "B", "192.0.2.7", "A client/1.0")
        seen = {
            "device_id": "B",
            "display_name": "Old laptop",
            "last_seen_ip": "192.0.2.7",
            "last_seen_ts": home.clock.now_ms(),
        }
        assert await home.ok("GET", "/devices/B", token=token) == seen
        in_use = await home.ok("GET", f"/admin/whois/{ALICE}", token=token)
        await home.api.devices.flush()
        assert await home.ok("GET", "/devices/B", token=token) == seen
        whois = await home.ok("GET", f"/admin/whois/{ALICE}", token=token)
        connection = {"ip": "192.0.2.7", "last_seen": home.clock.now_ms(), "user_agent": "A client/1.0"}
        assert whois["devices"]["B"] == in_use["devices"]["B"] == {"sessions": [{"connections": [connection]}]}
        home.api.devices.saw(ALICE, "B", "192.0.2.8", None)  # over a socket
        await home.api.devices.flush()
        whois = await home.ok("GET", f"/admin/whois/{ALICE}", token=token)
        connection["ip"] = "192.0.2.8"
        assert whois["devices"]["B"] == {"sessions": [{"connections": [connection]}]}
        for path in ("/devices/C", "/devices/" + "x" * 2000):
            assert (await home.call("GET", path, token=token)).status == 404
            assert (await home.call("PUT", path, {"display_name": "x"}, token=token)).status == 404
        for name in ("nul\0", "x" * 300):
            assert (await home.call("PUT", "/devices/B", {"display_name": name}, token=token)).status == 400
        deleted = await home.with_password("DELETE", "/devices/B", {}, token=token, user="alice")
        assert deleted.status == 200
        assert (await home.call("GET", WHOAMI, token=other["access_token"])).status == 401
        assert (await home.call("GET", "/devices/B", token=token)).status == 404
        for bad in ({}, {"devices": "A"}, {"devices": [1]}):
            assert (await home.call("POST", "/delete_devices", bad, token=token)).status == 400
        gone = {"devices": ["A", "unknown", "nul\0"]}
        answer = await home.with_password("POST", "/delete_devices", gone, token=token, user=ALICE)
        assert answer.status == 200
        assert (await home.call("GET", WHOAMI, token=token)).status == 401


async def test_the_number_of_devices_is_limited(store: Database) -> None:
    async with running(Home(store, Options(max_devices=2))) as home:
        await home.register("alice", device_id="A")
        assert (await home.login("alice", device_id="B")).status == 200
        assert (await home.login("alice")).json["errcode"] == "M_RESOURCE_LIMIT_EXCEEDED"
        assert (await home.login("alice", device_id="A")).status == 200


@pytest.mark.parametrize("logout_devices", [True, False])
async def test_change_password(store: Database, logout_devices: bool) -> None:
    """A4."""
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        other = (await home.login("alice")).json["access_token"]
        body = {"new_password": "another password", "logout_devices": logout_devices}
        answer = await home.with_password("POST", "/account/password", body, token=token, user="alice")
        assert answer.status == 200, answer.body
        await home.ok("GET", WHOAMI, token=token)
        assert (await home.call("GET", WHOAMI, token=other)).status == (401 if logout_devices else 200)
        assert (await home.login("alice")).status == 403
        assert (await home.login("alice", "another password")).status == 200
        for bad, code in [
            ({}, "M_MISSING_PARAM"),
            ({"new_password": 5}, "M_BAD_JSON"),
            ({"new_password": "short"}, "M_WEAK_PASSWORD"),
        ]:
            answer = await home.call("POST", "/account/password", bad, token=token)
            assert (answer.status, answer.json["errcode"]) == (400, code)


@pytest.mark.parametrize("erase", [True, False])
async def test_deactivate(store: Database, erase: bool) -> None:
    """A3."""
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        refresh_token = (await home.login("alice", refresh_token=True)).json["refresh_token"]
        await home.ok("PUT", f"/profile/{ALICE}/displayname", {"displayname": "Alice"}, token=token)
        async with store.write() as tx:
            await tx.backups.create(ALICE, "m.megolm_backup.v1.curve25519-aes-sha2", b"{}")
        body = {"erase": erase}
        answer = await home.with_password("POST", "/account/deactivate", body, token=token, user="alice")
        assert (answer.status, answer.json) == (200, {"id_server_unbind_result": "success"})
        assert home.rooms.calls[-1] == ("leave_all", ALICE)
        assert (await home.call("GET", WHOAMI, token=token)).status == 401
        assert (await home.call("POST", "/refresh", {"refresh_token": refresh_token})).status == 401
        answer = await home.login("alice")
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN" if erase else "M_USER_DEACTIVATED")
        assert (await home.login("alice", "wrong password")).json["errcode"] == "M_FORBIDDEN"
        assert (await home.call("GET", f"/profile/{ALICE}")).status == 404
        async with store.read() as tx:
            assert await tx.backups.get(ALICE, None) is None
            assert await tx.backups.last_version(ALICE) == 0
        taken = await home.call("POST", "/register", {"username": "alice", "password": PASSWORD})
        assert taken.json["errcode"] == "M_USER_IN_USE"


async def test_profile(store: Database) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        bob = (await home.register("bob"))["access_token"]
        path = f"/profile/{ALICE}"
        assert await home.ok("GET", path) == {}
        for name, value in [("displayname", "Аліса"), ("avatar_url", "mxc://x/y"), ("m.tz", "Europe/Kyiv")]:
            await home.ok("PUT", f"{path}/{name}", {name: value}, token=token)
            assert await home.ok("GET", f"{path}/{name}") == {name: value}
        await home.ok("PUT", f"{path}/org.example.mood", {"org.example.mood": {"a": [1, None]}}, token=token)
        profile = await home.ok("GET", path)
        assert profile["org.example.mood"] == {"a": [1, None]} and len(profile) == 4
        assert home.rooms.calls == [("profile", ALICE)] * 2
        assert (await home.call("PUT", f"{path}/displayname", {"displayname": "x"}, token=bob)).status == 403
        await home.ok("DELETE", f"{path}/displayname", token=token)
        await home.ok("DELETE", f"{path}/displayname", token=token)
        assert home.rooms.calls == [("profile", ALICE)] * 3
        assert (await home.call("GET", f"{path}/displayname")).status == 404
        for unknown in ("@nobody:hromada.test", "@x:elsewhere.test", "junk", "x" * 2000):
            assert (await home.call("GET", f"/profile/{unknown}")).status == 404


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": 5}, "M_BAD_JSON"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("displayname", {"displayname": "nul\0"}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "x" * 1001}, "M_INVALID_PARAM"),
        ("nodots", {"nodots": 1}, "M_INVALID_PARAM"),
        ("a.%00", {"a.\0": 1}, "M_INVALID_PARAM"),
        ("a." + "b" * 300, {"a." + "b" * 300: 1}, "M_KEY_TOO_LARGE"),
        ("a.big", {"a.big": "x" * 65_536}, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_profile_fields_that_are_refused(store: Database, name: str, body: dict[str, Any], code: str) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        answer = await home.call("PUT", f"/profile/{ALICE}/{name}", body, token=token)
        assert (answer.status, answer.json["errcode"]) == (400, code)
        assert await home.ok("GET", f"/profile/{ALICE}") == {}


async def test_a_profile_is_bounded_as_a_whole(store: Database) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        for n in range(3):
            await home.ok("PUT", f"/profile/{ALICE}/a.b{n}", {f"a.b{n}": "x" * 20_000}, token=token)
        answer = await home.call("PUT", f"/profile/{ALICE}/a.b3", {"a.b3": "x" * 20_000}, token=token)
        assert answer.json["errcode"] == "M_PROFILE_TOO_LARGE"


async def test_account_data(store: Database) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        bob = (await home.register("bob"))["access_token"]
        base = f"/user/{ALICE}"
        content = {"z": "nul\0", "a": [1, 2.5], "text": "привіт"}
        for path, room_id in [
            (f"{base}/account_data/org.example", None),
            (f"{base}/rooms/!r:{SERVER_NAME}/account_data/org.example", f"!r:{SERVER_NAME}"),
        ]:
            assert (await home.call("GET", path, token=token)).status == 404
            await home.ok("PUT", path, content, token=token)
            assert await home.ok("GET", path, token=token) == content
            entry = (home.log.since(0) or [])[-1]
            assert isinstance(entry, AccountDataEntry)
            assert (entry.data.user_id, entry.data.room_id, entry.data.type) == (ALICE, room_id, "org.example")
            assert orjson.loads(entry.data.content) == content
            await home.ok("PUT", path, {}, token=token)
            assert (await home.call("PUT", path, content, token=bob)).status == 403
            assert (await home.call("GET", path, token=bob)).status == 403
        async with store.read() as tx:
            changed = await tx.account_data.after(ALICE, 1)
            assert [(data.room_id, data.content) for data in changed] == [
                (None, b"{}"),
                (f"!r:{SERVER_NAME}", b"{}"),
            ]
            assert len(await tx.account_data.after(ALICE, 2)) == 1
        for path, body, status, code in [
            ("account_data/m.fully_read", {}, 405, "M_BAD_JSON"),
            ("account_data/m.push_rules", {}, 405, "M_BAD_JSON"),
            ("account_data/a%00b", {}, 400, "M_INVALID_PARAM"),
            ("account_data/" + "x" * 256, {}, 400, "M_INVALID_PARAM"),
            ("account_data/big", {"x": "y" * 65_536}, 413, "M_TOO_LARGE"),
            ("account_data/list", [], 400, "M_BAD_JSON"),
            ("rooms/notaroom/account_data/x", {}, 400, "M_INVALID_PARAM"),
        ]:
            answer = await home.call("PUT", f"{base}/{path}", body, token=token)
            assert (answer.status, answer.json["errcode"]) == (status, code), path


async def test_filters(store: Database) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice"))["access_token"]
        bob = (await home.register("bob"))["access_token"]
        path = f"/user/{ALICE}/filter"
        definition = {"room": {"timeline": {"limit": 5}}}
        first = (await home.ok("POST", path, definition, token=token))["filter_id"]
        assert (await home.ok("POST", path, definition, token=token))["filter_id"] == first
        assert await home.ok("GET", f"{path}/{first}", token=token) == definition
        assert (await home.api.filters.get(ALICE, first)).room.timeline.limit == 5
        others = [{"room": {"timeline": {"limit": n}}} for n in range(10, 30)]
        made = await asyncio.gather(*(home.ok("POST", path, other, token=token) for other in others))
        assert len({one["filter_id"] for one in made}) == 20
        for unknown in ("99", "-1", "x", "9" * 30):
            assert (await home.call("GET", f"{path}/{unknown}", token=token)).status == 404
        assert (await home.call("POST", path, {"room": {"timeline": {"limit": -5}}}, token=token)).status == 400
        assert (await home.call("POST", path, {"room": []}, token=token)).status == 400
        assert (await home.call("GET", f"{path}/{first}", token=bob)).status == 403
        big = {"event_fields": ["x" * 200] * 400}
        assert (await home.call("POST", path, big, token=token)).status in {400, 413}
        for n in range(100, 179):
            await home.ok("POST", path, {"room": {"timeline": {"limit": n}}}, token=token)
        full = await home.call("POST", path, {"room": {"timeline": {"limit": 999}}}, token=token)
        assert (full.status, full.json["errcode"]) == (403, "M_RESOURCE_LIMIT_EXCEEDED")
