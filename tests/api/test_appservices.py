"""Application services as callers: their users, devices, times and exemptions."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client, Reply, part
from tests.support.fixtures import StartServer
from tests.support.server import Server

AS_TOKEN = "as-token-of-the-test"


def registration(**more: Any) -> str:
    """A registration file; JSON is YAML."""
    return json.dumps(
        {
            "id": "db",
            "url": None,
            "as_token": AS_TOKEN,
            "hs_token": "hs-token-of-the-test",
            "sender_localpart": "_db_bot",
            "rate_limited": False,
            "namespaces": {"users": [{"exclusive": True, "regex": "@_db_.*"}, {"exclusive": False, "regex": "@x-.*"}]},
            **more,
        }
    )


@pytest.fixture
def service_server(start_server: StartServer, tmp_path: Path, database: str) -> Server:
    """A server with one application service."""
    file = tmp_path / "db.yaml"
    file.write_text(registration())
    return start_server(database, environment={"HROMADA_APPSERVICES_FILES": str(file)}, rate_limits="on")


@pytest.fixture
def bot(service_server: Server, http: aiohttp.ClientSession) -> Client:
    """The application service itself."""
    client = Client(http, service_server.url)
    client.token, client.user_id = AS_TOKEN, "@_db_bot:hromada.test"
    return client


async def make_ghost(bot: Client, name: str) -> Reply:
    """Register a user of the application service."""
    body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
    return await bot.request("POST", "/register", body)


async def test_acts_as_itself_and_its_users(bot: Client) -> None:
    assert (await bot.ok("GET", "/account/whoami"))["user_id"] == "@_db_bot:hromada.test"
    ghost = "@_db_one:hromada.test"
    unknown = await bot.request("GET", "/account/whoami", params={"user_id": ghost})
    assert (unknown.status, unknown.body["errcode"]) == (403, "M_FORBIDDEN")
    assert (await make_ghost(bot, "_db_one")).ok()["user_id"] == ghost
    assert (await make_ghost(bot, "_db_one")).body["errcode"] == "M_USER_IN_USE"
    assert (await bot.ok("GET", "/account/whoami", params={"user_id": ghost}))["user_id"] == ghost
    foreign = await bot.request("GET", "/account/whoami", params={"user_id": "@alice:hromada.test"})
    assert (foreign.status, foreign.body["errcode"]) == (403, "M_FORBIDDEN")


async def test_devices(bot: Client) -> None:
    device = {"device_id": "BRIDGE"}
    unknown = await bot.request("GET", "/account/whoami", params=device)
    assert (unknown.status, unknown.body["errcode"]) == (400, "M_UNKNOWN_DEVICE")
    await bot.ok("PUT", "/devices/BRIDGE", {"display_name": "Bridge"})
    await bot.ok("PUT", "/devices/BRIDGE", {})
    assert (await bot.ok("GET", "/account/whoami", params=device))["device_id"] == "BRIDGE"
    unstable = {"org.matrix.msc3202.device_id": "BRIDGE"}
    assert (await bot.ok("GET", "/account/whoami", params=unstable))["device_id"] == "BRIDGE"
    assert (await bot.ok("GET", "/devices/BRIDGE"))["display_name"] == "Bridge"
    await bot.ok("DELETE", "/devices/BRIDGE", {})
    assert (await bot.request("GET", "/devices/BRIDGE")).status == 404


async def test_retries_times_and_limits(bot: Client, service_server: Server) -> None:
    room = await bot.create_room(room_alias_name="_db_room")
    await bot.ok("PUT", "/devices/BRIDGE", {})
    path = f"/rooms/{part(room)}/send/m.room.message/txn"
    query = {"device_id": "BRIDGE", "ts": 12345}
    first = await bot.ok("PUT", path, {"msgtype": "m.text", "body": "once"}, params=query)
    service_server.kill()
    service_server.start()
    bot.base_url = service_server.url
    assert await bot.ok("PUT", path, {"msgtype": "m.text", "body": "once"}, params=query) == first
    assert (await bot.event(room, first["event_id"]))["origin_server_ts"] == 12345
    for number in range(60):  # beyond every burst, and beyond the aliases of a user
        await bot.send(room, f"message {number}")
        await bot.ok("PUT", f"/directory/room/{part(f'#_db_{number}:hromada.test')}", {"room_id": room})


async def test_nobody_else_takes_its_names(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    file = tmp_path / "db.yaml"
    spaces = {"users": [{"exclusive": True, "regex": "@db-.*"}]}
    file.write_text(registration(namespaces=spaces))
    server = start_server(environment={"HROMADA_APPSERVICES_FILES": str(file)})
    person = Client(http, server.url)
    body = {"username": f"db-{uuid.uuid4().hex}", "password": "correct horse"}
    refused = await person.request("POST", "/register", {**body, "auth": {"type": "m.login.dummy"}}, token=None)
    assert refused.body["errcode"] == "M_EXCLUSIVE"
    no_token = {"type": "m.login.application_service", "username": "db-x"}
    assert (await person.request("POST", "/register", no_token, token=None)).body["errcode"] == "M_MISSING_TOKEN"
    person.token = AS_TOKEN
    outside = {"type": "m.login.application_service", "username": "alice"}
    assert (await person.request("POST", "/register", outside)).body["errcode"] == "M_EXCLUSIVE"
    opened = (await person.request("POST", "/register", {**no_token, "device_id": "D"})).ok()
    assert opened["access_token"]
    assert opened["device_id"] == "D"
    login = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "db-x"}}
    assert (await person.request("POST", "/login", login)).ok()["user_id"] == "@db-x:hromada.test"
