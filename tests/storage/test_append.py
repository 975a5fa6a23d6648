"""Appending: heads, positions, timelines, transactions and redactions, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from homeserver.ports.events import EventFlags, NewEvent, Replaced, RoomAppend, Txn, order_of
from homeserver.ports.store import UniqueViolation
from homeserver.storage.unit import Database
from tests.storage.rooms import (
    commit,
    decide,
    empty_head,
    founding,
    ids,
    make_event,
    make_room,
    message,
    redaction,
    stored_json,
    whole,
)
from tests.support.statements import counted


async def test_a_room_is_read_back_as_it_was_written(store: Database) -> None:
    head = await make_room(store, "!a")
    async with store.read() as tx:
        assert await tx.rooms.head("!a") == head
        assert await tx.rooms.head("!unknown") is None
        assert await tx.rooms.head("!n\0l") is None
        assert await tx.log.position() == 2
        assert await tx.rooms.room_nids(["!a", "!b"]) == {"!a": head.room_nid}
        events = await tx.events.get_many([*whole(head).values(), "$unknown", "$n\0l"])
    assert set(events) == set(whole(head).values())
    assert sorted(item.position or 0 for item in events.values()) == [1, 2]
    assert all(item.position == item.nid for item in events.values())
    assert [order_of(item.position or 0) for item in events.values()] == [item.order for item in events.values()]


async def test_messages_cost_five_statements_whatever_their_number(store: Database) -> None:
    heads = [await make_room(store, f"!room{number}") for number in range(10)]
    appends = [
        replace(
            decide(head, *(message(head.room_id) for _ in range(3))),
        )
        for head in heads
    ]
    appends = [
        replace(
            append,
            events=tuple(
                replace(item, txn=Txn(item.event.event_id.ljust(16)[:16].encode(), "D", "1")) for item in append.events
            ),
        )
        for append in appends
    ]
    with counted(store) as statements:
        results = await commit(store, *appends)
    assert len(statements) == 5, statements
    positions = [item.position for result in results for item in result.events]
    assert positions == list(range(21, 51))
    with counted(store) as again:
        await commit(store, *(decide(result.head, message(result.head.room_id)) for result in results if result.head))
    assert set(again) <= set(statements)


@pytest.mark.parametrize("count", [1, 40])
async def test_state_events_cost_a_constant_number_of_statements(store: Database, count: int) -> None:
    head = await make_room(store, "!a")
    members = [
        make_event("!a", "m.room.member", {"membership": "join"}, state_key=f"@user{number}:hromada.test")
        for number in range(count)
    ]
    with counted(store) as statements:
        await commit(store, decide(head, *members))
    assert len(statements) <= 8 + (count >= 16), statements  # every 16th snapshot merges those before it


async def test_a_moved_head_refuses_the_append(store: Database) -> None:
    head = await make_room(store, "!a")
    other = await make_room(store, "!b")
    one, two = await commit(store, decide(head, message("!a")), decide(head, message("!a")))
    assert not one.moved
    assert two.moved
    stale, fresh = await commit(store, decide(head, message("!a")), decide(other, message("!b")))
    assert stale.moved
    assert not fresh.moved
    async with store.read() as tx:
        assert await tx.log.position() == 6
        assert await tx.rooms.head("!a") == one.head


async def test_what_is_taken_is_a_unique_violation(store: Database) -> None:
    head = await make_room(store, "!a")
    with pytest.raises(UniqueViolation):
        await make_room(store, "!a")
    once = message("!a")
    (result,) = await commit(store, decide(head, once))
    assert result.head is not None
    with pytest.raises(UniqueViolation):
        await commit(store, decide(result.head, once))
    async with store.write() as tx:
        await tx.aliases.put("#a:hromada.test", head.room_nid, "@alice:hromada.test")
    with pytest.raises(UniqueViolation):
        async with store.write() as tx:
            await tx.aliases.put("#a:hromada.test", head.room_nid, "@alice:hromada.test")
    async with store.read() as tx:
        assert await tx.log.position() == 3
        assert await tx.rooms.head("!a") == result.head
        alias = await tx.aliases.get("#a:hromada.test")
        assert alias is not None
        assert alias.room_id == "!a"
        assert await tx.aliases.of_room(head.room_nid) == ["#a:hromada.test"]


async def test_timelines_go_both_ways_and_skip_what_is_not_part_of_them(store: Database) -> None:
    head = await make_room(store, "!a")
    sent, bad = [], []
    for number in range(6):
        refused = message("!a")
        bad.append(refused.event_id)
        flag = EventFlags.SOFT_FAILED if number % 2 else EventFlags.REJECTED
        (result,) = await commit(store, decide(head, NewEvent(refused, head.state, flag), message("!a", str(number))))
        assert result.head is not None
        head = result.head
        sent.append(result.events[1])
    nid = head.room_nid
    async with store.read() as tx:
        page = await tx.events.timeline(nid, start=None, stop=None, backwards=True, limit=4)
        assert ids(page.events) == ids(reversed(sent))[:4]
        assert page.end is not None
        rest = await tx.events.timeline(nid, start=page.end, stop=order_of(2), backwards=True, limit=4)
        assert ids(rest.events) == ids(reversed(sent))[4:]
        assert rest.end is None
        page = await tx.events.timeline(nid, start=order_of(2), stop=None, backwards=False, limit=4)
        assert ids(page.events) == ids(sent)[:4]
        rest = await tx.events.timeline(nid, start=page.end, stop=None, backwards=False, limit=2)
        assert ids(rest.events) == ids(sent)[4:]
        assert rest.end is None
        assert ids(await tx.events.after(2, 3)) == ids(sent)[:3]
        assert await tx.log.position() == 8, "what is hidden is no news"
        hidden = await tx.events.get_many(bad)
    assert all((item.position, item.order) == (None, None) and item.nid < 0 for item in hidden.values())
    assert len({item.nid for item in hidden.values()}) == 6
    assert {item.flags for item in hidden.values()} == {EventFlags.SOFT_FAILED, EventFlags.REJECTED}


async def test_the_last_events_of_many_rooms_are_two_statements(store: Database) -> None:
    sent: dict[int, list[str]] = {}
    for name in ("!a", "!b", "!c"):
        head = await make_room(store, name)
        (result,) = await commit(store, decide(head, *(message(name) for _ in range(5))))
        sent[head.room_nid] = ids(result.events)
    everything = {nid: (0, 2**40) for nid in sent}
    async with store.read() as tx:
        with counted(store) as statements:
            found = await tx.events.recent(everything, 3)
        assert {nid: ids(events) for nid, events in found.items()} == {nid: sent[nid][-3:] for nid in sent}
        assert len(statements) == 2, "which, and what they are"
        first = next(iter(sent))
        newest = max(item.nid for item in found[first])
        found = await tx.events.recent({first: (order_of(newest - 2), order_of(newest - 1))}, 3)
        assert ids(found[first]) == sent[first][-2:-1]


async def test_transactions_are_found_again_and_pruned(store: Database) -> None:
    head = await make_room(store, "!a")
    txn = Txn(b"0123456789abcdef", "PHONE", "t1")
    event = message("!a")
    (result,) = await commit(store, decide(head, NewEvent(event, head.state, txn=txn)))
    other = Txn(b"fedcba9876543210", "PHONE", "t2")
    assert result.head is not None
    (second,) = await commit(store, decide(result.head, NewEvent(message("!a"), head.state, txn=other)))
    first, last = result.events[0], second.events[0]
    async with store.read() as tx:
        assert await tx.events.by_txns([txn.key, b"?" * 16, other.key]) == {
            txn.key: event.event_id,
            other.key: last.event.event_id,
        }
        assert await tx.events.by_txns([]) == {}
        read = await tx.events.get_many([first.event.event_id, last.event.event_id])
        assert {event_id: stored.txn for event_id, stored in read.items()} == {
            event.event_id: txn,
            last.event.event_id: other,
        }
    with pytest.raises(UniqueViolation):
        assert second.head is not None
        await commit(store, decide(second.head, NewEvent(message("!a"), head.state, txn=txn)))
    async with store.write() as tx:
        assert await tx.events.prune_txns(last.nid, 100) == 1
    async with store.read() as tx:
        assert (await tx.events.by_txns([txn.key, other.key])).keys() == {other.key}


async def test_a_redaction_prunes_its_target_in_the_same_room_only(store: Database) -> None:
    a, b = await make_room(store, "!a"), await make_room(store, "!b")
    target, safe = message("!a", "secret"), message("!a", "harmless")
    (result,) = await commit(store, decide(a, target, safe))
    assert any(b"secret" in json for json in await stored_json(store))
    assert result.head is not None
    allowed = redaction(result.head, target.event_id)
    refused = redaction(result.head, safe.event_id, allowed=False)
    foreign = redaction(b, safe.event_id)
    await commit(store, decide(result.head, allowed, refused), decide(b, foreign))
    async with store.read() as tx:
        found = await tx.events.get_many([target.event_id, safe.event_id])
    assert found[target.event_id].event.content == {}
    assert b"secret" not in found[target.event_id].event.canonical
    assert not any(b"secret" in json for json in await stored_json(store))
    assert found[target.event_id].redacted_by == allowed.event.event_id
    because = found[target.event_id].redaction_json
    assert because is not None
    assert b'"reason":"spam"' in because
    assert b'"redacts":"' + target.event_id.encode() in because
    assert found[safe.event_id].event.content["body"] == "harmless"
    assert found[safe.event_id].redacted_by is None


async def test_a_redaction_reaches_its_target_in_the_same_batch(store: Database) -> None:
    head = await make_room(store, "!a")
    target = message("!a", "secret")
    (result,) = await commit(store, decide(head, target, redaction(head, target.event_id)))
    assert result.events[0].event.content == {}
    async with store.read() as tx:
        found = (await tx.events.get_many([target.event_id]))[target.event_id]
    assert not any(b"secret" in json for json in await stored_json(store))
    assert found.event.content == {}
    assert found.redacted_by == result.events[0].redacted_by == result.events[1].event.event_id
    assert found.redaction_json == result.events[0].redaction_json


async def test_redacted_state_leaves_prev_content_too(store: Database) -> None:
    head = await make_room(store, "!a")
    old, new = (make_event("!a", "m.room.topic", {"topic": text}, state_key="") for text in ("secret", "harmless"))
    (result,) = await commit(store, decide(head, old))
    assert result.head is not None
    unsigned = {"prev_content": {"topic": "secret"}, "prev_sender": "@alice:hromada.test"}
    replaces = Replaced(old.event_id, result.events[0].order)
    after = result.head.state.set(("m.room.topic", ""), new.event_id)
    (result,) = await commit(store, decide(result.head, NewEvent(new, after, unsigned=unsigned, replaces=replaces)))
    assert result.head is not None
    with counted(store) as statements:
        await commit(store, decide(result.head, redaction(result.head, old.event_id)))
    assert len(statements) == 7
    async with store.read() as tx:
        found = await tx.events.get_many([old.event_id, new.event_id])
    assert found[old.event_id].event.content == {}
    assert found[new.event_id].event.content == {"topic": "harmless"}
    assert found[new.event_id].unsigned == {"prev_sender": unsigned["prev_sender"]}
    assert found[new.event_id].replaces == replaces


async def test_a_state_of_unknown_events_is_refused(store: Database) -> None:
    head = await make_room(store, "!a")
    event = make_event("!a", "m.room.topic", {}, state_key="")
    state = head.state.set(("m.room.topic", ""), event.event_id).set(("m.room.name", ""), "$unknown")
    with pytest.raises(ValueError, match="unknown"):
        await commit(store, decide(head, NewEvent(event, state)))


async def test_nul_in_content_survives(store: Database) -> None:
    head = await make_room(store, "!a")
    event = message("!a", "nul \0 inside")
    await commit(store, decide(head, event))
    async with store.read() as tx:
        assert (await tx.events.get_many([event.event_id]))[event.event_id].event.canonical == event.canonical


async def test_a_failed_transaction_leaves_nothing(store: Database) -> None:
    append: RoomAppend = decide(empty_head("!a"), *founding("!a"))

    class Stop(Exception):
        pass

    with pytest.raises(Stop):
        async with store.write() as tx:
            await tx.rooms.advance([append])
            await tx.events.append([append], await tx.log.reserve(2))
            raise Stop
    async with store.read() as tx:
        assert await tx.log.position() == 0
        assert await tx.rooms.head("!a") is None
    await make_room(store, "!a")
