"""Reading history: /messages both ways with filters and lazy members, /context, and what visibility allows.

spec: client-server-api#syncing, client-server-api#room-history-visibility
"""

from __future__ import annotations

import pytest

from tests.support.client import Client, Json, part, rooms, timeline


def bodies(events: list[Json]) -> list[str]:
    """The texts of the messages among `events`."""
    return [event["content"].get("body", "") for event in events if event["type"] == "m.room.message"]


async def filled(alice: Client, count: int, *others: Client) -> str:
    """A public room with `count` numbered messages."""
    room = await alice.shared_room(*others)
    for number in range(count):
        await alice.send(room, str(number))
    return room


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_both_directions_walk_the_whole_room(alice: Client, limit: int) -> None:
    room = await filled(alice, 7)
    backwards = await alice.history(room, "b", limit=limit)
    forwards = await alice.history(room, "f", limit=limit)
    assert bodies(forwards) == [str(number) for number in range(7)]
    assert [event["event_id"] for event in backwards] == [event["event_id"] for event in reversed(forwards)]
    assert forwards[0]["type"] == "m.room.create"


async def test_a_page_has_at_most_its_limit_and_says_where_it_starts(alice: Client) -> None:
    room = await filled(alice, 5)
    page = await alice.messages(room, limit=2)
    assert bodies(page["chunk"]) == ["4", "3"]
    assert isinstance(page["start"], str)
    following = await alice.messages(room, limit=2, **{"from": page["end"]})
    assert following["start"] == page["end"]
    assert bodies(following["chunk"]) == ["2", "1"]
    between = await alice.messages(room, limit=50, **{"to": page["end"]})
    assert bodies(between["chunk"]) == ["4", "3"]


async def test_prev_batch_of_sync_continues_in_messages(alice: Client) -> None:
    room = await filled(alice, 6)
    joined = rooms(await alice.sync(filter={"room": {"timeline": {"limit": 2}}}), "join")[room]
    assert joined["timeline"]["limited"] is True
    assert bodies(timeline(joined)) == ["4", "5"]
    older = await alice.messages(room, limit=3, **{"from": joined["timeline"]["prev_batch"]})
    assert bodies(older["chunk"]) == ["3", "2", "1"]


async def test_next_batch_of_sync_starts_what_comes_after(alice: Client) -> None:
    room = await filled(alice, 2)
    token = (await alice.sync())["next_batch"]
    await alice.send(room, "new")
    newer = await alice.messages(room, "f", **{"from": token})
    assert bodies(newer["chunk"]) == ["new"]
    older = await alice.messages(room, "b", **{"from": token})
    assert bodies(older["chunk"]) == ["1", "0"]


async def test_filters_apply(alice: Client, bob: Client) -> None:
    room = await alice.shared_room(bob)
    await alice.send(room, "plain")
    await alice.send(room, {"msgtype": "m.image", "body": "picture", "url": "mxc://hromada.test/x"})
    await bob.send(room, "from bob")
    await bob.send(room, {"x": 1}, "org.example.custom")

    async def found(**filter: object) -> list[str]:
        chunk = (await alice.messages(room, limit=50, filter=filter))["chunk"]
        return [event["content"].get("body") or event["type"] for event in chunk]

    assert await found(types=["m.room.message"]) == ["from bob", "picture", "plain"]
    assert await found(types=["org.example.*"]) == ["org.example.custom"]
    assert await found(types=["m.room.message"], senders=[bob.user_id]) == ["from bob"]
    assert await found(types=["m.room.message"], not_senders=[bob.user_id]) == ["picture", "plain"]
    assert await found(not_types=["m.room.*"]) == ["org.example.custom"]
    assert await found(contains_url=True) == ["picture"]
    assert await found(types=[]) == []


async def test_a_walk_past_filtered_events_reaches_the_start(alice: Client) -> None:
    # reliability: C18. A page may be empty; only the start of the room ends the walk.
    room = await alice.create_room()
    await alice.send(room, {"first": 1}, "org.example.rare")
    for number in range(30):
        await alice.send(room, str(number))
    rare = await alice.history(room, limit=3, filter={"types": ["org.example.rare"]})
    assert [event["content"] for event in rare] == [{"first": 1}]
    nothing = await alice.history(room, limit=3, filter={"types": ["org.example.none"]})
    assert nothing == []


async def test_lazy_members_come_with_the_page(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.shared_room(bob, carol)
    await bob.send(room, "b")
    await alice.send(room, "a")
    page = await alice.messages(room, limit=2, filter={"lazy_load_members": True})
    members = {event["state_key"] for event in page.get("state", []) if event["type"] == "m.room.member"}
    assert members == {alice.user_id, bob.user_id}


async def test_context(alice: Client, bob: Client) -> None:
    room = await filled(alice, 9, bob)
    middle = next(event for event in await alice.history(room) if event["content"].get("body") == "4")
    path = f"/rooms/{part(room)}/context/{part(middle['event_id'])}"
    context = await bob.ok("GET", path, params={"limit": 4})
    assert context["event"]["event_id"] == middle["event_id"]
    assert bodies(context["events_before"]) == ["3", "2"]
    assert bodies(context["events_after"]) == ["5", "6"]
    assert "m.room.create" in {event["type"] for event in context["state"]}
    older = await bob.messages(room, "b", limit=1, **{"from": context["start"]})
    newer = await bob.messages(room, "f", limit=1, **{"from": context["end"]})
    assert bodies(older["chunk"]) == ["1"]
    assert bodies(newer["chunk"]) == ["7"]
    alone = await bob.ok("GET", path, params={"limit": 0})
    assert alone.get("events_before", []) == alone.get("events_after", []) == []
    (await bob.request("GET", f"/rooms/{part(room)}/context/{part('$nothing')}")).error(404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("visibility", "before_invite", "while_invited"),
    [("world_readable", True, True), ("shared", True, True), ("invited", False, True), ("joined", False, False)],
)
async def test_history_visibility(
    alice: Client, bob: Client, visibility: str, before_invite: bool, while_invited: bool
) -> None:
    state = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": visibility}}
    room = await alice.create_room(initial_state=[state])
    before = await alice.send(room, "before the invite")
    await alice.member(room, "invite", bob.user_id)
    invited = await alice.send(room, "while invited")
    await bob.join(room)
    joined = await alice.send(room, "while joined")
    await bob.member(room, "leave")
    after = await alice.send(room, "after leaving")
    seen = bodies(await bob.history(room, "f"))
    expected = [
        *(["before the invite"] if before_invite else []),
        *(["while invited"] if while_invited else []),
        "while joined",
    ]
    # Who may read anyway, reads on after leaving.
    assert seen[: len(expected)] == expected
    assert (seen[len(expected) :] in ([], ["after leaving"])) if visibility == "world_readable" else seen == expected
    for event, visible in ((before, before_invite), (invited, while_invited), (joined, True)):
        reply = await bob.request("GET", f"/rooms/{part(room)}/event/{part(event)}")
        assert reply.status == (200 if visible else 404), reply
    hidden = await bob.request("GET", f"/rooms/{part(room)}/event/{part(after)}")
    assert hidden.status == (200 if visibility == "world_readable" else 404)


async def test_a_world_readable_room_is_readable_without_joining(alice: Client, bob: Client) -> None:
    state = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "world_readable"}}
    room = await alice.create_room(preset="public_chat", initial_state=[state])
    event = await alice.send(room, "open")
    assert bodies(await bob.history(room)) == ["open"]
    assert (await bob.event(room, event))["content"]["body"] == "open"
    assert (await bob.state(room, "m.room.create"))["room_version"] == "12"


async def test_what_is_not_visible_looks_unknown(alice: Client, bob: Client) -> None:
    # reliability: C17. An event id opens nothing in another room, and "hidden" reads as "unknown".
    secret, own = await alice.create_room(), await bob.create_room()
    event = await alice.send(secret, "secret")
    for where in (secret, own):
        for action in ("event", "context"):
            real = await bob.request("GET", f"/rooms/{part(where)}/{action}/{part(event)}")
            fake = await bob.request("GET", f"/rooms/{part(where)}/{action}/{part(event[:-3] + 'AAA')}")
            assert real.status in {403, 404}
            assert (real.status, real.raw) == (fake.status, fake.raw)
    redact = await bob.request("PUT", f"/rooms/{part(own)}/redact/{part(event)}/t1", {})
    assert redact.status in {200, 403, 404}
    assert (await alice.event(secret, event))["content"]["body"] == "secret"
    no_room = await bob.request("GET", f"/rooms/{part('!no-such-room')}/event/{part(event)}")
    assert no_room.status in {403, 404}
