"""Looking into rooms without joining them, and the older way to read one room.

spec: client-server-api#get_matrixclientv3events, client-server-api#get_matrixclientv3roomsroomidinitialsync
"""

from __future__ import annotations

import asyncio

import aiohttp

from tests.support.client import Client, Json, part
from tests.support.fixtures import StartServer

READABLE = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}


async def events(client: Client, room: str, **params: object) -> Json:
    """One request to the event stream of a room."""
    answer: Json = await client.ok("GET", "/events", params={"room_id": room, **params})
    return answer


def bodies(answer: Json) -> list[str]:
    return [event["content"].get("body", "") for event in answer["chunk"]]


async def test_a_world_readable_room_can_be_listened_to(alice: Client, bob: Client) -> None:
    room = await alice.create_room(initial_state=[READABLE])
    start = await events(bob, room)
    assert start["chunk"] == []
    await alice.send(room, "one")
    await alice.send(room, "two")
    answer = await events(bob, room, **{"from": start["end"], "timeout": 10_000})
    assert bodies(answer) == ["one", "two"]
    assert answer["start"] == start["end"]
    assert all(
        {"event_id", "room_id", "sender", "type", "content", "origin_server_ts"} <= set(e) for e in answer["chunk"]
    )
    waiting = asyncio.create_task(events(bob, room, **{"from": answer["end"], "timeout": 25_000}))
    await asyncio.sleep(0.2)
    await alice.create_room()
    assert not waiting.done()
    await alice.send(room, "three")
    assert bodies(await asyncio.wait_for(waiting, 20)) == ["three"]
    assert bodies(await events(bob, room, **{"from": start["end"]})) == ["one", "two", "three"]


async def test_long_stretches_come_in_pages(alice: Client) -> None:
    room = await alice.create_room()
    token = (await events(alice, room))["end"]
    for number in range(120):
        await alice.send(room, str(number))
    found: list[str] = []
    while len(found) < 120:
        page = await events(alice, room, **{"from": token})
        assert page["chunk"], found
        found += bodies(page)
        token = page["end"]
    assert found == [str(number) for number in range(120)]


async def test_other_rooms_stay_closed(alice: Client, bob: Client) -> None:
    room = await alice.create_room()
    answers = set()
    for name in (room, "!unknown:hromada.test"):
        reply = await bob.request("GET", "/events", params={"room_id": name})
        reply.error(403, "M_FORBIDDEN")
        (await bob.request("GET", f"/rooms/{part(name)}/initialSync")).error(403, "M_FORBIDDEN")
        answers.add(reply.raw)
    assert len(answers) == 1
    for params in ({"room_id": "nonsense"}, {"room_id": room, "from": "nonsense"}, {"room_id": room, "timeout": -1}):
        (await alice.request("GET", "/events", params=params)).error(400, "M_INVALID_PARAM")
    assert (await alice.ok("GET", "/events", params={"timeout": 0}))["chunk"] == [], "without a room it is one's own"


async def test_listening_ends_when_the_door_closes(alice: Client, bob: Client) -> None:
    room = await alice.create_room(initial_state=[READABLE])
    device = await bob.another_device()
    token = (await events(bob, room))["end"]
    params = {"room_id": room, "from": token, "timeout": 25_000}
    held = [asyncio.create_task(client.request("GET", "/events", params=params)) for client in (bob, device)]
    await asyncio.sleep(0.2)
    await device.ok("POST", "/logout", {})
    (await asyncio.wait_for(held[1], 20)).error(401, "M_UNKNOWN_TOKEN")
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    (await asyncio.wait_for(held[0], 20)).error(403, "M_FORBIDDEN")


async def test_a_stopping_server_answers(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server("sqlite")
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    token = (await events(alice, room))["end"]
    held = asyncio.create_task(events(alice, room, **{"from": token, "timeout": 60_000}))
    await asyncio.sleep(0.2)
    assert await asyncio.to_thread(server.stop) == 0
    assert (await held)["chunk"] == []


async def test_the_present_of_one_room(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob, visibility="public", name="Room")
    for number in range(25):
        await alice.send(room, str(number))
    await bob.ok("PUT", f"/user/{part(bob.user_id)}/rooms/{part(room)}/tags/m.favourite", {})
    answer = await bob.ok("GET", f"/rooms/{part(room)}/initialSync")
    assert (answer["room_id"], answer["membership"], answer["visibility"]) == (room, "join", "public")
    assert bodies(answer["messages"]) == [str(number) for number in range(5, 25)]
    earlier = await bob.messages(room, "b", **{"from": answer["messages"]["start"], "limit": 2})
    assert bodies(earlier) == ["4", "3"]
    await alice.send(room, "later")
    later = await bob.messages(room, "f", **{"from": answer["messages"]["end"]})
    assert bodies(later) == ["later"]
    assert ("m.room.name", "") in {(event["type"], event["state_key"]) for event in answer["state"]}
    assert answer["account_data"] == [{"type": "m.tag", "content": {"tags": {"m.favourite": {}}}}]
    await bob.member(room, "leave")
    await alice.send(room, "not for bob")
    left = await bob.ok("GET", f"/rooms/{part(room)}/initialSync")
    assert left["membership"] == "leave"
    assert "not for bob" not in bodies(left["messages"])
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    outside = await carol.ok("GET", f"/rooms/{part(room)}/initialSync")
    assert "membership" not in outside
    assert outside["account_data"] == []
