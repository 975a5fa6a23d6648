"""State resolution v2 (room versions 2 to 11) and v2.1 (12), which differ in two places.

spec: rooms/v2#state-resolution, rooms/v12#state-resolution
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Mapping, MutableMapping
from typing import Any

from homeserver.core.auth.state import POWER_LEVELS
from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.conflict import Conflict
from homeserver.core.resolve.graph import NO_NODE, AuthGraph
from homeserver.core.resolve.lookup import EventLookup, apply_allowed
from homeserver.core.resolve.order import mainline_positions, power_key, reverse_topological


def full_conflicted_set(
    held: Mapping[int, int], agreed: Iterable[int], states: int, graph: AuthGraph[Any], *, subgraph: bool
) -> set[int]:
    """The conflicted state set, the auth difference and, in v2.1, the conflicted state subgraph, as nodes.

    `held` are the conflicted events with the states that hold them; `agreed` the others, highest generation first.
    """
    if not held:
        return set()
    conflicted = set(held)
    difference = graph.auth_difference(held, agreed, states)
    return conflicted | difference | (graph.between(conflicted) if subgraph else set())


class Resolution:
    """One run over a full conflicted set whose events are at hand."""

    def __init__(
        self,
        conflict: Conflict,
        full: Mapping[int, Event],
        graph: AuthGraph[Any],
        node_of: Callable[[str], int],
        events: EventLookup,
    ) -> None:
        """`conflict.agreed` need not hold more than what the rules may ask for; `node_of` knows power levels."""
        self._conflict = conflict
        self._graph = graph
        self._node_of = node_of
        self._events = events
        self._full = full

    def run(self, rejected: Container[str], *, from_empty: bool) -> dict[StateKey, str | None]:
        """The resolved conflicted keys. `from_empty` (v2.1) starts the auth checks from nothing."""
        # 1. Select the set X of all power events that appear in the full conflicted set. For each such power event P,
        #    enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set. Sort X
        #    into a list using the reverse topological power ordering.
        first = self._power_events_and_their_chains()
        ordered = reverse_topological(self._graph, first, lambda node: power_key(self._full[node], self._events))
        # 2. Apply the iterative auth checks algorithm, starting from the unconflicted state map [v2.1: from an empty
        #    state map], to the list of events from the previous step to get a partially resolved state.
        changes: dict[StateKey, str] = {}
        state: MutableMapping[StateKey, str] = changes if from_empty else ChainMap(changes, self._conflict.agreed)
        apply_allowed((self._full[node] for node in ordered), state, self._events, rejected)
        # 3. Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on
        #    the power level in the partially resolved state obtained in step 2.
        remaining = self._in_mainline_order(self._full.keys() - first, state)
        # 4. Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the
        #    previous step.
        apply_allowed(remaining, state, self._events, rejected)
        # 5. Update the result by replacing any event with the event with the same key from the unconflicted state map,
        #    if such an event exists, to get the final resolved state.
        #    So of what was put in only the conflicted keys stay.
        return {key: changes.get(key) for key in self._conflict.conflicted}

    def _power_events_and_their_chains(self) -> set[int]:
        power = [node for node, event in self._full.items() if is_power_event(event)]
        if not power:
            return set()
        return self._graph.ancestors(power, self._graph.oldest(self._full)) & self._full.keys()

    def _in_mainline_order(self, nodes: set[int], state: Mapping[StateKey, str]) -> list[Event]:
        base = state.get(POWER_LEVELS)
        start = NO_NODE if base is None else self._node_of(base)
        position = mainline_positions(self._graph, start, nodes)

        def order(node: int) -> tuple[float, int, str]:
            event = self._full[node]
            return -position[node], event.origin_server_ts, event.event_id

        return [self._full[node] for node in sorted(nodes, key=order)]


def is_power_event(event: Event) -> bool:
    """Whether an event might take from someone the ability to do something.  spec: rooms/v2#definitions"""
    if event.key[0] in ("m.room.power_levels", "m.room.join_rules"):
        return True
    return event.membership in ("leave", "ban") and event.sender != event.state_key
