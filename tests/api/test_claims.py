"""What clients may not say: keys that the server or a signature vouches for, events of rooms they are not in."""

from __future__ import annotations

import pytest

from tests.support.client import Client, part


def put(room: str, event_type: str, state_key: str = "") -> str:
    """The path that sets state."""
    return f"/rooms/{part(room)}/state/{part(event_type)}/{part(state_key)}"


async def restricted(alice: Client) -> tuple[str, str]:
    """A club and a room for its members."""
    club = await alice.create_room(preset="public_chat")
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    room = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rules}])
    return club, room


async def test_nobody_names_their_own_authoriser(alice: Client, bob: Client, carol: Client) -> None:
    # spec: client-server-api#restricted-rooms
    club, room = await restricted(alice)
    claim = {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    (await bob.request("PUT", put(room, "m.room.member", bob.user_id), claim)).error(403, "M_FORBIDDEN")
    await carol.join(club)
    claim["join_authorised_via_users_server"] = "@somebody:elsewhere.test"
    (await carol.request("PUT", put(room, "m.room.member", carol.user_id), claim)).ok()
    joined = await alice.state(room, "m.room.member", carol.user_id)
    assert joined["join_authorised_via_users_server"] == alice.user_id


async def test_nobody_makes_a_third_party_invite_up(alice: Client, bob: Client) -> None:
    room = await alice.create_room()
    body = {"membership": "invite", "third_party_invite": {"display_name": "x", "signed": {}}, "displayname": "Boss"}
    (await alice.request("PUT", put(room, "m.room.member", bob.user_id), body)).ok()
    content = await alice.state(room, "m.room.member", bob.user_id)
    assert "third_party_invite" not in content
    assert content.get("displayname") != "Boss", "nobody names others"


async def test_a_name_for_one_room_stays_possible(alice: Client) -> None:
    room = await alice.create_room()
    await alice.set_state(room, "m.room.member", {"membership": "join", "displayname": "Al"}, alice.user_id)
    assert (await alice.state(room, "m.room.member", alice.user_id))["displayname"] == "Al"


async def test_membership_by_state_is_the_endpoints_operation(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    path = put(room, "m.room.member", carol.user_id)
    (await alice.request("PUT", path, {"membership": "leave"})).error(403, "M_FORBIDDEN")
    elsewhere = put(room, "m.room.member", "@x:elsewhere.test")
    (await alice.request("PUT", elsewhere, {"membership": "invite"})).error(403, "M_FORBIDDEN")
    (await alice.request("PUT", path, {"membership": "ban"})).ok()
    (await alice.request("PUT", path, {"membership": "leave"})).ok()
    left = (await bob.request("PUT", put(room, "m.room.member", bob.user_id), {"membership": "leave"})).ok()
    again = (await bob.request("PUT", put(room, "m.room.member", bob.user_id), {"membership": "leave"})).ok()
    assert left == again


async def test_initial_state_holds_no_members_and_no_redactions(alice: Client, bob: Client) -> None:
    for event_type, key in (("m.room.member", bob.user_id), ("m.room.redaction", "")):
        entry = {"type": event_type, "state_key": key, "content": {"membership": "invite", "redacts": "$x"}}
        (await alice.request("POST", "/createRoom", {"initial_state": [entry]})).error(400, "M_INVALID_ROOM_STATE")
    room = await alice.create_room()
    redaction = {"redacts": "$x"}
    (await alice.request("PUT", put(room, "m.room.redaction"), redaction)).error(400, "M_INVALID_PARAM")


@pytest.mark.parametrize("version", ["1", "5", "6", "12"])
async def test_nobody_writes_into_a_room_from_outside(alice: Client, bob: Client, carol: Client, version: str) -> None:
    # spec: rooms/v1#authorisation-rules
    room = await alice.shared_room(bob, room_version=version)
    (await alice.member(room, "ban", bob.user_id)).ok()
    for outsider in (bob, carol):
        path = put(room, "m.room.aliases", "hromada.test")
        (await outsider.request("PUT", path, {"aliases": []})).error(403, "M_FORBIDDEN")
