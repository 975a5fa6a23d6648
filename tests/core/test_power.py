"""Power levels: how each version reads them, their defaults, and the rule for changing them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.auth.power import INFINITE, PowerLevels, parse_level
from homeserver.core.auth.state import MappingState
from homeserver.core.versions import V1, V6, V9, V10, V12, RoomVersion
from tests.core.rooms import ALICE, BOB, CAROL, DAVE, Room, State, verdict
from tests.core.support import VERSIONS, json_values

all_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"v{v.id}")
NAMES = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def since(number: int, version: RoomVersion) -> bool:
    return int(version.id) >= number


STRINGS = {
    "100": 100,
    "000100": 100,
    "+100": 100,
    "-100": -100,
    " 100 ": 100,
    " \t+00100\n": 100,
    "0": 0,
    "-0": 0,
    "": None,
    "+": None,
    "1.0": None,
    "1e2": None,
    "1_000": None,
    "0x10": None,
    "+-1": None,
    "1 0": None,
    "- 1": None,
    "٣": None,
    "9" * 5000: None,
    "0" * 5000 + "7": 7,
}


@all_versions
@pytest.mark.parametrize(("text", "level"), STRINGS.items(), ids=range(len(STRINGS)))
def test_strings(version: RoomVersion, text: str, level: int | None) -> None:
    assert parse_level(text, version) == (None if since(10, version) else level)


@all_versions
@pytest.mark.parametrize(("value", "level"), [(50.57, 50), (-50.57, -50), (51146.98, 51146), (1e300, int(1e300))])
def test_floats(version: RoomVersion, value: float, level: int) -> None:
    assert parse_level(value, version) == (None if since(6, version) else level)


@all_versions
@pytest.mark.parametrize("value", [True, False, None, [], {}, [1], float("inf"), float("-inf"), float("nan")])
def test_what_is_never_a_level(version: RoomVersion, value: Any) -> None:
    assert parse_level(value, version) is None


@all_versions
def test_defaults_without_power_levels(version: RoomVersion) -> None:
    room = Room(version)
    levels = PowerLevels.of(MappingState.of([room.create]), version)
    assert [levels.named(name) for name in NAMES] == [0, 0, 50, 50, 50, 50, 0]
    assert levels.event("m.room.message", is_state=False) == 0
    assert levels.event("m.room.topic", is_state=True) == 50
    assert levels.user(BOB) == 0
    assert levels.user(ALICE) == (INFINITE if since(12, version) else 100)
    assert levels.notification("room") == 50


@all_versions
def test_defaults_with_empty_power_levels(version: RoomVersion) -> None:
    room = Room(version)
    power = room.event({}, "m.room.power_levels", ALICE, {}, "")
    levels = PowerLevels(version, room.create, power)
    assert [levels.named(name) for name in NAMES] == [0, 0, 50, 50, 50, 50, 0]
    assert levels.user(ALICE) == (INFINITE if since(12, version) else 0)


@pytest.mark.parametrize("version", [V1, V6, V10, V12], ids=lambda v: f"v{v.id}")
@given(content=st.dictionaries(st.sampled_from([*NAMES, "users", "events", "notifications"]), json_values))
def test_reading_never_fails(version: RoomVersion, content: dict[str, Any]) -> None:
    room = Room(version)
    power = room.event({}, "m.room.power_levels", ALICE, content, "")
    levels = PowerLevels(version, room.create, power)
    assert all(isinstance(levels.named(name), int) for name in NAMES)
    assert isinstance(levels.user(BOB), int)
    assert isinstance(levels.event("m.room.topic", is_state=True), int)
    assert isinstance(levels.notification("room"), int)
    members = room.start_members(BOB)
    for state in (members, {**members, power.key: power}):
        verdict(room.event(state, "m.room.power_levels", BOB, content, ""), state)
        verdict(room.event(state, "m.room.power_levels", ALICE, {}, ""), state)


def change(version: RoomVersion, old: dict[str, Any] | None, new: dict[str, Any], sender: str = BOB) -> bool:
    """The verdict on `new`, sent by Bob with 50, after `old`, as it was accepted once."""
    room = Room(version)
    state: State = room.start_members(BOB, CAROL, DAVE)
    if old is not None:
        power = room.event(state, "m.room.power_levels", ALICE, {"state_default": 0, **old}, "")
        state = {**state, power.key: power}
        new = {"state_default": 0, **new}
    return verdict(room.event(state, "m.room.power_levels", sender, new, ""), state)


OWN = {"users": {BOB: 50}}


@all_versions
@pytest.mark.parametrize("junk", ["x", 1.5, None, True, [], {}])
def test_shape(version: RoomVersion, junk: Any) -> None:
    strict = since(10, version)
    floats = isinstance(junk, float) and not since(6, version)
    for name in NAMES:
        assert change(version, None, {name: junk}, ALICE) is not strict
    for table in ("events", "notifications"):
        assert change(version, None, {table: {"x": junk}}, ALICE) is not strict
        assert change(version, None, {table: junk}, ALICE) is (junk == {} or not strict)
    assert change(version, None, {"users": {BOB: junk}}, ALICE) is floats
    assert change(version, None, {"users": junk}, ALICE) is (junk == {})


@all_versions
@pytest.mark.parametrize("user", ["bob", "", "@bob", "#bob:b.org", "@bob:", "@bob:b org"])
def test_users_are_user_ids(version: RoomVersion, user: str) -> None:
    assert not change(version, None, {"users": {user: 0}}, ALICE)
    assert change(version, None, {"users": {"@Historical Name!:b.org": 0}}, ALICE)


@all_versions
def test_strings_where_they_are_levels(version: RoomVersion) -> None:
    old, new = {**OWN, "ban": 90}, {"users": {BOB: "50"}, "ban": " +90"}
    assert change(version, old, new) is not since(10, version)
    assert change(version, {**OWN, "ban": "90"}, {**OWN, "ban": 90}) is True or since(10, version)


@all_versions
@pytest.mark.parametrize("name", NAMES)
def test_named_levels(version: RoomVersion, name: str) -> None:
    def changed(old: int | None, new: int | None) -> bool:
        before = {} if old is None else {name: old}
        after = {} if new is None else {name: new}
        return change(version, OWN | before, OWN | after, BOB)

    if name == "state_default":
        assert changed(0, 50)
        assert changed(0, 51) is False
        return
    assert changed(50, 49)
    assert changed(None, 50)
    assert changed(50, None)
    assert changed(51, 51)
    assert not changed(51, 50)
    assert not changed(50, 51)
    assert not changed(None, 51)
    assert not changed(51, None)


@all_versions
@pytest.mark.parametrize("table", ["events", "notifications"])
def test_tables(version: RoomVersion, table: str) -> None:
    def changed(old: dict[str, Any], new: dict[str, Any]) -> bool:
        return change(version, {**OWN, table: old}, {**OWN, table: new})

    unchecked = table == "notifications" and not since(6, version)
    assert changed({"x": 50}, {"x": 49})
    assert changed({"x": 50}, {})
    assert changed({}, {"x": 50})
    assert changed({"x": 51, "y": 1}, {"x": 51})
    assert changed({"x": 51}, {"x": 50}) is unchecked
    assert changed({"x": 51}, {}) is unchecked
    assert changed({}, {"x": 51}) is unchecked
    assert changed({"x": 50}, {"x": 51}) is unchecked


@all_versions
def test_users(version: RoomVersion) -> None:
    def changed(old: dict[str, Any], new: dict[str, Any]) -> bool:
        return change(version, {"users": {BOB: 50, **old}}, {"users": {BOB: 50, **new}})

    assert changed({CAROL: 49}, {CAROL: 50})
    assert changed({CAROL: 49}, {})
    assert changed({}, {CAROL: 50})
    assert changed({CAROL: 50}, {CAROL: 50})
    assert not changed({CAROL: 50}, {CAROL: 49})
    assert not changed({CAROL: 50}, {})
    assert not changed({}, {CAROL: 51})
    assert not changed({CAROL: 49}, {CAROL: 51})
    assert changed({}, {BOB: 49})  # one may step down
    assert not changed({}, {BOB: 51})
    assert change(version, OWN, {"users": {}})


@all_versions
def test_malformed_levels_cannot_slip_in(version: RoomVersion) -> None:
    unusable: tuple[Any, ...] = ("x", None, [], {}, True)
    for junk in unusable:
        assert not change(version, OWN, {**OWN, "ban": junk})
        assert not change(version, OWN, {**OWN, "events": {"x": junk}})
    assert not change(version, OWN, {**OWN, "events": "x"})


def test_malformed_levels_in_old_state_count_as_absent() -> None:
    for version in (V1, V6, V9):
        assert change(version, {**OWN, "ban": "x", "events": {"y": None}, "notifications": 1}, OWN)
        assert change(version, {**OWN, "ban": "x"}, {**OWN, "ban": 50})


def test_creators_of_v12() -> None:
    room = Room(V12, additional_creators=[CAROL])
    state = room.start(BOB, CAROL, power={"users": {BOB: 2**53 - 1}})

    def sets(sender: str, content: dict[str, Any], state: State = state) -> bool:
        return verdict(room.event(state, "m.room.power_levels", sender, content, ""), state)

    assert sets(CAROL, {"users": {BOB: 0}})
    assert sets(ALICE, {"users": {BOB: 0}, "ban": 2**53 - 1})
    for sender in (ALICE, BOB, CAROL):
        assert not sets(sender, {"users": {BOB: 0, ALICE: 100}})
        assert not sets(sender, {"users": {BOB: 0, CAROL: 0}})
    first = {key: event for key, event in state.items() if key[0] != "m.room.power_levels"}
    assert sets(ALICE, {"users": {BOB: 100}}, first)
    assert not sets(ALICE, {"users": {CAROL: 100}}, first)


def test_additional_creators_mean_nothing_to_v11() -> None:
    room = Room(VERSIONS[10], additional_creators=[BOB])
    state = room.start(BOB)
    assert not verdict(room.event(state, "m.room.topic", BOB, {}, ""), state)
    assert verdict(room.event(state, "m.room.power_levels", ALICE, room.levels({"users": {BOB: 100}}), ""), state)


def test_booleans_are_not_integers() -> None:
    for version in (V1, V10, V12):
        assert not change(version, None, {"users": {BOB: True}}, ALICE)
