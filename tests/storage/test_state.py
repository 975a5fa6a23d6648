"""Snapshots: any sequence of changes, forks and resolutions reads back exactly; chains stay short."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import immutables
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.core.event import StateKey
from homeserver.ports.events import EventFlags, NewEvent, RoomHead
from homeserver.ports.state import RoomState, StateMap
from homeserver.storage.dialect import Sql
from homeserver.storage.repos.chains import AT_ONCE, BASE, KeyChange, Link, link, needs_chain, parent_index
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, empty_head, make_event, make_room, message, whole
from tests.support.store import open_store


def test_parents_lie_on_the_chain_and_chains_are_short() -> None:
    for index in range(1, 70_000):
        parent = parent_index(index)
        assert parent < index
        assert needs_chain(index) == (parent != index - 1)
    for index in (15, 16, 255, 256, 0xFFFF):
        length, at = 0, index
        while at:
            at, length = parent_index(at), length + 1
        assert length <= 15 * len(f"{index:x}")


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=600))
def test_links_add_up_to_the_state(changes: list[tuple[int, bool]]) -> None:
    known: dict[int, Link] = {}
    state: dict[StateKey, int] = {}
    rows = 0
    for number, (key_number, removed) in enumerate(changes, 1):
        key = ("type", str(key_number))
        if removed:
            state.pop(key, None)
        else:
            state[key] = number
        made = link(number, number - 1, number - 1, {key: KeyChange(number, removed)}, known)
        known[number] = made
        rows += len(made.delta)
        found: dict[StateKey, int] = {}
        for step in reversed(list(_chain(known, number))):
            for changed, change in step.delta.items():
                if change.removed:
                    found.pop(changed, None)
                else:
                    found[changed] = change.event
        assert found == state
    digits = len(f"{len(changes):x}")
    assert rows <= digits * len(changes)


def _chain(known: dict[int, Link], nid: int) -> Any:
    while nid:
        yield known[nid]
        nid = known[nid].parent_nid


class _Script:
    """Plays a list of random steps against a room and remembers the state after every event."""

    def __init__(self, store: Database, head: RoomHead) -> None:
        self.store = store
        self.head = head
        self.expected: dict[int, StateMap] = {}
        self.values: dict[StateKey, list[str]] = {}

    async def play(self, steps: list[tuple[str, int]]) -> None:
        pending: list[NewEvent] = []
        state = self.head.state
        for kind, number in steps:
            if kind == "commit":
                await self._commit(pending)
                pending, state = [], self.head.state
                continue
            item = self._step(kind, number, state)
            pending.append(item)
            if not item.flags:
                state = item.state_after
        await self._commit(pending)

    def _step(self, kind: str, number: int, state: RoomState) -> NewEvent:
        room_id = self.head.room_id
        if kind == "message":
            return NewEvent(message(room_id), state)
        key = ("org.example.key", str(number % 12))
        event = make_event(room_id, key[0], {}, state_key=key[1])
        self.values.setdefault(key, []).append(event.event_id)
        if kind == "set":
            return NewEvent(event, state.set(key, event.event_id))
        if kind == "soft":
            return NewEvent(event, state.set(key, event.event_id), EventFlags.SOFT_FAILED)
        # Resolution: any keys may change, to any event that is stored or being stored, or vanish.
        resolved = state.set(key, event.event_id)
        for other, values in self.values.items():
            choice = (number // 12 + len(other[1])) % 4
            if other == key or choice == 0:
                continue
            if choice == 1:
                resolved = resolved.set(other, None)
            elif choice > 1:
                resolved = resolved.set(other, values[number % len(values)])
        return NewEvent(event, resolved)

    async def _commit(self, pending: list[NewEvent]) -> None:
        if not pending:
            return
        (result,) = await commit(self.store, decide(self.head, *pending))
        assert result.head is not None
        self.head = result.head
        for item, stored in zip(pending, result.events, strict=True):
            assert item.state_after.whole is not None
            self.expected[stored.snapshot] = item.state_after.whole

    async def check(self) -> None:
        async with self.store.read() as tx:
            assert await tx.rooms.head(self.head.room_id) == self.head
            current = await tx.rooms.current_state([self.head.room_nid])
            assert {
                (item.event.type, item.event.state_key): item.event.event_id for item in current[self.head.room_nid]
            } == dict(whole(self.head))
            for snapshot, state in self.expected.items():
                assert await tx.rooms.state_at(snapshot) == state
            wanted = [("org.example.key", "3"), ("m.room.create", ""), ("none", "")]
            for snapshot, state in list(self.expected.items())[-3:]:
                there = {key: state[key] for key in wanted if key in state}
                assert await tx.rooms.state_at_filtered(snapshot, wanted) == there
                # Of the newest and of older ones, for which it only costs more.
                assert await tx.rooms.newest_state_filtered(snapshot, wanted) == there


_STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "message", "soft", "resolve", "commit"]), st.integers(0, 1000)),
    max_size=80,
)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_any_history_reads_back(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'state.db'}"
    else:
        url = request.getfixturevalue("postgres_cluster").make_database()
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(open_store(url))
    rooms = iter(range(10_000))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(_STEPS)
    def run(steps: list[tuple[str, int]]) -> None:
        async def one() -> None:
            script = _Script(store, await make_room(store, f"!room{next(rooms)}"))
            await script.play(steps)
            await script.check()

        loop.run_until_complete(one())

    try:
        run()
    finally:
        loop.run_until_complete(store.engine.dispose())
        loop.close()


async def test_a_long_history_stays_cheap(store: Database) -> None:
    head = await make_room(store, "!a")
    changes = 600
    state: StateMap = immutables.Map()
    for start in range(0, changes, 50):
        events = [
            make_event("!a", "m.room.member", {"membership": "join"}, state_key=f"@u{number % 200}:else.where")
            for number in range(start, start + 50)
        ]
        (result,) = await commit(store, decide(head, *events))
        assert result.head is not None
        head = result.head
        state = whole(head)
    async with store.read() as tx:
        assert await tx.rooms.state_at(head.snapshot.nid) == state
    async with store.engine.read_committed() as connection:
        (deltas,) = await Sql("SELECT count(*) FROM snapshot_deltas").first(connection)
    total = changes + 2
    assert head.snapshot.index == total
    assert deltas <= total * (1 + 1 / BASE * 16 * 2)


async def test_the_room_state_may_be_a_resolution_of_its_own(store: Database) -> None:
    head = await make_room(store, "!a")
    mine, theirs = (make_event("!a", "m.room.topic", {"topic": name}, state_key="") for name in ("mine", "theirs"))
    (result,) = await commit(store, decide(head, mine))
    assert result.head is not None
    fork = NewEvent(theirs, head.state.set(("m.room.topic", ""), theirs.event_id))
    (second,) = await commit(store, decide(result.head, fork, state=result.head.state))
    assert second.head is not None
    assert second.head.state == result.head.state
    async with store.read() as tx:
        assert await tx.rooms.head("!a") == second.head
        assert await tx.rooms.state_at(second.events[0].snapshot) == fork.state_after.whole
        assert await tx.rooms.state_at(second.head.snapshot.nid) == whole(result.head)


async def test_a_large_state_that_comes_at_once_is_written_once(store: Database) -> None:
    create = make_event("!a", "m.room.create", {"room_version": "12"}, state_key="")
    members = [
        make_event("!a", "m.room.member", {"membership": "join"}, state_key=f"@u{number}:else.where")
        for number in range(400)
    ]
    outliers = [NewEvent(event, RoomState.empty(), EventFlags.OUTLIER) for event in (create, *members)]
    head = empty_head("!a")
    told = head.state.changed({event.key: event.event_id for event in (create, *members)})
    join = make_event("!a", "m.room.member", {"membership": "join"}, state_key="@alice:hromada.test")
    (result,) = await commit(store, decide(head, *outliers, NewEvent(join, told.set(join.key, join.event_id))))
    assert result.head is not None
    assert result.head.snapshot.index == AT_ONCE
    assert result.events[-1].position == 1, "the state of a joined room is no news"
    assert all(stored.position is None and stored.snapshot == 0 for stored in result.events[:-1])
    head = result.head
    topics = [make_event("!a", "m.room.topic", {"topic": str(number)}, state_key="") for number in range(300)]
    for start in range(0, 300, 60):
        (result,) = await commit(store, decide(head, *topics[start : start + 60]))
        assert result.head is not None
        head = result.head
    assert head.snapshot.index == AT_ONCE + 300
    async with store.engine.read_committed() as connection:
        (most,) = await Sql(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM snapshot_deltas d JOIN snapshots s "
            "ON s.snapshot_nid = d.snapshot_nid WHERE s.parent_nid <> 0 GROUP BY d.snapshot_nid) c"
        ).first(connection)
    assert most == 1, "no later snapshot repeats it"
    async with store.read() as tx:
        state = await tx.rooms.state_at(head.snapshot.nid)
        assert len(state) == 403
        assert state["m.room.topic", ""] == topics[-1].event_id
        assert await tx.rooms.head("!a") == head
