"""The auth graph against plain recursive definitions, and the laws of resolution on random rooms."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.errors import BadEvent
from homeserver.core.event import Event
from homeserver.core.resolve.graph import AuthGraph, AuthRow, auth_row
from homeserver.core.resolve.order import reverse_topological
from homeserver.core.resolve.resolver import Resolver, resolve
from homeserver.core.versions import V1, V2, V11, V12, RoomVersion
from tests.core.rooms import ALICE, BOB, CAROL, DAVE, ELLA, Room, State, ids, verdict


@st.composite
def graphs(draw: st.DrawFn) -> list[AuthRow[str]]:
    """Rows of a random acyclic graph, in order."""
    size = draw(st.integers(1, 14))
    rows = []
    for number in range(size):
        parents = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        rows.append((f"${number}", tuple(f"${parent}" for parent in parents), draw(st.booleans())))
    return rows


def chain(graph: AuthGraph[str], node: int) -> set[int]:
    """A node and its auth chain, by definition."""
    found = {node}
    for parent in graph.parents[node]:
        found |= chain(graph, parent)
    return found


@given(rows=graphs(), data=st.data())
def test_auth_difference_is_what_it_is_defined_to_be(rows: list[AuthRow[str]], data: st.DataObject) -> None:
    graph = AuthGraph(rows)
    some = st.sets(st.integers(0, len(rows) - 1), max_size=4)
    agreed = data.draw(some)
    states = data.draw(st.lists(some, min_size=2, max_size=4))
    chains = [set().union(*(chain(graph, node) for node in state | agreed)) for state in states]
    expected = {node for found in chains for node in found if not all(node in other for other in chains)}
    conflicted: dict[int, int] = {}
    for number, state in enumerate(states):
        for node in state:
            conflicted[node] = conflicted.get(node, 0) | 1 << number
    assert graph.auth_difference(conflicted, graph.newest_first(agreed), len(states)) == expected


@given(rows=graphs(), data=st.data())
def test_between_is_every_path(rows: list[AuthRow[str]], data: st.DataObject) -> None:
    graph = AuthGraph(rows)
    nodes = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=5))
    above = set().union(*(chain(graph, node) for node in nodes))
    assert graph.between(nodes) == {node for node in above if chain(graph, node) & nodes}


@given(rows=graphs(), data=st.data())
def test_reverse_topological_order(rows: list[AuthRow[str]], data: st.DataObject) -> None:
    graph = AuthGraph(rows)
    nodes = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=8))
    keys = {node: (0.0, data.draw(st.integers(0, 3)), str(node)) for node in nodes}
    ordered = reverse_topological(graph, nodes, keys.__getitem__)
    remaining = set(nodes)
    for node in ordered:
        ready = [other for other in remaining if not (chain(graph, other) - {other}) & remaining]
        assert node == min(ready, key=keys.__getitem__)
        remaining.remove(node)
    assert not remaining


@given(rows=graphs(), seed=st.integers())
def test_a_graph_may_be_filled_in_any_order(rows: list[AuthRow[str]], seed: int) -> None:
    shuffled = list(rows)
    Random(seed).shuffle(shuffled)
    straight, mixed = AuthGraph(rows), AuthGraph(shuffled)
    mixed.extend(shuffled)
    assert len(mixed) == len(straight)
    for event_id, parents, _ in rows:
        assert event_id in mixed
        node = mixed.node(event_id)
        assert {mixed.id_of(parent) for parent in mixed.parents[node]} == set(parents)
        assert mixed.generation[node] == straight.generation[straight.node(event_id)]


def test_broken_graphs() -> None:
    with pytest.raises(KeyError):
        AuthGraph([("$a", ("$missing",), False)])
    with pytest.raises(BadEvent):
        AuthGraph([("$a", ("$b",), False), ("$b", ("$a",), False)])
    with pytest.raises(BadEvent):
        AuthGraph([("$a", ("$a",), False)])


def test_a_deep_graph_needs_no_recursion() -> None:
    deep = 50_000
    graph = AuthGraph((f"${n}", (f"${n - 1}",) if n else (), True) for n in range(deep))
    last = deep - 1
    assert graph.generation[last] == last
    assert len(graph.auth_difference({last: 1, 0: 2}, [], 2)) == last
    assert len(graph.between({0, last})) == deep


# Random rooms

USERS = (ALICE, BOB, CAROL, DAVE, ELLA)
VERSIONS = [V1, V2, V11, V12]


def random_branches(version: RoomVersion, random: Random) -> tuple[Room, list[State]]:
    """A room whose branches each made some allowed changes; later branches may start from earlier ones."""
    room = Room(version)
    states = [room.start(BOB, CAROL, DAVE, power={"users": {BOB: 50, CAROL: 50}})]
    for _ in range(random.randint(2, 5)):
        state = random.choice(states)
        for _ in range(random.randint(1, 6)):
            event = random_event(room, state, random)
            if verdict(event, state):
                state = {**state, event.key: event}
        states.append(state)
    return room, states[1:]


def random_event(room: Room, state: State, random: Random) -> Event:
    sender, target = random.choice(USERS), random.choice(USERS)
    when: dict[str, Any] = {"origin_server_ts": random.randint(0, 9), "depth": random.randint(5, 9)}
    match random.randrange(4):
        case 0:
            membership = random.choice(["join", "leave", "ban", "invite"])
            return room.event(state, "m.room.member", sender, {"membership": membership}, target, **when)
        case 1:
            levels = room.levels({"users": {user: random.choice([0, 50, 90]) for user in (BOB, CAROL)}})
            return room.event(state, "m.room.power_levels", sender, levels, "", **when)
        case 2:
            rule = random.choice(["public", "invite"])
            return room.event(state, "m.room.join_rules", sender, {"join_rule": rule}, "", **when)
        case _:
            return room.event(state, "m.room.topic", sender, {}, "", **when)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_laws(version: RoomVersion, seed: int) -> None:
    random = Random(seed)
    room, branches = random_branches(version, random)
    states = [ids(branch) for branch in branches]
    result = resolve(version, states, room.events, room.graph())
    # It depends on no order: of the states, of the keys within, of the events in lookup and graph.
    events = list(room.events.items())
    random.shuffle(events)
    shuffled = [dict(random.sample(list(state.items()), len(state))) for state in states]
    random.shuffle(shuffled)
    graph = AuthGraph(auth_row(event) for _, event in events)
    assert resolve(version, shuffled, dict(events), graph) == result
    # What all agree on stays; nothing is invented.
    for key in set().union(*states):
        held = {state.get(key) for state in states}
        if len(held) == 1:
            assert {result[key]} == held
    assert all(room.events[event_id].key == key for key, event_id in result.items())
    # A state resolved with itself is itself.
    assert all(resolve(version, [state, dict(state)], room.events, graph) == state for state in states)
    # Whoever loads only what is asked for gets the same.
    resolver = Resolver(version, states, graph)
    loaded: dict[str, Event] = {}
    while missing := resolver.missing(loaded):
        loaded |= {event_id: room.events[event_id] for event_id in missing}
    assert resolver.resolve(loaded) == result


class CountingLookup(dict[str, Event]):
    """Remembers what was read."""

    def __init__(self, events: dict[str, Event]) -> None:
        super().__init__(events)
        self.read: set[str] = set()

    def __getitem__(self, event_id: str) -> Event:
        self.read.add(event_id)
        return super().__getitem__(event_id)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
def test_a_large_room_is_not_read(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, power={"users": {BOB: 50}})
    graph = room.graph()
    auth = tuple(base[key].event_id for key in (("m.room.power_levels", ""), ("m.room.join_rules", "")))
    crowd = {("m.room.member", f"@{n}:x.org"): f"$member{n}" for n in range(50_000)}
    graph.extend((event_id, auth, False) for event_id in crowd.values())
    branches = []
    for number in range(20):
        power = room.send(base, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 50 + number}}))
        branches.append(room.send(power, "m.room.topic", BOB, {"topic": str(number)}))
    graph.extend(map(auth_row, room.events.values()))
    events = CountingLookup(room.events)  # without the crowd: reading one of it is a KeyError
    states = [crowd | ids(branch) for branch in branches]
    result = resolve(version, states, events, graph)
    assert len(result) == len(states[0])
    assert events.read <= room.events.keys()
    resolver = Resolver(version, states, graph)
    assert len(resolver.missing({})) <= len(room.events)
