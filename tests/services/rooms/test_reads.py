"""Reads: who sees what of a room, and that nobody learns more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import RoomEventFilter, parse_room_event_filter
from homeserver.services.rooms.history import PageRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.relations import RelationsRequest
from tests.services.rooms.conftest import ALICE, BOB, CAROL, World, members_of
from tests.support.statements import counted

A, B, C = (Recipient(user, "DEV") for user in (ALICE, BOB, CAROL))
SECRET = ("m.room.history_visibility", "")


async def walk(world: World, who: Recipient, room_id: str, limit: int = 3, **request: Any) -> list[dict[str, Any]]:
    """All events a user can page through, newest first."""
    events: list[dict[str, Any]] = []
    start: str | None = None
    for _ in range(100):
        page = await world.rooms.history.messages(who, room_id, PageRequest(True, start=start, limit=limit, **request))
        events += map(orjson.loads, page.chunk)
        if page.end is None:
            return events
        start = page.end
    raise AssertionError("the walk does not end")


def bodies(events: list[dict[str, Any]]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def refused(action: Awaitable[object]) -> dict[str, Any]:
    with pytest.raises(MatrixError) as error:
        await action
    return {"status": error.value.status, **error.value.body()}


async def test_a_hidden_room_answers_like_an_unknown_one(world: World) -> None:
    hidden = await world.create(ALICE, preset="private_chat")
    own = await world.create(BOB)
    secret = await world.say(hidden, "secret")
    rooms = world.rooms
    reads: list[Callable[[str, str], Awaitable[object]]] = [
        lambda room, event: rooms.history.event(B, room, event),
        lambda room, event: rooms.history.context(B, room, event, 10, RoomEventFilter()),
        lambda room, event: rooms.history.messages(B, room, PageRequest(True)),
        lambda room, event: rooms.history.event_by_timestamp(B, room, 0, backwards=False),
        lambda room, event: rooms.relations.of_event(B, room, RelationsRequest(event)),
        lambda room, event: rooms.relations.threads(B, room, participated=False, start=None, limit=5),
        lambda room, event: rooms.state.all(BOB, room),
        lambda room, event: rooms.state.one(BOB, room, "m.room.create", ""),
        lambda room, event: rooms.state.members(BOB, room),
        lambda room, event: rooms.state.joined_members(BOB, room),
        lambda room, event: rooms.aliases.local_aliases(BOB, room),
        lambda room, event: rooms.directory.room_summary(BOB, room),
    ]
    for read in reads:
        answer = await refused(read(hidden, secret))
        assert answer == await refused(read("!unknown:hromada.test", "$unknown"))
        assert answer["status"] in (403, 404)
    # An event id alone opens nothing, whichever room it is asked in.
    for read in reads[:2]:
        assert await refused(read(own, secret)) == await refused(read(own, "$unknown"))
    assert (await refused(rooms.sending.redact(own, (BOB, "DEV"), secret, "t", None)))["errcode"] == "M_NOT_FOUND"


async def test_who_left_sees_the_room_as_they_left_it(world: World) -> None:
    room_id = await world.create(ALICE, BOB, topic="old")
    await world.say(room_id, "before")
    await world.rooms.memberships.leave(BOB, room_id)
    after = await world.say(room_id, "after")
    await world.rooms.sending.set_state(room_id, ALICE, ("m.room.topic", ""), {"topic": "new"})
    await world.rooms.memberships.join(CAROL, room_id)
    assert bodies(await walk(world, B, room_id)) == ["before"]
    assert bodies(await walk(world, A, room_id)) == ["after", "before"]
    topic, _ = await world.rooms.state.one(BOB, room_id, "m.room.topic", "")
    assert topic["topic"] == "old"
    members = await members_of(world, BOB, room_id)
    assert {orjson.loads(member)["state_key"] for member in members} == {ALICE, BOB}
    assert len(await world.rooms.state.all(BOB, room_id)) == len(await world.rooms.state.all(ALICE, room_id)) - 1
    assert (await refused(world.rooms.history.event(B, room_id, after)))["errcode"] == "M_NOT_FOUND"
    assert (await refused(world.rooms.state.joined_members(BOB, room_id)))["errcode"] == "M_FORBIDDEN"
    await world.rooms.memberships.forget(BOB, room_id)
    assert (await refused(world.rooms.state.all(BOB, room_id)))["errcode"] == "M_FORBIDDEN"


@pytest.mark.parametrize(
    ("visibility", "seen"),
    [
        ("world_readable", ["joined", "invited", "early"]),
        ("shared", ["joined", "invited", "early"]),
        ("invited", ["joined", "invited"]),
        ("joined", ["joined"]),
        ("nonsense", ["joined", "invited", "early"]),
    ],
)
async def test_history_visibility(world: World, visibility: str, seen: list[str]) -> None:
    room_id = await world.create(ALICE, preset="private_chat")
    await world.rooms.sending.set_state(room_id, ALICE, SECRET, {"history_visibility": visibility})
    early = await world.say(room_id, "early")
    await world.rooms.memberships.invite(ALICE, room_id, BOB)
    await world.say(room_id, "invited")
    await world.rooms.memberships.join(BOB, room_id)
    await world.say(room_id, "joined")
    # Small pages: whole pages may be invisible, the walk goes on nevertheless.
    assert bodies(await walk(world, B, room_id, limit=1)) == seen
    if "early" in seen:
        assert orjson.loads(await world.rooms.history.event(B, room_id, early))["event_id"] == early
    else:
        assert (await refused(world.rooms.history.event(B, room_id, early)))["errcode"] == "M_NOT_FOUND"
    assert (visibility == "world_readable") == (await _can_peek(world, room_id))


async def _can_peek(world: World, room_id: str) -> bool:
    try:
        return bool(bodies(await walk(world, C, room_id)))
    except MatrixError as error:
        assert error.code == ErrCode.FORBIDDEN
        return False


async def test_pages_meet_in_both_directions(world: World) -> None:
    room_id = await world.create()
    for number in range(25):
        await world.say(room_id, str(number))
    everything = await walk(world, A, room_id, limit=7)
    assert bodies(everything) == [str(number) for number in reversed(range(25))]
    assert everything[-1]["type"] == "m.room.create"
    page = await world.rooms.history.messages(A, room_id, PageRequest(True, limit=5))
    onward = await world.rooms.history.messages(A, room_id, PageRequest(False, start=page.end, limit=100))
    assert onward.chunk == page.chunk[::-1]
    assert onward.end is None
    text = parse_room_event_filter({"types": ["m.room.message"], "lazy_load_members": True})
    filtered = await world.rooms.history.messages(A, room_id, PageRequest(False, limit=2, filter=text))
    assert bodies([orjson.loads(event) for event in filtered.chunk]) == ["0", "1"]
    assert [orjson.loads(event)["state_key"] for event in filtered.state] == [ALICE]
    for token in ("x", "t", "t1.5", "s", "t99999999999999999999", "t\0", "s-1"):
        answer = await refused(world.rooms.history.messages(A, room_id, PageRequest(True, start=token)))
        assert answer["errcode"] == "M_INVALID_PARAM"


async def test_the_senders_device_gets_its_transaction_id(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    event_id = await world.say(room_id, "hello", txn="t1")
    own = orjson.loads(await world.rooms.history.event(A, room_id, event_id))
    assert own["unsigned"] == {"membership": "join", "transaction_id": "t1"}
    for other in (B, Recipient(ALICE, "OTHER")):
        assert orjson.loads(await world.rooms.history.event(other, room_id, event_id))["unsigned"] == {
            "membership": "join"
        }


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_redaction(world: World, version: str) -> None:
    room_id = await world.create(ALICE, BOB, room_version=version)
    event_id = await world.say(room_id, "oops", BOB)
    await world.rooms.history.event(A, room_id, event_id)
    redact = world.rooms.sending.redact
    mine = await world.say(room_id, "mine")
    assert (await refused(redact(room_id, (BOB, "DEV"), mine, "t", None)))["errcode"] == "M_FORBIDDEN"
    redaction = await redact(room_id, (BOB, "DEV"), event_id, "t", "sorry")
    assert await redact(room_id, (BOB, "DEV"), event_id, "t", "sorry") == redaction
    seen = orjson.loads(await world.rooms.history.event(A, room_id, event_id))
    assert seen["content"] == {}
    because = seen["unsigned"]["redacted_because"]
    assert because["event_id"] == redaction
    assert because["content"] == {"reason": "sorry", "redacts": event_id}
    assert because["redacts"] == event_id
    again = orjson.loads(await world.rooms.history.event(A, room_id, redaction))
    assert again["redacts"] == again["content"]["redacts"] == event_id
    # The moderator's, by way of /send.
    other = await world.say(room_id, "spam", BOB)
    content = {"redacts": other}
    await world.rooms.sending.send_message(room_id, (ALICE, "DEV"), "m.room.redaction", "t2", content)
    assert orjson.loads(await world.rooms.history.event(A, room_id, other))["content"] == {}


async def test_redacted_state_is_gone_from_its_successor(world: World) -> None:
    room_id = await world.create()
    first = await world.rooms.sending.set_state(room_id, ALICE, ("m.room.topic", ""), {"topic": "secret"})
    second = await world.rooms.sending.set_state(room_id, ALICE, ("m.room.topic", ""), {"topic": "public"})
    before = orjson.loads(await world.rooms.history.event(A, room_id, second))
    assert before["unsigned"]["prev_content"] == {"topic": "secret"}
    assert before["unsigned"]["replaces_state"] == first
    await world.rooms.sending.redact(room_id, (ALICE, "DEV"), first, "t", None)
    assert b"secret" not in await world.rooms.history.event(A, room_id, second)


async def relate(world: World, room_id: str, target: str, rel_type: str, sender: str = ALICE, **extra: Any) -> str:
    content: dict[str, Any] = {"body": f"{rel_type} {extra}"}
    content["m.relates_to"] = {"event_id": target, "rel_type": rel_type, **extra}
    if rel_type == "m.replace":
        content["m.new_content"] = {"body": f"{extra}"}
    kind = "m.reaction" if rel_type == "m.annotation" else "m.room.message"
    txn = f"{rel_type}{target}{sender}{extra}{world.log.position}"
    return await world.rooms.sending.send_message(room_id, (sender, "DEV"), kind, txn, content)


async def test_relations_and_what_is_bundled(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    root = await world.say(room_id, "root")
    await relate(world, room_id, root, "m.replace")
    edit = await relate(world, room_id, root, "m.replace", n=2)
    await relate(world, room_id, root, "m.replace", BOB)  # not Bob's to edit
    reply = await relate(world, room_id, root, "m.thread", BOB)
    last = await relate(world, room_id, root, "m.thread", BOB, n=2)
    reference = await relate(world, room_id, root, "m.reference")
    reaction = await relate(world, room_id, reply, "m.annotation", key="👍")
    bundle = orjson.loads(await world.rooms.history.event(A, room_id, root))["unsigned"]["m.relations"]
    assert bundle["m.replace"]["event_id"] == edit
    assert (bundle["m.thread"]["count"], bundle["m.thread"]["latest_event"]["event_id"]) == (2, last)
    assert bundle["m.thread"]["current_user_participated"] is True
    assert bundle["m.reference"] == {"chunk": [{"event_id": reference}]}

    async def related(**request: Any) -> list[str]:
        page = await world.rooms.relations.of_event(A, room_id, RelationsRequest(root, **request))
        return [orjson.loads(event)["event_id"] for event in page.chunk]

    assert len(await related()) == 6
    assert await related(rel_type="m.thread") == [last, reply]
    assert await related(rel_type="m.thread", backwards=False) == [reply, last]
    assert await related(rel_type="m.thread", event_type="m.reaction") == []
    assert reaction in await related(recurse=True)
    assert reaction not in await related()
    page = await world.rooms.relations.of_event(A, room_id, RelationsRequest(root, limit=4))
    assert page.next_batch is not None
    assert len(await related(limit=4, start=page.next_batch)) == 2
    await world.rooms.sending.redact(room_id, (ALICE, "DEV"), last, "r", None)
    assert await related(rel_type="m.thread") == [reply]
    answer = await refused(relate(world, room_id, reply, "m.annotation", key="👍"))
    assert answer["errcode"] == "M_DUPLICATE_ANNOTATION"
    threads = await world.rooms.relations.threads(B, room_id, participated=True, start=None, limit=5)
    assert [orjson.loads(event)["event_id"] for event in threads.chunk] == [root]


async def test_context_and_dates(world: World) -> None:
    room_id = await world.create()
    sent = [await world.say(room_id, str(number)) for number in range(9)]
    context = await world.rooms.history.context(A, room_id, sent[4], 4, RoomEventFilter())
    assert [orjson.loads(event)["event_id"] for event in context.before] == [sent[3], sent[2]]
    assert [orjson.loads(event)["event_id"] for event in context.after] == [sent[5], sent[6]]
    before = await world.rooms.history.messages(A, room_id, PageRequest(True, start=context.start, limit=1))
    after = await world.rooms.history.messages(A, room_id, PageRequest(False, start=context.end, limit=1))
    assert bodies([orjson.loads(before.chunk[0]), orjson.loads(after.chunk[0])]) == ["1", "7"]
    assert any(orjson.loads(event)["type"] == "m.room.create" for event in context.state)
    alone = await world.rooms.history.context(A, room_id, sent[4], 0, RoomEventFilter())
    assert (alone.before, alone.after) == ([], [])
    at = orjson.loads(context.event)["origin_server_ts"]
    for backwards in (True, False):
        found = await world.rooms.history.event_by_timestamp(A, room_id, at, backwards=backwards)
        assert found.event.event_id == sent[4]
    late = world.rooms.history.event_by_timestamp(A, room_id, 2**50, backwards=False)
    assert (await refused(late))["errcode"] == "M_NOT_FOUND"


async def test_a_page_takes_a_constant_number_of_statements(world: World) -> None:
    room_id = await world.create()
    for number in range(60):
        await world.say(room_id, str(number))
    await world.rooms.history.messages(A, room_id, PageRequest(True))  # from here on memory knows who saw what
    counts = []
    for limit in (5, 50):
        with counted(world.store) as statements:
            await world.rooms.history.messages(A, room_id, PageRequest(True, limit=limit))
        counts.append(len(statements))
    assert counts == [1, 1]
