"""The list of what a user was told of.  spec: client-server-api#listing-notifications"""

from __future__ import annotations

from typing import Any

from tests.support.client import Client, part


async def listed(client: Client, **params: Any) -> list[dict[str, Any]]:
    """All of it, page by page."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while True:
        page = await client.ok("GET", "/notifications", params={"from": token, **params})
        found += page["notifications"]
        if (token := page.get("next_token")) is None:
            return found


def ids(notifications: list[dict[str, Any]]) -> list[str]:
    return [one["event"]["event_id"] for one in notifications]


async def ignore(client: Client, *users: str) -> None:
    path = f"/user/{part(client.user_id)}/account_data/m.ignored_user_list"
    await client.ok("PUT", path, {"ignored_users": {user: {} for user in users}})


async def test_what_was_told_newest_first(alice: Client, bob: Client) -> None:
    """element-hq/synapse#12840: it works without a pusher."""
    assert await listed(bob) == []
    rooms = [await alice.shared_room(bob) for _ in range(2)]
    sent = [await alice.send(rooms[number % 2], str(number)) for number in range(4)]
    mine = await bob.send(rooms[0], "mine")
    await alice.send(rooms[1], {"msgtype": "m.notice", "body": "a notice"})
    told = await listed(bob)
    assert ids(told) == sent[::-1]
    first = told[0]
    assert set(first) == {"actions", "event", "read", "room_id", "ts"}
    assert first["room_id"] == rooms[1] and first["ts"] == first["event"]["origin_server_ts"]
    assert first["actions"][0] == "notify"
    assert first["event"] == await bob.event(rooms[1], sent[3])
    assert [one["read"] for one in told] == [False, True, False, True], "one's own message reads the room"
    await bob.ok("POST", f"/rooms/{part(rooms[1])}/receipt/m.read.private/{part(sent[1])}", {})
    assert [one["read"] for one in await listed(bob)] == [False, True, True, True]
    assert ids(await listed(alice)) == [mine]


async def test_pages_of_highlights_are_complete(alice: Client, bob: Client) -> None:
    """element-hq/synapse#15140: seven old entries and nothing newer."""
    room = await alice.shared_room(bob)
    highlights = []
    for number in range(250):
        mention = {"m.mentions": {"user_ids": [bob.user_id]}} if number % 40 == 3 else {}
        event = await alice.send(room, {"msgtype": "m.text", "body": str(number), **mention})
        if mention:
            highlights.append(event)
    told = await listed(bob, only="highlight", limit=3)
    assert ids(told) == highlights[::-1]
    assert all({"set_tweak": "highlight"} in one["actions"] for one in told)
    page = await bob.ok("GET", "/notifications", params={"only": "highlight", "limit": 3})
    assert len(page["notifications"]) == 3, "no page ends early for want of a look further back"
    everything = await listed(bob, limit=37)
    assert len(everything) == len(set(ids(everything))) == 250


async def test_who_was_not_there_was_not_told(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(carol)
    await alice.send(room, "before bob came")
    await alice.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": bob.user_id})
    await alice.send(room, "bob is only invited")
    await bob.join(room)
    seen = await alice.send(room, "welcome")
    spam = await carol.send(room, "spam")
    gone = await alice.send(room, "a mistake")
    await alice.redact(room, gone)
    told = await listed(bob)
    assert ids(told)[:2] == [spam, seen]
    assert [one["event"]["type"] for one in told] == ["m.room.message", "m.room.message", "m.room.member"]
    assert told[2]["event"]["content"]["membership"] == "invite"
    await ignore(bob, carol.user_id)
    assert ids(await listed(bob))[0] == seen
    await ignore(bob)
    assert ids(await listed(bob))[0] == spam
    await bob.ok("POST", f"/rooms/{part(room)}/leave", {})
    assert await listed(bob) == [], "element-hq/synapse#16904: nothing of rooms that were left"


async def test_invitations_that_wait_for_an_answer(alice: Client, bob: Client, carol: Client) -> None:
    shared = await alice.shared_room(bob)
    first = await alice.send(shared, "hello")
    rooms = [await inviter.create_room(preset="private_chat") for inviter in (alice, carol)]
    for inviter, room in zip((alice, carol), rooms, strict=True):
        await inviter.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": bob.user_id})
        await inviter.send(room, "bob is not there yet")
    last = await alice.send(shared, "bye")
    told = await listed(bob)
    assert [one["room_id"] for one in told[:4]] == [shared, *rooms[::-1], shared]
    assert [ids(told)[0], ids(told)[3]] == [last, first]
    for one, inviter in zip(told[1:3], (carol, alice), strict=True):
        assert one["event"]["content"]["membership"] == "invite" and one["event"]["state_key"] == bob.user_id
        assert one["event"]["sender"] == inviter.user_id and one["event"]["unsigned"]["membership"] == "invite"
        assert "notify" in one["actions"] and one["read"] is False
    assert ids(await listed(bob, limit=1)) == ids(told), "page by page"
    await ignore(bob, carol.user_id)
    assert [one["room_id"] for one in (await listed(bob))[:3]] == [shared, rooms[0], shared]
    await bob.ok("POST", f"/rooms/{part(rooms[0])}/leave", {})
    assert [one["room_id"] for one in (await listed(bob))[:2]] == [shared, shared]


async def test_rules_of_ones_own_decide(alice: Client, bob: Client) -> None:
    muted, loud = await alice.shared_room(bob), await alice.shared_room(bob)
    cheese = await alice.send(loud, "about the cheese")
    quiet = await alice.send(muted, "hello")
    assert ids(await listed(bob)) == [quiet, cheese]
    await bob.ok("PUT", f"/pushrules/global/room/{part(muted)}", {"actions": []})
    assert ids(await listed(bob)) == [cheese]
    actions = ["notify", {"set_tweak": "highlight"}, {"set_tweak": "sound", "value": "bell"}]
    await bob.ok("PUT", "/pushrules/global/content/cheese", {"pattern": "cheese", "actions": actions})
    (told,) = await listed(bob, only="highlight")
    assert (ids([told]), told["actions"]) == ([cheese], actions)


async def test_a_private_past_stays_private(alice: Client, bob: Client) -> None:
    """A rejoin does not list what was said meanwhile, though the room shares its history."""
    room = await alice.shared_room(bob)
    first = await alice.send(room, "one")
    await bob.ok("POST", f"/rooms/{part(room)}/leave", {})
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await alice.send(room, "secret")
    await bob.join(room)
    last = await alice.send(room, "two")
    assert ids(await listed(bob)) == [last, first]
    assert [one["read"] for one in await listed(bob)] == [False, True]


async def test_bad_parameters(alice: Client) -> None:
    """element-hq/synapse#17283: a bad `from` gave 500."""
    for params in (
        {"from": "nonsense"},
        {"from": "t9999999999999999999999"},
        {"from": ""},
        {"limit": "x"},
        {"limit": -1},
        {"limit": 0},
        {"only": "everything"},
    ):
        reply = await alice.request("GET", "/notifications", params=params)
        assert reply.error(400)["errcode"] in {"M_INVALID_PARAM", "M_BAD_PARAM"}, (params, reply)
    (await alice.request("GET", "/notifications", token=None)).error(401, "M_MISSING_TOKEN")
    assert (await alice.ok("GET", "/notifications", params={"limit": 2**40})) == {"notifications": []}
