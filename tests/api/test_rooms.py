"""Rooms as a client sees them: creation with presets and overrides, state, sending, redaction, aliases, directory.

spec: client-server-api#rooms, client-server-api#events
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import Client, Json, part, rooms
from tests.support.fixtures import fresh
from tests.support.server import Server

MESSAGE = {"msgtype": "m.text", "body": "x"}
ALL_VERSIONS = [str(number) for number in range(1, 13)]


def state_map(events: list[Json]) -> dict[tuple[str, str], Json]:
    """State events by type and state key."""
    return {(event["type"], event["state_key"]): event for event in events}


# ---- creation ----


@pytest.mark.parametrize(
    ("preset", "join_rule", "history", "guests"),
    [
        ("private_chat", "invite", "shared", "can_join"),
        ("trusted_private_chat", "invite", "shared", "can_join"),
        ("public_chat", "public", "shared", "forbidden"),
    ],
)
async def test_presets(alice: Client, bob: Client, preset: str, join_rule: str, history: str, guests: str) -> None:
    # spec: client-server-api#post_matrixclientv3createroom
    room = await alice.create_room(preset=preset, invite=[bob.user_id], room_version="11")
    assert (await alice.state(room, "m.room.join_rules"))["join_rule"] == join_rule
    assert (await alice.state(room, "m.room.history_visibility"))["history_visibility"] == history
    guest_access = await alice.request("GET", f"/rooms/{part(room)}/state/m.room.guest_access")
    # The default without the event is `forbidden`.
    assert (guest_access.body.get("guest_access") if guest_access.status == 200 else "forbidden") == guests
    users = (await alice.state(room, "m.room.power_levels"))["users"]
    assert users[alice.user_id] == 100
    assert users.get(bob.user_id, 0) == (100 if preset == "trusted_private_chat" else 0)
    assert (await alice.state(room, "m.room.member", bob.user_id))["membership"] == "invite"


async def test_visibility_chooses_the_preset(alice: Client) -> None:
    public = await alice.create_room(visibility="public")
    private = await alice.create_room(visibility="private")
    assert (await alice.state(public, "m.room.join_rules"))["join_rule"] == "public"
    assert (await alice.state(private, "m.room.join_rules"))["join_rule"] == "invite"


@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_every_room_version_works(alice: Client, bob: Client, version: str) -> None:
    room = await alice.create_room(preset="public_chat", room_version=version, name=f"v{version}")
    create = await alice.state(room, "m.room.create")
    assert create.get("room_version", "1") == version
    await bob.join(room)
    sent = await bob.send(room, "hello")
    event = await alice.event(room, sent)
    assert event["content"]["body"] == "hello"
    assert event["room_id"] == room
    await alice.redact(room, sent, reason="test")
    assert (await bob.event(room, sent))["content"] == {}
    assert [key for key, e in state_map(await bob.full_state(room)).items() if key[0] == "m.room.name"]
    # The legacy versions put the server's name into event ids; version 12 takes it out of the room's.
    assert (":" in sent) == (version in {"1", "2"})
    assert (":" in room) == (version != "12")


async def test_the_default_version_is_12_and_its_creator_is_above_the_levels(alice: Client, bob: Client) -> None:
    # spec: rooms/v12
    room = await alice.create_room(preset="private_chat", creation_content={"additional_creators": [bob.user_id]})
    create = state_map(await alice.full_state(room))["m.room.create", ""]
    assert create["content"]["room_version"] == "12"
    assert create["sender"] == alice.user_id
    assert room == "!" + create["event_id"][1:]
    assert alice.user_id not in (await alice.state(room, "m.room.power_levels")).get("users", {})
    forged = await alice.request(
        "PUT", f"/rooms/{part(room)}/state/m.room.power_levels", {"users": {alice.user_id: 100}}
    )
    forged.error((400, 403))


async def test_create_events_come_in_the_specified_order(alice: Client, bob: Client) -> None:
    # spec: client-server-api#post_matrixclientv3createroom
    room = await alice.create_room(
        preset="public_chat",
        name="Named",
        topic="Topical",
        invite=[bob.user_id],
        initial_state=[{"type": "org.example", "state_key": "k", "content": {"a": 1}}],
    )
    order = [event["type"] for event in await alice.history(room, "f") if "state_key" in event]
    wanted = ["m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules"]
    wanted += ["m.room.history_visibility", "org.example", "m.room.name", "m.room.topic", "m.room.member"]
    assert [kind for kind in order if kind in wanted] == wanted


async def test_power_levels_may_be_overridden(alice: Client) -> None:
    override = {"events_default": 7, "events": {"m.room.name": 1}, "invite": 33}
    room = await alice.create_room(power_level_content_override=override, room_version="11")
    levels = await alice.state(room, "m.room.power_levels")
    assert levels["events_default"] == 7
    assert levels["events"]["m.room.name"] == 1
    assert levels["invite"] == 33
    assert levels["users"] == {alice.user_id: 100}


async def test_creation_content_and_initial_state_are_kept(alice: Client) -> None:
    room = await alice.create_room(
        creation_content={"m.federate": False, "type": "m.space", "org.example": [1]},
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
            {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
        ],
    )
    create = await alice.state(room, "m.room.create")
    assert (create["m.federate"], create["type"], create["org.example"]) == (False, "m.space", [1])
    assert (await alice.state(room, "m.room.history_visibility"))["history_visibility"] == "joined"
    assert (await alice.state(room, "m.room.guest_access"))["guest_access"] == "forbidden"


async def test_direct_invites_say_so(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="trusted_private_chat", is_direct=True, invite=[bob.user_id])
    assert (await alice.state(room, "m.room.member", bob.user_id))["is_direct"] is True
    await bob.join(room)


async def test_creating_with_an_alias(alice: Client, server: Server) -> None:
    name = fresh("alias")
    room = await alice.create_room(room_alias_name=name)
    alias = f"#{name}:{server.name}"
    assert (await alice.ok("GET", f"/directory/room/{part(alias)}"))["room_id"] == room
    assert (await alice.state(room, "m.room.canonical_alias"))["alias"] == alias
    (await alice.request("POST", "/createRoom", {"room_alias_name": name})).error(400, "M_ROOM_IN_USE")


@pytest.mark.parametrize(
    "body",
    [
        {"room_version": "no-such-version"},
        {"room_version": 5},
        {"preset": "nonsense"},
        {"visibility": "nonsense"},
        {"name": 5},
        {"invite": "not a list"},
        {"invite": ["not a user"]},
        {"initial_state": {}},
        {"initial_state": [{"content": {}}]},
        {"initial_state": [{"type": "x", "content": 5}]},
        {"creation_content": []},
        {"power_level_content_override": {"users": {"nonsense": "x"}}},
        {"room_alias_name": "with:colon"},
        {"is_direct": "yes"},
    ],
)
async def test_bad_create_requests_make_no_room(alice: Client, body: Json) -> None:
    before = (await alice.ok("GET", "/joined_rooms"))["joined_rooms"]
    reply = await alice.request("POST", "/createRoom", body)
    reply.error(400)
    if body == {"room_version": "no-such-version"}:
        assert reply.errcode == "M_UNSUPPORTED_ROOM_VERSION"
    assert (await alice.ok("GET", "/joined_rooms"))["joined_rooms"] == before


# ---- sending ----


async def test_a_transaction_id_gives_one_event(alice: Client) -> None:
    # spec: client-server-api#transaction-identifiers
    room, other = await alice.create_room(), await alice.create_room()
    first = await alice.send(room, "once", txn="t")
    assert await alice.send(room, "changed", txn="t") == first
    assert (await alice.event(room, first))["content"]["body"] == "once"
    assert await alice.send(room, "x", "m.other", txn="t") != first
    assert await alice.send(other, "elsewhere", txn="t") != first
    device = await alice.another_device()
    assert await device.send(room, "from another device", txn="t") != first
    bodies = [event["content"]["body"] for event in await alice.history(room) if event["type"] == "m.room.message"]
    assert sorted(bodies) == ["from another device", "once"]


async def test_parallel_retries_give_one_event(alice: Client) -> None:
    room = await alice.create_room()
    ids = await asyncio.gather(*(alice.send(room, "again", txn="same") for _ in range(8)))
    assert len(set(ids)) == 1
    assert [event["event_id"] for event in await alice.history(room)].count(ids[0]) == 1


async def test_only_the_sending_device_sees_its_transaction_id(alice: Client, bob: Client) -> None:
    # spec: client-server-api#local-echo
    room = await alice.shared_room(bob)
    other = await alice.another_device()
    sent = await alice.send(room, "echo", txn="my-txn")
    for client, expected in ((alice, "my-txn"), (other, None), (bob, None)):
        event = await client.event(room, sent)
        assert event.get("unsigned", {}).get("transaction_id") == expected
        timeline = rooms(await client.sync(), "join")[room]["timeline"]["events"]
        assert timeline[-1].get("unsigned", {}).get("transaction_id") == expected


async def test_content_survives_unchanged(alice: Client) -> None:
    content: Json = {
        "msgtype": "org.example",
        "body": "é\u2028\u0000𝄞",
        "deep": [{}, [], None, True, -5, 2**53 - 1],
        "": "",
    }
    room = await alice.create_room()
    assert (await alice.event(room, await alice.send(room, content)))["content"] == content


async def test_sending_needs_membership_and_power(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat", power_level_content_override={"events_default": 50})
    path = f"/rooms/{part(room)}/send/m.room.message/1"
    (await bob.request("PUT", path, MESSAGE)).error(403, "M_FORBIDDEN")
    await bob.join(room)
    (await bob.request("PUT", path, MESSAGE)).error(403, "M_FORBIDDEN")
    name = await bob.request("PUT", f"/rooms/{part(room)}/state/m.room.name", {"name": "x"})
    name.error(403, "M_FORBIDDEN")
    (await bob.request("PUT", f"/rooms/{part('!no:such')}/send/m.x/1", {})).error((403, 404))


async def test_state_may_be_repeated_and_foreign_keys_are_guarded(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob, power_level_content_override={"state_default": 0})
    await bob.set_state(room, "org.example", {"n": 1}, bob.user_id)
    foreign = await bob.request("PUT", f"/rooms/{part(room)}/state/org.example/{part(alice.user_id)}", {})
    foreign.error(403, "M_FORBIDDEN")
    await alice.set_state(room, "m.room.topic", {"topic": "same"})
    await alice.set_state(room, "m.room.topic", {"topic": "same"})
    assert (await bob.state(room, "m.room.topic"))["topic"] == "same"


async def test_redaction(alice: Client, bob: Client) -> None:
    # spec: client-server-api#redactions
    room = await alice.shared_room(bob)
    mine, theirs = await bob.send(room, "secret"), await alice.send(room, "kept")
    redaction = await bob.redact(room, mine, reason="oops")
    seen = await alice.event(room, mine)
    assert seen["content"] == {}
    assert seen["unsigned"]["redacted_because"]["event_id"] == redaction
    path = f"/rooms/{part(room)}/redact/{part(theirs)}/t1"
    (await bob.request("PUT", path, {})).error(403, "M_FORBIDDEN")
    assert (await bob.event(room, theirs))["content"]["body"] == "kept"
    again = await alice.ok("PUT", path, {"reason": "moderated"})
    assert again == await alice.ok("PUT", path, {"reason": "ignored"})
    assert (await bob.event(room, theirs))["content"] == {}
    pages = {event["event_id"]: event for event in await bob.history(room)}
    assert pages[theirs]["content"] == {}
    missing = await alice.request("PUT", f"/rooms/{part(room)}/redact/{part('$no-such-event')}/t2", {})
    assert missing.status in {200, 404}, missing


async def test_a_redacted_state_event_keeps_what_the_version_keeps(alice: Client) -> None:
    room = await alice.create_room()
    event = await alice.set_state(room, "m.room.topic", {"topic": "gone"})
    await alice.redact(room, event)
    assert await alice.state(room, "m.room.topic") == {}


# ---- reading state ----


async def test_state_and_members_reads(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    await alice.member(room, "invite", carol.user_id)
    members = (await bob.ok("GET", f"/rooms/{part(room)}/members"))["chunk"]
    assert {event["state_key"]: event["content"]["membership"] for event in members} == {
        alice.user_id: "join",
        bob.user_id: "join",
        carol.user_id: "invite",
    }
    filtered = f"/rooms/{part(room)}/members"
    joined = (await bob.ok("GET", filtered, params={"membership": "join"}))["chunk"]
    assert {event["state_key"] for event in joined} == {alice.user_id, bob.user_id}
    not_joined = (await bob.ok("GET", filtered, params={"not_membership": "join"}))["chunk"]
    assert {event["state_key"] for event in not_joined} == {carol.user_id}
    profiles = (await bob.ok("GET", f"/rooms/{part(room)}/joined_members"))["joined"]
    assert set(profiles) == {alice.user_id, bob.user_id}
    assert all(set(profile) <= {"display_name", "avatar_url"} for profile in profiles.values())
    (await bob.request("GET", f"/rooms/{part(room)}/state/no.such.type/key")).error(404, "M_NOT_FOUND")
    for path in ("state", "members", "joined_members", "messages?dir=b", "state/m.room.create"):
        (await carol.request("GET", f"/rooms/{part(room)}/{path}")).error(403, "M_FORBIDDEN")


async def test_a_leaver_reads_the_state_of_when_they_left(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    await alice.set_state(room, "m.room.topic", {"topic": "before"})
    await bob.member(room, "leave")
    await alice.set_state(room, "m.room.topic", {"topic": "after"})
    assert (await bob.state(room, "m.room.topic"))["topic"] == "before"
    assert state_map(await bob.full_state(room))["m.room.topic", ""]["content"]["topic"] == "before"
    members = (await bob.ok("GET", f"/rooms/{part(room)}/members"))["chunk"]
    assert bob.user_id in {event["state_key"] for event in members}


async def test_members_at_a_point(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob)
    token = (await alice.sync())["next_batch"]
    await carol.join(room)
    then = await alice.ok("GET", f"/rooms/{part(room)}/members", params={"at": token})
    assert carol.user_id not in {event["state_key"] for event in then["chunk"]}


# ---- aliases and directory ----


async def test_aliases(alice: Client, bob: Client, server: Server) -> None:
    room = await alice.create_room(preset="public_chat")
    alias = f"#{fresh('a')}:{server.name}"
    path = f"/directory/room/{part(alias)}"
    (await alice.request("GET", path)).error(404, "M_NOT_FOUND")
    await alice.ok("PUT", path, {"room_id": room})
    (await alice.request("PUT", path, {"room_id": room})).error(409)
    found = await bob.ok("GET", path, token=None)
    assert found["room_id"] == room
    assert server.name in found["servers"]
    assert await bob.join(alias) == room
    assert alias in (await alice.ok("GET", f"/rooms/{part(room)}/aliases"))["aliases"]
    (await bob.request("DELETE", path)).error(403, "M_FORBIDDEN")
    await alice.ok("DELETE", path)
    (await alice.request("DELETE", path)).error(404, "M_NOT_FOUND")
    for bad in ("nonsense", "#no-server", f"#foreign:{'elsewhere.example'}"):
        (await alice.request("PUT", f"/directory/room/{part(bad)}", {"room_id": room})).error((400, 403))


async def test_a_canonical_alias_must_point_here(alice: Client, server: Server) -> None:
    room, other = await alice.create_room(), await alice.create_room()
    alias = f"#{fresh('c')}:{server.name}"
    path = f"/rooms/{part(room)}/state/m.room.canonical_alias"
    (await alice.request("PUT", path, {"alias": alias})).error((400, 404), "M_BAD_ALIAS", "M_NOT_FOUND")
    await alice.ok("PUT", f"/directory/room/{part(alias)}", {"room_id": other})
    (await alice.request("PUT", path, {"alias": alias})).error(400, "M_BAD_ALIAS")
    (await alice.request("PUT", path, {"alias": "nonsense"})).error(400, "M_INVALID_PARAM")
    await alice.ok("DELETE", f"/directory/room/{part(alias)}")
    await alice.ok("PUT", f"/directory/room/{part(alias)}", {"room_id": room})
    await alice.ok("PUT", path, {"alias": alias})


async def test_the_public_directory(alice: Client, bob: Client) -> None:
    # spec: client-server-api#published-room-directory
    word = fresh("findme")
    room = await alice.create_room(visibility="public", name=f"The {word} room", topic="t")
    hidden = await alice.create_room(preset="public_chat", name=f"Hidden {word}")
    listing = f"/directory/list/room/{part(room)}"
    assert (await bob.ok("GET", listing, token=None))["visibility"] == "public"

    async def search(**more: Any) -> list[Json]:
        body = {"filter": {"generic_search_term": word}, **more}
        chunk: list[Json] = (await bob.ok("POST", "/publicRooms", body))["chunk"]
        return chunk

    (entry,) = await search()
    assert entry["room_id"] == room
    assert (entry["name"], entry["topic"], entry["num_joined_members"]) == (f"The {word} room", "t", 1)
    assert (entry["world_readable"], entry["guest_can_join"], entry["join_rule"]) == (False, False, "public")
    (await bob.request("PUT", listing, {"visibility": "private"})).error(403, "M_FORBIDDEN")
    await alice.ok("PUT", listing, {"visibility": "private"})
    assert await search() == []
    await alice.ok("PUT", f"/directory/list/room/{part(hidden)}", {"visibility": "public"})
    assert [entry["room_id"] for entry in await search()] == [hidden]
    (await bob.request("GET", f"/directory/list/room/{part('!no:such')}")).error(404, "M_NOT_FOUND")


async def test_the_public_directory_pages(alice: Client) -> None:
    word = fresh("pages")
    rooms = {await alice.create_room(visibility="public", name=f"{word} {number}") for number in range(5)}
    found: list[str] = []
    token = None
    while True:
        body: Json = {"limit": 2, "filter": {"generic_search_term": word}, **({"since": token} if token else {})}
        page = await alice.ok("POST", "/publicRooms", body)
        assert len(page["chunk"]) <= 2
        found += [entry["room_id"] for entry in page["chunk"]]
        if (token := page.get("next_batch")) is None:
            break
        assert len(found) <= 5
    assert sorted(found) == sorted(rooms)
    assert (await alice.ok("GET", "/publicRooms", params={"limit": 1}, token=None))["chunk"]
