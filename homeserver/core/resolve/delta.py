"""State resolution from where states differ, for rooms that are too large to compare whole states.

The caller says which keys are in conflict and who holds what, and gives of the agreed state only what the rules may
ask for; events are named by their row ids, so that the auth graph holds integers. The results are those of `resolver`,
which works on whole states and is what tests compare with.
spec: rooms/v12#state-resolution
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from homeserver.core.auth.select import auth_types_of
from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.conflict import Conflict
from homeserver.core.resolve.graph import AuthGraph
from homeserver.core.resolve.lookup import EventLookup
from homeserver.core.resolve.v1 import resolve_v1
from homeserver.core.resolve.v2 import Resolution, full_conflicted_set
from homeserver.core.versions import RoomVersion, StateResolution


def conflicts(
    version: RoomVersion, values: Mapping[StateKey, Sequence[str | None]]
) -> tuple[dict[StateKey, dict[str, int]], dict[StateKey, str]]:
    """The conflicted keys with their holders (bit i for the i-th state), and what the states agree on among `values`.

    `values` has, for each key on which the states may differ, the event of each state. In v1 a key that some states
    lack is no conflict.
    """
    conflicted: dict[StateKey, dict[str, int]] = {}
    agreed: dict[StateKey, str] = {}
    is_v1 = version.resolution is StateResolution.V1
    for key, held in values.items():
        holders: dict[str, int] = {}
        for number, event_id in enumerate(held):
            if event_id is not None:
                holders[event_id] = holders.get(event_id, 0) | 1 << number
        if not holders:
            continue
        if len(holders) > 1 or (None in held and not is_v1):
            conflicted[key] = holders
        else:
            agreed[key] = next(iter(holders))
    return conflicted, agreed


class DeltaResolution:
    """One resolution of states of a room in which some keys are in conflict."""

    def __init__(self, version: RoomVersion, conflicted: Mapping[StateKey, Mapping[str, int]], states: int) -> None:
        """`conflicted` as `conflicts` gives it; `states` is their number."""
        self._conflicted = {key: dict(holders) for key, holders in conflicted.items()}
        self._states = states
        self.needs_graph = version.resolution is not StateResolution.V1
        self._from_empty = version.resolution is StateResolution.V2_1

    def full_set(self, graph: AuthGraph[int], node_of: Callable[[str], int], agreed: Iterable[int]) -> set[int]:
        """The nodes of the full conflicted set.

        `agreed` are the nodes of all events on which the states agree, the highest generation first.
        """
        held = {node_of(event_id): mask for holders in self._conflicted.values() for event_id, mask in holders.items()}
        return full_conflicted_set(held, agreed, self._states, graph, subgraph=self._from_empty)

    @staticmethod
    def keys_for(events: Iterable[Event]) -> set[StateKey]:
        """The agreed state that resolving may ask for when these are the events of the full conflicted set."""
        keys = {CREATE, POWER_LEVELS}
        for event in events:
            keys.update(auth_types_of(event))
        return keys

    def resolve(
        self,
        full: Mapping[int, Event],
        graph: AuthGraph[int],
        node_of: Callable[[str], int],
        agreed: dict[StateKey, str],
        events: EventLookup,
        rejected: Container[str] = frozenset(),
    ) -> dict[StateKey, str | None]:
        """The conflicted keys with what they resolve to.

        `full` are the events of `full_set` (of v1: nothing), `agreed` the state of `keys_for` them as far as it is
        not in conflict, `events` those of both, their auth events and the create event. Raises KeyError if one lacks.
        """
        conflict = Conflict(agreed, self._conflicted)
        if not self.needs_graph:
            return resolve_v1(conflict, events)
        return Resolution(conflict, full, graph, node_of, events).run(rejected, from_empty=self._from_empty)
