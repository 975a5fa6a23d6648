"""Sync v2: sections, filters, lazy members, limits, full state, state_after, summaries and waking up.

spec: client-server-api#syncing
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from homeserver.web.response import WHOLE_BYTES
from tests.support.client import Client, Json, part, rooms, timeline
from tests.support.fixtures import MakeUser

LONG_POLL_MS = 25_000


def bodies(room: Json) -> list[str]:
    """The texts in one room's timeline."""
    return [event["content"].get("body", "") for event in timeline(room) if event["type"] == "m.room.message"]


def state_of(room: Json, section: str = "state") -> dict[tuple[str, str], Json]:
    """The events of a state section by type and key."""
    return {(e["type"], e["state_key"]): e for e in room.get(section, {}).get("events", [])}


def _switch(parameter: str) -> dict[str, Any]:
    return {parameter: True}


# ---- the shape ----


async def test_a_large_answer_comes_in_parts(alice: Client) -> None:
    said: dict[str, list[str]] = {}
    for name in ("one", "two", "three", "four"):
        room = await alice.create_room(name=name)
        said[room] = [f"{name} {number} " + "x" * 62_000 for number in range(10)]
        for body in said[room]:
            await alice.send(room, body)
    await alice.ok("PUT", f"/user/{part(alice.user_id)}/account_data/org.test", {"kept": "y"})
    reply = await alice.request("GET", "/sync", params={"filter": '{"room":{"timeline":{"limit":10}}}'})
    assert reply.status == 200
    assert len(reply.raw) > WHOLE_BYTES
    assert "Content-Length" not in reply.headers, "not whole"
    assert {room: bodies(section) for room, section in reply.body["rooms"]["join"].items()} == said
    assert {event["type"] for event in reply.body["account_data"]["events"]} >= {"org.test", "m.push_rules"}
    after = await alice.sync(reply.body["next_batch"])
    assert "rooms" not in after


async def test_an_initial_sync_has_every_required_part(alice: Client) -> None:
    room = await alice.create_room(name="Room")
    answer = await alice.sync()
    assert isinstance(answer["next_batch"], str)
    # Old clients break without it: matrix-org/synapse#10456.
    assert isinstance(answer["device_one_time_keys_count"], dict)
    joined = rooms(answer, "join")[room]
    assert joined["unread_notifications"] == {"highlight_count": 0, "notification_count": 0}
    assert joined["timeline"]["prev_batch"]
    assert joined["timeline"]["limited"] in {True, False}
    covered = set(state_of(joined)) | {(e["type"], e["state_key"]) for e in timeline(joined) if "state_key" in e}
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", alice.user_id)} <= covered
    assert all({"event_id", "sender", "origin_server_ts", "type", "content"} <= set(e) for e in timeline(joined))


async def test_an_incremental_sync_has_only_what_is_new(alice: Client, bob: Client) -> None:
    room, quiet = await alice.shared_room(bob), await alice.create_room()
    token = (await alice.sync())["next_batch"]
    assert rooms(await alice.sync(token), "join") == {}
    await bob.send(room, "new")
    await bob.send(room, "newer")
    answer = await alice.sync(token)
    joined = rooms(answer, "join")[room]
    assert bodies(joined) == ["new", "newer"]
    assert joined["timeline"]["limited"] is False
    assert state_of(joined) == {}
    assert quiet not in rooms(answer, "join")
    assert rooms(await alice.sync(answer["next_batch"]), "join") == {}
    assert bodies(rooms(await alice.sync(token), "join")[room]) == ["new", "newer"], "a token may be used again"


async def test_tokens_work_on_every_device(alice: Client) -> None:
    room = await alice.create_room()
    token = (await alice.sync())["next_batch"]
    await alice.send(room, "x")
    device = await alice.another_device()
    assert bodies(rooms(await device.sync(token), "join")[room]) == ["x"]


async def test_state_comes_before_the_timeline_it_is_not_in(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    token = (await alice.sync())["next_batch"]
    await bob.send(room, "0")
    await alice.set_state(room, "m.room.topic", {"topic": "changed in the gap"})
    for number in range(1, 5):
        await bob.send(room, str(number))
    answer = await alice.sync(token, filter={"room": {"timeline": {"limit": 2}}})
    joined = rooms(answer, "join")[room]
    assert joined["timeline"]["limited"] is True
    assert bodies(joined) == ["3", "4"]
    assert set(state_of(joined)) == {("m.room.topic", "")}
    gap = await alice.messages(room, **{"from": joined["timeline"]["prev_batch"], "to": token})
    assert [event["content"].get("body") for event in gap["chunk"]] == ["2", "1", None, "0"]


@pytest.mark.parametrize(
    ("parameter", "section"),
    [("use_state_after", "state_after"), ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after")],
)
async def test_state_after_is_the_state_behind_the_timeline(alice: Client, parameter: str, section: str) -> None:
    room = await alice.create_room(name="one")
    first = await alice.sync(**_switch(parameter))
    joined = rooms(first, "join")[room]
    assert "state" not in joined
    assert state_of(joined, section)["m.room.name", ""]["content"]["name"] == "one"
    await alice.set_state(room, "m.room.name", {"name": "two"})
    await alice.send(room, "x")
    joined = rooms(await alice.sync(first["next_batch"], **_switch(parameter)), "join")[room]
    assert {key: e["content"] for key, e in state_of(joined, section).items()} == {("m.room.name", ""): {"name": "two"}}
    assert "m.room.name" in [event["type"] for event in timeline(joined)]


async def test_full_state_repeats_everything(alice: Client) -> None:
    room = await alice.create_room(name="Room")
    token = (await alice.sync())["next_batch"]
    joined = rooms(await alice.sync(token, full_state=True), "join")[room]
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.power_levels", "")} <= set(state_of(joined))
    assert timeline(joined) == []


# ---- filters ----


async def test_filters_by_id_and_inline_choose_the_same(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    await bob.send(room, "from bob")
    await alice.send(room, "from alice")
    content: Json = {"room": {"timeline": {"senders": [bob.user_id], "types": ["m.room.message"]}}}
    stored = (await alice.ok("POST", f"/user/{part(alice.user_id)}/filter", content))["filter_id"]
    for parameter in (content, stored):
        joined = rooms(await alice.sync(filter=parameter), "join")[room]
        assert [event["content"]["body"] for event in timeline(joined)] == ["from bob"]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"room": {"rooms": []}}, set()),
        ({"room": {"not_rooms": ["ONE"]}}, {"TWO"}),
        ({"room": {"rooms": ["ONE"]}}, {"ONE"}),
        ({"room": {"rooms": ["ONE", "TWO"], "not_rooms": ["TWO"]}}, {"ONE"}),
    ],
)
async def test_filters_by_room(alice: Client, filter: Any, expected: set[str]) -> None:
    names = {"ONE": await alice.create_room(), "TWO": await alice.create_room()}
    actual = {key: [names[name] for name in value] for key, value in filter["room"].items()}
    assert set(rooms(await alice.sync(filter={"room": actual}), "join")) == {names[name] for name in expected}


async def test_filters_of_state_and_account_data(alice: Client) -> None:
    room = await alice.create_room(name="Room")
    for number in range(12):
        await alice.send(room, str(number))
    await alice.ok("PUT", f"/user/{part(alice.user_id)}/account_data/org.one", {})
    await alice.ok("PUT", f"/user/{part(alice.user_id)}/account_data/org.two", {})
    answer = await alice.sync(
        filter={
            "account_data": {"types": ["org.one"]},
            "room": {"state": {"types": ["m.room.name"]}, "timeline": {"limit": 1}},
        }
    )
    assert [event["type"] for event in answer["account_data"]["events"]] == ["org.one"]
    assert set(state_of(rooms(answer, "join")[room])) == {("m.room.name", "")}


async def test_event_fields_cut_events_down(alice: Client) -> None:
    room = await alice.create_room()
    await alice.send(room, "kept")
    answer = await alice.sync(filter={"event_fields": ["type", "content.body"]})
    event = timeline(rooms(answer, "join")[room])[-1]
    assert event["type"] == "m.room.message"
    assert event["content"] == {"body": "kept"}
    assert "sender" not in event


async def test_federation_format_carries_the_signed_event(alice: Client) -> None:
    room = await alice.create_room()
    await alice.send(room, "x")
    event = timeline(rooms(await alice.sync(filter={"event_format": "federation"}), "join")[room])[-1]
    assert {"auth_events", "prev_events", "hashes", "signatures", "depth"} <= set(event)


# ---- lazy members and summaries ----


async def test_lazy_members_are_those_of_the_timeline_once(alice: Client, make_user: MakeUser) -> None:
    # spec: client-server-api#lazy-loading-room-members
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
    others = [await make_user("lazy") for _ in range(7)]
    room = await alice.shared_room(*others, name="Room")
    await others[0].send(room, "first")
    first = await alice.sync(filter=lazy)
    known = _members(rooms(first, "join")[room])
    assert known >= {alice.user_id, others[0].user_id}
    # The five heroes of the summary may come too; not everybody.
    strangers = [other for other in others if other.user_id not in known]
    assert strangers
    await strangers[0].send(room, "second")
    second = await alice.sync(first["next_batch"], filter=lazy)
    assert _members(rooms(second, "join")[room]) == {strangers[0].user_id}
    await others[0].send(room, "first again")
    third = await alice.sync(second["next_batch"], filter=lazy)
    assert _members(rooms(third, "join")[room]) == set()
    await others[0].send(room, "and again")
    repeated = {"room": {"state": {"lazy_load_members": True, "include_redundant_members": True}}}
    fourth = await alice.sync(third["next_batch"], filter=repeated)
    assert _members(rooms(fourth, "join")[room]) >= {others[0].user_id}


def _members(room: Json) -> set[str]:
    return {key for kind, key in state_of(room) if kind == "m.room.member"}


async def test_summaries_count_members_and_name_heroes(alice: Client, make_user: MakeUser) -> None:
    # spec: client-server-api#get_matrixclientv3sync_response-200_roomsummary
    others = [await make_user("hero") for _ in range(6)]
    room = await alice.shared_room(*others)
    first = await alice.sync(filter={"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}})
    joined = rooms(first, "join")[room]
    summary = joined["summary"]
    assert summary["m.joined_member_count"] == 7
    assert summary.get("m.invited_member_count", 0) == 0
    assert sorted(summary["m.heroes"]) == sorted(other.user_id for other in others[:5])
    assert _members(joined) >= set(summary["m.heroes"]), "a client can name the heroes"
    await others[0].member(room, "leave")
    after = rooms(await alice.sync(first["next_batch"]), "join")[room]["summary"]
    assert after["m.joined_member_count"] == 6
    assert others[0].user_id not in after.get("m.heroes", [])


# ---- the other sections ----


async def test_invites_show_stripped_state(alice: Client, bob: Client) -> None:
    token = (await bob.sync())["next_batch"]
    room = await alice.create_room(name="Party", invite=[bob.user_id])
    for answer in (await bob.sync(token), await bob.sync()):
        events = rooms(answer, "invite")[room]["invite_state"]["events"]
        found = {(e["type"], e["state_key"]): e for e in events}
        assert found["m.room.member", bob.user_id]["content"]["membership"] == "invite"
        assert found["m.room.member", alice.user_id]["content"]["membership"] == "join", "who invites has a name"
        assert len(found) == len(events)
        assert found["m.room.name", ""]["content"]["name"] == "Party"
        assert found["m.room.history_visibility", ""]["content"] == {"history_visibility": "shared"}
        assert {("m.room.create", ""), ("m.room.join_rules", "")} <= set(found)
        assert all({"type", "state_key", "sender", "content"} <= set(event) for event in events)
        assert room not in rooms(answer, "join")
    await bob.join(room)
    joined = await bob.sync(answer["next_batch"])
    assert room in rooms(joined, "join")
    assert room not in rooms(joined, "invite")


async def test_a_rejected_invite_goes_to_leave(alice: Client, bob: Client) -> None:
    room = await alice.create_room(invite=[bob.user_id])
    token = (await bob.sync())["next_batch"]
    await bob.member(room, "leave")
    answer = await bob.sync(token)
    assert room in rooms(answer, "leave")
    assert room not in rooms(await bob.sync(), "invite")


async def test_knocks_have_a_section(alice: Client, bob: Client) -> None:
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = await alice.create_room(name="Door", initial_state=[rule])
    token = (await bob.sync())["next_batch"]
    await bob.ok("POST", f"/knock/{part(room)}", {})
    for answer in (await bob.sync(token), await bob.sync()):
        events = rooms(answer, "knock")[room]["knock_state"]["events"]
        assert ("m.room.name", "") in {(e["type"], e["state_key"]) for e in events}
    await bob.member(room, "leave")
    assert room in rooms(await bob.sync(answer["next_batch"]), "leave")


@pytest.mark.parametrize("how", ["leave", "kick", "ban"])
async def test_leaving_ends_a_room_with_its_last_events(alice: Client, bob: Client, how: str) -> None:
    room = await alice.shared_room(bob)
    token = (await bob.sync())["next_batch"]
    await alice.send(room, "last words")
    await (bob.member(room, "leave") if how == "leave" else alice.member(room, how, bob.user_id))
    await alice.send(room, "not for bob")
    left = rooms(await bob.sync(token), "leave")[room]
    assert bodies(left) == ["last words"]
    assert timeline(left)[-1]["content"]["membership"] == ("ban" if how == "ban" else "leave")
    fresh = await bob.sync()
    assert room not in rooms(fresh, "join")
    archived = rooms(await bob.sync(filter={"room": {"include_leave": True}}), "leave")
    assert "not for bob" not in bodies(archived[room])


async def test_rejoining_shows_what_was_missed(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    await bob.member(room, "leave")
    token = (await bob.sync())["next_batch"]
    await alice.set_state(room, "m.room.topic", {"topic": "meanwhile"})
    await bob.join(room)
    joined = rooms(await bob.sync(token), "join")[room]
    covered = set(state_of(joined)) | {(e["type"], e.get("state_key")) for e in timeline(joined)}
    assert {("m.room.topic", ""), ("m.room.create", ""), ("m.room.member", bob.user_id)} <= covered


async def test_account_data_comes_once(alice: Client) -> None:
    room = await alice.create_room()
    token = (await alice.sync())["next_batch"]
    mine = f"/user/{part(alice.user_id)}"
    await alice.ok("PUT", f"{mine}/account_data/org.example", {"n": 1})
    await alice.ok("PUT", f"{mine}/account_data/org.example", {"n": 2})
    await alice.ok("PUT", f"{mine}/rooms/{part(room)}/account_data/org.room", {"r": 1})
    answer = await alice.sync(token)
    assert answer["account_data"]["events"] == [{"type": "org.example", "content": {"n": 2}}]
    assert rooms(answer, "join")[room]["account_data"]["events"] == [{"type": "org.room", "content": {"r": 1}}]
    assert answer["next_batch"] != token
    later = await alice.sync(answer["next_batch"])
    assert later.get("account_data", {}).get("events", []) == []


# ---- waking up ----


async def _woken(client: Client, token: str, action: Any) -> Json:
    """What a waiting /sync returns when `action` happens; the long poll is on its way before the action starts."""
    poll = asyncio.create_task(client.sync(token, timeout=LONG_POLL_MS))
    await asyncio.sleep(0.2)
    assert not poll.done(), "returned although nothing happened"
    await action
    started = asyncio.get_running_loop().time()
    answer = await poll
    # Far below the long poll's own end: it was woken.
    assert asyncio.get_running_loop().time() - started < LONG_POLL_MS / 2000
    return answer


async def test_a_long_poll_wakes_up(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    token = (await alice.sync())["next_batch"]
    answer = await _woken(alice, token, bob.send(room, "wake up"))
    assert bodies(rooms(answer, "join")[room]) == ["wake up"]
    invited = await bob.create_room()
    answer = await _woken(alice, answer["next_batch"], bob.member(invited, "invite", alice.user_id))
    assert invited in rooms(answer, "invite")
    path = f"/user/{part(alice.user_id)}/account_data/org.x"
    answer = await _woken(alice, answer["next_batch"], alice.ok("PUT", path, {"a": 1}))
    assert answer["account_data"]["events"][0]["type"] == "org.x"
    answer = await _woken(alice, answer["next_batch"], alice.join(invited))
    assert invited in rooms(answer, "join")


async def test_a_long_poll_ends_by_itself(alice: Client) -> None:
    token = (await alice.sync())["next_batch"]
    answer = await alice.sync(token, timeout=100)
    assert rooms(answer, "join") == {}
    assert rooms(await alice.sync(answer["next_batch"]), "join") == {}


async def test_others_do_not_wake_us(alice: Client, bob: Client) -> None:
    await alice.create_room()
    token = (await alice.sync())["next_batch"]
    poll = asyncio.create_task(alice.sync(token, timeout=1500))
    room = await bob.create_room()
    await bob.send(room, "private")
    answer = await poll
    assert answer.get("rooms", {}).get("join", {}) == {}


async def test_set_presence_is_accepted(alice: Client) -> None:
    for value in ("online", "offline", "unavailable"):
        await alice.sync(set_presence=value)


async def _ban(alice: Client, bob: Client, room: str) -> None:
    (await alice.member(room, "ban", bob.user_id)).ok()


async def _revoked_invite(alice: Client, bob: Client, room: str) -> None:
    (await alice.member(room, "invite", bob.user_id)).ok()
    (await alice.member(room, "kick", bob.user_id)).ok()


async def _refused_invite(alice: Client, bob: Client, room: str) -> None:
    (await alice.member(room, "invite", bob.user_id)).ok()
    (await bob.member(room, "leave")).ok()


@pytest.mark.parametrize("end", [_ban, _revoked_invite, _refused_invite])
@pytest.mark.parametrize("parameters", [{}, {"use_state_after": True}])
async def test_who_was_never_in_a_room_learns_nothing_of_it(
    alice: Client, bob: Client, end: Any, parameters: dict[str, Any]
) -> None:
    room = await alice.create_room(name="secret", topic="secret", room_alias_name=None)
    await alice.send(room, "secret")
    token = (await bob.sync())["next_batch"]
    await end(alice, bob, room)
    await alice.send(room, "secret")
    archived = {"room": {"include_leave": True}}
    for answer in (await bob.sync(token, **parameters), await bob.sync(filter=archived, **parameters)):
        section = rooms(answer, "leave")[room]
        told = [*timeline(section), *section.get("state", section.get("state_after"))["events"]]
        assert {(event["type"], event["state_key"]) for event in told} == {("m.room.member", bob.user_id)}
        assert "secret" not in str(section)


async def test_a_ban_after_leaving_shows_the_room_as_it_was_left(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob, name="as bob knew it")
    (await bob.member(room, "leave")).ok()
    token = (await bob.sync())["next_batch"]
    await alice.set_state(room, "m.room.name", {"name": "secret"})
    await alice.send(room, "secret")
    (await alice.member(room, "ban", bob.user_id)).ok()
    archived = {"room": {"include_leave": True}}
    for answer in (await bob.sync(token), await bob.sync(filter=archived)):
        section = rooms(answer, "leave")[room]
        assert "secret" not in str(section)
        assert timeline(section)[-1]["content"]["membership"] == "ban"
        covered = state_of(section) | {(e["type"], e["state_key"]): e for e in timeline(section) if "state_key" in e}
        assert covered["m.room.name", ""]["content"]["name"] == "as bob knew it"
        assert covered["m.room.member", bob.user_id]["content"]["membership"] == "ban"
