"""Relations: what counts as one, who sees which of them, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from homeserver.services.rooms.present import Recipient
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, SteppingClock, World, running_world
from tests.services.rooms.test_reads import A, B, refused, relate

EDIT: dict[str, Any] = {"body": "* new", "m.new_content": {"body": "new"}}


async def send(world: World, room_id: str, relation: dict[str, Any], sender: str = ALICE, **content: Any) -> str:
    txn = str(orjson.dumps([relation, content, world.log.position]))
    kind = content.pop("type", "m.room.message")
    body = {"body": "x", **content, "m.relates_to": relation}
    return await world.rooms.sending.send_message(room_id, (sender, "DEV"), kind, txn, body)


async def bundle(world: World, who: Recipient, room_id: str, event_id: str) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(await world.rooms.history.event(who, room_id, event_id))
    relations: dict[str, Any] = event["unsigned"].get("m.relations", {})
    return relations


async def test_only_what_replaces_an_original_is_an_edit(world: World) -> None:
    room_id = await world.create()
    root = await world.say(room_id, "root")
    await send(world, room_id, {"event_id": root, "rel_type": "m.replace"}, body="no new content")
    await send(world, room_id, {"event_id": root, "rel_type": "m.replace"}, **{"m.new_content": "no object"})
    assert await bundle(world, A, room_id, root) == {}
    edit = await send(world, room_id, {"event_id": root, "rel_type": "m.replace"}, **EDIT)
    await send(world, room_id, {"event_id": edit, "rel_type": "m.replace"}, **EDIT)
    assert (await bundle(world, A, room_id, root))["m.replace"]["event_id"] == edit
    assert await bundle(world, A, room_id, edit) == {}
    secret = await send(world, room_id, {}, type="m.room.encrypted")
    other = await send(world, room_id, {"event_id": secret, "rel_type": "m.replace"}, type="m.room.encrypted")
    assert (await bundle(world, A, room_id, secret))["m.replace"]["event_id"] == other


@pytest.mark.parametrize(
    ("step", "latest"),
    [(1, lambda edits: edits[-1]), (0, max), (-1, lambda edits: edits[0])],
    ids=["rising", "equal", "falling"],
)
async def test_the_edit_of_the_latest_time_holds_and_of_equals_the_greatest_id(
    store: Database, step: int, latest: Callable[[list[str]], str]
) -> None:
    # spec: client-server-api#server-side-aggregation-of-mreplace-relationships
    async with running_world(store, clock=SteppingClock(step)) as world:
        room_id = await world.create()
        root = await world.say(room_id, "root")
        edits = [await relate(world, room_id, root, "m.replace", n=number) for number in range(8)]
        for _ in range(3):
            assert (await bundle(world, A, room_id, root))["m.replace"]["event_id"] == latest(edits)
            await world.rooms.sending.redact(room_id, (ALICE, "DEV"), latest(edits), "r", None)
            edits.remove(latest(edits))


async def test_a_threads_latest_event_is_told_as_any_other(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    root = await world.say(room_id, "root")
    reply = await relate(world, room_id, root, "m.thread", BOB)
    edit = await relate(world, room_id, reply, "m.replace", BOB)
    latest = (await bundle(world, B, room_id, root))["m.thread"]["latest_event"]
    assert latest["event_id"] == reply
    assert latest["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    assert latest["unsigned"]["membership"] == "join"
    assert latest["unsigned"]["transaction_id"]


async def test_a_redacted_root_keeps_its_thread_but_no_edit(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    root = await world.say(room_id, "root")
    reply = await relate(world, room_id, root, "m.thread", BOB)
    reference = await relate(world, room_id, root, "m.reference")
    await relate(world, room_id, root, "m.replace")
    await world.rooms.sending.redact(room_id, (ALICE, "DEV"), root, "r", None)
    kept = await bundle(world, A, room_id, root)
    assert kept.keys() == {"m.thread", "m.reference"}
    assert kept["m.thread"]["latest_event"]["event_id"] == reply
    assert kept["m.reference"]["chunk"] == [{"event_id": reference}]


async def test_who_left_sees_relations_as_they_were(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    root = await world.say(room_id, "root")
    edit = await relate(world, room_id, root, "m.replace")
    reply = await relate(world, room_id, root, "m.thread")
    other = await world.say(room_id, "other")
    await relate(world, room_id, other, "m.thread")
    await world.rooms.memberships.leave(BOB, room_id)
    await relate(world, room_id, root, "m.replace", n=2)
    await relate(world, room_id, root, "m.thread", n=2)
    seen = await bundle(world, B, room_id, root)
    assert seen["m.replace"]["event_id"] == edit
    assert (seen["m.thread"]["latest_event"]["event_id"], seen["m.thread"]["count"]) == (reply, 1)
    # Nor does what they cannot see put a thread before another one.
    threads = await world.rooms.relations.threads(B, room_id, participated=False, start=None, limit=5)
    assert [orjson.loads(event)["event_id"] for event in threads.chunk] == [other, root]


async def test_relations_of_stretches_that_a_reader_may_see(world: World) -> None:
    room_id = await world.create(ALICE)
    await world.rooms.sending.set_state(
        room_id, ALICE, ("m.room.history_visibility", ""), {"history_visibility": "joined"}
    )
    await world.rooms.memberships.join(BOB, room_id)
    root = await world.say(room_id, "root")
    counted = []
    for number in range(4):
        counted.append(await relate(world, room_id, root, "m.thread", n=number))
        await world.rooms.memberships.leave(BOB, room_id)
        await relate(world, room_id, root, "m.thread", hidden=number)
        if number < 3:
            await world.rooms.memberships.join(BOB, room_id)
    thread = (await bundle(world, B, room_id, root))["m.thread"]
    assert (thread["count"], thread["latest_event"]["event_id"]) == (4, counted[-1])
    assert (await bundle(world, A, room_id, root))["m.thread"]["count"] == 8


async def test_replies_of_ignored_users_do_not_count(world: World) -> None:
    room_id = await world.create(ALICE, BOB, CAROL)
    root = await world.say(room_id, "root")
    reply = await relate(world, room_id, root, "m.thread", CAROL)
    await relate(world, room_id, root, "m.thread", BOB)
    await relate(world, room_id, root, "m.reference", BOB)
    other = await world.say(room_id, "other")
    await relate(world, room_id, other, "m.thread", CAROL, n=2)
    await relate(world, room_id, root, "m.thread", BOB, n=2)
    ignoring = Recipient(ALICE, "DEV", frozenset({BOB}))
    seen = await bundle(world, ignoring, room_id, root)
    assert seen.keys() == {"m.thread"}
    assert (seen["m.thread"]["count"], seen["m.thread"]["latest_event"]["event_id"]) == (1, reply)
    threads = await world.rooms.relations.threads(ignoring, room_id, participated=False, start=None, limit=5)
    assert [orjson.loads(event)["event_id"] for event in threads.chunk] == [other, root]


async def test_threads_start_from_what_relates_to_nothing(world: World) -> None:
    room_id = await world.create()
    root = await world.say(room_id, "root")
    related = [
        await relate(world, room_id, root, "m.thread"),
        await relate(world, room_id, root, "m.replace"),
        await relate(world, room_id, root, "m.annotation", key="x"),
    ]
    for target in related:
        answer = await refused(relate(world, room_id, target, "m.thread"))
        assert (answer["status"], answer["errcode"]) == (400, "M_UNKNOWN")
    rich = await send(world, room_id, {"m.in_reply_to": {"event_id": root}})
    for target in (rich, "$unknown", "$\0"):
        await send(world, room_id, {"event_id": target, "rel_type": "m.thread"})
    elsewhere = await world.create()
    await send(world, elsewhere, {"event_id": related[0], "rel_type": "m.thread"})


async def test_an_annotation_is_made_once_for_each_type(world: World) -> None:
    room_id = await world.create(ALICE, BOB)
    root = await world.say(room_id, "root")
    relation = {"event_id": root, "rel_type": "m.annotation", "key": "👍"}

    async def react(txn: str, kind: str = "m.reaction", sender: str = ALICE) -> str:
        content = {"m.relates_to": relation}
        return await world.rooms.sending.send_message(room_id, (sender, "DEV"), kind, txn, content)

    answers = await asyncio.gather(*(react(str(number)) for number in range(5)), return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, str)]
    assert len(made) == 1
    assert (await refused(react("again")))["errcode"] == "M_DUPLICATE_ANNOTATION"
    assert await react("0") == made[0]  # the same transaction once more
    await react("other type", "chat.hromada.vote")
    await react("other sender", sender=BOB)
    await world.rooms.sending.redact(room_id, (ALICE, "DEV"), made[0], "r", None)
    await react("after the redaction")
