"""Room upgrades: what goes over, what stays, who may, and what becomes of aliases and personal settings.

spec: client-server-api#room-upgrades
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import Client, Json, part, rooms
from tests.support.fixtures import fresh


async def upgrade(client: Client, room: str, version: str, **more: Any) -> str:
    """Upgrade a room; the new one's id."""
    answer = await client.ok("POST", f"/rooms/{part(room)}/upgrade", {"new_version": version, **more})
    return str(answer["replacement_room"])


async def state_of(client: Client, room: str) -> dict[tuple[str, str], Json]:
    """The content of all state events."""
    return {(event["type"], event["state_key"]): event["content"] for event in await client.full_state(room)}


async def tombstone(client: Client, room: str) -> Json:
    """The id of the room's tombstone."""
    (event,) = [event for event in await client.full_state(room) if event["type"] == "m.room.tombstone"]
    return event["event_id"]


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_a_room_goes_over_to_every_version(alice: Client, bob: Client, version: str) -> None:
    old = await alice.shared_room(bob, name="Square", topic="Talk", room_version="9")
    last = await alice.send(old, "the last word")
    new = await upgrade(alice, old, version)
    before, after = await state_of(alice, old), await state_of(alice, new)
    create = after["m.room.create", ""]
    # The id of a room of version 12 is made of its create event, which the tombstone would have to be named by.
    assert create["predecessor"] == {
        "room_id": old,
        "event_id": last if version == "12" else await tombstone(alice, old),
    }
    assert create["room_version"] == version
    assert before["m.room.tombstone", ""]["replacement_room"] == new
    assert isinstance(before["m.room.tombstone", ""]["body"], str)
    for kind in ("m.room.name", "m.room.topic", "m.room.join_rules", "m.room.history_visibility"):
        assert after[kind, ""] == before[kind, ""]
    levels = after["m.room.power_levels", ""]
    assert levels["users"] == ({} if version == "12" else {alice.user_id: 100})
    assert levels["invite"] == 50
    assert ("m.room.member", bob.user_id) not in after
    await bob.join(new)
    await alice.send(new, "going on")


async def test_the_old_room_is_closed(alice: Client, bob: Client) -> None:
    old = await alice.shared_room(bob)
    await upgrade(alice, old, "12")
    levels = await alice.state(old, "m.room.power_levels")
    assert (levels["events_default"], levels["invite"]) == (50, 50)
    path = f"/rooms/{part(old)}/send/m.room.message/late"
    (await bob.request("PUT", path, {"msgtype": "m.text", "body": "?"})).error(403, "M_FORBIDDEN")


async def test_only_those_who_may_send_tombstones_upgrade(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    path = f"/rooms/{part(room)}/upgrade"
    for client, answer in ((bob, (403, "M_FORBIDDEN")), (carol, (404, "M_NOT_FOUND"))):
        (await client.request("POST", path, {"new_version": "11"})).error(*answer)
    body: Json
    for body in ({"new_version": "99"}, {"new_version": ""}):
        (await alice.request("POST", path, body)).error(400, "M_UNSUPPORTED_ROOM_VERSION")
    (await alice.request("POST", path, {})).error(400, "M_MISSING_PARAM")
    (await alice.request("POST", path, {"new_version": 11})).error(400, "M_BAD_JSON")
    wrong = {"new_version": "12", "additional_creators": ["nobody"]}
    (await alice.request("POST", path, wrong)).error(400, "M_INVALID_PARAM")
    (await alice.request("POST", path, {**wrong, "additional_creators": "x"})).error(400, "M_BAD_JSON")
    nowhere = f"/rooms/{part('!nowhere:hromada.test')}/upgrade"
    (await alice.request("POST", nowhere, {"new_version": "12"})).error(404, "M_NOT_FOUND")
    assert ("m.room.tombstone", "") not in await state_of(alice, room)


async def test_a_moderator_upgrades_without_gaining_power(alice: Client, bob: Client) -> None:
    levels = {"users": {}, "events": {"m.room.tombstone": 50, "m.room.name": 90, "m.room.power_levels": 100}}
    old = await alice.shared_room(bob, room_version="11", name="N")
    levels["users"] = {alice.user_id: 100, bob.user_id: 50}
    await alice.set_state(old, "m.room.power_levels", levels)
    new = await upgrade(bob, old, "11")
    assert (await bob.state(new, "m.room.power_levels"))["users"] == {alice.user_id: 100, bob.user_id: 50}
    assert (await bob.state(new, "m.room.name"))["name"] == "N"
    # What is above the moderator in the old room stays as it was.
    assert "events_default" not in await alice.state(old, "m.room.power_levels")


async def test_creators_of_version_12(alice: Client, bob: Client, carol: Client) -> None:
    old = await alice.shared_room(bob, carol, room_version="11")
    users = {alice.user_id: 100, bob.user_id: 100, carol.user_id: 50}
    await alice.set_state(old, "m.room.power_levels", {"users": users})
    new = await upgrade(alice, old, "12", additional_creators=[bob.user_id])
    assert (await alice.state(new, "m.room.create"))["additional_creators"] == [bob.user_id]
    levels = await alice.state(new, "m.room.power_levels")
    assert levels["users"] == {carol.user_id: 50}
    assert levels["events"]["m.room.tombstone"] == 150
    again = await upgrade(alice, new, "12")
    assert "additional_creators" not in await alice.state(again, "m.room.create"), "they are named anew each time"
    back = await upgrade(alice, again, "11", additional_creators=["nobody"])
    assert "additional_creators" not in await alice.state(back, "m.room.create")
    assert (await alice.state(back, "m.room.power_levels"))["users"][alice.user_id] >= 100


async def test_aliases_and_the_directory_lead_to_the_new_room(alice: Client, bob: Client) -> None:
    name = fresh("upgraded")
    old = await alice.create_room(preset="public_chat", visibility="public", room_alias_name=name)
    alias = f"#{name}:hromada.test"
    new = await upgrade(alice, old, "12")
    assert (await bob.ok("GET", f"/directory/room/{part(alias)}"))["room_id"] == new
    assert (await alice.state(new, "m.room.canonical_alias"))["alias"] == alias
    assert await alice.state(old, "m.room.canonical_alias") == {}, "the old room no longer claims it"
    for room, expected in ((old, "private"), (new, "public")):
        assert (await bob.ok("GET", f"/directory/list/room/{part(room)}"))["visibility"] == expected
    assert await bob.join(alias) == new


async def test_what_protects_a_room_goes_over(alice: Client, bob: Client) -> None:
    old = await alice.create_room(
        preset="private_chat", room_version="10", creation_content={"m.federate": False, "type": "m.space"}
    )
    (await alice.member(old, "ban", bob.user_id, reason="rude")).ok()
    await alice.set_state(old, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    await alice.set_state(old, "m.room.server_acl", {"allow": ["*"], "deny": ["bad.example"]})
    child = await alice.create_room()
    await alice.set_state(old, "m.space.child", {"via": ["hromada.test"]}, child)
    await alice.set_state(old, "m.space.child", {}, "!removed:hromada.test")
    await alice.set_state(old, "org.example.custom", {"by": "its sender"})
    after = await state_of(alice, await upgrade(alice, old, "12"))
    create = after["m.room.create", ""]
    assert (create["m.federate"], create["type"]) == (False, "m.space")
    assert after["m.room.member", bob.user_id] == {"membership": "ban", "reason": "rude"}
    assert after["m.room.encryption", ""] == {"algorithm": "m.megolm.v1.aes-sha2"}
    assert after["m.room.server_acl", ""]["deny"] == ["bad.example"]
    assert after["m.room.join_rules", ""] == {"join_rule": "invite"}
    assert ("m.space.child", child) in after
    assert ("m.space.child", "!removed:hromada.test") not in after
    assert ("org.example.custom", "") not in after


async def test_a_rule_that_the_version_does_not_know_becomes_invite(alice: Client) -> None:
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": []}}
    old = await alice.create_room(initial_state=[rule])
    assert await alice.state(await upgrade(alice, old, "6"), "m.room.join_rules") == {"join_rule": "invite"}


async def test_who_comes_too_late_makes_no_replacement(alice: Client) -> None:
    old = await alice.create_room()
    path = f"/rooms/{part(old)}/upgrade"
    replies = await asyncio.gather(*(alice.request("POST", path, {"new_version": "12"}) for _ in range(4)))
    made = [reply.body["replacement_room"] for reply in replies if reply.status == 200]
    assert len(set(made)) == len(made) >= 1, "one that begins after another's end is an upgrade of its own"
    assert all(reply.status in {200, 403} for reply in replies)
    assert (await alice.state(old, "m.room.tombstone"))["replacement_room"] in made
    joined = (await alice.ok("GET", "/joined_rooms"))["joined_rooms"]
    assert set(joined) == {old, *made}, "the others make no room"


async def test_settings_follow_whoever_joins(alice: Client, bob: Client, carol: Client) -> None:
    old = await alice.shared_room(bob)
    mine = f"/user/{part(bob.user_id)}"
    await bob.ok("PUT", f"{mine}/rooms/{part(old)}/tags/m.favourite", {"order": 0.5})
    await bob.ok("PUT", f"{mine}/account_data/m.direct", {alice.user_id: [old], carol.user_id: ["!x:hromada.test"]})
    await bob.ok("PUT", f"/pushrules/global/room/{part(old)}", {"actions": []})
    mute = {"actions": [], "conditions": [{"kind": "event_match", "key": "room_id", "pattern": old}]}
    await bob.ok("PUT", f"/pushrules/global/override/{part(old)}", mute)
    new = await upgrade(alice, old, "12")
    token = (await bob.sync())["next_batch"]
    await bob.join(new)
    assert (await bob.ok("GET", f"{mine}/rooms/{part(new)}/tags"))["tags"] == {"m.favourite": {"order": 0.5}}
    direct = await bob.ok("GET", f"{mine}/account_data/m.direct")
    assert direct == {alice.user_id: [old, new], carol.user_id: ["!x:hromada.test"]}
    assert (await bob.ok("GET", f"/pushrules/global/room/{part(new)}"))["actions"] == []
    copied = await bob.ok("GET", f"/pushrules/global/override/{part(new)}")
    assert copied["conditions"] == [{"kind": "event_match", "key": "room_id", "pattern": new}]
    answer = await bob.sync(token)
    assert [event["type"] for event in rooms(answer, "join")[new]["account_data"]["events"]] == ["m.tag"]
    assert {event["type"] for event in answer["account_data"]["events"]} == {"m.direct", "m.push_rules"}


async def test_a_claimed_predecessor_gives_nothing(alice: Client, bob: Client) -> None:
    # reliability: G9
    real = await alice.shared_room(bob)
    await bob.ok("PUT", f"/user/{part(bob.user_id)}/rooms/{part(real)}/tags/m.favourite", {})
    claim = {"predecessor": {"room_id": real, "event_id": "$x"}}
    fake = await alice.create_room(preset="public_chat", creation_content=claim)
    await bob.join(fake)
    assert (await bob.ok("GET", f"/user/{part(bob.user_id)}/rooms/{part(fake)}/tags"))["tags"] == {}


@pytest.mark.parametrize("version", ["10", "11"])
async def test_admins_cannot_become_creators_by_themselves(alice: Client, bob: Client, version: str) -> None:
    """MSC4289: whoever upgrades a room is its creator, whom no level binds."""
    rooms = [await alice.shared_room(bob, room_version="12")]
    old = await alice.shared_room(bob, room_version=version)
    levels = await alice.state(old, "m.room.power_levels")
    levels["org.example.kept"] = {"any": "thing"}
    await alice.set_state(old, "m.room.power_levels", levels)
    rooms.append(await upgrade(alice, old, "12"))
    await bob.join(rooms[1])
    for room in rooms:
        levels = await alice.state(room, "m.room.power_levels")
        assert levels["events"]["m.room.tombstone"] == 150
        await alice.set_state(room, "m.room.power_levels", {**levels, "users": {bob.user_id: 100}})
        (await bob.request("POST", f"/rooms/{part(room)}/upgrade", {"new_version": "12"})).error(403, "M_FORBIDDEN")
    assert levels["org.example.kept"] == {"any": "thing"}


async def test_who_upgrades_by_hand_keeps_their_settings(alice: Client) -> None:
    old = await alice.create_room()
    tags = f"/user/{part(alice.user_id)}/rooms/{{}}/tags"
    await alice.ok("PUT", f"{tags.format(part(old))}/m.favourite", {"order": 0.5})
    await alice.ok("PUT", f"/pushrules/global/room/{part(old)}", {"actions": []})
    new = await alice.create_room(creation_content={"predecessor": {"room_id": old}})
    assert (await alice.ok("GET", tags.format(part(new))))["tags"] == {}
    await alice.set_state(old, "m.room.tombstone", {"body": "moved", "replacement_room": new})
    assert (await alice.ok("GET", tags.format(part(new))))["tags"] == {"m.favourite": {"order": 0.5}}
    assert (await alice.ok("GET", f"/pushrules/global/room/{part(new)}"))["actions"] == []


async def test_a_new_room_of_version_12_keeps_tombstones_above_state(alice: Client) -> None:
    # spec: client-server-api#post_matrixclientv3createroom
    override: Json
    for override in ({"state_default": 200}, {"events": {"m.room.name": 10}}, {"events": {"m.room.tombstone": 0}}):
        room = await alice.create_room(power_level_content_override=override)
        levels = await alice.state(room, "m.room.power_levels")
        assert levels["events"]["m.room.tombstone"] > levels["state_default"]


async def test_a_room_that_one_may_not_know_is_unknown(alice: Client, bob: Client) -> None:
    room = await alice.create_room()
    body = {"new_version": "11"}
    answers = [await bob.request("POST", f"/rooms/{part(name)}/upgrade", body) for name in (room, "!none:hromada.test")]
    assert len({(answer.status, answer.raw) for answer in answers}) == 1
    answers[0].error(404, "M_NOT_FOUND")
