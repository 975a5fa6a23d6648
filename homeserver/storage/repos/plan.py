"""What an append will do to its room's state, worked out before anything is locked.

Pure: follows how the states of the events were made from one another and numbers the new snapshots; whole states are
never compared. The writing is in `append.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from homeserver.core.event import StateKey
from homeserver.ports.events import EventFlags, RoomAppend
from homeserver.ports.state import EMPTY, RoomState, Snapshot, StateChanges
from homeserver.storage.repos.chains import AT_ONCE

_LARGE = 256
"""More keys than this at once are not the work of a few events: the state comes from elsewhere."""


@dataclass(frozen=True, slots=True)
class PlannedSnapshot:
    """A new snapshot: `changes` on top of the stored state `base`, where `before` are the keys that they remove."""

    snapshot: Snapshot
    base: Snapshot
    before: StateChanges
    changes: StateChanges


@dataclass(slots=True)
class AppendPlan:
    """An append with its room's id, the snapshot after each event, and the room's state afterwards."""

    append: RoomAppend
    room_nid: int
    hidden: list[int]  # row ids of the hidden events, in their order
    after: list[int] = field(default_factory=list)  # snapshot row id per event
    new: list[PlannedSnapshot] = field(default_factory=list)
    state: RoomState = field(default_factory=RoomState.empty)  # stored as `snapshot`
    changes: StateChanges = field(default_factory=dict)  # of the room's current state

    @property
    def snapshot(self) -> Snapshot:
        """Of the room's state afterwards."""
        assert self.state.snapshot is not None  # noqa: S101 - `plan_append` stores it
        return self.state.snapshot


class _Snapshots:
    """Numbers states that are not stored yet, each once."""

    def __init__(self, ids: range) -> None:
        self._unused = iter(ids)
        self._planned: dict[int, Snapshot] = {}  # by id() of the state, which the append keeps
        self.new: list[PlannedSnapshot] = []

    def of(self, state: RoomState) -> Snapshot:
        if (known := self._known(state)) is not None:
            return known
        changes: dict[StateKey, str | None] = {}
        below, base = state, None
        while base is None:
            for key, event_id in below.changes.items():
                changes.setdefault(key, event_id)
            if below.base is None:
                raise ValueError("A state that is not stored stands on nothing")
            below = below.base
            base = self._known(below)
        before = {key: below.get(key) for key, event_id in changes.items() if event_id is None}
        changes = {key: event_id for key, event_id in changes.items() if event_id is not None or before[key]}
        made = Snapshot(next(self._unused), base.index + 1)
        if base == EMPTY and len(changes) > _LARGE:
            made = Snapshot(made.nid, AT_ONCE)
        self.new.append(PlannedSnapshot(made, base, before, changes))
        self._planned[id(state)] = made
        return made

    def _known(self, state: RoomState) -> Snapshot | None:
        return state.snapshot if state.snapshot is not None else self._planned.get(id(state))


def count_snapshots(append: RoomAppend) -> int:
    """How many new snapshots the append needs at most."""
    states = {id(item.state_after) for item in append.events if item.state_after.snapshot is None}
    return len(states) + (append.state is not None)


def plan_append(append: RoomAppend, room_nid: int, ids: range, outliers: range) -> AppendPlan:
    """Work out snapshots and current state.

    `ids` are at least `count_snapshots(append)` unused snapshot ids, `outliers` numbers for the hidden events.
    Raises ValueError if the state afterwards was not made from the head's.
    """
    snapshots = _Snapshots(ids)
    plan = AppendPlan(append, room_nid, [-number for number in outliers], new=snapshots.new)
    state = append.head.state
    for item in append.events:
        if item.flags & EventFlags.OUTLIER:
            plan.after.append(0)  # the state around an outlier is unknown
            continue
        plan.after.append(snapshots.of(item.state_after).nid)
        # A rejected or soft-failed event leaves the room where it was.
        if not item.is_hidden:
            state = item.state_after
    if append.state is not None:
        state = append.state
    changes = state.since(append.head.state)
    if changes is None:
        raise ValueError("The room's new state is not made from the one before")
    plan.changes = changes
    plan.state = state if state.snapshot is not None else state.at(snapshots.of(state))
    return plan
