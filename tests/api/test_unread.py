"""Unread counts over the API.  spec: client-server-api#receiving-notifications"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.support.client import Client
from tests.support.stream import streaming

THREADS = json.dumps({"room": {"timeline": {"unread_thread_notifications": True}}})


def counts(answer: dict[str, Any], room: str) -> tuple[int, int] | None:
    section = answer.get("rooms", {}).get("join", {}).get(room)
    if section is None:
        return None
    unread = section["unread_notifications"]
    return unread["notification_count"], unread["highlight_count"]


async def read(client: Client, room: str, event: str, kind: str = "m.read", **body: Any) -> None:
    await client.ok("POST", f"/rooms/{room}/receipt/{kind}/{event}", body)


async def fresh(client: Client, room: str) -> tuple[int, int] | None:
    return counts(await client.sync(), room)


async def test_messages_count_until_they_are_read(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    events = [await alice.send(room, {"msgtype": "m.text", "body": str(number)}) for number in range(3)]
    answer = await bob.sync(since)
    assert counts(answer, room) == (3, 0) == await fresh(bob, room)
    await read(bob, room, events[1])
    answer = await bob.sync(answer["next_batch"])
    assert counts(answer, room) == (1, 0) == await fresh(bob, room)
    await read(bob, room, events[0])  # does not go back
    assert await fresh(bob, room) == (1, 0)
    await read(bob, room, events[2], "m.read.private")
    answer = await bob.sync(answer["next_batch"])
    assert counts(answer, room) == (0, 0), "the change of counts alone puts the room into the answer"
    assert await fresh(alice, room) == (0, 0), "own messages are read"


async def test_a_held_answer_has_the_count_with_the_message(alice: Client, bob: Client) -> None:
    """dendrite#2970: the long poll woken by a message carried the count from before it."""
    room = await alice.shared_room(bob)
    since = (await bob.sync())["next_batch"]
    waiting = asyncio.create_task(bob.sync(since, timeout=30_000))
    await alice.send(room, {"msgtype": "m.text", "body": "1"})
    assert counts(await waiting, room) == (1, 0)


async def test_mentions_and_rooms_stand_out(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob, carol)
    text = {"msgtype": "m.text", "body": "you"}
    await alice.send(room, {**text, "m.mentions": {"user_ids": [bob.user_id]}})
    await alice.send(room, {**text, "m.mentions": {"room": True}})
    await carol.send(room, {**text, "m.mentions": {"room": True}})  # has not the power
    await alice.send(room, {"msgtype": "m.notice", "body": "you", "m.mentions": {"user_ids": [bob.user_id]}})
    await alice.send(room, {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$x", "key": "y"}}, "m.reaction")
    assert await fresh(bob, room) == (3, 2)


async def test_own_messages_read_and_redacted_ones_do_not_count(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    events = [await alice.send(room, {"msgtype": "m.text", "body": str(number)}) for number in range(2)]
    answer = await bob.sync()
    assert counts(answer, room) == (2, 0)
    await alice.redact(room, events[0])
    answer = await bob.sync(answer["next_batch"])
    assert counts(answer, room) == (1, 0) == await fresh(bob, room)
    await bob.send(room, {"msgtype": "m.text", "body": "mine"})
    answer = await bob.sync(answer["next_batch"])
    assert counts(answer, room) == (0, 0) == await fresh(bob, room)
    await bob.ok("PUT", f"/profile/{bob.user_id}/displayname", {"displayname": "Bob"})
    await alice.send(room, {"msgtype": "m.text", "body": "3"})
    assert await fresh(bob, room) == (1, 0), "another name reads nothing"


async def test_what_one_said_stays_read_when_others_redact_it(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    await alice.send(room, {"msgtype": "m.text", "body": "1"})
    mine = await bob.send(room, {"msgtype": "m.text", "body": "mine"})
    answer = await bob.sync()
    await alice.redact(room, mine)
    answer = await bob.sync(answer["next_batch"])
    assert counts(answer, room) == (0, 0) == await fresh(bob, room)


async def test_what_was_before_the_join_is_not_unread(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    for number in range(3):
        await alice.send(room, {"msgtype": "m.text", "body": str(number)})
    await bob.join(room)
    assert await fresh(bob, room) == (0, 0)
    await alice.send(room, {"msgtype": "m.text", "body": "after"})
    assert await fresh(bob, room) == (1, 0)
    await bob.member(room, "leave")
    await alice.send(room, {"msgtype": "m.text", "body": "away"})
    await bob.join(room)
    assert await fresh(bob, room) == (0, 0), "element-hq/synapse#16904: a rejoin starts at nothing"


async def test_threads_have_counts_and_receipts_of_their_own(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    root = await alice.send(room, {"msgtype": "m.text", "body": "root"})
    relation = {"rel_type": "m.thread", "event_id": root}
    reply = {"msgtype": "m.text", "body": "reply", "m.relates_to": relation}
    last = [await alice.send(room, reply) for _ in range(2)][-1]
    assert await fresh(bob, room) == (3, 0)

    async def by_thread() -> tuple[Any, Any]:
        section = (await bob.sync(filter=THREADS))["rooms"]["join"][room]
        return section["unread_notifications"]["notification_count"], section["unread_thread_notifications"]

    assert await by_thread() == (1, {root: {"notification_count": 2, "highlight_count": 0}})
    await read(bob, room, last, thread_id=root)
    assert await by_thread() == (1, {})
    await read(bob, room, root, thread_id="main")
    assert await by_thread() == (0, {}) and await fresh(bob, room) == (0, 0)
    await alice.send(room, reply)
    assert await by_thread() == (0, {root: {"notification_count": 1, "highlight_count": 0}})


async def test_counts_of_threads_over_the_socket(alice: Client, bob: Client) -> None:
    """Each update has those that a sync has, also where only a receipt came."""
    room = await alice.shared_room(bob)
    root = await alice.send(room, {"msgtype": "m.text", "body": "root"})
    relation = {"rel_type": "m.thread", "event_id": root}
    async with streaming(bob, filter=json.loads(THREADS)) as stream:

        def section(body: dict[str, Any]) -> tuple[Any, Any]:
            found = body["rooms"]["join"][room]
            return found["unread_notifications"]["notification_count"], found.get("unread_thread_notifications")

        assert section(await stream.update()) == (1, {})
        reply = await alice.send(room, {"msgtype": "m.text", "body": "reply", "m.relates_to": relation})
        assert section(await stream.update()) == (1, {root: {"notification_count": 1, "highlight_count": 0}})
        await read(bob, room, reply, thread_id=root)
        assert section(await stream.update()) == (1, {})
        assert section(await bob.sync(filter=THREADS)) == (1, {})


async def test_a_replaced_room_counts_by_itself(alice: Client, bob: Client) -> None:
    """What was unread in the old room stays there; the new one begins with what comes after one's joining."""
    room = await alice.shared_room(bob)
    await bob.ok("PUT", f"/pushrules/global/room/{room}", {"actions": []})
    await alice.send(room, {"msgtype": "m.text", "body": "muted"})
    assert await fresh(bob, room) == (0, 0)
    new = (await alice.ok("POST", f"/rooms/{room}/upgrade", {"new_version": "12"}))["replacement_room"]
    await alice.ok("POST", f"/rooms/{new}/invite", {"user_id": bob.user_id})
    await bob.join(new)
    await alice.send(new, {"msgtype": "m.text", "body": "muted here, too"})
    assert await fresh(bob, new) == (0, 0), "the rule went along"
    assert await fresh(bob, room) == (1, 1), "the tombstone, which a room's rule does not silence"
    await bob.ok("DELETE", f"/pushrules/global/room/{new}")
    assert (await fresh(bob, room), await fresh(bob, new)) == ((1, 1), (1, 0)), "each room has a rule of its own"
    newest = (await bob.sync())["rooms"]["join"][room]["timeline"]["events"][-1]
    await read(bob, room, newest["event_id"])
    assert (await fresh(bob, room), await fresh(bob, new)) == ((0, 0), (1, 0))


async def test_rules_of_ones_own(alice: Client, bob: Client) -> None:
    room, other = await alice.shared_room(bob), await alice.shared_room(bob)
    for name in (room, other):
        await alice.send(name, {"msgtype": "m.text", "body": "about the cheese"})
    since = (await bob.sync())["next_batch"]
    await bob.ok("PUT", f"/pushrules/global/room/{room}", {"actions": []})
    answer = await bob.sync(since)
    assert (counts(answer, room), counts(answer, other)) == ((0, 0), (1, 0))
    actions = ["notify", {"set_tweak": "highlight"}]
    await bob.ok("PUT", "/pushrules/global/content/cheese", {"pattern": "cheese", "actions": actions})
    assert (await fresh(bob, room), await fresh(bob, other)) == ((1, 1), (1, 1))
    await bob.ok("DELETE", "/pushrules/global/content/cheese")
    await bob.ok("DELETE", f"/pushrules/global/room/{room}")
    assert await fresh(bob, room) == (1, 0)


async def test_ignored_users_do_not_count(alice: Client, bob: Client, carol: Client) -> None:
    """element-meta#2647: messages of a person ignored before reading stayed counted."""
    room = await alice.shared_room(bob, carol)
    await alice.send(room, {"msgtype": "m.text", "body": "1"})
    await carol.send(room, {"msgtype": "m.text", "body": "2"})
    assert await fresh(bob, room) == (2, 0)
    path = f"/user/{bob.user_id}/account_data/m.ignored_user_list"
    await bob.ok("PUT", path, {"ignored_users": {carol.user_id: {}}})
    assert await fresh(bob, room) == (1, 0)
    await carol.send(room, {"msgtype": "m.text", "body": "3"})
    await alice.send(room, {"msgtype": "m.text", "body": "4"})
    assert await fresh(bob, room) == (2, 0)
    await bob.ok("PUT", path, {"ignored_users": {}})
    assert await fresh(bob, room) == (4, 0)


async def test_rooms_do_not_hide_one_another(alice: Client, bob: Client) -> None:
    """element-hq/synapse#20237."""
    rooms = [await alice.shared_room(bob) for _ in range(3)]
    events = {room: await alice.send(room, {"msgtype": "m.text", "body": "x"}) for room in rooms}
    for room in rooms:
        await read(bob, room, events[room], thread_id="main")
        await alice.send(room, {"msgtype": "m.text", "body": "y"})
    answer = await bob.sync()
    assert [counts(answer, room) for room in rooms] == [(1, 0)] * 3
