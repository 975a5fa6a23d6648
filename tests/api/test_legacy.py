"""What newer endpoints have replaced, for old clients and suites of conformance tests.

spec: client-server-api#get_matrixclientv3initialsync, client-server-api#get_matrixclientv3events,
client-server-api#get_matrixclientv3eventseventid
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import PASSWORD, Client, Json, part
from tests.support.fixtures import fresh

HIDDEN = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}


def bodies(events: list[Json]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def test_the_stream_of_all_rooms(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    other = await alice.shared_room(bob)
    secret = await alice.create_room()
    start = await bob.ok("GET", "/events")
    assert start["chunk"] == []
    waiting = asyncio.create_task(bob.ok("GET", "/events", params={"from": start["end"], "timeout": 25_000}))
    await alice.send(secret, "not for bob")
    await alice.send(room, "one")
    first = await asyncio.wait_for(waiting, 24)
    assert bodies(first["chunk"]) == ["one"]
    assert first["chunk"][0]["room_id"] == room
    assert first["start"] == start["end"]
    await alice.send(other, "two")
    second = await bob.ok("GET", "/events", params={"from": first["end"], "timeout": 25_000})
    assert [(event["room_id"], event["content"]["body"]) for event in second["chunk"]] == [(other, "two")]
    (await bob.request("GET", "/events", params={"from": "nonsense"})).error(400, "M_INVALID_PARAM")
    (await bob.request("GET", "/events", params={"timeout": -1})).error(400, "M_INVALID_PARAM")


async def test_the_stream_leaves_messages_to_devices_alone(alice: Client, bob: Client) -> None:
    start = (await bob.sync())["next_batch"]
    content = {"messages": {bob.user_id: {bob.device_id: {"n": 1}}}}
    await alice.ok("PUT", f"/sendToDevice/org.example.note/{fresh('t')}", content)
    heard = await bob.ok("GET", "/events", params={"from": start})
    await bob.ok("GET", "/events", params={"from": heard["end"]})
    assert [event["content"] for event in (await bob.sync(since=start))["to_device"]["events"]] == [{"n": 1}]


async def test_all_rooms_at_once(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob, visibility="public")
    left = await alice.shared_room(bob)
    await bob.member(left, "leave")
    invited = await carol.create_room(invite=[bob.user_id], name="Invited")
    for number in range(4):
        await alice.send(room, str(number))
    await alice.set_state(room, "m.room.topic", {"topic": "Now"})
    answer = await bob.ok("GET", "/initialSync", params={"limit": 3})
    told = {item["room_id"]: item for item in answer["rooms"]}
    assert told.keys() == {room, invited}
    assert (told[room]["membership"], told[room]["visibility"]) == ("join", "public")
    assert bodies(told[room]["messages"]["chunk"]) == ["2", "3"]
    state = {(event["type"], event["state_key"]): event["content"] for event in told[room]["state"]}
    assert state["m.room.topic", ""] == {"topic": "Now"}
    assert ("m.room.member", bob.user_id) in state
    older = await bob.messages(room, **{"from": told[room]["messages"]["start"], "limit": 2})
    assert bodies(older["chunk"]) == ["1", "0"]
    assert told[invited]["invite"]["content"]["membership"] == "invite"
    assert (told[invited]["membership"], told[invited]["visibility"]) == ("invite", "private")
    await alice.send(room, "later")
    assert bodies((await bob.ok("GET", "/events", params={"from": answer["end"]}))["chunk"]) == ["later"]
    archived = await bob.ok("GET", "/initialSync", params={"archived": "true"})
    assert {item["room_id"]: item["membership"] for item in archived["rooms"]}[left] == "leave"
    (await bob.request("GET", "/initialSync", params={"limit": -1})).error(400, "M_INVALID_PARAM")


async def test_one_event_wherever_it_is(alice: Client, bob: Client) -> None:
    room = await alice.create_room(initial_state=[HIDDEN], preset="public_chat")
    before = await alice.send(room, "before")
    await bob.join(room)
    event = await alice.send(room, "hello")
    assert (await bob.ok("GET", f"/events/{part(event)}"))["content"]["body"] == "hello"
    other = await alice.send(await alice.create_room(), "elsewhere")
    unknown = "$" + "x" * 43
    answers = [await bob.request("GET", f"/events/{part(name)}") for name in (before, other, unknown)]
    assert len({(answer.status, answer.raw) for answer in answers}) == 1
    answers[0].error(404, "M_NOT_FOUND")


async def test_sending_without_a_transaction(alice: Client, bob: Client) -> None:
    room = await alice.create_room()
    path = f"/rooms/{part(room)}/send/m.room.message"
    content = {"msgtype": "m.text", "body": "again"}
    sent = [(await alice.ok("POST", path, content))["event_id"] for _ in range(2)]
    assert sent[0] != sent[1]
    redaction = (await alice.ok("POST", f"/rooms/{part(room)}/redact/{part(sent[0])}", {"reason": "twice"}))["event_id"]
    assert (await alice.event(room, redaction))["content"]["reason"] == "twice"
    assert (await alice.event(room, sent[0]))["content"] == {}
    (await bob.request("POST", path, content)).error(403, "M_FORBIDDEN")
    (await bob.request("POST", f"/rooms/{part(room)}/redact/{part(sent[1])}", {})).error(403, "M_FORBIDDEN")


async def test_push_rules_of_a_kind(alice: Client) -> None:
    rules = await alice.ok("GET", "/pushrules/global/")
    for kind, expected in rules.items():
        assert await alice.ok("GET", f"/pushrules/global/{kind}/") == expected


@pytest.mark.parametrize(
    "path",
    ["", "/global", "/local/", "/global/override", "/global/nothing/", "/global/nothing/x", "/local/override/x",
     "/global/override/.m.rule.master/nothing", "/local/override/.m.rule.master/enabled"],
)  # fmt: skip
async def test_malformed_paths_of_push_rules(alice: Client, path: str) -> None:
    (await alice.request("GET", f"/pushrules{path}")).error(400)


async def test_malformed_paths_of_push_rules_change_nothing(alice: Client) -> None:
    rule: Json = {"actions": ["notify"], "pattern": "cheese"}
    before = await alice.ok("GET", "/pushrules/")
    for path in ("local/content/mine", "global/nothing/mine", "global/content/mine/extra"):
        for method in ("PUT", "DELETE"):
            (await alice.request(method, f"/pushrules/{path}", rule)).error(400)
    (await alice.request("GET", "/pushrules/global/override/unknown")).error(404, "M_NOT_FOUND")
    assert await alice.ok("GET", "/pushrules/") == before


async def test_parameters_of_a_registration_are_remembered(anonymous: Client) -> None:
    name = fresh("old")
    body: dict[str, Any] = {
        "username": name,
        "password": PASSWORD,
        "device_id": "OLD",
        "initial_device_display_name": "x",
    }
    asked = await anonymous.request("POST", "/register", body)
    assert asked.status == 401
    auth = {"session": asked.body["session"], "type": "m.login.dummy"}
    done = await anonymous.request("POST", "/register", {"auth": auth})
    assert (done.status, done.body["device_id"]) == (200, "OLD"), done
    assert done.body["user_id"].startswith(f"@{name}:")
    again = await anonymous.request("POST", "/register", {"auth": auth})
    assert again.raw == done.raw, "the answer was lost and is asked for again"
    assert (await anonymous.login(name)).user_id == done.body["user_id"]


async def test_what_is_remembered_cannot_be_changed(anonymous: Client) -> None:
    body = {"username": fresh("old"), "password": PASSWORD}
    session = (await anonymous.request("POST", "/register", body)).body["session"]
    auth = {"session": session, "type": "m.login.dummy"}
    changed = {"username": fresh("other"), "password": PASSWORD, "auth": auth}
    (await anonymous.request("POST", "/register", changed)).error(403, "M_FORBIDDEN")
    unknown = await anonymous.request("POST", "/register", {"auth": {"session": "unknown", "type": "m.login.dummy"}})
    unknown.error(400, "M_MISSING_PARAM")


async def test_a_failed_stage_says_what_is_completed(alice: Client) -> None:
    body = {"new_password": "another one entirely"}
    asked = await alice.request("POST", "/account/password", body)
    identifier = {"type": "m.id.user", "user": alice.user_id}
    auth = {"session": asked.body["session"], "type": "m.login.password", "identifier": identifier, "password": "wrong"}
    failed = await alice.request("POST", "/account/password", {**body, "auth": auth})
    assert failed.status == 401
    assert failed.body["completed"] == []
    assert failed.body["errcode"] == "M_FORBIDDEN"


async def test_fields_of_a_profile_that_are_not_set(alice: Client, bob: Client) -> None:
    """spec: client-server-api#get_matrixclientv3profileuseridkeyname"""
    path = f"/profile/{part(alice.user_id)}"
    await alice.ok("PUT", f"{path}/displayname", {"displayname": "Alice"})
    await alice.ok("DELETE", f"{path}/displayname")
    assert await bob.ok("GET", path) == {}
    for field in ("displayname", "avatar_url", "m.tz"):
        (await bob.request("GET", f"{path}/{field}")).error(404, "M_NOT_FOUND")
