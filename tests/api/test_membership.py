"""Membership: join, invite, leave, kick, ban, unban, forget, knock and restricted joins.

spec: client-server-api#room-membership
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.client import Client, part, rooms
from tests.support.fixtures import MakeUser


async def membership(viewer: Client, room: str, user: Client) -> str:
    """The membership of `user` as `viewer` reads it."""
    return str((await viewer.state(room, "m.room.member", user.user_id))["membership"])


async def test_joining_a_public_room_by_either_path(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    assert (await bob.member(room, "join", reason="curious")).ok()["room_id"] == room
    assert (await alice.state(room, "m.room.member", bob.user_id))["reason"] == "curious"
    assert await carol.join(room) == room
    assert await carol.join(room) == room
    assert room in (await carol.ok("GET", "/joined_rooms"))["joined_rooms"]
    joins = [e for e in await alice.history(room) if e["type"] == "m.room.member" and e["sender"] == carol.user_id]
    assert len(joins) == 1, "joining twice changes nothing"


async def test_joining_needs_permission(alice: Client, bob: Client) -> None:
    room = await alice.create_room()
    (await bob.member(room, "join")).error(403, "M_FORBIDDEN")
    (await bob.request("POST", f"/join/{part('!no-such-room:hromada.test')}", {})).error((403, 404))
    (await bob.request("POST", f"/join/{part('#no-such-alias:hromada.test')}", {})).error(404, "M_NOT_FOUND")
    (await bob.request("POST", "/join/nonsense", {})).error(400)


async def test_invite_and_accept(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.create_room()
    (await alice.member(room, "invite", bob.user_id, reason="welcome")).ok()
    invited = await alice.state(room, "m.room.member", bob.user_id)
    assert (invited["membership"], invited["reason"]) == ("invite", "welcome")
    await bob.join(room)
    (await bob.member(room, "invite", carol.user_id)).ok()
    (await alice.member(room, "invite", bob.user_id)).error(403, "M_FORBIDDEN", "M_BAD_STATE")
    (await alice.request("POST", f"/rooms/{part(room)}/invite", {})).error(400)
    (await alice.member(room, "invite", "nonsense")).error(400, "M_INVALID_PARAM")
    (await carol.member(room, "leave")).ok()
    assert await membership(alice, room, carol) == "leave"
    (await carol.member(room, "join")).error(403, "M_FORBIDDEN")


async def test_an_outsider_cannot_invite_nor_a_low_level(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.create_room(preset="public_chat", power_level_content_override={"invite": 50})
    (await bob.member(room, "invite", carol.user_id)).error(403, "M_FORBIDDEN")
    await bob.join(room)
    (await bob.member(room, "invite", carol.user_id)).error(403, "M_FORBIDDEN")


async def test_kick(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob, carol)
    (await bob.member(room, "kick", carol.user_id)).error(403, "M_FORBIDDEN")
    (await alice.member(room, "kick", bob.user_id, reason="enough")).ok()
    kicked = await alice.state(room, "m.room.member", bob.user_id)
    assert (kicked["membership"], kicked["reason"]) == ("leave", "enough")
    (await alice.member(room, "kick", bob.user_id)).error(403, "M_FORBIDDEN")
    await bob.join(room)


async def test_ban_and_unban(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    (await bob.member(room, "ban", alice.user_id)).error(403, "M_FORBIDDEN")
    (await alice.member(room, "ban", bob.user_id)).ok()
    (await bob.member(room, "join")).error(403, "M_FORBIDDEN", "M_BAD_STATE")
    (await alice.member(room, "invite", bob.user_id)).error(403, "M_FORBIDDEN", "M_BAD_STATE")
    (await carol.member(room, "unban", bob.user_id)).error(403, "M_FORBIDDEN")
    (await alice.member(room, "unban", bob.user_id)).ok()
    assert await membership(alice, room, bob) == "leave"
    await bob.join(room)
    (await alice.member(room, "ban", carol.user_id)).ok()
    (await carol.member(room, "join")).error(403, "M_FORBIDDEN", "M_BAD_STATE")


async def test_power_protects_the_powerful(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob, carol, room_version="11")
    levels = await alice.state(room, "m.room.power_levels")
    levels["users"] = {alice.user_id: 100, bob.user_id: 50, carol.user_id: 50}
    await alice.set_state(room, "m.room.power_levels", levels)
    (await bob.member(room, "kick", carol.user_id)).error(403, "M_FORBIDDEN")
    (await bob.member(room, "ban", alice.user_id)).error(403, "M_FORBIDDEN")
    for users in ({**levels["users"], bob.user_id: 100}, {**levels["users"], carol.user_id: 0}):
        raised = await bob.request("PUT", f"/rooms/{part(room)}/state/m.room.power_levels", {**levels, "users": users})
        raised.error(403, "M_FORBIDDEN")


async def test_leave_and_forget(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    (await bob.member(room, "forget")).error(400, "M_UNKNOWN")
    (await bob.member(room, "leave", reason="bye")).ok()
    assert (await alice.state(room, "m.room.member", bob.user_id))["reason"] == "bye"
    assert await bob.history(room)
    (await bob.member(room, "forget")).ok()
    (await bob.request("GET", f"/rooms/{part(room)}/messages?dir=b")).error(403, "M_FORBIDDEN")
    archived = await bob.sync(filter={"room": {"include_leave": True}})
    assert room not in rooms(archived, "leave")
    await bob.join(room)
    assert room in rooms(await bob.sync(), "join")


async def test_knocking(alice: Client, bob: Client, carol: Client) -> None:
    # spec: client-server-api#knocking-on-rooms
    room = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
    )
    (await bob.member(room, "join")).error(403, "M_FORBIDDEN")
    knocked = await bob.ok("POST", f"/knock/{part(room)}", {"reason": "let me in"})
    assert knocked["room_id"] == room
    asked = await alice.state(room, "m.room.member", bob.user_id)
    assert (asked["membership"], asked["reason"]) == ("knock", "let me in")
    (await alice.member(room, "invite", bob.user_id)).ok()
    await bob.join(room)
    await carol.ok("POST", f"/knock/{part(room)}", {})
    (await alice.member(room, "kick", carol.user_id)).ok()
    assert await membership(alice, room, carol) == "leave"
    closed = await alice.create_room()
    (await bob.request("POST", f"/knock/{part(closed)}", {})).error(403, "M_FORBIDDEN")
    (await bob.request("POST", f"/knock/{part('#none:hromada.test')}", {})).error(404, "M_NOT_FOUND")


@pytest.mark.parametrize("version", ["8", "10", "12"])
async def test_restricted_rooms_admit_members_of_another(
    alice: Client, bob: Client, carol: Client, version: str
) -> None:
    # spec: client-server-api#restricted-rooms
    club = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    room = await alice.create_room(
        room_version=version, initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}]
    )
    (await bob.member(room, "join")).error(403, "M_FORBIDDEN")
    await bob.join(club)
    await bob.join(room)
    joined = await alice.state(room, "m.room.member", bob.user_id)
    assert joined["join_authorised_via_users_server"] == alice.user_id
    (await carol.member(room, "join")).error(403, "M_FORBIDDEN")
    (await alice.member(room, "invite", carol.user_id)).ok()
    await carol.join(room)


async def test_membership_tricks(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    secret = await alice.create_room()

    async def forge(client: Client, where: str, target: Client, **content: object) -> None:
        path = f"/rooms/{part(where)}/state/m.room.member/{part(target.user_id)}"
        (await client.request("PUT", path, content)).error((400, 403))

    await forge(bob, room, carol, membership="join")
    await forge(bob, room, alice, membership="leave")
    await forge(bob, room, alice, membership="ban")
    await forge(bob, secret, bob, membership="join")
    await forge(bob, secret, bob, membership="join", join_authorised_via_users_server=alice.user_id)
    await forge(bob, secret, bob, membership="knock")
    await forge(bob, secret, bob, membership="invite")
    await forge(bob, room, bob, membership="nonsense")
    await forge(bob, room, bob, membership=5)
    await forge(bob, room, bob)
    assert await membership(alice, room, bob) == "join"
    assert await membership(alice, room, alice) == "join"
    path = f"/rooms/{part(room)}/state/m.room.member/{part(bob.user_id)}"
    await bob.ok("PUT", path, {"membership": "join", "displayname": "Only here"})
    assert (await alice.state(room, "m.room.member", bob.user_id))["displayname"] == "Only here"
    await bob.ok("PUT", path, {"membership": "leave"})
    assert await membership(alice, room, bob) == "leave"


async def test_create_is_never_sent_twice(alice: Client) -> None:
    room = await alice.create_room()
    create = await alice.state(room, "m.room.create")
    for key in ("", "again"):
        path = f"/rooms/{part(room)}/state/m.room.create/{part(key)}"
        (await alice.request("PUT", path, {"room_version": "12"})).error((400, 403))
    assert await alice.state(room, "m.room.create") == create


async def test_many_join_at_once(alice: Client, make_user: MakeUser) -> None:
    room = await alice.create_room(preset="public_chat")
    users = [await make_user("crowd") for _ in range(6)]
    await asyncio.gather(*(user.join(room) for user in users))
    joined = (await alice.ok("GET", f"/rooms/{part(room)}/joined_members"))["joined"]
    assert set(joined) == {alice.user_id, *(user.user_id for user in users)}


async def test_who_blocks_invites_gets_none_by_any_path(alice: Client, bob: Client) -> None:
    room, earlier = await alice.create_room(), await alice.create_room(invite=[bob.user_id])
    since = (await bob.sync())["next_batch"]
    path = f"/user/{part(bob.user_id)}/account_data/m.invite_permission_config"
    await bob.ok("PUT", path, {"default_action": "block"})
    (await alice.member(room, "invite", bob.user_id)).error(403, "M_INVITE_BLOCKED")
    member = f"/rooms/{part(room)}/state/m.room.member/{part(bob.user_id)}"
    (await alice.request("PUT", member, {"membership": "invite"})).error(403, "M_INVITE_BLOCKED")
    (await alice.request("POST", "/createRoom", {"invite": [bob.user_id]})).error(403, "M_INVITE_BLOCKED")
    assert rooms(await bob.sync(), "invite") == {}, "nor is one told that was there before"
    assert rooms(await bob.sync(since), "invite") == {}
    assert (await alice.state(earlier, "m.room.member", bob.user_id))["membership"] == "invite"
    await bob.join(earlier)
    await bob.ok("PUT", path, {"default_action": "allow"})
    (await alice.member(room, "invite", bob.user_id)).ok()
    assert rooms(await bob.sync(since), "invite").keys() == {room}
