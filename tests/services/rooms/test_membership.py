"""Every membership transition, per room version."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.rooms.create import InitialState
from tests.services.rooms.conftest import ALICE, BOB, CAROL, DAVE, World

VERSIONS = ("1", "6", "10", "12")
START = ("none", "invite", "join", "leave", "ban", "knock")


async def prepare(world: World, version: str, start: str, join_rule: str = "invite") -> str:
    """A room of Alice (who has the power) with Carol (who has none) where Bob's membership is `start`."""
    room_id = await world.create(ALICE, CAROL, room_version=version)
    members, set_state = world.rooms.memberships, world.rooms.sending.set_state
    if start in ("join", "leave"):
        await members.join(BOB, room_id)
    if start == "leave":
        await members.leave(BOB, room_id)
    if start == "invite":
        await members.invite(ALICE, room_id, BOB)
    if start == "ban":
        await members.ban(ALICE, room_id, BOB)
    if start == "knock":
        await set_state(room_id, ALICE, ("m.room.join_rules", ""), {"join_rule": "knock"})
        await members.knock(BOB, room_id)
    await set_state(room_id, ALICE, ("m.room.join_rules", ""), {"join_rule": join_rule})
    return room_id


async def outcome(world: World, room_id: str, action: Awaitable[object]) -> str | None:
    """Bob's membership afterwards, or the error code."""
    before = len(await world.timeline(room_id))
    try:
        await action
    except MatrixError as error:
        assert len(await world.timeline(room_id)) == before
        return error.code.value
    return await world.membership(room_id, BOB)


def starts(version: str) -> list[str]:
    return [start for start in START if start != "knock" or int(version) >= 7]


FORBIDDEN = "M_FORBIDDEN"
# action → what becomes of Bob, by his membership before (none, invite, join, leave, ban, knock)
TABLE: dict[str, tuple[str, ...]] = {
    "join": (FORBIDDEN, "join", "join", FORBIDDEN, FORBIDDEN, FORBIDDEN),
    "leave": (FORBIDDEN, "leave", "leave", "leave", FORBIDDEN, "leave"),
    "invite": ("invite", "invite", FORBIDDEN, "invite", FORBIDDEN, "invite"),
    "kick": (FORBIDDEN, "leave", "leave", FORBIDDEN, FORBIDDEN, "leave"),
    "ban": ("ban", "ban", "ban", "ban", "ban", "ban"),
    "unban": (FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, "leave", FORBIDDEN),
}


def act(world: World, action: str, room_id: str, sender: str) -> Awaitable[object]:
    members = world.rooms.memberships
    own: dict[str, Callable[[str, str], Awaitable[object]]] = {"join": members.join, "leave": members.leave}
    if action in own:
        return own[action](BOB, room_id)
    others = {"invite": members.invite, "kick": members.kick, "ban": members.ban, "unban": members.unban}
    return others[action](sender, room_id, BOB)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("action", TABLE)
async def test_transitions(world: World, version: str, action: str) -> None:
    for start, expected in zip(START, TABLE[action], strict=True):
        if start not in starts(version):
            continue
        room_id = await prepare(world, version, start)
        assert await outcome(world, room_id, act(world, action, room_id, ALICE)) == expected, start


@pytest.mark.parametrize("version", VERSIONS)
async def test_without_power_nobody_is_removed(world: World, version: str) -> None:
    for action, start in (("kick", "join"), ("ban", "join"), ("unban", "ban"), ("kick", "none"), ("ban", "none")):
        room_id = await prepare(world, version, start)
        for sender in (CAROL, DAVE):
            assert await outcome(world, room_id, act(world, action, room_id, sender)) == FORBIDDEN


@pytest.mark.parametrize("version", VERSIONS)
async def test_joining_twice_changes_nothing(world: World, version: str) -> None:
    room_id = await prepare(world, version, "join")
    before = world.log.position
    assert await world.rooms.memberships.join(BOB, room_id, reason="again") == room_id
    await world.rooms.memberships.leave(BOB, room_id)
    await world.rooms.memberships.leave(BOB, room_id)
    assert world.log.position == before + 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_public_rooms_take_everyone_but_the_banned(world: World, version: str) -> None:
    for start, expected in (("none", "join"), ("leave", "join"), ("ban", FORBIDDEN)):
        room_id = await prepare(world, version, start, join_rule="public")
        assert await outcome(world, room_id, world.rooms.memberships.join(BOB, room_id)) == expected


async def test_knocking(world: World) -> None:
    for version in VERSIONS:
        room_id = await prepare(world, version, "none", join_rule="knock")
        expected = "knock" if int(version) >= 7 else FORBIDDEN
        assert await outcome(world, room_id, world.rooms.memberships.knock(BOB, room_id)) == expected
    room_id = await prepare(world, "12", "join", join_rule="knock")
    assert await outcome(world, room_id, world.rooms.memberships.knock(BOB, room_id)) == FORBIDDEN


async def restricted_room(world: World, version: str, gate: str, rule: str = "restricted") -> str:
    allow = [{"type": "m.room_membership", "room_id": gate}, {"type": "org.unknown"}, 5]
    return await world.create(
        ALICE,
        room_version=version,
        initial_state=[InitialState("m.room.join_rules", {"join_rule": rule, "allow": allow})],
    )


@pytest.mark.parametrize(("version", "rule"), [("8", "restricted"), ("10", "knock_restricted"), ("12", "restricted")])
async def test_restricted_joins(world: World, version: str, rule: str) -> None:
    gate = await world.create(ALICE, BOB)
    room_id = await restricted_room(world, version, gate, rule)
    await world.rooms.memberships.join(BOB, room_id)
    assert await world.state(room_id, "m.room.member", BOB) == {
        "membership": "join",
        "join_authorised_via_users_server": ALICE,
    }
    with pytest.raises(MatrixError) as refused:
        await world.rooms.memberships.join(CAROL, room_id)
    assert refused.value.code == ErrCode.FORBIDDEN
    # An invited user needs nobody to vouch for them.
    await world.rooms.memberships.invite(ALICE, room_id, CAROL)
    await world.rooms.memberships.join(CAROL, room_id)
    assert await world.state(room_id, "m.room.member", CAROL) == {"membership": "join"}


async def test_an_invitation_is_taken_back_while_it_is_accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who meets a condition of the room joins all the same."""
    gate = await world.create(ALICE, BOB)
    room_id = await restricted_room(world, "12", gate)
    members, profile_of = world.rooms.memberships, world.profiles.member_profile
    for user_id in (BOB, CAROL):
        await members.invite(ALICE, room_id, user_id)

    async def taken_back(user_id: str) -> Mapping[str, str]:
        """Asked for in the middle of a join."""
        if await world.membership(room_id, user_id) == "invite":
            await members.kick(ALICE, room_id, user_id)
        return await profile_of(user_id)

    monkeypatch.setattr(world.profiles, "member_profile", taken_back)
    await members.join(BOB, room_id)
    assert await world.state(room_id, "m.room.member", BOB) == {
        "membership": "join",
        "join_authorised_via_users_server": ALICE,
    }
    with pytest.raises(MatrixError) as refused:
        await members.join(CAROL, room_id)
    assert refused.value.code == ErrCode.FORBIDDEN


async def test_restricted_joins_that_cannot_be_authorised(world: World) -> None:
    elsewhere = await restricted_room(world, "12", "!elsewhere:remote.test")
    with pytest.raises(MatrixError) as unknown:
        await world.rooms.memberships.join(BOB, elsewhere)
    assert unknown.value.code == ErrCode.UNABLE_TO_AUTHORISE_JOIN
    gate = await world.create(ALICE, BOB)
    left = await restricted_room(world, "12", gate)
    await world.rooms.memberships.leave(ALICE, left)
    with pytest.raises(MatrixError) as nobody:
        await world.rooms.memberships.join(BOB, left)
    assert nobody.value.code == ErrCode.UNABLE_TO_GRANT_JOIN


async def test_forgetting(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    members = world.rooms.memberships
    with pytest.raises(MatrixError) as early:
        await members.forget(BOB, room_id)
    assert early.value.code == ErrCode.UNKNOWN
    await members.leave(BOB, room_id)
    await members.forget(BOB, room_id)
    position = world.log.position
    await members.forget(BOB, room_id)
    assert world.log.position == position
    with pytest.raises(MatrixError) as stranger:
        await members.forget(CAROL, room_id)
    assert stranger.value.code == ErrCode.NOT_FOUND
    assert await members.joined_rooms(ALICE) == [room_id]
    assert await members.joined_rooms(BOB) == []


async def test_unknown_rooms(world: World) -> None:
    members = world.rooms.memberships
    for room in ("!nowhere:hromada.test", "#nowhere:hromada.test"):
        with pytest.raises(MatrixError) as unknown:
            await members.join(BOB, room)
        assert unknown.value.code == ErrCode.NOT_FOUND
    for bad in ("room", "!", "#x", "!a\0:b"):
        with pytest.raises(MatrixError) as malformed:
            await members.join(BOB, bad)
        assert malformed.value.code == ErrCode.INVALID_PARAM


@pytest.mark.parametrize("version", VERSIONS)
async def test_forged_state_is_refused(world: World, version: str) -> None:
    room_id = await prepare(world, version, "join")
    send = world.rooms.sending.set_state
    before = len(await world.timeline(room_id))
    forgeries: list[tuple[str, tuple[str, str], dict[str, Any]]] = [
        (ALICE, ("m.room.create", ""), {}),
        (ALICE, ("org.test", BOB), {}),
        (BOB, ("m.room.member", CAROL), {"membership": "join"}),
        (ALICE, ("m.room.member", DAVE), {"membership": "join"}),
        (BOB, ("m.room.power_levels", ""), {"users": {BOB: 100}}),
        (DAVE, ("m.room.topic", ""), {"topic": "x"}),
    ]
    for sender, key, content in forgeries:
        with pytest.raises(MatrixError) as refused:
            await send(room_id, sender, key, content)
        assert refused.value.code == ErrCode.FORBIDDEN, (sender, key)
    malformed_contents: list[dict[str, Any]] = [
        {},
        {"membership": 5},
        {"membership": "member"},
        {"membership": "join", "displayname": 5},
    ]
    for content in malformed_contents:
        with pytest.raises(MatrixError) as malformed:
            await send(room_id, BOB, ("m.room.member", BOB), content)
        assert malformed.value.code == ErrCode.BAD_JSON
    assert len(await world.timeline(room_id)) == before


async def test_a_join_that_a_new_name_overtakes_shows_the_new_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # spec: client-server-api#events-on-change-of-profile-information
    room_id = await world.create(ALICE, preset="public_chat")
    members, read = world.rooms.memberships, world.profiles.member_profile
    world.profiles.names[BOB] = "Old"

    async def read_and_be_overtaken(user_id: str) -> Mapping[str, str]:
        profile = await read(user_id)
        if world.profiles.names.get(BOB) == "Old":
            world.profiles.names[BOB] = "New"
            await members.profile_changed(BOB)  # finds no room to tell yet
        return profile

    monkeypatch.setattr(world.profiles, "member_profile", read_and_be_overtaken)
    await members.join(BOB, room_id)
    assert (await world.state(room_id, "m.room.member", BOB))["displayname"] == "New"


async def test_names_and_joins_at_once_end_with_the_newest_name(world: World) -> None:
    """Forty times: whoever comes last, room and profile say the same in the end."""
    members = world.rooms.memberships
    stays = await world.create(ALICE, BOB)

    async def rename(name: str) -> None:
        await asyncio.sleep(0)
        world.profiles.names[BOB] = name
        await members.profile_changed(BOB)

    for number in range(40):
        joins = await world.create(ALICE)
        names = [f"{number}-{index}" for index in range(4)]
        await asyncio.gather(members.join(BOB, joins), *map(rename, names))
        for room in (stays, joins):
            content = await world.state(room, "m.room.member", BOB)
            assert content is not None
            assert content["displayname"] == world.profiles.names[BOB], f"at try {number}"
        await members.leave(BOB, joins)
