"""The admin API's rooms: lists, blocking on every path, and emptying with a job's progress."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.admin import V1, V2, acts, administrator
from tests.support.client import Client, Json, eventually, part
from tests.support.fixtures import fresh


@pytest.fixture
async def admin(anonymous: Client) -> Client:
    """A server administrator."""
    return await administrator(anonymous)


def room_path(room: str) -> str:
    return f"{V1}/rooms/{part(room)}"


async def test_rooms_are_searched_ordered_and_paged(admin: Client, alice: Client, bob: Client) -> None:
    mark = fresh("rooms")
    names = [f"{mark} {letter}" for letter in "ABC"]
    rooms = [await alice.create_room(preset="public_chat", name=name) for name in names]
    nameless = await alice.create_room(room_alias_name=mark)
    await bob.join(rooms[1])
    await alice.ok("PUT", f"/directory/list/room/{part(rooms[2])}", {"visibility": "public"})
    await alice.ok("POST", f"/rooms/{part(rooms[0])}/leave", {})

    async def listed(**params: Any) -> list[str]:
        found = await admin.ok("GET", f"{V1}/rooms", params={"search_term": mark.upper(), **params})
        assert found["total_rooms"] >= len(found["rooms"])
        return [room["room_id"] for room in found["rooms"]]

    assert await listed() == [*rooms, nameless], "a room without a name comes last"
    assert (await listed(dir="b"))[-3:] == rooms[::-1]
    assert (await listed(order_by="joined_members"))[0] == rooms[1]
    assert await listed(public_rooms=True) == [rooms[2]]
    assert await listed(empty_rooms=True) == [rooms[0]]
    assert await listed(empty_rooms=False, public_rooms=False) == [rooms[1], nameless]
    assert await listed(search_term=rooms[1]) == [rooms[1]]
    for order in ("creator", "version", "encryption", "canonical_alias", "state_events", "public", "join_rules"):
        assert set(await listed(order_by=order)) == {*rooms, nameless}
    page = await admin.ok("GET", f"{V1}/rooms", params={"search_term": mark, "limit": 2, "from": 1})
    assert [room["name"] for room in page["rooms"]] == names[1:]
    assert (page["offset"], page["total_rooms"], page["next_batch"], page["prev_batch"]) == (1, 4, 3, 0)
    assert len((await admin.ok("GET", f"{V1}/rooms", params={"limit": 3}))["rooms"]) == 3
    for bad in ({"order_by": "password"}, {"from": -1}, {"limit": -1}, {"search_term": "x" * 300}, {"dir": "x"}):
        (await admin.request("GET", f"{V1}/rooms", params=bad)).error(400, "M_INVALID_PARAM")


async def test_how_large_rooms_are(admin: Client, alice: Client) -> None:
    mark = fresh("size")
    small, large = [await alice.create_room(name=f"{mark} {letter}") for letter in "AB"]
    for _ in range(5):
        await alice.send(large, "word " * 50)

    async def listed(**params: Any) -> list[Json]:
        found: list[Json] = (await admin.ok("GET", f"{V1}/rooms", params={"search_term": mark, **params}))["rooms"]
        return found

    async def counted() -> bool:  # of the events of all the tests before, a bounded number is counted with each look
        by_room.update((room["room_id"], room) for room in await listed())
        return bool(events(small) == by_room[small]["state_events"] and events(large) == events(small) + 5)

    def events(room: str) -> Any:
        return by_room[room]["chat.hromada.events"]

    by_room: dict[str, Json] = {}
    await eventually(counted)
    for order in ("chat.hromada.events", "chat.hromada.bytes"):
        assert [room["room_id"] for room in await listed(order_by=order)] == [large, small]
        assert [room["room_id"] for room in await listed(order_by=order, dir="b")] == [small, large]
    assert by_room[large]["chat.hromada.bytes"] > by_room[small]["chat.hromada.bytes"] > 0
    await alice.send(small, "one more")
    shown = await admin.ok("GET", room_path(small))
    assert shown["chat.hromada.events"] == events(small) + 1


async def test_one_room(admin: Client, alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob, name="Ґанок", topic="about", room_alias_name=fresh("one"))
    shown = await admin.ok("GET", room_path(room))
    expected = {
        "room_id": room,
        "name": "Ґанок",
        "topic": "about",
        "avatar": None,
        "joined_members": 2,
        "joined_local_members": 2,
        "joined_local_devices": 2,
        "creator": alice.user_id,
        "join_rules": "public",
        "federatable": True,
        "public": False,
        "encryption": None,
    }
    assert {key: shown[key] for key in expected} == expected
    assert shown["canonical_alias"].startswith("#one-")
    members = await admin.ok("GET", f"{room_path(room)}/members")
    assert (set(members["members"]), members["total"]) == ({alice.user_id, bob.user_id}, 2)
    state = (await admin.ok("GET", f"{room_path(room)}/state"))["state"]
    assert shown["state_events"] == len(state) == len(await alice.full_state(room))
    assert {event["event_id"] for event in state} == {event["event_id"] for event in await alice.full_state(room)}
    for tail in ("", "/members", "/state"):
        (await admin.request("GET", room_path("!nowhere:hromada.test") + tail)).error(404, "M_NOT_FOUND")
        (await admin.request("GET", room_path("nonsense") + tail)).error(400, "M_INVALID_PARAM")


async def test_nobody_comes_into_a_blocked_room(admin: Client, alice: Client, bob: Client, carol: Client) -> None:
    alias = fresh("blocked")
    room = await alice.create_room(preset="public_chat", room_alias_name=alias)
    await alice.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": carol.user_id})
    assert await admin.ok("GET", f"{room_path(room)}/block") == {"block": False}
    assert await admin.ok("PUT", f"{room_path(room)}/block", {"block": True}) == {"block": True}
    await admin.ok("PUT", f"{room_path(room)}/block", {"block": True})
    assert await admin.ok("GET", f"{room_path(room)}/block") == {"block": True, "user_id": admin.user_id}

    here, own = f"/rooms/{part(room)}", f"/rooms/{part(room)}/state/m.room.member"
    attempts: list[tuple[Client, str, str, Json]] = [
        (bob, "POST", f"/join/{part(room)}", {}),
        (bob, "POST", f"/join/{part(f'#{alias}:hromada.test')}", {}),
        (bob, "POST", f"{here}/join", {}),
        (bob, "PUT", f"{own}/{part(bob.user_id)}", {"membership": "join"}),
        (carol, "POST", f"{here}/join", {}),
        (carol, "PUT", f"{own}/{part(carol.user_id)}", {"membership": "join"}),
        (alice, "POST", f"{here}/invite", {"user_id": bob.user_id}),
        (alice, "PUT", f"{own}/{part(bob.user_id)}", {"membership": "invite"}),
    ]
    for who, method, path, body in attempts:
        (await who.request(method, path, body)).error(403, "M_FORBIDDEN")
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "knock"})
    (await bob.request("POST", f"/knock/{part(room)}", {})).error(403, "M_FORBIDDEN")
    (await bob.request("PUT", f"{own}/{part(bob.user_id)}", {"membership": "knock"})).error(403, "M_FORBIDDEN")
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "public"})

    # Who is in it stays, speaks, and shows another name.
    await alice.send(room, "still here")
    await alice.ok("PUT", f"/profile/{part(alice.user_id)}/displayname", {"displayname": "Alice B."})
    assert (await alice.state(room, "m.room.member", alice.user_id))["displayname"] == "Alice B."
    members = await admin.ok("GET", f"{room_path(room)}/members")
    assert members["members"] == [alice.user_id]
    (listed,) = (await admin.ok("GET", f"{V1}/rooms", params={"search_term": room}))["rooms"]
    assert (listed["chat.hromada.blocked"], listed["avatar"]) == (True, None)

    await admin.ok("PUT", f"{room_path(room)}/block", {"block": False})
    await bob.join(room)
    assert [act["action"] for act in await acts(admin, target=room)] == ["room.unblock", "room.block"]
    unknown = f"!{fresh('unknown')}:elsewhere.test"
    await admin.ok("PUT", f"{room_path(unknown)}/block", {"block": True})
    assert (await admin.ok("GET", f"{room_path(unknown)}/block"))["block"] is True
    (await admin.request("PUT", f"{room_path(room)}/block", {})).error(400, "M_MISSING_PARAM")


async def test_a_room_is_emptied(admin: Client, alice: Client, bob: Client, carol: Client) -> None:
    alias = fresh("gone")
    room = await alice.shared_room(bob, room_alias_name=alias, visibility="public")
    await alice.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": carol.user_id})
    begun = await admin.ok("DELETE", f"{V2}/rooms/{part(room)}", {"block": True, "purge": False})
    path = f"{V2}/rooms/delete_status/{part(begun['delete_id'])}"

    async def done() -> bool:
        status = (await admin.ok("GET", path))["status"]
        assert status in ("active", "complete")
        return bool(status == "complete")

    await eventually(done)
    status = await admin.ok("GET", path)
    gone = status["shutdown_room"]
    assert set(gone["kicked_users"]) == {alice.user_id, bob.user_id, carol.user_id}
    assert (gone["failed_to_kick_users"], gone["local_aliases"]) == ([], [f"#{alias}:hromada.test"])
    assert (await admin.ok("GET", f"{V2}/rooms/{part(room)}/delete_status"))["results"] == [status]
    for user in (alice, bob, carol):
        assert room not in (await user.ok("GET", "/joined_rooms"))["joined_rooms"]
        (await user.request("POST", f"/join/{part(room)}", {})).error(403, "M_FORBIDDEN")
    shown = await admin.ok("GET", room_path(room))
    assert (shown["joined_members"], shown["public"]) == (0, False)
    (await alice.request("GET", f"/directory/room/{part(f'#{alias}:hromada.test')}")).error(404, "M_NOT_FOUND")
    assert [act["action"] for act in await acts(admin, target=room)] == ["room.delete", "room.block"]


async def test_what_cannot_be_emptied(admin: Client, alice: Client) -> None:
    room = await alice.create_room()
    unknown = part("!nowhere:hromada.test")
    (await admin.request("DELETE", f"{V2}/rooms/{unknown}", {})).error(404, "M_NOT_FOUND")
    (await admin.request("DELETE", f"{V2}/rooms/nonsense", {})).error(400, "M_INVALID_PARAM")
    body = {"new_room_user_id": alice.user_id}
    (await admin.request("DELETE", f"{V2}/rooms/{part(room)}", body)).error(400, "M_INVALID_PARAM")
    assert (await alice.ok("GET", "/joined_rooms"))["joined_rooms"] == [room]
    (await admin.request("GET", f"{V2}/rooms/{part(room)}/delete_status")).error(404, "M_NOT_FOUND")
    (await admin.request("GET", f"{V2}/rooms/delete_status/nonsense")).error(404, "M_NOT_FOUND")
