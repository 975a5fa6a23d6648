"""Hostile input gets the specification's error and changes nothing, on both databases.

The cases are C1 to C12, C17 and C18 of the reliability plan (C17 and C18 are in `test_messages.py`).
spec: client-server-api#standard-error-response, appendices#canonical-json
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client import V3, Client, Json, part, rooms
from tests.support.fixtures import fresh
from tests.support.server import Server

NUL = "nul\u0000inside"
LIMIT_MAX = 2**53 - 1


@pytest.fixture
async def room(alice: Client, server: Server) -> AsyncIterator[str]:
    """A room that must be as it was when the test ends, on a server that must still be well."""
    made = await alice.create_room(name="Untouched")
    before = {event["event_id"]: event["content"] for event in await alice.full_state(made)}
    yield made
    server.assert_alive()
    assert {event["event_id"]: event["content"] for event in await alice.full_state(made)} == before
    assert (await alice.request("GET", "/health")).status == 200
    assert made in rooms(await alice.sync(), "join")


def send_path(room: str, event_type: str = "org.example.message", txn: str = "t") -> str:
    """The path of a send."""
    return f"/rooms/{part(room)}/send/{part(event_type)}/{part(txn)}"


async def refused(alice: Client, room: str, data: bytes, *codes: str) -> None:
    """`data` as an event's content, as state, as account data and as a request to create a room: all refused."""
    messages = len(await alice.history(room))
    joined = await alice.ok("GET", "/joined_rooms")
    me = part(alice.user_id)
    for method, path in (
        ("PUT", send_path(room)),
        ("PUT", f"/rooms/{part(room)}/state/org.example/"),
        ("PUT", f"/user/{me}/account_data/org.example"),
        ("POST", f"/user/{me}/filter"),
        ("POST", "/createRoom"),
        ("POST", "/login"),
    ):
        reply = await alice.request(method, path, data=data)
        assert reply.status == 400, f"{method} {path} {data[:60]!r}: {reply}"
        reply.error(400, *codes)
    assert len(await alice.history(room)) == messages
    assert await alice.ok("GET", "/joined_rooms") == joined


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        '{"a":1}'.encode("utf-16"),
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"{",
        b'{"a":1}}',
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":"tab\tinside"}',
        b"nonsense",
        b"\x00",
        b"--boundary\r\nContent-Disposition: form-data\r\n\r\nx",
    ],
)
async def test_c1_what_is_not_json(alice: Client, room: str, data: bytes) -> None:
    await refused(alice, room, data, "M_NOT_JSON")


@pytest.mark.parametrize("data", [b"[]", b"null", b"5", b'"text"', b"true", b'[{"a":1}]'])
async def test_c1_what_is_not_an_object(alice: Client, room: str, data: bytes) -> None:
    await refused(alice, room, data, "M_BAD_JSON")


async def test_c1_an_empty_body_is_not_json_where_content_is_needed(alice: Client, room: str) -> None:
    (await alice.request("PUT", send_path(room), data=b"")).error(400, "M_NOT_JSON")
    (await alice.request("POST", "/login", data=b"")).error(400, "M_NOT_JSON")


@pytest.mark.parametrize("number", ["1.5", "1.0", "1e5", "1e400", "-1e400", str(2**53), str(-(2**53)), "9" * 5000])
async def test_c2_numbers_that_canonical_json_does_not_have(alice: Client, room: str, number: str) -> None:
    # spec: appendices#canonical-json
    messages = len(await alice.history(room))
    for content in (f'{{"n":{number}}}', f'{{"deep":[{{"n":[{number}]}}]}}'):
        for path in (send_path(room), f"/rooms/{part(room)}/state/org.example/"):
            (await alice.request("PUT", path, data=content.encode())).error(400, "M_BAD_JSON")
    assert len(await alice.history(room)) == messages


async def test_c2_the_largest_integers_and_no_negative_zero(alice: Client, room: str) -> None:
    event = await alice.send(room, {"n": [LIMIT_MAX, -LIMIT_MAX]}, "org.example")
    assert (await alice.event(room, event))["content"]["n"] == [LIMIT_MAX, -LIMIT_MAX]
    reply = await alice.request("PUT", send_path(room, txn="zero"), data=b'{"n":-0}')
    if reply.status == 200:
        stored = await alice.request("GET", f"/rooms/{part(room)}/event/{part(reply.body['event_id'])}")
        assert b'"n":0}' in stored.raw  # an id may contain "-0"
    else:
        reply.error(400, "M_BAD_JSON")


@pytest.mark.parametrize(
    "data", [rb'{"a":"\ud800"}', rb'{"\ud800":1}', rb'{"a":["\udfff\ud800"]}', rb'{"a":{"b":"x\udc00y"}}']
)
async def test_c3_lone_surrogates(alice: Client, room: str, data: bytes) -> None:
    await refused(alice, room, data, "M_BAD_JSON")


async def test_c3_surrogate_pairs_are_characters(alice: Client, room: str) -> None:
    reply = await alice.request("PUT", send_path(room), data=rb'{"body":"\ud83d\ude00"}')
    assert (await alice.event(room, reply.ok()["event_id"]))["content"] == {"body": "😀"}


async def test_c4_nul_in_content_is_kept(alice: Client, room: str) -> None:
    event = await alice.send(room, {"msgtype": "m.text", "body": NUL, NUL: NUL})
    assert (await alice.event(room, event))["content"] == {"msgtype": "m.text", "body": NUL, NUL: NUL}
    path = f"/user/{part(alice.user_id)}/account_data/org.example"
    await alice.ok("PUT", path, {NUL: NUL})
    assert await alice.ok("GET", path) == {NUL: NUL}
    named = await alice.request("POST", "/createRoom", {"name": NUL, "topic": NUL, "visibility": "public"})
    if named.status == 200:
        assert (await alice.state(named.body["room_id"], "m.room.name"))["name"] == NUL
    else:
        named.error(400)
    await alice.ok("POST", "/publicRooms", {"filter": {"generic_search_term": NUL}})


async def test_c4_nul_in_identifiers_is_refused(alice: Client, room: str, server: Server) -> None:
    me = part(alice.user_id)
    there = part(room)
    alias = part(f"#{NUL}:{server.name}")
    cases: list[tuple[str, str, Json | None]] = [
        ("PUT", f"/profile/{me}/displayname", {"displayname": NUL}),
        ("PUT", f"/profile/{me}/avatar_url", {"avatar_url": f"mxc://x/{NUL}"}),
        ("PUT", f"/rooms/{there}/send/{part(NUL)}/t", {}),
        ("PUT", f"/rooms/{there}/state/{part(NUL)}/", {}),
        ("PUT", f"/rooms/{there}/state/org.example/{part(NUL)}", {}),
        ("PUT", f"/directory/room/{alias}", {"room_id": room}),
        ("GET", f"/directory/room/{alias}", None),
        ("POST", "/createRoom", {"room_alias_name": NUL}),
        ("POST", f"/join/{part('!' + NUL)}", {}),
        ("POST", f"/rooms/{there}/invite", {"user_id": f"@{NUL}:{server.name}"}),
        ("GET", f"/rooms/{there}/event/{part('$' + NUL)}", None),
        ("GET", f"/rooms/{part('!' + NUL)}/state", None),
        ("GET", f"/profile/{part('@' + NUL + ':x')}", None),
        ("GET", f"/user/{me}/filter/{part(NUL)}", None),
        ("GET", "/sync?since=%00", None),
        ("GET", f"/rooms/{there}/messages?dir=b&from=%00", None),
        ("POST", "/register", {"username": NUL, "password": "x" * 20, "auth": {"type": "m.login.dummy"}}),
        (
            "POST",
            "/login",
            {"type": "m.login.password", "password": NUL, "identifier": {"type": "m.id.user", "user": NUL}},
        ),
        ("PUT", f"/devices/{part(NUL)}", {"display_name": "x"}),
        ("POST", "/refresh", {"refresh_token": NUL}),
    ]
    for method, path, body in cases:
        reply = await alice.request(method, path, body)
        assert 400 <= reply.status < 500, f"{method} {path}: {reply}"
        reply.error(reply.status)
    for method, path, body in cases[:4]:
        (await alice.request(method, path, body)).error(400, "M_INVALID_PARAM")
    (await alice.request("GET", "/account/whoami", token="a%00b")).error(401, "M_UNKNOWN_TOKEN")


@pytest.mark.parametrize("depth", [130, 5_000, 100_000])
async def test_c5_deep_nesting(alice: Client, room: str, depth: int, server: Server) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        data = b'{"a":' + opening * depth + b"1" + closing * depth + b"}"
        await refused(alice, room, data, "M_BAD_JSON")
    inline = "[" * min(depth, 2_000) + "]" * min(depth, 2_000)
    (await alice.request("GET", "/sync", params={"filter": '{"a":' + inline + "}"})).error((400, 414, 431))
    assert "RecursionError" not in server.log.read_text()


async def test_c5_a_hundred_levels_are_fine(alice: Client, room: str) -> None:
    content: Json = json.loads('{"a":' * 100 + "1" + "}" * 100)
    assert (await alice.event(room, await alice.send(room, content)))["content"] == content


async def test_c6_the_last_of_duplicate_keys_wins(alice: Client, room: str) -> None:
    reply = await alice.request("PUT", send_path(room), data=b'{"a":1,"a":2}')
    if reply.status == 200:
        stored = await alice.request("GET", f"/rooms/{part(room)}/event/{part(reply.body['event_id'])}")
        assert stored.body["content"] == {"a": 2}
        assert stored.raw.count(b'"a"') == 1
    else:
        reply.error(400, "M_BAD_JSON", "M_NOT_JSON")


async def test_c7_sizes(alice: Client, room: str, server: Server) -> None:
    # spec: client-server-api#size-limits
    accepted = await alice.request("PUT", send_path(room, txn="big"), {"body": "x" * 60_000})
    assert len((await alice.event(room, accepted.ok()["event_id"]))["content"]["body"]) == 60_000
    there = part(room)
    for body in ("x" * 65_536, "é" * 33_000, "\u0001" * 20_000):
        (await alice.request("PUT", send_path(room, txn="bigger"), {"body": body})).error(413, "M_TOO_LARGE")
    for name in ("x" * 256, "é" * 128):
        (await alice.request("PUT", send_path(room, name), {})).error((400, 413), "M_TOO_LARGE", "M_INVALID_PARAM")
        (await alice.request("PUT", f"/rooms/{there}/state/{part(name)}/", {})).error((400, 413))
        (await alice.request("PUT", f"/rooms/{there}/state/org.example/{part(name)}", {})).error((400, 413))
        alias = f"#{name}:{server.name}"
        (await alice.request("PUT", f"/directory/room/{part(alias)}", {"room_id": room})).error((400, 413))
        user = f"@{name}:{server.name}"
        (await alice.request("POST", f"/rooms/{there}/invite", {"user_id": user})).error((400, 413))
    await alice.send(room, {}, "x" * 255)


async def test_c7_long_profile_values(alice: Client, room: str) -> None:
    path = f"/profile/{part(alice.user_id)}/displayname"
    (await alice.request("PUT", path, {"displayname": "x" * 100_000})).error((400, 413))
    (await alice.request("PUT", send_path(room, txn="t" * 5_000), {})).error((400, 413, 414))


async def test_c8_too_large_bodies_are_not_read(alice: Client, room: str) -> None:
    head = f"PUT {V3}{send_path(room)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n"
    declared = await alice.raw(head.encode() + b"Content-Length: 1000000000\r\n\r\n{")
    assert b" 413 " in declared.split(b"\r\n")[0]
    assert b"M_TOO_LARGE" in declared
    (await alice.request("POST", "/createRoom", data=b" " * 2_000_000 + b"{}")).error(413, "M_TOO_LARGE")


async def test_c8_chunked_bodies_have_the_same_limit(alice: Client, room: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    reply = await alice.request("POST", "/createRoom", data=endless())  # type: ignore[arg-type]
    reply.error(413, "M_TOO_LARGE")


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "MULTIPART/Form-Data; boundary=b", "text/html"])
async def test_c8_forms_are_never_parsed(alice: Client, room: str, kind: str) -> None:
    data = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
    (await alice.request("PUT", send_path(room), data=data, headers={"Content-Type": kind})).error(400, "M_NOT_JSON")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 40\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: abc\r\n",
        b"Transfer-Encoding: nonsense\r\n",
    ],
)
async def test_c8_ambiguous_framing_is_refused(alice: Client, room: str, headers: bytes) -> None:
    head = f"POST {V3}/createRoom HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n".encode()
    smuggled = b"0\r\n\r\nGET /_matrix/client/v3/account/whoami HTTP/1.1\r\nHost: x\r\n\r\n"
    before = await alice.ok("GET", "/joined_rooms")
    answer = await alice.raw(head + headers + b"\r\n" + smuggled, timeout=30.0)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), answer
    assert answer.count(b"HTTP/1.1") == 1, "the connection is closed, nothing behind the request is answered"
    assert await alice.ok("GET", "/joined_rooms") == before


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50, b"A" * 70_000]
)
async def test_c8_what_is_not_http(alice: Client, room: str, garbage: bytes) -> None:
    answer = await alice.raw(garbage, timeout=1.0)
    assert not answer.startswith(b"HTTP/1.1 5") or answer.startswith(b"HTTP/1.1 505")


@pytest.mark.parametrize(
    "path",
    [
        "/delete_devicesX",
        "/syncX",
        "//sync",
        "/sync/",
        "/account/whoami/",
        "/account//whoami",
        "/account/whoami/extra",
        "/account%2fwhoami",
        "/account/%77hoam%ff",
        "/%ff",
        "/x/_synapse/admin/v1/register",
        "/_x/_matrix/client/v3/sync",
        "/../v3/sync",
    ],
)
async def test_c9_paths_are_exact(alice: Client, room: str, path: str) -> None:
    full = path if path.startswith("/_") else V3 + path
    (await alice.request("GET", full)).error(404, "M_UNRECOGNIZED")


async def test_c9_bad_escapes(alice: Client, room: str) -> None:
    for escape in ("%ff", "%", "%zz", "%c3%28"):
        path = f"/rooms/{part(room)}/state/org.example/{escape}"
        reply = await alice.request("GET", path)
        assert 400 <= reply.status < 500, reply
        reply.error(reply.status)


@pytest.mark.parametrize("limit", ["-1", "abc", "1e99", "1.5", "", "99999999999999999999", "%00", "0x10"])
async def test_c10_limits(alice: Client, room: str, limit: str) -> None:
    for path in (f"/rooms/{part(room)}/messages?dir=b&limit={limit}", f"/publicRooms?limit={limit}"):
        reply = await alice.request("GET", path)
        if reply.status != 200:
            reply.error(400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    "query",
    ["since=nonsense", "since=s-1", "since=s", "since=s9999999999999999999999", "timeout=abc", "full_state=maybe",
     "filter=nonsense", "filter=999999", "filter={", "set_presence=nonsense", "since=%ff"],
)  # fmt: skip
async def test_c10_sync_parameters(alice: Client, room: str, query: str) -> None:
    reply = await alice.request("GET", "/sync?" + query)
    reply.error((400, 404), "M_INVALID_PARAM", "M_UNKNOWN", "M_NOT_JSON", "M_NOT_FOUND", "M_BAD_JSON")


async def test_c10_a_negative_timeout_does_not_wait(alice: Client, room: str) -> None:
    since = (await alice.sync())["next_batch"]
    reply = await alice.request("GET", "/sync", params={"since": since, "timeout": -5})
    assert reply.status in {200, 400}, reply


async def test_c10_a_future_token_never_goes_back(alice: Client, room: str) -> None:
    now = (await alice.sync())["next_batch"]
    position = "".join(character if character.isdigit() else "" for character in now[:12])
    future = now.replace(position, str(int(position) + 1_000_000), 1)
    reply = await alice.request("GET", "/sync", params={"since": future, "timeout": 0})
    if reply.status != 200:
        reply.error(400, "M_INVALID_PARAM", "M_UNKNOWN")
        return
    await alice.send(room, "not lost")
    again = await alice.sync(reply.body["next_batch"])
    assert reply.body["next_batch"] == future or room in rooms(again, "join")


@pytest.mark.parametrize(
    "filter",
    [
        {"room": {"timeline": {"limit": -5}}},
        {"room": {"timeline": {"limit": "5"}}},
        {"room": {"timeline": {"limit": 1.5}}},
        {"room": {"timeline": {"types": "m.room.message"}}},
        {"room": {"timeline": {"types": [5]}}},
        {"room": {"rooms": "x"}},
        {"room": {"rooms": [1]}},
        {"room": []},
        {"room": {"state": {"lazy_load_members": "yes"}}},
        {"event_fields": "x"},
        {"event_format": "nonsense"},
        {"presence": 1},
        {"account_data": {"senders": ["nonsense", 1]}},
    ],
)
async def test_c10_bad_filters(alice: Client, room: str, filter: Any) -> None:
    stored = await alice.request("POST", f"/user/{part(alice.user_id)}/filter", filter)
    stored.error(400, "M_BAD_JSON", "M_INVALID_PARAM")
    (await alice.request("GET", "/sync", params={"filter": filter})).error(400, "M_BAD_JSON", "M_INVALID_PARAM")


async def test_c12_a_refused_room_leaves_nothing_behind(alice: Client, room: str, server: Server) -> None:
    before = await alice.ok("GET", "/joined_rooms")
    token = (await alice.sync())["next_batch"]
    for initial in (
        {"type": "org.example", "content": {"x": "y" * 70_000}},
        {"type": "x" * 300, "content": {}},
        {"type": "m.room.create", "content": {}},
        {"type": "m.room.member", "state_key": alice.user_id, "content": {"membership": "ban"}},
        {"type": "m.room.power_levels", "content": {"users": "nonsense"}},
        {"type": "org.example", "state_key": "@somebody:else", "content": {}},
        {"type": "org.example", "content": {"float": 1.5}},
    ):
        name = fresh("half")
        reply = await alice.request("POST", "/createRoom", {"room_alias_name": name, "initial_state": [initial]})
        assert 400 <= reply.status < 500, f"{initial['type']}: {reply}"
        reply.error(reply.status)
        alias = part(f"#{name}:{server.name}")
        (await alice.request("GET", f"/directory/room/{alias}")).error(404, "M_NOT_FOUND")
    assert await alice.ok("GET", "/joined_rooms") == before
    assert rooms(await alice.sync(token), "join") == {}


async def test_c12_no_second_create_event(alice: Client, room: str) -> None:
    (await alice.request("PUT", f"/rooms/{part(room)}/state/m.room.create/", {})).error((400, 403))
    (await alice.request("PUT", send_path(room, "m.room.create"), {})).error((400, 403))


HOSTILE_STATE: list[tuple[str, Json]] = [
    ("m.room.power_levels", {"users": "x"}),
    ("m.room.power_levels", {"users": {"nonsense": 100}}),
    ("m.room.power_levels", {"ban": "50"}),
    ("m.room.power_levels", {"events": {"m.room.name": "high"}}),
    ("m.room.power_levels", {"users_default": 2**53}),
    ("m.room.member", {"membership": "join"}),
    ("m.room.canonical_alias", {"alias": 5}),
    ("m.room.canonical_alias", {"alt_aliases": "x"}),
]


@pytest.mark.parametrize(("event_type", "content"), HOSTILE_STATE)
async def test_state_that_breaks_rooms_is_refused(alice: Client, room: str, event_type: str, content: Json) -> None:
    reply = await alice.request("PUT", f"/rooms/{part(room)}/state/{event_type}/", content)
    reply.error((400, 403))


@pytest.mark.parametrize(
    ("event_type", "content"),
    [("m.room.name", {"name": 5}), ("m.room.topic", {"topic": []}), ("m.room.avatar", {"url": {}}),
     ("m.room.join_rules", {"join_rule": 5}), ("m.room.join_rules", {"join_rule": "restricted", "allow": [5]}),
     ("m.room.history_visibility", {"history_visibility": []}), ("m.room.tombstone", {"replacement_room": 5}),
     ("m.room.guest_access", {"guest_access": None})],
)  # fmt: skip
async def test_odd_state_is_contained(alice: Client, bob: Client, event_type: str, content: Json) -> None:
    odd = await alice.shared_room(bob, visibility="public")
    reply = await alice.request("PUT", f"/rooms/{part(odd)}/state/{event_type}/", content)
    assert reply.status in {200, 400, 403}, reply
    for client in (alice, bob):
        assert odd in rooms(await client.sync(), "join")
        await client.history(odd)
    await alice.ok("POST", "/publicRooms", {"filter": {"generic_search_term": "x"}})
    carol = await alice.request("POST", f"/rooms/{part(odd)}/invite", {"user_id": "@carol:" + odd.rpartition(":")[2]})
    assert carol.status < 500
