"""createRoom: presets, overrides, order of events, and that a failure leaves nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports.accounts import User
from homeserver.ports.events import Membership
from homeserver.ports.store import StoreUnavailable
from homeserver.services.rooms.create import EncryptByDefault, InitialState, RoomRequest
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, CountingEntropy, SteppingClock, World, running_world
from tests.support.store import SERVER_NAME


@pytest.mark.parametrize("version", ROOM_VERSIONS)
async def test_every_version_has_the_specified_order(world: World, version: str) -> None:
    world.profiles.names[ALICE] = "Alice"
    room_id = await world.create(
        ALICE,
        room_version=version,
        name="Pub",
        topic="Ale",
        room_alias_name=f"pub{version}",
        invite=[BOB],
        is_direct=True,
        initial_state=[InitialState("m.room.guest_access", {"guest_access": "can_join"}), InitialState("x", {}, "k")],
    )
    timeline = await world.timeline(room_id)
    assert [(event.type, event.state_key) for event in timeline] == [
        ("m.room.create", ""),
        ("m.room.member", ALICE),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
        ("x", "k"),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", BOB),
    ]
    create, join, levels = timeline[:3]
    assert create.content["room_version"] == version
    assert ("creator" in create.content) == (int(version) < 11)
    assert join.content == {"membership": "join", "displayname": "Alice"}
    assert levels.content["users"] == ({ALICE: 100} if int(version) < 12 else {})
    assert timeline[-1].content == {"membership": "invite", "is_direct": True}
    assert timeline[6].content == {"guest_access": "can_join"}
    if version == "12":
        assert room_id == "!" + create.event_id[1:]
        assert "room_id" not in create.pdu
        assert levels.content["events"]["m.room.tombstone"] > levels.content["state_default"]
    else:
        assert room_id.endswith(f":{SERVER_NAME}")
    assert await world.rooms.aliases.room_of(f"#pub{version}:{SERVER_NAME}") == room_id


@pytest.mark.parametrize(
    ("request_", "join_rule", "guests"),
    [
        ({"preset": "private_chat"}, "invite", "can_join"),
        ({"preset": "trusted_private_chat"}, "invite", "can_join"),
        ({"preset": "public_chat"}, "public", "forbidden"),
        ({"preset": None, "visibility": "public"}, "public", "forbidden"),
        ({"preset": None, "visibility": "private"}, "invite", "can_join"),
    ],
)
async def test_presets(world: World, request_: dict[str, Any], join_rule: str, guests: str) -> None:
    room_id = await world.create(ALICE, **request_)
    assert await world.state(room_id, "m.room.join_rules") == {"join_rule": join_rule}
    assert await world.state(room_id, "m.room.guest_access") == {"guest_access": guests}
    assert await world.state(room_id, "m.room.history_visibility") == {"history_visibility": "shared"}
    async with world.store.read() as tx:
        public = [public_id for _, public_id in await tx.rooms.public_rooms()]
    assert public == ([room_id] if request_.get("visibility") == "public" else [])


async def test_trusted_invitees_have_the_creators_power(world: World) -> None:
    old = await world.create(ALICE, preset="trusted_private_chat", room_version="11", invite=[BOB])
    levels = await world.state(old, "m.room.power_levels")
    assert levels is not None
    assert levels["users"] == {ALICE: 100, BOB: 100}
    new = await world.create(
        ALICE,
        preset="trusted_private_chat",
        invite=[BOB, CAROL, BOB],
        creation_content={"additional_creators": [CAROL], "type": "m.space", "creator": "@forged:x", "room_version": 3},
    )
    created = await world.state(new, "m.room.create")
    assert created is not None
    assert created.pop("chat.hromada.nonce")
    assert created == {
        "additional_creators": [CAROL, BOB],
        "type": "m.space",
        "room_version": "12",
    }


async def test_power_levels_can_be_overridden(world: World) -> None:
    room_id = await world.create(ALICE, power_level_content_override={"events_default": 10, "users": {BOB: 10}})
    levels = await world.state(room_id, "m.room.power_levels")
    assert levels is not None
    assert (levels["events_default"], levels["users"], levels["ban"]) == (10, {BOB: 10}, 50)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"room_version": "13"}, ErrCode.UNSUPPORTED_ROOM_VERSION),
        ({"preset": "secret"}, ErrCode.INVALID_PARAM),
        ({"invite": ["bob"]}, ErrCode.INVALID_PARAM),
        ({"invite_3pid": [{}]}, ErrCode.INVALID_PARAM),
        ({"room_alias_name": "a:b"}, ErrCode.INVALID_PARAM),
        ({"room_alias_name": "nul\0"}, ErrCode.INVALID_PARAM),
        ({"room_alias_name": "x" * 300}, ErrCode.INVALID_PARAM),
        ({"initial_state": [InitialState("m.room.create", {})]}, ErrCode.INVALID_ROOM_STATE),
        ({"initial_state": [InitialState("t", {"body": "x" * 70_000})]}, ErrCode.TOO_LARGE),
        ({"initial_state": [InitialState("t" * 256, {})]}, ErrCode.TOO_LARGE),
        ({"initial_state": [InitialState("t\0", {})]}, ErrCode.INVALID_PARAM),
        ({"initial_state": [InitialState("t", {"n": 1.5})]}, ErrCode.BAD_JSON),
        ({"initial_state": [InitialState("m.room.member", {"membership": "join"}, BOB)]}, ErrCode.INVALID_ROOM_STATE),
        ({"power_level_content_override": {"users": {ALICE: 100}}}, ErrCode.INVALID_ROOM_STATE),
        ({"power_level_content_override": {"users": {ALICE: "100"}}}, ErrCode.BAD_JSON),
        ({"power_level_content_override": {"state_default": "50"}, "room_version": "9"}, ErrCode.BAD_JSON),
        (
            {"power_level_content_override": {"users": {}}, "room_version": "11", "name": "x"},
            ErrCode.INVALID_ROOM_STATE,
        ),
        ({"creation_content": {"additional_creators": ["x"]}}, ErrCode.INVALID_PARAM),
        (
            {"creation_content": {"additional_creators": 5}, "preset": "trusted_private_chat", "invite": [BOB]},
            ErrCode.BAD_JSON,
        ),
        ({"name": "x" * 70_000}, ErrCode.TOO_LARGE),
    ],
)
async def test_a_refused_room_leaves_nothing(world: World, request_: dict[str, Any], code: ErrCode) -> None:
    before = world.log.position
    request_ = {"room_alias_name": "half", "visibility": "public", **request_}
    with pytest.raises(MatrixError) as refused:
        await world.rooms.creation.create_room(ALICE, RoomRequest(**request_))
    assert refused.value.code == code
    assert world.log.position == before
    async with world.store.read() as tx:
        assert await tx.rooms.public_rooms() == []
        assert await tx.rooms.memberships(ALICE) == []
        assert await tx.aliases.get(f"#half:{SERVER_NAME}") is None


async def test_an_alias_names_one_room(world: World) -> None:
    await world.create(ALICE, room_alias_name="pub")
    before = world.log.position
    with pytest.raises(MatrixError) as refused:
        await world.rooms.creation.create_room(BOB, RoomRequest(room_alias_name="pub"))
    assert refused.value.code == ErrCode.ALIAS_IN_USE
    assert world.log.position == before
    async with world.store.read() as tx:
        assert await tx.rooms.memberships(BOB) == []


@pytest.mark.parametrize("version", ["11", "12"])
async def test_rooms_made_in_the_same_millisecond_are_different_rooms(store: Database, version: str) -> None:
    async with running_world(store, clock=SteppingClock(step=0)) as world:
        made = await asyncio.gather(*(world.create(ALICE, room_version=version, name="Pub") for _ in range(20)))
        assert len(set(made)) == 20
        assert {room.room_id for room in await memberships(world, ALICE)} == set(made)


async def test_a_room_that_is_there_already_is_not_acknowledged_again(store: Database) -> None:
    # Two identical create events have the same hash, so their rooms have the same id.
    async with running_world(store, clock=SteppingClock(step=0), entropy=SameEntropy()) as world:
        outcomes = await asyncio.gather(*(world.create(ALICE, name="Pub") for _ in range(5)), return_exceptions=True)
        assert len([outcome for outcome in outcomes if isinstance(outcome, str)]) == 1
        assert len([outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]) == 4
        with pytest.raises(StoreUnavailable):
            await world.create(ALICE, name="Pub")


async def memberships(world: World, user_id: str) -> list[Membership]:
    async with world.store.read() as tx:
        return await tx.rooms.memberships(user_id)


class SameEntropy(CountingEntropy):
    """Neither unique nor random."""

    def letters(self, length: int) -> str:
        return "A" * length


@pytest.mark.parametrize(
    ("setting", "preset", "encrypted"),
    [
        ("off", "private_chat", False),
        ("private", "private_chat", True),
        ("private", "trusted_private_chat", True),
        ("private", "public_chat", False),
        ("all", "public_chat", True),
    ],
)
async def test_encryption_by_default(store: Database, setting: EncryptByDefault, preset: str, encrypted: bool) -> None:
    async with running_world(store, encrypt=setting) as world:
        room = await world.create(ALICE, preset=preset)
        content = await world.state(room, "m.room.encryption")
        assert content == ({"algorithm": "m.megolm.v1.aes-sha2"} if encrypted else None)
        given = InitialState("m.room.encryption", {"algorithm": "org.example"})
        room = await world.create(ALICE, preset=preset, initial_state=[given])
        assert await world.state(room, "m.room.encryption") == {"algorithm": "org.example"}
        space = await world.create(ALICE, preset=preset, creation_content={"type": "m.space"})
        assert await world.state(space, "m.room.encryption") is None


async def test_aliases_of_rooms_made_by_two_processes_are_counted_where_they_are_committed(store: Database) -> None:
    """Each process has a log, a committer and a queue of its own; the database is all that they share."""
    async with store.write() as tx:
        await tx.users.create(User(ALICE, 0))
    async with (
        running_world(store, entropy=CountingEntropy("a"), aliases_per_user=3) as one,
        running_world(store, entropy=CountingEntropy("b", 10_000), aliases_per_user=3) as other,
    ):
        made = await asyncio.gather(
            *(
                world.create(ALICE, room_alias_name=f"{name}{number}")
                for number in range(5)
                for name, world in (("a", one), ("b", other))
            ),
            return_exceptions=True,
        )
        refused = [error for error in made if isinstance(error, BaseException)]
        assert {getattr(error, "code", error) for error in refused} == {ErrCode.RESOURCE_LIMIT_EXCEEDED}
        assert len(made) - len(refused) == 3
        async with store.read() as tx:
            assert await tx.aliases.count_of(ALICE) == 3
        assert await other.create(BOB, room_alias_name="bobs")
        assert await one.create(ALICE), "rooms without an alias are still made"
