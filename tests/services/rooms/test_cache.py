"""Events in memory: shared by all readers, and never older than what was committed before a reader looked."""

from __future__ import annotations

from dataclasses import replace

from homeserver.ports.events import EventFlags, StoredEvent, order_of
from homeserver.ports.log import EventEntry, LogEntry
from homeserver.services.rooms.cache import EventCache
from tests.services.rooms.conftest import ALICE, World
from tests.storage.rooms import make_event
from tests.support.statements import counted


def stored(position: int, kind: str = "m.room.message", **content: object) -> StoredEvent:
    return StoredEvent(make_event("!r", kind, dict(content)), position, position, order_of(position), 1, 1)


def entry(event: StoredEvent) -> LogEntry:
    return EventEntry(event.position, event)


def test_readers_share_one_object() -> None:
    cache = EventCache()
    first, again = stored(1), None
    assert cache.keep(first, cache.mark()) is first
    again = replace(first)
    assert cache.keep(again, cache.mark()) is first
    assert cache.at(1) is cache.get(first.event.event_id) is first


def test_a_snapshot_older_than_a_redaction_is_not_remembered() -> None:
    cache = EventCache()
    secret = stored(1, body="secret")
    before = cache.mark()
    redaction = stored(2, "m.room.redaction", redacts=secret.event.event_id)
    cache.follow([entry(redaction)])
    assert cache.keep(secret, before) is secret
    assert cache.get(secret.event.event_id) is None
    pruned = replace(secret, redacted_by=redaction.event.event_id)
    assert cache.keep(pruned, cache.mark()) is pruned
    assert cache.get(secret.event.event_id) is pruned


def test_an_event_learns_that_others_relate_to_it() -> None:
    cache = EventCache()
    target = stored(1, body="hello")
    cache.follow([entry(target)])
    before = cache.mark()
    reaction = {"rel_type": "m.annotation", "event_id": target.event.event_id, "key": "+"}
    cache.follow([entry(stored(2, **{"m.relates_to": reaction}))])
    assert not target.is_related_to, "reactions are not told with their event"
    cache.follow([entry(stored(3, **{"m.relates_to": {"rel_type": "m.thread", "event_id": target.event.event_id}}))])
    assert target.is_related_to
    cache.keep(stale := stored(4), before)
    assert cache.get(stale.event.event_id) is None, "its snapshot may be older than a relation to it"


def test_what_may_change_its_place_or_verdict_is_not_kept() -> None:
    cache = EventCache()
    for flag in (EventFlags.OUTLIER, EventFlags.REJECTED):
        event = replace(stored(1), flags=flag)
        cache.keep(event, cache.mark())
        assert cache.at(1) is None


def test_memory_is_bounded() -> None:
    cache = EventCache(max_bytes=20_000)
    events = [stored(position, body="x" * 100) for position in range(1, 101)]
    for event in events:
        cache.keep(event, cache.mark())
        cache.at(1)  # used all the time, so it stays
    assert cache.at(1) is events[0]
    assert cache.at(2) is None
    assert cache.at(100) is events[-1]
    assert sum(cache.at(position) is not None for position in range(1, 101)) < 20


def test_what_was_parsed_is_parsed_again() -> None:
    cache = EventCache()
    message = stored(1, body="hello")
    event = message.event
    before = (event.content, event.prev_events, event.auth_events)
    cache.keep(message, cache.mark())
    assert event._content is None
    assert event._references is None
    assert (event.content, event.prev_events, event.auth_events) == before


async def test_a_page_that_is_in_memory_costs_no_reading_of_events(world: World) -> None:
    room = await world.create(ALICE)
    for number in range(5):
        await world.say(room, str(number))
    async with world.store.read() as tx:
        head = await tx.rooms.head(room)
        assert head is not None
        with counted(world.store) as statements:
            page = await tx.events.timeline(head.room_nid, start=None, stop=None, backwards=True, limit=5)
        assert len(statements) == 1
    assert [stored.event.content["body"] for stored in page.events] == ["4", "3", "2", "1", "0"]
    assert all(world.rooms.memory.events.at(stored.nid) is stored for stored in page.events)


def test_where_the_log_has_a_gap_everything_is_forgotten() -> None:
    cache = EventCache()
    first, before = stored(1), cache.mark()
    cache.follow([entry(first)])
    cache.clear()
    assert cache.get(first.event.event_id) is cache.at(1) is None
    cache.keep(stale := stored(2), before)
    assert cache.get(stale.event.event_id) is None, "the gap may have been a redaction of it"
    cache.keep(first, cache.mark())
    assert cache.get(first.event.event_id) is first
