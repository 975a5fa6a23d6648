"""What the server asks application services, and what only they may ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import aiohttp
import pytest

from tests.api.test_appservice_push import Place, place
from tests.support.appservice import RunningService, registration, running_service
from tests.support.client import part
from tests.support.fixtures import StartServer

SPACES = {
    "users": [{"exclusive": True, "regex": "@_db_.*"}],
    "aliases": [{"exclusive": True, "regex": "#_db_.*"}],
}
PING = "/_matrix/client/v1/appservice/db/ping"


@pytest.fixture
async def service() -> AsyncIterator[RunningService]:
    async with running_service() as running:
        yield running


@pytest.fixture
async def here(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str, service: RunningService
) -> Place:
    one = registration(service.url, namespaces=SPACES, protocols=["shop"])
    return await place(start_server, tmp_path, http, database, one)


async def test_rooms_and_users_are_made_when_asked_for(here: Place, service: RunningService) -> None:
    async def make(path: str) -> bool:
        if unquote(path).endswith("#_db_order:hromada.test"):
            await here.bot.create_room(preset="public_chat", room_alias_name="_db_order")
            return True
        if unquote(path).endswith("@_db_seller:hromada.test"):
            await here.ghost("_db_seller")
            return True
        return False

    service.on_query = make
    alice = here.alice
    joined = await alice.ok("POST", f"/join/{part('#_db_order:hromada.test')}", {})
    assert joined["room_id"].startswith("!")
    unknown = await alice.request("POST", f"/join/{part('#_db_none:hromada.test')}", {})
    unknown.error(404, "M_NOT_FOUND")
    seller = "@_db_seller:hromada.test"
    await alice.ok("POST", f"/rooms/{part(joined['room_id'])}/leave", {})
    room = await alice.create_room(invite=[seller])
    assert await alice.ok("GET", f"/profile/{part(seller)}") == {}
    await service.until(lambda: any(event["room_id"] == room for event in service.events()))
    # What is not theirs is not asked of them, and a service that is away is no obstacle.
    (await alice.request("GET", f"/directory/room/{part('#other:hromada.test')}")).error(404, "M_NOT_FOUND")
    asked = [path for _, path, _ in service.asked]
    assert not any("other" in path for path in asked)
    await service.stop()
    (await alice.request("GET", f"/directory/room/{part('#_db_more:hromada.test')}")).error(404, "M_NOT_FOUND")


async def test_pings(here: Place, service: RunningService) -> None:
    assert (await here.bot.ok("POST", PING, {"transaction_id": "meow"}))["duration_ms"] >= 0
    unstable = "/_matrix/client/unstable/fi.mau.msc2659/appservice/db/ping"
    assert "duration_ms" in await here.bot.ok("POST", unstable, {})
    (await here.alice.request("POST", PING, {})).error(403, "M_FORBIDDEN")
    (await here.bot.request("POST", PING.replace("/db/", "/other/"), {})).error(403, "M_FORBIDDEN")
    service.status = 418
    refused = (await here.bot.request("POST", PING, {})).error(502, "M_BAD_STATUS")
    assert refused["status"] == 418
    assert "M_UNKNOWN" in refused["body"]
    await service.stop()
    (await here.bot.request("POST", PING, {})).error(502, "M_CONNECTION_FAILED")


async def test_no_url(start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession) -> None:
    here = await place(start_server, tmp_path, http, "sqlite", registration(None))
    (await here.bot.request("POST", PING, {})).error(400, "M_URL_NOT_SET")


async def test_networks(here: Place, service: RunningService) -> None:
    shop = {
        "user_fields": ["nick"],
        "location_fields": ["order"],
        "icon": "mxc://x/y",
        "field_types": {},
        "instances": [{"network_id": "main", "desc": "Shop", "fields": {}}],
    }
    place_ = {"alias": "#_db_1:hromada.test", "protocol": "shop", "fields": {"order": "1"}}
    user = {"userid": "@_db_1:hromada.test", "protocol": "shop", "fields": {"nick": "one"}}
    service.answers = {
        "/thirdparty/protocol/shop": shop,
        "/thirdparty/location/shop": [place_],
        "/thirdparty/location": [place_],
        "/thirdparty/user/shop": [user],
        "/thirdparty/user": [user],
    }
    alice = here.alice
    known = await alice.ok("GET", "/thirdparty/protocols")
    assert known["shop"]["user_fields"] == ["nick"]
    instance = known["shop"]["instances"][0]["instance_id"]
    assert await alice.ok("GET", "/thirdparty/protocol/shop") == known["shop"]
    (await alice.request("GET", "/thirdparty/protocol/irc")).error(404, "M_NOT_FOUND")
    assert await alice.ok("GET", "/thirdparty/location/shop", params={"order": "1"}) == [place_]
    assert ("GET", "/_matrix/app/v1/thirdparty/location/shop", {"order": "1"}) in service.asked
    (await alice.request("GET", "/thirdparty/user/irc")).error(404, "M_NOT_FOUND")
    assert await alice.ok("GET", "/thirdparty/user/shop", params={"nick": "one"}) == [user]
    assert await alice.ok("GET", "/thirdparty/location", params={"alias": place_["alias"]}) == [place_]
    assert await alice.ok("GET", "/thirdparty/user", params={"userid": user["userid"]}) == [user]
    assert await alice.ok("GET", "/thirdparty/user", params={"userid": alice.user_id}) == []
    (await alice.request("GET", "/thirdparty/location/shop", params={f"f{n}": "x" for n in range(30)})).error(400)

    room, other = await here.bot.create_room(name="Order 1"), await alice.create_room()
    listed = f"/directory/list/appservice/main/{part(room)}"
    (await alice.request("PUT", listed, {"visibility": "public"})).error(403, "M_FORBIDDEN")
    await here.bot.ok("PUT", listed, {"visibility": "public"})
    unknown = f"/directory/list/appservice/main/{part('!none:hromada.test')}"
    (await here.bot.request("PUT", unknown, {"visibility": "public"})).error(404, "M_NOT_FOUND")

    async def rooms(**query: object) -> set[str]:
        return {found["room_id"] for found in (await alice.ok("POST", "/publicRooms", query))["chunk"]}

    assert await rooms(third_party_instance_id=instance) == {room}
    assert room in await rooms(include_all_networks=True)
    assert await rooms(third_party_instance_id="db|other") == set()
    assert not {room, other} & await rooms()
    await here.bot.ok("PUT", listed, {"visibility": "private"})
    assert await rooms(third_party_instance_id=instance) == set()
    # One that answers nonsense, or nothing, is as one that knows nothing.
    service.answers = {"/thirdparty/protocol/shop": ["nonsense"], "/thirdparty/user/shop": {"no": "list"}}
    assert await alice.ok("GET", "/thirdparty/protocols") == {}
    assert await alice.ok("GET", "/thirdparty/user/shop") == []
    await service.stop()
    assert await alice.ok("GET", "/thirdparty/user/shop") == []
