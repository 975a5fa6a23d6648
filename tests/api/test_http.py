"""How the API behaves as HTTP: CORS, unknown endpoints, methods, path encoding, body limits, discovery, metrics.

spec: client-server-api#api-standards, client-server-api#web-browser-clients
"""

from __future__ import annotations

from urllib.parse import quote

import aiohttp
import pytest

from tests.support.client import V3, Client, part
from tests.support.fixtures import MakeUser, StartServer, fresh
from tests.support.server import Server

MESSAGE = {"msgtype": "m.text", "body": "old"}
CORS_PATHS = ("/_matrix/client/versions", V3 + "/sync", V3 + "/nonsense", "/.well-known/matrix/client")


@pytest.mark.parametrize("path", CORS_PATHS)
async def test_every_answer_lets_browsers_read_it(anonymous: Client, path: str) -> None:
    # spec: client-server-api#web-browser-clients
    for method in ("GET", "OPTIONS"):
        reply = await anonymous.request(method, path, headers={"Origin": "https://app.example"})
        assert reply.headers["Access-Control-Allow-Origin"] == "*", f"{method} {path}: {reply}"
    allowed = {value.strip() for value in reply.headers["Access-Control-Allow-Methods"].split(",")}
    assert allowed >= {"GET", "POST", "PUT", "DELETE", "OPTIONS"}
    headers = {value.strip().lower() for value in reply.headers["Access-Control-Allow-Headers"].split(",")}
    assert headers >= {"x-requested-with", "content-type", "authorization"}
    assert "Access-Control-Allow-Credentials" not in reply.headers


async def test_every_refusal_lets_browsers_read_it(alice: Client, make_user: MakeUser) -> None:
    # synapse#1595, #11600, #11762, #4593
    room, stranger = await alice.create_room(), await make_user("stranger")
    large = b'{"body":"' + b"x" * 900_000 + b'"}'
    for status, (method, path, more) in {
        400: ("POST", "/createRoom", {"data": b"{"}),
        401: ("GET", "/_matrix/client/v1/media/config", {"token": None}),
        403: ("GET", f"/rooms/{part(room)}/state", {"token": stranger.token}),
        404: ("GET", "/.well-known/matrix/nonsense", {}),
        405: ("DELETE", "/_matrix/media/v3/upload", {}),
        413: ("PUT", f"/rooms/{part(room)}/send/m.room.message/large", {"data": large}),
    }.items():
        reply = await alice.request(method, path, **more)
        assert reply.error(status)["errcode"].startswith("M_")
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["Access-Control-Allow-Origin"] == "*", reply
    reply = await stranger.request("GET", "/_synapse/admin/v1/rooms")
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (403, "*")


async def test_a_preflight_needs_no_token_and_does_nothing(alice: Client) -> None:
    room = await alice.create_room()
    before = len(await alice.history(room))
    for path in ("/rooms/" + part(room) + "/send/m.room.message/t1", "/createRoom"):
        reply = await alice.request("OPTIONS", path, token=None)
        assert reply.status in {200, 204}, reply
    assert len(await alice.history(room)) == before


async def test_versions_list_every_version_and_accept_a_token(anonymous: Client, alice: Client) -> None:
    versions = await anonymous.ok("GET", "/_matrix/client/versions")
    assert {"v1.1", "v1.11", "v1.19"} <= set(versions["versions"])
    assert isinstance(versions.get("unstable_features", {}), dict)
    await alice.ok("GET", "/_matrix/client/versions")


async def test_well_known_points_at_a_base_url(anonymous: Client) -> None:
    answer = await anonymous.ok("GET", "/.well-known/matrix/client")
    assert answer["m.homeserver"]["base_url"].startswith("http")


async def test_capabilities_name_room_versions_1_to_12(alice: Client) -> None:
    capabilities = (await alice.ok("GET", "/capabilities"))["capabilities"]
    versions = capabilities["m.room_versions"]
    assert versions["default"] == "12"
    assert {str(number) for number in range(1, 13)} <= set(versions["available"])
    assert capabilities["m.change_password"]["enabled"] is True


@pytest.mark.parametrize(
    "path",
    ["/nonsense", "/rooms", "/_matrix", "/_matrix/client", "/_matrix/client/v99/sync", "/_matrix/nonsense/v1/x"],
)
async def test_unknown_endpoints_are_404_unrecognized(alice: Client, path: str) -> None:
    (await alice.request("GET", path)).error(404, "M_UNRECOGNIZED")
    (await alice.request("POST", path, {})).error(404, "M_UNRECOGNIZED")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/sync"),
        ("DELETE", "/sync"),
        ("PATCH", "/createRoom"),
        ("GET", "/createRoom"),
        ("POST", "/devices"),
    ],
)
async def test_a_known_path_with_another_method_is_405(alice: Client, method: str, path: str) -> None:
    (await alice.request(method, path)).error(405, "M_UNRECOGNIZED")


async def test_a_missing_or_wrong_token_is_401(alice: Client) -> None:
    (await alice.request("GET", "/account/whoami", token=None)).error(401, "M_MISSING_TOKEN")
    (await alice.request("GET", "/account/whoami", token="nonsense")).error(401, "M_UNKNOWN_TOKEN")
    for header in ("Basic abc", "Bearer", "Bearer ", "bearer"):
        reply = await alice.request("GET", "/account/whoami", token=None, headers={"Authorization": header})
        reply.error(401, "M_MISSING_TOKEN", "M_UNKNOWN_TOKEN")


async def test_old_clients_use_the_r0_prefix(alice: Client) -> None:
    room = await alice.create_room()
    who = await alice.ok("GET", "/_matrix/client/r0/account/whoami")
    assert who["user_id"] == alice.user_id
    sent = await alice.ok("PUT", f"/_matrix/client/r0/rooms/{part(room)}/send/m.room.message/1", MESSAGE)
    assert (await alice.event(room, sent["event_id"]))["content"] == MESSAGE


async def test_state_paths_have_trailing_slashes_for_the_empty_key(alice: Client) -> None:
    room = await alice.create_room(name="The room")
    for path in (f"/rooms/{part(room)}/state/m.room.name", f"/rooms/{part(room)}/state/m.room.name/"):
        assert (await alice.ok("GET", path))["name"] == "The room"
    await alice.ok("PUT", f"/rooms/{part(room)}/state/m.room.name/", {"name": "Renamed"})
    assert (await alice.state(room, "m.room.name"))["name"] == "Renamed"


@pytest.mark.parametrize("key", ["a/b", "a%2Fb", "ключ", "a b", "a+b", "?x=#y", "..", ".", "💬", "%"])
async def test_state_keys_and_types_may_hold_any_character(alice: Client, key: str) -> None:
    room = await alice.create_room()
    await alice.set_state(room, "org.example/" + key, {"key": key}, key)
    assert await alice.state(room, "org.example/" + key, key) == {"key": key}
    found = [event for event in await alice.full_state(room) if event["type"] == "org.example/" + key]
    assert [event["state_key"] for event in found] == [key]


@pytest.mark.parametrize("name", ["with/slash", "пример", "a b", "per%cent", "plus+plus"])
async def test_aliases_may_hold_any_character(alice: Client, server: Server, name: str) -> None:
    room = await alice.create_room()
    alias = f"#{fresh(name)}:{server.name}"
    await alice.ok("PUT", f"/directory/room/{part(alias)}", {"room_id": room})
    assert (await alice.ok("GET", f"/directory/room/{part(alias)}"))["room_id"] == room
    await alice.ok("DELETE", f"/directory/room/{part(alias)}")
    (await alice.request("GET", f"/directory/room/{part(alias)}")).error(404, "M_NOT_FOUND")


async def test_only_necessary_characters_need_encoding(alice: Client) -> None:
    room = await alice.create_room()
    loosely = quote(room, safe="!:@$")
    sent = await alice.ok("PUT", f"/rooms/{loosely}/send/m.room.message/loose", MESSAGE)
    again = await alice.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/loose", MESSAGE)
    assert sent == again


async def test_a_json_body_needs_no_content_type(alice: Client) -> None:
    for header in ("text/plain", "application/octet-stream", "application/json; charset=utf-8"):
        reply = await alice.request("POST", "/createRoom", data=b"{}", headers={"Content-Type": header})
        assert reply.ok()["room_id"]


async def test_answers_are_json_with_utf_8(alice: Client) -> None:
    for path in ("/account/whoami", "/nonsense"):
        reply = await alice.request("GET", path)
        assert reply.headers["Content-Type"].split(";")[0] == "application/json"


async def test_head_is_a_get_without_a_body(anonymous: Client) -> None:
    reply = await anonymous.request("HEAD", "/_matrix/client/versions")
    assert reply.status in {200, 405}
    assert reply.raw == b""


async def test_health_and_metrics_answer(anonymous: Client) -> None:
    assert (await anonymous.request("GET", "/health")).status == 200
    metrics = await anonymous.request("GET", "/metrics")
    assert metrics.status == 200
    assert b"# TYPE " in metrics.raw


async def test_the_server_does_not_name_its_software_versions(anonymous: Client) -> None:
    reply = await anonymous.request("GET", "/_matrix/client/versions")
    assert "hypercorn" not in reply.headers.get("Server", "").lower()
    assert "python" not in reply.headers.get("Server", "").lower()


async def test_rate_limits_say_when_to_retry(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    limited = start_server(database, rate_limits="on")
    client = Client(http, limited.url)
    attempt = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "a"}, "password": "b"}
    for _ in range(200):
        reply = await client.request("POST", "/login", attempt)
        if reply.status == 429:
            break
        reply.error(403, "M_FORBIDDEN")
    body = reply.error(429, "M_LIMIT_EXCEEDED")
    assert isinstance(body["retry_after_ms"], int)
    assert body["retry_after_ms"] > 0
    assert int(reply.headers["Retry-After"]) * 1000 >= body["retry_after_ms"]
    assert reply.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def test_one_connection_carries_many_requests(anonymous: Client) -> None:
    one = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /_matrix/client/v3/nonsense HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await anonymous.raw(one)
    assert answer.startswith(b"HTTP/1.1 200")
    answer = await anonymous.raw(last)
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"M_UNRECOGNIZED" in answer


async def test_who_sends_a_large_body_in_vain_reads_the_answer(alice: Client) -> None:
    """The error is known before the body is read; closing on unread bytes would reset the connection."""
    body = b'{"rooms":' + b" " * 900_000 + b"{}}"
    for _ in range(10):
        reply = await alice.request("PUT", "/room_keys/keys", data=body)
        reply.error(400, "M_MISSING_PARAM")
