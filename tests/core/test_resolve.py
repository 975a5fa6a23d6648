"""State resolution by scenarios: who wins, and why, in each algorithm."""

from __future__ import annotations

from hashlib import sha1

import pytest

from homeserver.core.auth.rules import check
from homeserver.core.auth.state import MappingState
from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.resolver import Resolver, resolve
from homeserver.core.versions import V1, V11, V12, RoomVersion
from tests.core.rooms import ALICE, BOB, CAROL, ELLA, Room, State, ids
from tests.core.support import VERSIONS

all_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
since_v2 = pytest.mark.parametrize("version", VERSIONS[1:], ids=lambda v: f"v{v.id}")

TOPIC = ("m.room.topic", "")
POWER = ("m.room.power_levels", "")
RULES = ("m.room.join_rules", "")


def member(user: str) -> StateKey:
    return ("m.room.member", user)


def resolved(room: Room, *states: State) -> State:
    """The resolution of `states`, the same for every order of them and for a Resolver fed in rounds."""
    given = [ids(state) for state in states]
    graph = room.graph()
    result = resolve(room.version, given, room.events, graph)
    assert resolve(room.version, given[::-1], room.events, graph) == result
    assert resolve(room.version, [*given, given[0]], room.events, graph) == result
    resolver = Resolver(room.version, given, graph)
    loaded: dict[str, Event] = {}
    for _ in range(3):
        missing = resolver.missing(loaded)
        loaded |= {event_id: room.events[event_id] for event_id in missing}
    assert not resolver.missing(loaded)
    assert resolver.resolve(loaded) == result
    return {key: room.events[event_id] for key, event_id in result.items()}


@all_versions
def test_equal_states(version: RoomVersion) -> None:
    room = Room(version)
    state = room.start(BOB)
    assert resolved(room, state, state, dict(state)) == state
    assert resolved(room, state) == state


@all_versions
def test_independent_changes_merge(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, CAROL, power={"users": {BOB: 50}})
    left = room.send(base, "m.room.topic", ALICE, {"topic": "t"})
    right = room.send(base, "m.room.name", BOB, {"name": "n"})
    third = room.member(base, ELLA, "join")
    assert resolved(room, base, left, right, third) == base | left | right | third


@all_versions
def test_the_later_topic_wins(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, power={"users": {BOB: 50}})
    early = room.send(base, "m.room.topic", ALICE, {"topic": "early"})
    late = room.send(base, "m.room.topic", BOB, {"topic": "late"})
    assert resolved(room, base, early, late)[TOPIC] == late[TOPIC]


@since_v2
def test_ban_beats_what_the_banned_does_on_another_branch(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, power={"users": {BOB: 50}})
    banned = room.member(base, ALICE, "ban", BOB)
    topic = room.send(base, "m.room.topic", BOB, {"topic": "mine"})
    assert resolved(room, banned, topic) == banned
    # Even with a power change of the banned user that claims to be older: greater power goes first.
    power = room.send(
        base, "m.room.power_levels", BOB, room.levels({"users": {BOB: 50, CAROL: 50}}), origin_server_ts=0
    )
    assert resolved(room, banned, power) == banned


@since_v2
def test_ban_against_demotion(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, CAROL, power={"users": {BOB: 50}})
    ban = room.member(base, BOB, "ban", CAROL)
    demoted = room.send(base, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 0}}))
    result = resolved(room, ban, demoted)
    # Alice's change comes first; Bob's ban then lacks the power.
    assert result[POWER] == demoted[POWER]
    assert result[member(CAROL)] == base[member(CAROL)]


@since_v2
def test_two_power_changes(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, CAROL, power={"users": {BOB: 90, CAROL: 90}})
    by_bob = room.send(base, "m.room.power_levels", BOB, room.levels({"users": {BOB: 90, CAROL: 90}, "ban": 80}))
    by_alice = room.send(base, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 0, CAROL: 90}}))
    by_carol = room.send(base, "m.room.power_levels", CAROL, room.levels({"users": {BOB: 90, CAROL: 80}, "ban": 70}))
    # Alice first, which takes Bob's power away; Carol's came from an older base and gives Bob 90, more than she has
    # to grant being 90 herself: allowed. It comes last, so it stays.
    assert resolved(room, by_bob, by_alice)[POWER] == by_alice[POWER]
    assert resolved(room, by_bob, by_alice, by_carol)[POWER] == by_carol[POWER]


@since_v2
def test_join_rule_race(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB)
    closed = room.send(base, "m.room.join_rules", ALICE, {"join_rule": "invite"})
    joined = room.member(base, ELLA, "join")
    result = resolved(room, closed, joined)
    assert result[RULES] == closed[RULES]
    assert member(ELLA) not in result  # join rules are power events: they come before joins, whatever the time
    # With an invite in the closed room it depends on which of the two was first.
    invited = room.member(closed, ALICE, "invite", ELLA)
    assert resolved(room, invited, joined)[member(ELLA)] == invited[member(ELLA)]
    late = room.member(base, ELLA, "join")
    assert resolved(room, invited, late)[member(ELLA)] == late[member(ELLA)]


@since_v2
def test_own_leave_is_no_power_event(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, power={"users": {BOB: 50}})
    left = room.member(base, BOB, "leave")
    topic = room.send(base, "m.room.topic", BOB, {"topic": "t"})
    # Both follow the same power levels; the leave is earlier, so the topic comes too late.
    assert TOPIC not in resolved(room, left, topic)
    earlier = room.send(base, "m.room.topic", BOB, {"topic": "t"}, origin_server_ts=0)
    assert resolved(room, left, earlier)[TOPIC] == earlier[TOPIC]


@since_v2
def test_mainline(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB, power={"users": {BOB: 50}})
    old = room.send(base, "m.room.topic", BOB, {"topic": "old"}, origin_server_ts=10_000)
    second = room.send(base, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 51}}))
    third = room.send(second, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 52}}))
    new = room.send(third, "m.room.topic", BOB, {"topic": "new"}, origin_server_ts=1)
    result = resolved(room, old, new)
    assert result[POWER] == third[POWER]
    # Sent under newer power levels it wins although its clock claims to be older.
    assert result[TOPIC] == new[TOPIC]
    between = room.send(second, "m.room.topic", BOB, {"topic": "between"}, origin_server_ts=99_999)
    assert resolved(room, old, new, between)[TOPIC] == new[TOPIC]
    assert resolved(room, {**third, **{TOPIC: between[TOPIC]}}, old, third)[TOPIC] == between[TOPIC]


@since_v2
def test_ties_are_broken_by_event_id(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start()
    first = room.send(base, "m.room.topic", ALICE, {}, name="aaa", origin_server_ts=7)
    second = room.send(base, "m.room.topic", ALICE, {}, name="bbb", origin_server_ts=7)
    assert resolved(room, first, second)[TOPIC] == second[TOPIC]


@since_v2
def test_rejected_auth_events_do_not_stand_in(version: RoomVersion) -> None:
    room = Room(version)
    base = room.start(BOB)
    joined = room.member(base, ELLA, "join")
    moderator = room.send(joined, "m.room.power_levels", ALICE, room.levels({"users": {ELLA: 50}}))
    named = room.send(moderator, "m.room.name", ELLA, {"name": "n"})
    topic = room.send(named, "m.room.topic", ELLA, {"topic": "t"})
    # Neither state has Ella's membership and both know it through the name, so it is in no conflict; what remains for
    # the topic are its own auth events.
    without = {key: event_id for key, event_id in ids(named).items() if key != member(ELLA)}
    states = [{**without, TOPIC: topic[TOPIC].event_id}, without]
    graph = room.graph()
    assert resolve(version, states, room.events, graph)[TOPIC] == topic[TOPIC].event_id
    assert TOPIC not in resolve(version, states, room.events, graph, {joined[member(ELLA)].event_id})


def forgotten_levels(version: RoomVersion) -> tuple[Room, State, State]:
    """Two branches: in one the power levels moved on, in the other an older server presents much older state."""
    room = Room(version)
    base = room.start(BOB, CAROL, power={"users": {BOB: 50}})
    second = room.send(base, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 60}}))
    third = room.send(second, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 70}}))
    topic = room.send(third, "m.room.topic", BOB, {"topic": "kept"})
    return room, topic, base


@since_v2
def test_old_state_does_not_come_back(version: RoomVersion) -> None:
    room, latest, ancient = forgotten_levels(version)
    assert resolved(room, latest, ancient) == latest


def test_v2_1_brings_no_replaced_event_back() -> None:
    """A reset of v2: with an unconflicted but later membership in the base, an old join rule is the last one standing.

    Alice makes the room invite-only, twice, and leaves. Both branches agree that she has left. In v2 the auth checks
    start from that, so none of her events passes any more and the join rule vanishes; v2.1 starts from nothing.
    """
    results = {}
    for version in (V11, V12):
        room = Room(version)
        base = room.start(BOB, CAROL, power={"users": {BOB: 90}})
        first = room.send(base, "m.room.join_rules", ALICE, {"join_rule": "invite"})
        second = room.send(first, "m.room.join_rules", ALICE, {"join_rule": "knock"})
        gone = room.member(second, ALICE, "leave")
        left, right = gone, {**gone, RULES: first[RULES]}
        results[version.id] = resolved(room, left, right).get(RULES), second[RULES]
    assert results["11"][0] is None
    assert results["12"][0] == results["12"][1]


def test_v2_1_replays_what_lies_between_conflicted_events() -> None:
    """The conflicted state subgraph: levels that no state holds, but that lie between those which two states hold.

    Bob's change of the levels builds on his promotion. The promotion is in the auth chains of both states (the topic
    needs it, too), so it is neither conflicted nor in the auth difference; without it, the state that was reset to the
    first levels would win.
    """
    room = Room(V12)
    first = room.start(BOB)
    promoted = room.send(first, "m.room.power_levels", ALICE, {"users": {BOB: 100}})
    topic = room.send(promoted, "m.room.topic", BOB, {"topic": "t"})
    changed = room.send(promoted, "m.room.power_levels", BOB, {"users": {BOB: 100}, "ban": 60})
    reset = {**topic, POWER: first[POWER]}
    assert resolved(room, reset, changed) == {**changed, TOPIC: topic[TOPIC]}


def test_v1_takes_the_chain_of_power_levels() -> None:
    room = Room(V1)
    base = room.start(BOB, power={"users": {BOB: 50}})
    low = room.send(base, "m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 0}}, depth=20)
    high = room.send(base, "m.room.power_levels", BOB, {"users": {ALICE: 100, BOB: 50, CAROL: 50}}, depth=30)
    # The first of the list is taken unchecked; Bob's is not allowed after it.
    assert resolved(room, low, high)[POWER] == low[POWER]
    swapped = room.send(base, "m.room.power_levels", ALICE, {"users": {ALICE: 100, BOB: 1}}, depth=40)
    assert resolved(room, swapped, high)[POWER] == swapped[POWER]


def test_v1_prefers_depth_then_hash() -> None:
    room = Room(V1)
    base = room.start()
    deep = room.send(base, "m.room.topic", ALICE, {}, name="deep", depth=50)
    shallow = room.send(base, "m.room.topic", ALICE, {}, name="shallow", depth=40)
    assert resolved(room, deep, shallow)[TOPIC] == deep[TOPIC]
    rivals = [room.send(base, "m.room.topic", ALICE, {}, name=name, depth=60)[TOPIC] for name in "abc"]
    winner = resolved(room, *({**base, TOPIC: rival} for rival in rivals))[TOPIC]
    assert winner.event_id == lowest_sha1([rival.event_id for rival in rivals])


def lowest_sha1(event_ids: list[str]) -> str:
    return min(event_ids, key=lambda event_id: sha1(event_id.encode()).hexdigest())


def test_v1_skips_what_is_not_allowed_any_more() -> None:
    room = Room(V1)
    base = room.start(BOB, power={"users": {BOB: 50}})
    topic = room.send(base, "m.room.topic", ALICE, {"topic": "a"}, depth=20)
    late = room.send(topic, "m.room.topic", BOB, {"topic": "b"}, depth=30)
    demoted = room.send(topic, "m.room.power_levels", ALICE, {"users": {ALICE: 100}}, depth=25)
    merged = {**demoted, TOPIC: topic[TOPIC]}
    base_late = {**late, POWER: demoted[POWER]}
    assert resolved(room, merged, base_late)[TOPIC] == topic[TOPIC]


@since_v2
def test_the_result_is_a_state_that_the_rules_allow(version: RoomVersion) -> None:
    room, latest, ancient = forgotten_levels(version)
    result = resolved(room, latest, ancient)
    check(room.event(result, "m.room.topic", BOB, {}, ""), MappingState(result))
