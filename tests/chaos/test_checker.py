"""The checker finds nothing in a good history, and each rule finds its own violation in a bad one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.history import Final, History, Operation

ROOM = "!room"
STATE = {"type": "chaos.state", "state_key": "alice"}


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"${number}", "type": "m.room.message", "sender": "@alice", "key": f"m{number}", **more}


def count(number: int) -> dict[str, int]:
    return {"highlight_count": 0, "notification_count": number}


def part(*events: dict[str, Any], unread: int = 0, **more: Any) -> dict[str, Any]:
    return {"events": list(events), "unread": count(unread), **more}


def sync(reader: str, start: float, since: int | None, position: int, room: Any = None, **registers: Any) -> Operation:
    token = None if since is None else f"s{since}"
    rooms = {} if room is None else {ROOM: room}
    notes = registers.pop("notes", [])
    result = {"next": f"s{position}", "position": position, "rooms": rooms, "registers": registers, "notes": notes}
    result["user"] = f"@{reader}"
    return Operation(reader, "sync", start, {"since": token}, start + 0.5, result)


def good() -> History:
    """Alice sends $1 … $4, of which $3 is state; bob and carol read along, carol with a hole that she filled.

    Bob has read $1, carol nothing. Alice and dora send notes to bob's device, dora's are not answered.
    """
    events = [event(0), event(1), event(2), event(3, **STATE), event(4)]
    operations = [
        sync("bob", 0.0, None, 0, part(event(0))),
        sync("carol", 0.0, None, 0, part(event(0))),
        *(
            Operation("alice", "state" if n == 3 else "send", n, {"room": ROOM, "key": f"m{n}"}, n + 0.4, f"${n}")
            for n in range(1, 5)
        ),
        Operation("alice", "put", 1.0, {"register": "seen", "value": 1}, 1.1),
        Operation("alice", "put", 2.0, {"register": "seen", "value": 2}, 2.1),
        Operation("alice", "to_device", 1.0, {"key": "n1", "readers": ["bob"]}, 1.1, "n1"),
        Operation("dora", "to_device", 1.0, {"key": "n2", "readers": ["bob"]}),
        Operation("alice", "to_device", 2.0, {"key": "n3", "readers": ["bob"]}, 2.1, "n3"),
        sync("bob", 1.5, 0, 1, part(event(1), unread=1), seen=1, notes=["n1"]),
        sync("bob", 2.5, 1, 3, part(event(2), event(3, **STATE), unread=1), seen=2, notes=["n2", "n3"]),
        sync("bob", 4.5, 3, 4, part(event(4), unread=2)),
        sync("bob", 5.5, 4, 4),
        sync("carol", 4.5, 0, 4, part(event(4), unread=4, limited=True, filled=events[1:4], state=[events[3]]), seen=2),
        sync("carol", 5.5, 4, 4),
    ]
    ids = [item["id"] for item in events]
    final = Final({ROOM: events}, {ROOM: {"bob b": ids}}, {ROOM: {"chaos.state|alice": "$3"}}, {"seen": 2})
    final.registers[f"receipt|{ROOM}|@bob"] = "$1"
    final.unread = {f"{ROOM}|@bob": count(2), f"{ROOM}|@carol": count(4)}
    return History(1, operations, final)


def of(history: History, client: str, kind: str = "sync") -> list[Operation]:
    return [operation for operation in history.operations if operation.client == client and operation.kind == kind]


def rules(history: History, **more: Any) -> set[str]:
    return {violation.rule for violation in check(history, **more)}


def test_a_good_history_keeps_every_rule(tmp_path: Path) -> None:
    history = good()
    assert check(history, within=1) == []
    history.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == history


def test_an_unknown_outcome_may_have_happened_or_not() -> None:
    history = good()
    unknown = Operation("alice", "send", 6.0, {"room": ROOM, "key": "m9"})
    history.operations.append(unknown)
    assert check(history) == []
    history.final.events[ROOM].append(event(9))
    history.final.walks = {}
    for reader, unread in (("bob", 3), ("carol", 5)):
        of(history, reader)[-1].result["rooms"] = {ROOM: part(event(9), unread=unread)}
        history.final.unread[f"{ROOM}|@{reader}"] = count(unread)
    assert check(history) == []


def lost(history: History) -> None:
    history.operations.append(Operation("dora", "send", 9.0, {"room": ROOM, "key": "m9"}, 9.1, "$9"))


def another_event(history: History) -> None:
    of(history, "alice", "send")[0].asked["key"] = "m7"


def not_redacted(history: History) -> None:
    history.final.events[ROOM].append(event(9, redacts="$1"))
    redaction = Operation("alice", "redact", 9.0, {"room": ROOM, "key": "m9", "redacts": "$1"}, 9.1, "$9")
    history.operations.append(redaction)


def old_value(history: History) -> None:
    history.final.registers["seen"] = 1


@pytest.mark.parametrize("spoil", [lost, another_event, not_redacted, old_value])
def test_r1_finds_what_was_acknowledged_and_is_not_there(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert "R1" in rules(history)


def sent_twice(history: History) -> None:
    history.final.events[ROOM].append(event(9, key="m4"))


def two_answers(history: History) -> None:
    again = copy.deepcopy(of(history, "alice", "send")[0])
    again.result = "$2"
    history.operations.append(again)


def twice_without_an_answer(history: History) -> None:
    sent_twice(history)
    of(history, "alice", "send")[-1].end = None


@pytest.mark.parametrize("spoil", [sent_twice, two_answers, twice_without_an_answer])
def test_r2_finds_transactions_with_two_events(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert "R2" in rules(history)


def test_r2_lets_a_state_event_be_made_by_each_of_its_requests() -> None:
    history = good()
    history.final.events[ROOM].append(event(9, **STATE, key="m3"))
    assert "R2" in rules(history)
    of(history, "alice", "state")[0].attempts = 2
    assert "R2" not in rules(history)


def duplicate(history: History) -> None:
    of(history, "bob")[-1].result["rooms"] = {ROOM: part(event(4))}


def gap(history: History) -> None:
    of(history, "bob")[2].result["rooms"][ROOM]["events"].pop(0)


def half_filled(history: History) -> None:
    of(history, "carol")[1].result["rooms"][ROOM]["filled"].pop(0)


def missing_end(history: History) -> None:
    of(history, "bob")[3].result["rooms"] = {}


@pytest.mark.parametrize("spoil", [duplicate, gap, half_filled, missing_end])
def test_r3_finds_batches_that_do_not_join(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert "R3" in rules(history)


def swapped(history: History) -> None:
    of(history, "bob")[2].result["rooms"][ROOM]["events"].reverse()


def other_walk(history: History) -> None:
    history.final.walks[ROOM]["bob b"].reverse()


def short_walk(history: History) -> None:
    history.final.walks[ROOM]["bob b"].pop()


def stranger(history: History) -> None:
    of(history, "bob")[-1].result["rooms"] = {ROOM: part(event(99))}


def other_value(history: History) -> None:
    of(history, "carol")[1].result["registers"] = {"seen": 1}


@pytest.mark.parametrize("spoil", [swapped, other_walk, short_walk, stranger, other_value])
def test_r4_finds_those_who_disagree(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert "R4" in rules(history)


def test_r5_finds_a_device_out_of_order() -> None:
    history = good()
    first, second, *_ = of(history, "alice", "send")
    # Both under way at once, as far as the clock knows: only the device's order is broken.
    first.result, second.result = second.result, first.result
    first.end = second.end = 9.0
    found = rules(history)
    assert "R5" in found
    assert "R6" not in found


def test_r6_finds_an_event_that_overtook_an_acknowledged_one() -> None:
    history = good()
    of(history, "alice", "send")[1].client = "dora"
    history.final.events[ROOM][1:3] = reversed(history.final.events[ROOM][1:3])
    found = rules(history)
    assert "R6" in found
    assert "R5" not in found


def test_r6_counts_events_whose_answer_never_came() -> None:
    history = good()
    early = Operation("dora", "send", 4.5, {"room": ROOM, "key": "m0"})
    history.operations.append(early)
    assert "R6" in rules(history)


def test_r7_finds_an_acknowledged_event_that_syncs_leave_out() -> None:
    history = good()
    late = of(history, "bob")[3]
    late.start = 4.7
    place = history.operations.index(late)
    history.operations[place:place] = [sync("bob", start, 3, 3) for start in (4.5, 4.6)]
    assert rules(history) >= {"R7"}
    assert "R7" not in rules(history, within=3)


def older_token(history: History) -> None:
    of(history, "bob")[-1].result["position"] = 2


def refused_token(history: History) -> None:
    history.operations.append(Operation("bob", "refused", 9.0, {"since": "s4"}, 9.1, "400"))


def older_value(history: History) -> None:
    of(history, "bob")[-1].result["registers"] = {"seen": 1}


@pytest.mark.parametrize("spoil", [older_token, refused_token, older_value])
def test_r8_finds_what_goes_back(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert "R8" in rules(history)


def test_r8_lets_a_failed_request_arrive_late() -> None:
    history = good()
    older_value(history)
    of(history, "alice", "put")[0].attempts = 2
    assert "R8" not in rules(history)


def test_r9_finds_another_state() -> None:
    history = good()
    history.final.state[ROOM]["chaos.state|alice"] = "$2"
    assert rules(history) == {"R9"}


def lost_note(history: History) -> None:
    of(history, "bob")[1].result["notes"] = []


def note_twice(history: History) -> None:
    of(history, "bob")[-1].result["notes"] = ["n3"]


def note_too_early(history: History) -> None:
    of(history, "bob")[1].result["notes"], of(history, "bob")[2].result["notes"] = ["n3"], ["n1"]


def note_of_another(history: History) -> None:
    of(history, "carol")[1].result["notes"] = ["n1"]


@pytest.mark.parametrize("spoil", [lost_note, note_twice, note_too_early, note_of_another])
def test_r8_finds_messages_to_devices_that_went_wrong(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert rules(history) == {"R8"}


def test_r8_lets_a_message_without_an_answer_be_lost() -> None:
    history = good()
    of(history, "bob")[2].result["notes"] = ["n3"]
    assert rules(history) == set()


def more_than_there_is(history: History) -> None:
    of(history, "bob")[2].result["rooms"][ROOM]["unread"] = count(99)


def last_count(history: History) -> None:
    of(history, "bob")[3].result["rooms"][ROOM]["unread"] = count(1)


def first_count(history: History) -> None:
    history.final.unread[f"{ROOM}|@carol"] = count(3)


@pytest.mark.parametrize("spoil", [more_than_there_is, last_count, first_count])
def test_r10_finds_counts_that_nothing_counted(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert rules(history) == {"R10"}


def test_r10_counts_nothing_before_ones_own_message() -> None:
    history = good()
    history.final.events[ROOM][2]["sender"] = "@carol"
    assert "R10" in rules(history)
    of(history, "carol")[1].result["rooms"][ROOM]["unread"] = count(1)
    of(history, "bob")[3].result["rooms"][ROOM]["unread"] = count(2)
    history.final.unread[f"{ROOM}|@carol"] = count(1)
    assert "R10" not in rules(history)
