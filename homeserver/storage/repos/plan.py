"""What an append will do to its room's state, worked out before anything is locked.

Pure: compares the state maps the events were decided on and numbers the new snapshots. The writing is in
`append.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.core.event import StateKey
from homeserver.ports.events import EventFlags, NewEvent, RoomAppend, Snapshot, StateMap

StateChanges = Mapping[StateKey, str | None]
"""State keys that differ, with the event id they have now; None: the key is gone."""

_NONE: StateChanges = {}


@dataclass(frozen=True, slots=True)
class PlannedSnapshot:
    """A new snapshot: `changes` on top of the state `before`, whose snapshot is `base`."""

    snapshot: Snapshot
    base: Snapshot
    before: StateMap
    changes: StateChanges


@dataclass(slots=True)
class AppendPlan:
    """An append with its room's id, the snapshot after each event, and the room's state afterwards."""

    append: RoomAppend
    room_nid: int
    after: list[int]  # snapshot row id per event
    new: list[PlannedSnapshot]
    hidden: list[int]  # row ids of the hidden events, in their order
    state: StateMap
    snapshot: Snapshot
    changes: StateChanges  # of the room's current state


def count_snapshots(append: RoomAppend) -> int:
    """How many new snapshots the append needs at most."""
    start = append.head.state
    return sum(item.state_after is not start for item in append.events) + (append.state is not None)


def plan_append(append: RoomAppend, room_nid: int, ids: range, outliers: range) -> AppendPlan:
    """Work out snapshots and current state.

    `ids` are at least `count_snapshots(append)` unused snapshot ids, `outliers` numbers for the hidden events.
    """
    unused = iter(ids)
    state, snapshot = append.head.state, append.head.snapshot
    after: list[int] = []
    new: list[PlannedSnapshot] = []

    def snapshot_of(target: StateMap, changes: StateChanges) -> Snapshot:
        if not changes:
            return snapshot
        made = Snapshot(next(unused), snapshot.index + 1)
        new.append(PlannedSnapshot(made, snapshot, state, changes))
        return made

    changed: dict[StateKey, str | None] = {}
    for item in append.events:
        if item.flags & EventFlags.OUTLIER:
            after.append(0)  # the state around an outlier is unknown
            continue
        changes = _event_changes(state, item)
        here = snapshot_of(item.state_after, changes)
        after.append(here.nid)
        # A rejected or soft-failed event leaves the room where it was: the next event does not stand on it.
        if not item.is_hidden:
            state, snapshot = item.state_after, here
            changed.update(changes)
    if append.state is not None:
        changes = difference(state, append.state)
        snapshot, state = snapshot_of(append.state, changes), append.state
        changed.update(changes)
    return AppendPlan(append, room_nid, after, new, [-number for number in outliers], state, snapshot, changed)


def _event_changes(before: StateMap, item: NewEvent) -> StateChanges:
    after, event = item.state_after, item.event
    if after is before:
        return _NONE
    if event.state_key is not None and not item.resolved:
        key = (event.type, event.state_key)
        # Comparing whole maps costs milliseconds in a large room; an ordinary state event changes one key.
        if after.get(key) == event.event_id and len(after) == len(before) + (key not in before):
            return {key: event.event_id}
    return difference(before, after)


def difference(before: StateMap, after: StateMap) -> StateChanges:
    """The keys on which two states differ, with their value in `after`."""
    if before is after:
        return _NONE
    changes: dict[StateKey, str | None] = {
        key: event_id for key, event_id in after.items() if before.get(key) != event_id
    }
    changes.update((key, None) for key in before if key not in after)
    return changes
