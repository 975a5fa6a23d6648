"""Who is typing."""

from __future__ import annotations

from homeserver.services.personal.typing import TypingTracker
from tests.services.personal.conftest import ALICE, BOB, ROOM, ManualClock


def test_only_changes_have_a_serial() -> None:
    changed: list[str] = []
    typing = TypingTracker(ManualClock())
    begun = typing.serial
    typing.on_change(changed.append)
    typing.set(ROOM, ALICE, 30_000)
    typing.set(ROOM, ALICE, 30_000)
    typing.set(ROOM, BOB, None)
    assert typing.users(ROOM) == [ALICE] and typing.serial == begun + 1 and changed == [ROOM]
    typing.set(ROOM, BOB, 1)
    typing.set(ROOM, ALICE, None)
    assert typing.users(ROOM) == [BOB] and typing.serial == begun + 3
    assert typing.changed_since(begun + 2) == [ROOM] and typing.changed_since(begun + 3) == []


def test_who_knows_nothing_is_told_who_types_now() -> None:
    typing = TypingTracker(ManualClock())
    typing.set(ROOM, ALICE, 30_000)
    typing.set("!quiet", ALICE, 30_000)
    typing.set("!quiet", ALICE, None)
    assert typing.changed_since(0) == [ROOM]


def test_serials_of_an_earlier_process_say_nothing() -> None:
    clock = ManualClock()
    earlier = TypingTracker(clock)
    for _ in range(5):  # more changes than the next process will have seen
        earlier.set(ROOM, ALICE, 30_000)
        earlier.set(ROOM, ALICE, None)
    clock.seconds += 1
    typing = TypingTracker(clock)
    assert typing.changed_since(earlier.serial) is None
    typing.set(ROOM, ALICE, 30_000)
    assert typing.changed_since(earlier.serial) is None
    assert earlier.changed_since(typing.serial) is None


def test_memory_is_bounded() -> None:
    typing = TypingTracker(ManualClock(), max_rooms=2, max_users=2)
    begun = typing.serial
    for room_id in ("!a", "!b", "!c"):
        typing.set(room_id, ALICE, 30_000)
    assert typing.changed_since(begun + 1) == ["!b", "!c"]
    assert typing.changed_since(begun) is None, "one change is not known any more"
    for number in range(5):
        typing.set("!a", f"@{number}:hromada.test", 30_000)
    assert len(typing.users("!a")) == 2


def test_typing_ends_by_itself() -> None:
    clock = ManualClock()
    typing = TypingTracker(clock)
    begun = typing.serial
    typing.set(ROOM, ALICE, 10_000)
    typing.set(ROOM, BOB, 10**9)
    clock.seconds += 10
    typing.expire()
    assert typing.users(ROOM) == [BOB]
    clock.seconds += 111  # nobody types for longer than two minutes without saying so again
    typing.expire()
    assert typing.users(ROOM) == [] and typing.serial == begun + 4
