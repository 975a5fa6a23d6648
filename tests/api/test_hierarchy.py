"""Spaces: the tree of rooms below one, its order, its pages, and who sees which rooms; summaries of single rooms.

spec: client-server-api#spaces
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Client, Json, part

VIA = {"via": ["hromada.test"]}


async def make_space(client: Client, **more: Any) -> str:
    """A space that anybody may join."""
    return await client.create_room(creation_content={"type": "m.space"}, preset="public_chat", **more)


async def tree(client: Client, space: str, **params: Any) -> list[Json]:
    """All pages of a hierarchy."""
    found: list[Json] = []
    token = None
    while True:
        path = f"/_matrix/client/v1/rooms/{part(space)}/hierarchy"
        page = await client.ok("GET", path, params={**params, "from": token})
        found += page["rooms"]
        if (token := page.get("next_batch")) is None:
            return found


def ids(found: list[Json]) -> list[str]:
    return [room["room_id"] for room in found]


async def test_a_tree_is_walked_depth_first_in_the_order_of_the_children(alice: Client, bob: Client) -> None:
    # spec: client-server-api#ordering-of-children-within-a-space
    space, inner = await make_space(alice, name="Outer"), await make_space(alice, name="Inner")
    leaf, late, early, first = [await alice.create_room(preset="public_chat") for _ in range(4)]
    for child, content in (
        (early, VIA),
        (late, {**VIA, "order": "not\nvalid"}),
        (inner, {**VIA, "order": "b"}),
        (first, {**VIA, "order": " "}),
    ):
        await alice.set_state(space, "m.space.child", content, child)
    await alice.set_state(inner, "m.space.child", VIA, leaf)
    await alice.set_state(inner, "m.space.child", VIA, space)  # a loop
    found = await tree(bob, space)
    assert ids(found) == [space, first, inner, leaf, early, late]
    root = found[0]
    assert (root["name"], root["room_type"], root["room_version"]) == ("Outer", "m.space", "12")
    assert root["num_joined_members"] == 1
    assert [child["state_key"] for child in root["children_state"]] == [first, inner, early, late]
    assert all({"type", "state_key", "content", "sender", "origin_server_ts"} == set(c) for c in root["children_state"])
    assert found[1]["children_state"] == []
    for limit in (1, 2, 5):
        assert ids(await tree(bob, space, limit=limit)) == ids(found)


async def test_depth_and_suggestions_narrow_the_walk(alice: Client) -> None:
    space, inner, leaf = await make_space(alice), await make_space(alice), await alice.create_room()
    await alice.set_state(space, "m.space.child", {**VIA, "suggested": True}, inner)
    other = await alice.create_room()
    await alice.set_state(space, "m.space.child", VIA, other)
    await alice.set_state(inner, "m.space.child", VIA, leaf)
    assert ids(await tree(alice, space, max_depth=0)) == [space]
    assert ids(await tree(alice, space, max_depth=1)) == [space, inner, other]
    assert ids(await tree(alice, space)) == [space, inner, leaf, other]
    suggested = await tree(alice, space, suggested_only=True)
    assert ids(suggested) == [space, inner]
    assert [child["state_key"] for child in suggested[0]["children_state"]] == [inner]


async def test_only_rooms_that_may_be_known_are_shown(alice: Client, bob: Client) -> None:
    space = await make_space(alice)

    async def child(rule: Json | None = None, **more: Any) -> str:
        state = [] if rule is None else [{"type": "m.room.join_rules", "content": rule}]
        room = await alice.create_room(initial_state=[*state, *more.pop("initial_state", [])], **more)
        await alice.set_state(space, "m.space.child", VIA, room)
        return room

    club = await alice.create_room(preset="public_chat")
    allow = [{"type": "m.room_membership", "room_id": club}]
    private = await child()
    invited = await child(invite=[bob.user_id])
    knockable = await child({"join_rule": "knock"})
    restricted = await child({"join_rule": "restricted", "allow": allow})
    history = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    readable = await child(initial_state=[history])
    removed = await child({"join_rule": "public"})
    await alice.set_state(space, "m.space.child", {}, removed)
    await alice.set_state(space, "m.space.child", VIA, "!unknown:elsewhere.example")
    await alice.set_state(space, "m.space.child", VIA, "nonsense")
    assert set(ids(await tree(alice, space))) == {space, private, invited, knockable, restricted, readable}
    assert set(ids(await tree(bob, space))) == {space, invited, knockable, readable}
    await bob.join(club)
    found = {room["room_id"]: room for room in await tree(bob, space)}
    assert set(found) == {space, invited, knockable, restricted, readable}
    assert found[restricted]["allowed_room_ids"] == [club]
    (await alice.member(knockable, "ban", bob.user_id)).ok()
    assert knockable not in ids(await tree(bob, space))


async def test_bad_requests(alice: Client, bob: Client) -> None:
    private, space = await alice.create_room(), await make_space(alice)
    await alice.set_state(space, "m.space.child", VIA, private)

    def path(room: str) -> str:
        return f"/_matrix/client/v1/rooms/{part(room)}/hierarchy"

    for room in (private, "!unknown:hromada.test"):
        (await bob.request("GET", path(room))).error(403, "M_FORBIDDEN")
    (await bob.request("GET", path("nonsense"))).error(400, "M_INVALID_PARAM")
    for params in ({"limit": 0}, {"limit": -1}, {"max_depth": -1}, {"from": "s1"}, {"from": "h1"}, {"limit": "x"}):
        (await alice.request("GET", path(space), params=params)).error(400, "M_INVALID_PARAM")
    token = (await alice.ok("GET", path(space), params={"limit": 1}))["next_batch"]
    for changed in ({"suggested_only": True}, {"max_depth": 3}):
        (await alice.request("GET", path(space), params={"from": token, **changed})).error(400, "M_INVALID_PARAM")


@pytest.mark.parametrize("names", ["v1/room_summary", "unstable/im.nheko.summary/summary"])
async def test_a_restricted_room_is_summarised_for_those_who_may_join(
    alice: Client, bob: Client, carol: Client, names: str
) -> None:
    club = await alice.create_room(preset="public_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    room = await alice.create_room(name="For members", initial_state=[{"type": "m.room.join_rules", "content": rule}])
    await bob.join(club)
    path = f"/_matrix/client/{names}/{part(room)}"
    summary = await bob.ok("GET", path)
    assert (summary["name"], summary["allowed_room_ids"]) == ("For members", [club])
    assert "membership" not in summary
    assert (await alice.ok("GET", path))["membership"] == "join"
    (await carol.request("GET", path)).error(404, "M_NOT_FOUND")
    (await carol.request("GET", path, token=None)).error(404, "M_NOT_FOUND")
