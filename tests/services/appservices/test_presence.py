"""Presence for application services: changes that nobody makes are told too."""

from __future__ import annotations

from typing import Any

from homeserver.services.appservices import presence as module
from homeserver.services.appservices.presence import PresenceNews
from homeserver.services.personal.presence import PresenceTracker
from tests.services.personal.conftest import ALICE, BOB, ManualClock
from tests.services.personal.test_presence import Rooms


class Place:
    """A tracker with news of it, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tracker = PresenceTracker(self.clock, Rooms(), idle_s=60, offline_s=300)
        self.woken = 0
        self.news = PresenceNews(self.tracker, self.clock, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def taken(self) -> dict[str, Any]:
        return {user_id: content["presence"] for user_id, content in self.news.take().items()}

    def until_due(self) -> None:
        due = self.news.due_in_s()
        assert due is not None
        self.clock.seconds += due


def test_silence_is_told() -> None:
    here = Place()
    assert here.news.due_in_s() is None
    here.tracker.active(ALICE)
    assert here.woken == 1
    assert here.taken() == {ALICE: "online"}
    assert here.taken() == {}
    here.clock.seconds += 59
    assert here.taken() == {}
    here.until_due()
    assert here.taken() == {ALICE: "unavailable"}
    here.tracker.seen(ALICE, "unavailable")  # a sign of life that changes nothing, but puts off the end
    here.until_due()
    assert here.taken() == {}, "heard of meanwhile"
    here.until_due()
    assert here.taken() == {ALICE: "offline"}
    assert here.news.due_in_s() is None, "there is nothing to wait for"
    here.tracker.active(ALICE)
    assert here.taken() == {ALICE: "online"}


def test_who_leaves_in_words_is_not_watched() -> None:
    here = Place()
    here.tracker.set(ALICE, "online", None)
    here.tracker.set(BOB, "offline", "gone")
    assert here.taken() == {ALICE: "online", BOB: "offline"}
    here.tracker.set(ALICE, "offline", None)
    assert here.taken() == {ALICE: "offline"}
    here.clock.seconds += 1_000
    assert here.taken() == {}
    assert here.news.due_in_s() is None


def test_it_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_MOST_CHANGED", 3)
    monkeypatch.setattr(module, "_MOST_WATCHED", 2)
    here = Place()
    for number in range(5):
        here.tracker.active(f"@{number}:hromada.test")
    assert len(here.taken()) == 3
    here.clock.seconds += 61
    assert set(here.taken().values()) == {"unavailable"}
    here.clock.seconds += 1_000
    assert len(here.taken()) == 2
