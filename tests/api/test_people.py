"""Finding people: the user directory and mutual rooms.  spec: client-server-api#user-directory"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Client, Json, part
from tests.support.fixtures import MakeUser, fresh


async def search(client: Client, term: str, **more: Any) -> tuple[list[str], bool]:
    """The ids found, and whether there are more."""
    answer = await client.ok("POST", "/user_directory/search", {"search_term": term, **more})
    return [person["user_id"] for person in answer["results"]], answer["limited"]


async def named(client: Client, name: str) -> None:
    """Give a display name."""
    await client.ok("PUT", f"/profile/{part(client.user_id)}/displayname", {"displayname": name})


async def test_people_are_found_by_the_rooms_they_are_in(alice: Client, bob: Client, carol: Client) -> None:
    mark = fresh("mark")
    for client, name in ((alice, "Alice"), (bob, "Bob"), (carol, "Carol")):
        await named(client, f"{name} {mark}")
    assert await search(alice, mark) == ([alice.user_id], False), "oneself is found always"
    room = await alice.create_room(invite=[bob.user_id])
    assert await search(alice, mark) == ([alice.user_id], False), "an invited user is not in the room"
    await bob.join(room)
    assert await search(alice, mark) == ([alice.user_id, bob.user_id], False)
    assert await search(carol, mark) == ([carol.user_id], False)
    await carol.create_room(preset="public_chat")
    assert await search(alice, mark) == ([alice.user_id, bob.user_id, carol.user_id], False)
    await bob.member(room, "leave")
    assert await search(alice, mark) == ([alice.user_id, carol.user_id], False)


async def test_members_of_world_readable_rooms_are_found(alice: Client, bob: Client) -> None:
    state = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room = await bob.create_room(initial_state=[state])
    assert bob.user_id in (await search(alice, bob.user_id))[0]
    await bob.set_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    assert (await search(alice, bob.user_id))[0] == []


async def test_no_content_of_a_room_disturbs_searches(alice: Client, bob: Client) -> None:
    room = await bob.create_room()
    for content in ({"join_rule": "invite", "x": '\0"join_rule":"public"'}, {"join_rule": "\0"}):
        await bob.request("PUT", f"/rooms/{part(room)}/state/m.room.join_rules", content)
        assert (await search(alice, bob.user_id))[0] == []


@pytest.mark.parametrize(
    ("name", "term"),
    [
        ("Ольга Кобилянська", "кОБИЛ"),
        ("Straße", "STRASSE"),
        ("Two Words", "words two"),
        ("100% sure_thing!", "% sure_thing!"),
        ("\ufb01sh", "FISH"),
    ],
)
async def test_matching_knows_no_case(alice: Client, bob: Client, name: str, term: str) -> None:
    await alice.shared_room(bob)
    mark = fresh("m")
    await named(bob, f"{name} {mark}")
    answer = await alice.ok("POST", "/user_directory/search", {"search_term": f"{term} {mark}"})
    assert answer["results"] == [{"user_id": bob.user_id, "display_name": f"{name} {mark}"}]
    assert (await search(alice, f"{term}x {mark}"))[0] == []


async def test_wildcards_are_letters(alice: Client, bob: Client) -> None:
    await alice.shared_room(bob)
    mark = fresh("w")
    await named(bob, mark)
    for term in (f"{mark[:-1]}_", f"%{mark}", f"!{mark}", f"{mark}\0\0x"):
        assert (await search(alice, term))[0] == []
    assert (await search(alice, f"\0{mark}\0"))[0] == [bob.user_id]
    assert await search(alice, "") == ([], False)
    assert await search(alice, "   ") == ([], False)


async def test_names_that_begin_so_come_first_and_limits_count(alice: Client, make_user: MakeUser) -> None:
    mark = fresh("q").replace("-", "")
    others = [await make_user("limit") for _ in range(3)]
    await alice.shared_room(*others)
    for other, name in zip(others, (f"x{mark}", f"y{mark}", f"Z {mark}"), strict=True):
        await named(other, name)
    found, limited = await search(alice, mark, limit=2)
    assert (found[0], len(found), limited) == (others[2].user_id, 2, True)
    assert len((await search(alice, mark, limit=1000))[0]) == 3
    assert (await search(alice, mark, limit=3))[1] is False


async def test_who_is_gone_is_not_found(alice: Client, bob: Client) -> None:
    await bob.create_room(preset="public_chat")
    assert (await search(alice, bob.user_id))[0] == [bob.user_id]
    reply = await bob.request("POST", "/account/deactivate", {})
    identifier = {"type": "m.id.user", "user": bob.user_id}
    auth = {"type": "m.login.password", "identifier": identifier, "password": "correct horse battery staple"}
    await bob.ok("POST", "/account/deactivate", {"auth": {**auth, "session": reply.body["session"]}})
    assert (await search(alice, bob.user_id))[0] == []


@pytest.mark.parametrize(
    "body", [{}, {"search_term": 5}, {"search_term": "x", "limit": 0}, {"search_term": "x", "limit": -1}, []]
)
async def test_bad_searches(alice: Client, body: Json) -> None:
    reply = await alice.request("POST", "/user_directory/search", body)
    reply.error(400, "M_MISSING_PARAM", "M_BAD_JSON", "M_INVALID_PARAM")


async def test_mutual_rooms(alice: Client, bob: Client, carol: Client) -> None:
    # spec: client-server-api#get_matrixclientv1mutual_rooms
    shared = {await alice.shared_room(bob), await alice.shared_room(bob, carol)}
    await alice.create_room(invite=[bob.user_id])
    await bob.create_room()
    path = "/_matrix/client/v1/mutual_rooms"
    answer = await alice.ok("GET", path, params={"user_id": bob.user_id})
    assert (set(answer["joined"]), answer["count"]) == (shared, 2)
    assert "next_batch" not in answer
    for nobody in ("@nobody:hromada.test", "@x:elsewhere.example"):
        assert await alice.ok("GET", path, params={"user_id": nobody}) == {"joined": [], "count": 0}
    for params in (
        {"user_id": alice.user_id},
        {"user_id": "nonsense"},
        {"user_id": bob.user_id, "from": "nonsense"},
    ):
        (await alice.request("GET", path, params=params)).error(400, "M_INVALID_PARAM")
    (await alice.request("GET", path)).error(400, "M_MISSING_PARAM", "M_INVALID_PARAM")
