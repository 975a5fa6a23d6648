"""History visibility: every combination of setting, membership and later join, and the two edge rules."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from homeserver.core.versions import V12
from homeserver.core.visibility import Before, may_see, visibility_in
from tests.core.rooms import ALICE, BOB, Room

SETTINGS = ("world_readable", "shared", "invited", "joined")
MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")


def event(event_type: str = "m.room.message", content: dict[str, Any] | None = None, key: str | None = None) -> Any:
    return Room(V12).event({}, event_type, ALICE, content or {}, key)


@pytest.mark.parametrize(("setting", "membership", "later"), list(product(SETTINGS, MEMBERSHIPS, (False, True))))
def test_messages(setting: str, membership: str, later: bool) -> None:
    allowed = {
        "world_readable": True,
        "shared": membership == "join" or later,
        "invited": membership in ("join", "invite"),
        "joined": membership == "join",
    }
    assert may_see(event(), BOB, Before(setting, membership), joined_later=later) is allowed[setting]


@pytest.mark.parametrize(("before", "after"), list(product(SETTINGS, SETTINGS)))
def test_a_change_of_the_setting_is_seen_by_those_of_before_and_of_after(before: str, after: str) -> None:
    change = event("m.room.history_visibility", {"history_visibility": after}, "")
    for membership, later in product(MEMBERSHIPS, (False, True)):
        either = [may_see(event(), BOB, Before(s, membership), joined_later=later) for s in (before, after)]
        assert may_see(change, BOB, Before(before, membership), joined_later=later) is any(either)


@pytest.mark.parametrize(("before", "after"), list(product(MEMBERSHIPS, MEMBERSHIPS)))
def test_own_membership_is_seen_before_or_after(before: str, after: str) -> None:
    change = event("m.room.member", {"membership": after}, BOB)
    others = event("m.room.member", {"membership": after}, "@carol:c.org")
    for setting in SETTINGS:
        either = [may_see(event(), BOB, Before(setting, m), joined_later=False) for m in (before, after)]
        assert may_see(change, BOB, Before(setting, before), joined_later=False) is any(either)
        assert may_see(others, BOB, Before(setting, before), joined_later=False) is either[0]


@pytest.mark.parametrize("value", [None, "secret", 1, ["joined"], {}])
def test_what_is_not_understood_is_shared(value: Any) -> None:
    assert visibility_in(event("m.room.history_visibility", {"history_visibility": value}, "")) == "shared"
    assert visibility_in(None) == "shared"


def test_a_visibility_event_under_another_state_key_means_nothing() -> None:
    stray = event("m.room.history_visibility", {"history_visibility": "world_readable"}, "x")
    assert not may_see(stray, BOB, Before("joined", "leave"), joined_later=True)
