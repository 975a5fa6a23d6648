"""The bounds of the configuration reference hold, at the values an operator sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.client import Client, part, rooms, timeline
from tests.support.fixtures import StartServer
from tests.support.server import Server

SMALL = {
    "HROMADA_LIMITS_DISPLAYNAME_LENGTH": "5",
    "HROMADA_LIMITS_AVATAR_URL_LENGTH": "20",
    "HROMADA_LIMITS_ACCOUNT_DATA_BYTES": "1024",
    "HROMADA_LIMITS_FILTER_BYTES": "1024",
    "HROMADA_LIMITS_FILTERS_PER_USER": "2",
    "HROMADA_LIMITS_ALIASES_PER_USER": "2",
    "HROMADA_LIMITS_MESSAGES_PAGE": "10",
    "HROMADA_LIMITS_CONTEXT_EVENTS": "2",
    "HROMADA_LIMITS_DEVICES_PER_USER": "3",
    "HROMADA_SYNC_TIMELINE_LIMIT": "3",
    "HROMADA_SYNC_MAX_TIMELINE_LIMIT": "10",
    "HROMADA_SYNC_MAX_TIMEOUT_SECONDS": "1",
}


@pytest.fixture
def small(start_server: StartServer) -> Iterator[Server]:
    yield start_server(environment=SMALL)


async def member(server: Server, http: aiohttp.ClientSession, name: str = "ann") -> Client:
    client = Client(http, server.url)
    await client.register(name)
    return client


async def test_sizes_and_numbers(small: Server, http: aiohttp.ClientSession) -> None:
    ann = await member(small, http)
    user = part(ann.user_id)
    await ann.ok("PUT", f"/profile/{user}/displayname", {"displayname": "five5"})
    (await ann.request("PUT", f"/profile/{user}/displayname", {"displayname": "sixsix"})).error(400)
    (await ann.request("PUT", f"/profile/{user}/avatar_url", {"avatar_url": "mxc://" + "x" * 20})).error(400)
    data = f"/user/{user}/account_data/org.example.x"
    await ann.ok("PUT", data, {"x": "y" * 900})
    (await ann.request("PUT", data, {"x": "y" * 1100})).error(413, "M_TOO_LARGE")
    filters = f"/user/{user}/filter"
    (await ann.request("POST", filters, {"room": {"x": "y" * 1100}})).error(413, "M_TOO_LARGE")
    for number in range(2):
        await ann.ok("POST", filters, {"room": {"timeline": {"limit": number}}})
    (await ann.request("POST", filters, {"room": {"timeline": {"limit": 7}}})).error(403)


async def test_aliases(small: Server, http: aiohttp.ClientSession) -> None:
    ann = await member(small, http)
    room = await ann.create_room(room_alias_name="one")
    await ann.ok("PUT", f"/directory/room/{part('#two:hromada.test')}", {"room_id": room})
    refused = await ann.request("PUT", f"/directory/room/{part('#three:hromada.test')}", {"room_id": room})
    refused.error(403, "M_RESOURCE_LIMIT_EXCEEDED")
    (await ann.request("POST", "/createRoom", {"room_alias_name": "three"})).error(403, "M_RESOURCE_LIMIT_EXCEEDED")
    await ann.ok("DELETE", f"/directory/room/{part('#two:hromada.test')}")
    await ann.ok("PUT", f"/directory/room/{part('#three:hromada.test')}", {"room_id": room})


async def test_pages(small: Server, http: aiohttp.ClientSession) -> None:
    ann = await member(small, http)
    room = await ann.create_room()
    sent = [await ann.send(room, str(number)) for number in range(12)]
    page = await ann.ok("GET", f"/rooms/{part(room)}/messages", params={"dir": "b", "limit": 50})
    assert len(page["chunk"]) == 10
    context = await ann.ok("GET", f"/rooms/{part(room)}/context/{part(sent[5])}", params={"limit": 50})
    assert len(context["events_before"]) + len(context["events_after"]) == 2
    first = await ann.sync()
    assert len(timeline(rooms(first, "join")[room])) == 3
    asked = await ann.sync(filter={"room": {"timeline": {"limit": 90}}})
    assert len(timeline(rooms(asked, "join")[room])) == 10
    await ann.sync(first["next_batch"], timeout=100_000)  # the client would give up long before


async def test_rate_limits_of_rooms(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(
        rate_limits="on",
        environment={
            "HROMADA_RATE_LIMITS_REGISTRATION": "100/100",
            "HROMADA_RATE_LIMITS_JOINS_ROOM": "0.001/1",
            "HROMADA_RATE_LIMITS_INVITES_ROOM": "0.001/2",
            "HROMADA_RATE_LIMITS_INVITES_USER": "0.001/1",
        },
    )
    ann, bob, carol, dave = [await member(server, http, name) for name in ("ann", "bob", "carol", "dave")]
    room = await ann.create_room(preset="public_chat")
    await bob.join(room)
    limited = await carol.request("POST", f"/rooms/{part(room)}/join", {})
    assert limited.error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] > 0
    assert int(limited.headers["Retry-After"]) > 0
    invite = f"/rooms/{part(room)}/invite"
    await ann.ok("POST", invite, {"user_id": carol.user_id})
    other = await ann.create_room()
    (await ann.request("POST", f"/rooms/{part(other)}/invite", {"user_id": carol.user_id})).error(429)
    await ann.ok("POST", invite, {"user_id": dave.user_id})
    (await ann.request("POST", invite, {"user_id": bob.user_id})).error(429)


async def test_refused_invites_and_joins_take_nothing_from_others(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    environment = {f"HROMADA_RATE_LIMITS_{name}": "0.001/2" for name in ("INVITES_USER", "INVITES_ROOM", "JOINS_ROOM")}
    wide = {f"HROMADA_RATE_LIMITS_{name}": "1/100" for name in ("INVITES_ISSUER", "JOINS", "REGISTRATION")}
    server = start_server(rate_limits="on", environment={**environment, **wide})
    ann, ben, cat, dan = [await Client(http, server.url).register(name) for name in ("ann", "ben", "cat", "dan")]
    nowhere = f"/rooms/{part('!nowhere:' + server.name)}"
    for _ in range(4):
        (await ben.request("POST", f"{nowhere}/invite", {"user_id": dan.user_id})).error((403, 404))
        state = f"{nowhere}/state/m.room.member/{part(dan.user_id)}"
        (await ben.request("PUT", state, {"membership": "invite"})).error((403, 404))
    private = await ann.create_room(preset="private_chat")
    for _ in range(4):
        (await ben.request("POST", f"/join/{part(private)}", {})).error(403)
    await ann.ok("POST", f"/rooms/{part(private)}/invite", {"user_id": dan.user_id})
    await dan.join(private)
    path = f"/rooms/{part(private)}/state/m.room.member/{part(cat.user_id)}"
    await ann.ok("PUT", path, {"membership": "invite"})
    # Both of the room's invites are used up, by whatever path.
    (await ann.request("POST", f"/rooms/{part(private)}/invite", {"user_id": ben.user_id})).error(429)
    path = f"/rooms/{part(private)}/state/m.room.member/{part(ben.user_id)}"
    (await ann.request("PUT", path, {"membership": "invite"})).error(429)
    # What is no room or user is no key of a limit.
    (await ben.request("POST", "/join/nonsense", {})).error(400, "M_INVALID_PARAM")
    (await ben.request("POST", f"{nowhere}/invite", {"user_id": "nonsense"})).error(400, "M_INVALID_PARAM")


async def test_aliases_made_at_once_are_no_more_than_allowed(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database, environment={"HROMADA_LIMITS_ALIASES_PER_USER": "5"})
    ann = await Client(http, server.url).register("ann")
    room = await ann.create_room()
    puts = [
        ann.request("PUT", f"/directory/room/{part(f'#a{number}:{server.name}')}", {"room_id": room})
        for number in range(20)
    ]
    rooms_ = [ann.request("POST", "/createRoom", {"room_alias_name": f"b{number}"}) for number in range(10)]
    answers = await asyncio.gather(*puts, *rooms_)
    assert sorted(answer.status for answer in answers).count(200) == 5
    assert {answer.errcode for answer in answers if answer.status != 200} == {"M_RESOURCE_LIMIT_EXCEEDED"}


async def test_knocks_by_state_event_are_joins_to_the_limits(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = start_server(
        rate_limits="on",
        environment={"HROMADA_RATE_LIMITS_REGISTRATION": "100/100", "HROMADA_RATE_LIMITS_JOINS": "0.001/2"},
    )
    ann, dave = [await member(server, http, name) for name in ("ann", "dave")]
    knocking = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    wanted = [await ann.create_room(initial_state=knocking) for _ in range(3)]
    answers = [
        await dave.request(
            "PUT", f"/rooms/{part(room)}/state/m.room.member/{part(dave.user_id)}", {"membership": "knock"}
        )
        for room in wanted
    ]
    assert [answer.status for answer in answers] == [200, 200, 429], answers
