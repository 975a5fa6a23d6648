"""What several states agree on and what not.

spec: rooms/v2#definitions (unconflicted state map, conflicted state set), rooms/v1#state-resolution
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeserver.core.event import StateKey


@dataclass(frozen=True, slots=True)
class Conflict:
    """The states, divided."""

    agreed: dict[StateKey, str]
    conflicted: dict[StateKey, dict[str, int]]
    """For each key its events, each with the states that hold it: bit i for the i-th state."""

    def events(self) -> dict[str, int]:
        """Every conflicted event with the states that hold it."""
        return {event_id: held for holders in self.conflicted.values() for event_id, held in holders.items()}


def divide(states: Sequence[Mapping[StateKey, str]], *, absence_conflicts: bool) -> Conflict:
    """Divide one or more `states`.

    With `absence_conflicts` (v2) a key that some states lack is conflicted; without (v1) only different events are.
    """
    first = states[0]
    disputed: set[StateKey] = set()
    for state in states[1:]:
        if state is not first:
            disputed |= _different_keys(first, state)
    agreed = {key: event_id for key, event_id in first.items() if key not in disputed}
    conflicted: dict[StateKey, dict[str, int]] = {}
    for key in disputed:
        holders: dict[str, int] = {}
        for number, state in enumerate(states):
            event_id = state.get(key)
            if event_id is not None:
                holders[event_id] = holders.get(event_id, 0) | 1 << number
        if absence_conflicts or len(holders) > 1:
            conflicted[key] = holders
        else:
            agreed[key] = next(iter(holders))
    return Conflict(agreed, conflicted)


def _different_keys(first: Mapping[StateKey, str], state: Mapping[StateKey, str]) -> set[StateKey]:
    known = first.get
    different = {key for key, event_id in state.items() if known(key) != event_id}
    shared = len(state) - sum(key not in first for key in different)
    if shared < len(first):
        different.update(key for key in first if key not in state)
    return different
