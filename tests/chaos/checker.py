"""The rules that every history must keep, whatever was broken while it was made. Pure.

A room is a list that is only appended to, so checking is linear: no search for a linearisation is needed. Each rule
looks at the history by itself and trusts no other rule.

R1  everything acknowledged is in the final history, and acknowledged redactions took effect
R2  a transaction made at most one event, an acknowledged one exactly one, and every answer to it named that event
R3  a reader gets nothing twice and misses nothing: batches join, and the walk from `prev_batch` fills limited ones
R4  all readers, all walks through /messages and the final values agree
R5  what one device sent to a room one after the other is in that order
R6  what was acknowledged before something else was sent comes before it
R7  a sync started after an acknowledgement brings what was acknowledged (within `within` responses)
R8  tokens never go back and are never refused, and neither do values that are replaced; a device gets the messages that
    were sent to it and no others, each once, and what was acknowledged before something else was sent before that
R9  the state that a reader put together is the state of GET /state
R10 unread counts are what counting gives: in the end exactly, and never more than the messages of the room
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise
from typing import Any

from tests.chaos.history import WRITES, History, Json, Operation


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule and what shows it."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def check(history: History, *, within: int = 2) -> list[Violation]:
    """All violations, in the order of the rules."""
    rules: list[tuple[str, Callable[[History], Iterator[str]]]] = [
        ("R1", acknowledged_is_there),
        ("R2", one_event_per_transaction),
        ("R3", batches_join),
        ("R4", everybody_agrees),
        ("R5", devices_keep_order),
        ("R6", real_time_order),
        ("R7", partial(acknowledged_is_synced, within=within)),
        ("R8", nothing_goes_back),
        ("R8", devices_get_their_messages),
        ("R9", state_is_the_state),
        ("R10", unread_is_counted),
    ]
    return [Violation(name, what) for name, rule in rules for what in rule(history)]


# ---- R1, R2: writes ----


def acknowledged_is_there(history: History) -> Iterator[str]:
    """R1."""
    events = {event["id"]: event for room in history.final.events.values() for event in room}
    for write in history.of(*WRITES):
        if not write.acked:
            continue
        found = events.get(write.result)
        if found is None:
            yield f"{write.asked['key']} was acknowledged as {write.result} and is lost"
        elif found.get("key") != write.asked["key"] and not found.get("pruned"):
            yield f"{write.asked['key']} was acknowledged as {write.result}, which is {found.get('key')}"
        elif write.kind == "redact" and not events.get(write.asked["redacts"], {}).get("pruned"):
            yield f"{write.asked['redacts']} was redacted and still has its content"
    for name, puts in _puts(history).items():
        acked = [put.asked["value"] for put in puts if put.acked]
        final = history.final.registers.get(name)
        if acked and _rank(history, final) < _rank(history, acked[-1]) and not _is_ghost(puts, final):
            yield f"{name} is {final}, and {acked[-1]} was acknowledged"


def one_event_per_transaction(history: History) -> Iterator[str]:
    """R2. A state event has no transaction: each of its requests may make one."""
    found: dict[str, list[str]] = {}
    for event in (event for room in history.final.events.values() for event in room):
        if event.get("key") is not None:
            found.setdefault(event["key"], []).append(event["id"])
    pruned = {event["id"] for room in history.final.events.values() for event in room if event.get("pruned")}
    answers: dict[str, set[str]] = {}
    allowed: dict[str, int] = {}
    for write in history.of(*WRITES):
        key = write.asked["key"]
        allowed[key] = max(allowed.get(key, 1), write.attempts if write.kind == "state" else 1)
        if write.acked:
            answers.setdefault(key, set()).add(write.result)
    for key, most in allowed.items():
        ids = set(found.get(key, ()))
        if len(answers.get(key, ())) > most:
            yield f"{key} was answered with {sorted(answers[key])}"
        if len(found.get(key, ())) > most:
            yield f"{key} is there {len(found[key])} times: {found[key]}"
        if key in answers and most == 1 and not (ids | pruned) & answers[key]:
            yield f"{key} was acknowledged as {sorted(answers[key])} and is there as {sorted(ids)}"


# ---- R3, R4: readers ----


def batches_join(history: History) -> Iterator[str]:
    """R3."""
    places = _places(history)
    for reader, syncs in history.syncs().items():
        seen: dict[str, set[str]] = {}
        last: dict[str, int] = {}
        for sync in syncs:
            for room, part in sync.result["rooms"].items():
                mine = seen.setdefault(room, set())
                ids = [event["id"] for event in (*part.get("filled", ()), *part["events"])]
                for event_id in ids:
                    if event_id in mine:
                        yield f"{reader} got {event_id} twice in {room}"
                    mine.add(event_id)
                numbers = [places[room][event_id] for event_id in ids if event_id in places.get(room, {})]
                how = "limited" if part.get("limited") else "not limited"
                for before, after in pairwise([last[room], *numbers] if room in last else numbers):
                    if after != before + 1:
                        yield (
                            f"{reader} got number {after} of {room} after number {before} "
                            f"({how}, since {sync.asked.get('since')}, token {sync.result['next']})"
                        )
                if numbers:
                    last[room] = numbers[-1]
        for room, order in places.items():
            if room in last and last[room] != len(order) - 1:
                yield f"{reader} ended at number {last[room]} of {room}, which has {len(order)}"


def everybody_agrees(history: History) -> Iterator[str]:
    """R4."""
    orders: dict[str, dict[str, list[str]]] = {}
    for room, events in history.final.events.items():
        orders[room] = {"the history": [event["id"] for event in events], **history.final.walks.get(room, {})}
        for walk, ids in history.final.walks.get(room, {}).items():
            if set(ids) != set(orders[room]["the history"]):
                missing = set(orders[room]["the history"]) ^ set(ids)
                yield f"the walk {walk} through {room} differs from the history by {sorted(missing)[:5]}"
    for reader, syncs in history.syncs().items():
        for sync in syncs:
            for room, part in sync.result["rooms"].items():
                order = orders.setdefault(room, {}).setdefault(reader, [])
                order += [event["id"] for event in (*part.get("filled", ()), *part["events"])]
    for room, by_name in orders.items():
        known = set(by_name.get("the history", ()))
        for name, ids in by_name.items():
            if strangers := [event_id for event_id in ids if event_id not in known]:
                yield f"{name} saw {strangers[:5]} in {room}, which the history does not have"
        for (one, first), (two, second) in combinations(by_name.items(), 2):
            places = {event_id: place for place, event_id in enumerate(second)}
            common = [event_id for event_id in first if event_id in places]
            for before, after in pairwise(common):
                if places[before] > places[after]:
                    yield f"{one} saw {before} before {after} in {room}, and {two} the other way round"
                    break
    yield from _last_values(history)


def _last_values(history: History) -> Iterator[str]:
    for reader, syncs in history.syncs().items():
        last: dict[str, Any] = {}
        for sync in syncs:
            last.update(sync.result.get("registers", {}))
        for name, value in last.items():
            if name in history.final.registers and history.final.registers[name] != value:
                yield f"{reader} last saw {value} as {name}, which is {history.final.registers[name]}"


# ---- R5, R6: order of writes ----


def devices_keep_order(history: History) -> Iterator[str]:
    """R5."""
    places = _places(history)
    before: dict[tuple[str, str], Operation] = {}
    for write in _acked_writes(history):
        room = write.asked["room"]
        place = places.get(room, {}).get(write.result)
        if place is None:
            continue
        previous = before.get((write.client, room))
        if previous is not None and places[room][previous.result] > place:
            yield f"{write.client} sent {previous.asked['key']} before {write.asked['key']}, which comes first"
        before[write.client, room] = write


def real_time_order(history: History) -> Iterator[str]:
    """R6. Walks each room backwards, with the earliest acknowledgement of all that comes later."""
    writes = {write.result: write for write in _acked_writes(history)}
    keyed = {write.asked["key"]: write for write in history.of(*WRITES)}
    for room in history.final.events.values():
        earliest: Operation | None = None
        for event in reversed(room):
            write = writes.get(event["id"]) or keyed.get(event.get("key") or "")
            if write is None:
                continue
            if earliest is not None and (earliest.end or 0.0) < write.start:
                yield (
                    f"{earliest.asked['key']} was acknowledged before {write.asked['key']} was sent, and comes after it"
                )
            acked = event["id"] in writes
            if acked and (earliest is None or (write.end or 0.0) < (earliest.end or 0.0)):
                earliest = write


# ---- R7, R8: reading your writes, tokens ----


def acknowledged_is_synced(history: History, *, within: int) -> Iterator[str]:
    """R7."""
    places = _places(history)
    for reader, syncs in history.syncs().items():
        first: dict[str, int] = {}
        oldest: dict[str, int] = {}  # where the reader's knowledge of a room begins
        for number, sync in enumerate(syncs):
            for room, part in sync.result["rooms"].items():
                for event in (*part.get("filled", ()), *part["events"]):
                    first.setdefault(event["id"], number)
                    oldest.setdefault(room, places.get(room, {}).get(event["id"], 0))
        for write in _acked_writes(history):
            room = write.asked["room"]
            if room not in oldest or places.get(room, {}).get(write.result, -1) < oldest[room]:
                continue
            after = next((number for number, sync in enumerate(syncs) if sync.start > (write.end or 0.0)), None)
            if after is None or after + within > len(syncs):
                continue
            if first.get(write.result, len(syncs)) >= after + within:
                yield (
                    f"{reader} did not get {write.asked['key']} in its first {within} syncs after the acknowledgement "
                    f"(since {syncs[after].asked.get('since')}, token {syncs[after].result['next']})"
                )


def nothing_goes_back(history: History) -> Iterator[str]:
    """R8."""
    for refused in history.of("refused"):
        yield f"the token {refused.asked['since']} of {refused.client} was refused: {refused.result}"
    puts = _puts(history)
    for reader, syncs in history.syncs().items():
        position = -1
        values: dict[str, Any] = {}
        for sync in syncs:
            if sync.result["position"] < position:
                yield f"{reader} got the token {sync.result['next']} after position {position}"
            position = sync.result["position"]
            for name, value in sync.result.get("registers", {}).items():
                known = values.get(name)
                if known is not None and _rank(history, value) < _rank(history, known):
                    if not _is_ghost(puts.get(name, []), value):
                        yield f"{reader} saw {name} go back from {known} to {value}"
                values[name] = value


def devices_get_their_messages(history: History) -> Iterator[str]:
    """R8. Walks what a device got backwards, with the earliest acknowledgement of all that comes later."""
    sent = {operation.asked["key"]: operation for operation in history.of("to_device")}
    for reader, syncs in history.syncs().items():
        got = [key for sync in syncs for key in sync.result.get("notes", ())]
        places = {key: place for place, key in enumerate(got)}
        if len(places) < len(got):
            yield f"{reader} got {sorted(key for key in places if got.count(key) > 1)[:5]} more than once"
        for key in got:
            if key not in sent or reader not in sent[key].asked["readers"]:
                yield f"{reader} got {key}, which was not for it"
        for key, operation in sent.items():
            if operation.acked and reader in operation.asked["readers"] and key not in places:
                yield f"{reader} did not get {key}, which was acknowledged"
        earliest: Operation | None = None
        for key in reversed(got):
            operation_of_key = sent.get(key)
            if operation_of_key is None:
                continue
            if earliest is not None and (earliest.end or 0.0) < operation_of_key.start:
                yield f"{reader} got {key} before {earliest.asked['key']}, which was acknowledged before it was sent"
            if operation_of_key.acked and (earliest is None or (operation_of_key.end or 0.0) < (earliest.end or 0.0)):
                earliest = operation_of_key


# ---- R9, R10: state, counts ----


def state_is_the_state(history: History) -> Iterator[str]:
    """R9."""
    for reader, syncs in history.syncs().items():
        rooms: dict[str, dict[str, str]] = {}
        for sync in syncs:
            for room, part in sync.result["rooms"].items():
                state = rooms.setdefault(room, {})
                for event in (*part.get("state", ()), *part["events"]):
                    if "state_key" in event:
                        state[f"{event['type']}|{event['state_key']}"] = event["id"]
        for room, state in rooms.items():
            wanted = history.final.state.get(room)
            if wanted is not None and state != wanted:
                different = {key for key in state.keys() | wanted.keys() if state.get(key) != wanted.get(key)}
                yield f"{reader} has another state of {room} than the server: {sorted(different)[:5]}"


def unread_is_counted(history: History) -> Iterator[str]:
    """R10."""
    messages = {
        room: sum(event["type"] == "m.room.message" for event in events)
        for room, events in history.final.events.items()
    }
    for reader, syncs in history.syncs().items():
        for sync in syncs:
            for room, part in sync.result["rooms"].items():
                counts = part.get("unread")
                if counts is None or room not in messages:
                    continue
                if counts["highlight_count"] != 0 or not 0 <= counts["notification_count"] <= messages[room]:
                    yield f"{reader} was told of {counts} in {room}, which has {messages[room]} messages"
    for reader, syncs in history.syncs().items():
        last = {
            (room, sync.result["user"]): part["unread"]
            for sync in syncs
            for room, part in sync.result["rooms"].items()
            if part.get("unread") is not None and "user" in sync.result
        }
        for (room, user), counts in last.items():
            if room in messages and counts["notification_count"] != (wanted := _unread(history, room, user)):
                yield f"{reader} was last told of {counts} in {room}, where {wanted} messages are unread for {user}"
    for name, counts in history.final.unread.items():
        room, _, user = name.partition("|")
        if counts["notification_count"] != (wanted := _unread(history, room, user)):
            yield f"a first sync tells {user} of {counts} in {room}, where {wanted} messages are unread"


def _unread(history: History, room: str, user: str) -> int:
    """Messages of others, not redacted, behind the user's receipt and behind what they did last in the room."""
    events = history.final.events[room]
    own = [number for number, event in enumerate(events) if event["sender"] == user and "state_key" not in event]
    receipt = _rank(history, history.final.registers.get(f"receipt|{room}|{user}"))
    return sum(
        event["type"] == "m.room.message" and event["sender"] != user and not event.get("pruned")
        for event in events[max([receipt, *own]) + 1 :]
    )


# ---- shared ----


def _places(history: History) -> dict[str, dict[str, int]]:
    """Room → event id → number in the final history."""
    return {
        room: {event["id"]: number for number, event in enumerate(events)}
        for room, events in history.final.events.items()
    }


def _acked_writes(history: History) -> list[Operation]:
    """Acknowledged writes by start; a repeated one counts with its first request."""
    first: dict[str, Operation] = {}
    for write in history.of(*WRITES):
        if write.acked:
            first.setdefault(write.asked["key"], write)
    return list(first.values())


def _puts(history: History) -> dict[str, list[Operation]]:
    puts: dict[str, list[Operation]] = {}
    for put in history.of("put"):
        puts.setdefault(put.asked["register"], []).append(put)
    return puts


def _rank(history: History, value: Json | str | int | None) -> int:
    """Values of a register in their order: numbers count themselves, events by their place."""
    if isinstance(value, int):
        return value
    for events in history.final.events.values():
        for number, event in enumerate(events):
            if event["id"] == value:
                return number
    return -1


def _is_ghost(puts: list[Operation], value: Any) -> bool:
    """Whether a request for this value failed: it may have arrived late, after a newer value was acknowledged."""
    return any(put.asked["value"] == value and (put.attempts > 1 or not put.acked) for put in puts)
