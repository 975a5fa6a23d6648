"""What a replacement begins with, for rooms that only other servers could have made."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.versions import ROOM_VERSIONS
from homeserver.services.rooms.replacement import closed_levels, power_levels, raise_tombstone
from tests.services.rooms.conftest import ALICE, BOB

V6, V10, V12 = (ROOM_VERSIONS[version] for version in ("6", "10", "12"))


def test_levels_written_as_strings_become_numbers() -> None:
    old = {"users": {ALICE: "100", BOB: " 20 "}, "ban": "60", "events": {"org.x": "7"}, "kick": None, "invite": "x"}
    assert power_levels(old, V10, []) == {"users": {ALICE: 100, BOB: 20}, "ban": 60, "events": {"org.x": 7}}


def test_nonsense_stays_behind() -> None:
    old = {"users": {"nobody": 5, ALICE: [], BOB: 1}, "events": "x", "notifications": {"room": True}}
    assert power_levels({**old, "more": 0.5}, V10, []) == {"users": {BOB: 1}, "notifications": {}}


def test_what_nobody_defines_goes_over() -> None:
    old = {"historical": 100, "org.example": {"any": ["thing", None]}}
    assert power_levels(old, V10, []) == old


def test_creators_of_version_12_stand_in_no_list() -> None:
    levels = power_levels({"users": {ALICE: 100, BOB: 50}}, V12, [ALICE])
    assert levels == {"users": {BOB: 50}, "events": {"m.room.tombstone": 150}}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({}, 150),
        ({"state_default": 150}, 200),
        ({"events": {"m.room.tombstone": 51}}, 51),
        ({"events": {"m.room.tombstone": 50}}, 150),
    ],
)
def test_the_tombstone_is_above_state(levels: dict[str, Any], expected: int) -> None:
    raise_tombstone(levels)
    assert levels["events"]["m.room.tombstone"] == expected


@pytest.mark.parametrize(
    ("levels", "expected"),
    [({}, 50), ({"users_default": 60}, 61), ({"events_default": 70}, 70), ({"events_default": "70"}, 70)],
)
def test_a_replaced_room_is_closed(levels: dict[str, Any], expected: int) -> None:
    assert closed_levels(levels, V6)["events_default"] == expected
