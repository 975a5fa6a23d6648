"""Aliases, the directory, summaries, and what accounts ask of rooms."""

from __future__ import annotations

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.rooms.directory import DirectoryQuery
from tests.services.rooms.conftest import ALICE, BOB, CAROL, World


async def code_of(action: object) -> ErrCode:
    with pytest.raises(MatrixError) as error:
        await action  # type: ignore[misc]
    return error.value.code


async def test_aliases(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    aliases = world.rooms.aliases
    name = "#a/b:hromada.test"
    assert await code_of(aliases.room_of(name)) == ErrCode.NOT_FOUND
    assert await code_of(aliases.set_room_alias(CAROL, name, room_id)) == ErrCode.FORBIDDEN
    assert await code_of(aliases.set_room_alias(BOB, "#x:other.test", room_id)) == ErrCode.INVALID_PARAM
    assert await code_of(aliases.set_room_alias(BOB, "#x\0:hromada.test", room_id)) == ErrCode.INVALID_PARAM
    await aliases.set_room_alias(BOB, name, room_id)
    assert await code_of(aliases.set_room_alias(ALICE, name, room_id)) == ErrCode.ALIAS_IN_USE
    assert await aliases.local_aliases(ALICE, room_id) == [name]
    set_state, key = world.rooms.sending.set_state, ("m.room.canonical_alias", "")
    wrong = {"alias": name, "alt_aliases": ["#nothing:hromada.test"]}
    assert await code_of(set_state(room_id, ALICE, key, wrong)) == ErrCode.BAD_ALIAS
    await set_state(room_id, ALICE, key, {"alias": name})
    assert await code_of(aliases.delete_room_alias(CAROL, name)) == ErrCode.FORBIDDEN
    await aliases.delete_room_alias(ALICE, name)
    # What the room claimed before may stay.
    await set_state(room_id, ALICE, key, {"alias": name, "alt_aliases": []})
    assert await code_of(aliases.delete_room_alias(ALICE, name)) == ErrCode.NOT_FOUND


async def test_the_directory(world: World) -> None:
    big = await world.create(ALICE, BOB, CAROL, name="Big Club", visibility="public")
    space = await world.create(ALICE, BOB, topic="a CLUB of spaces", creation_content={"type": "m.space"})
    await world.create(ALICE, name="Hidden Club")
    directory = world.rooms.directory
    assert await code_of(directory.publish(BOB, space, public=True)) == ErrCode.FORBIDDEN
    await directory.publish(ALICE, space, public=True)
    assert await directory.is_published(space)

    async def listed(query: DirectoryQuery) -> list[str]:
        return [room["room_id"] for room in (await directory.public_rooms(query))["chunk"]]

    assert await listed(DirectoryQuery()) == [big, space]
    assert await listed(DirectoryQuery(search="club")) == [big, space]
    assert await listed(DirectoryQuery(search="big")) == [big]
    assert await listed(DirectoryQuery(room_types=(None,))) == [big]
    assert await listed(DirectoryQuery(room_types=("m.space",))) == [space]
    first = await directory.public_rooms(DirectoryQuery(limit=1))
    assert first["total_room_count_estimate"] == 2
    second = await directory.public_rooms(DirectoryQuery(limit=1, since=first["next_batch"]))
    assert [room["room_id"] for room in second["chunk"]] == [space]
    assert "next_batch" not in second
    summary = await directory.room_summary(None, big)
    assert (summary["name"], summary["num_joined_members"], summary["room_version"]) == ("Big Club", 3, "12")


async def test_profiles_and_deactivation_reach_all_rooms(world: World) -> None:
    rooms = [await world.create(ALICE, BOB) for _ in range(3)]
    invited = await world.create(ALICE, invite=[BOB])
    world.profiles.names[BOB], world.profiles.avatars[BOB] = "Bobby", "mxc://hromada.test/b"
    await world.rooms.memberships.profile_changed(BOB)
    for room_id in rooms:
        assert await world.state(room_id, "m.room.member", BOB) == {
            "membership": "join",
            "displayname": "Bobby",
            "avatar_url": "mxc://hromada.test/b",
        }
    assert await world.membership(invited, BOB) == "invite"
    await world.rooms.memberships.leave_all(BOB)
    assert [await world.membership(room_id, BOB) for room_id in [*rooms, invited]] == ["leave"] * 4
