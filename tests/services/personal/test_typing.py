"""Who is typing."""

from __future__ import annotations

from homeserver.services.personal.typing import TypingTracker
from tests.services.personal.conftest import ALICE, BOB, ROOM, ManualClock


def test_only_changes_have_a_serial() -> None:
    changed: list[str] = []
    typing = TypingTracker(ManualClock())
    typing.on_change(changed.append)
    typing.set(ROOM, ALICE, 30_000)
    typing.set(ROOM, ALICE, 30_000)
    typing.set(ROOM, BOB, None)
    assert typing.users(ROOM) == [ALICE] and typing.serial == 1 and changed == [ROOM]
    typing.set(ROOM, BOB, 1)
    typing.set(ROOM, ALICE, None)
    assert typing.users(ROOM) == [BOB] and typing.serial == 3
    assert typing.changed_since(2) == {ROOM: 3} and typing.changed_since(3) == {}


def test_tokens_of_an_earlier_process_get_everything() -> None:
    typing = TypingTracker(ManualClock())
    typing.set(ROOM, ALICE, 30_000)
    assert typing.changed_since(99) == {ROOM: 1}


def test_memory_is_bounded() -> None:
    typing = TypingTracker(ManualClock(), max_rooms=2, max_users=2)
    for room_id in ("!a", "!b", "!c"):
        typing.set(room_id, ALICE, 30_000)
    assert typing.changed_since(0) == {"!b": 2, "!c": 3}
    for number in range(5):
        typing.set("!a", f"@{number}:hromada.test", 30_000)
    assert len(typing.users("!a")) == 2


def test_typing_ends_by_itself() -> None:
    clock = ManualClock()
    typing = TypingTracker(clock)
    typing.set(ROOM, ALICE, 10_000)
    typing.set(ROOM, BOB, 10**9)
    clock.seconds += 10
    typing.expire()
    assert typing.users(ROOM) == [BOB]
    clock.seconds += 111  # nobody types for longer than two minutes without saying so again
    typing.expire()
    assert typing.users(ROOM) == [] and typing.serial == 4
