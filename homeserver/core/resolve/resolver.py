"""The face of state resolution: choose the algorithm, name what it will read, run it.

Whoever loads events asynchronously makes a Resolver, loads what `missing` names until it names nothing (at most three
rounds), then calls `resolve`; whoever has all events calls the function `resolve`.
spec: rooms/v12#state-resolution
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from homeserver.core.auth.select import auth_types_of
from homeserver.core.auth.state import CREATE
from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.conflict import divide
from homeserver.core.resolve.graph import AuthGraph
from homeserver.core.resolve.lookup import EventLookup, create_id_of_v12
from homeserver.core.resolve.v1 import resolve_v1
from homeserver.core.resolve.v2 import Resolution, full_conflicted_set
from homeserver.core.versions import RoomVersion, StateResolution


class Resolver:
    """One resolution of some states of a room."""

    __slots__ = ("_conflict", "_from_empty", "_full", "_graph", "_is_v1")

    def __init__(self, version: RoomVersion, states: Sequence[Mapping[StateKey, str]], graph: AuthGraph[str]) -> None:
        """`graph` holds every event of the `states` (one or more) and its auth chain; v1 does not use it.

        Raises KeyError if the graph lacks an event.
        """
        self._is_v1 = version.resolution is StateResolution.V1
        self._from_empty = version.resolution is StateResolution.V2_1
        self._graph = graph
        self._conflict = divide(states, absence_conflicts=not self._is_v1)
        self._full: set[int] = set()
        if not self._is_v1:
            held = {graph.node(event_id): mask for event_id, mask in self._conflict.events().items()}
            agreed = graph.newest_first(map(graph.node, self._conflict.agreed.values())) if held else []
            self._full = full_conflicted_set(held, agreed, len(states), graph, subgraph=self._from_empty)

    @property
    def is_trivial(self) -> bool:
        """Whether the states agree, so that no event is needed."""
        return not self._conflict.conflicted

    def missing(self, events: EventLookup) -> set[str]:
        """The ids of events that `resolve` will or may read and that `events` does not have yet.

        What else is needed shows only in the events themselves, so ask again when these are there.
        """
        subjects = self._subjects()
        absent = {event_id for event_id in subjects if event_id not in events}
        if absent:
            return absent
        wanted: set[str] = set()
        for event_id in subjects:
            wanted |= self._read_for(events[event_id])
        return {event_id for event_id in wanted if event_id not in events}

    def resolve(self, events: EventLookup, rejected: Container[str] = frozenset()) -> dict[StateKey, str]:
        """The resolved state. `rejected` tells which auth events were rejected. Raises KeyError for a missing event."""
        if self.is_trivial:
            return self._conflict.agreed
        if self._is_v1:
            changes = resolve_v1(self._conflict, events)
        else:
            full = {node: events[self._graph.id_of(node)] for node in self._full}
            resolution = Resolution(self._conflict, full, self._graph, self._graph.node, events)
            changes = resolution.run(rejected, from_empty=self._from_empty)
        return self._conflict.agreed | {key: event_id for key, event_id in changes.items() if event_id is not None}

    def _subjects(self) -> set[str]:
        """The events that are put in order and checked."""
        return self._conflict.events().keys() | {self._graph.id_of(node) for node in self._full}

    def _read_for(self, event: Event) -> set[str]:
        """The events that checking `event` may read: agreed state and, in v2, its own auth events."""
        agreed = self._conflict.agreed
        read = {agreed[key] for key in (CREATE, *auth_types_of(event)) if key in agreed}
        create_id = create_id_of_v12(event)
        if create_id is not None:
            read.add(create_id)
        return read if self._is_v1 else read.union(event.auth_events)


def resolve(
    version: RoomVersion,
    states: Sequence[Mapping[StateKey, str]],
    events: EventLookup,
    graph: AuthGraph[str],
    rejected: Container[str] = frozenset(),
) -> dict[StateKey, str]:
    """The resolved state of one or more `states`, with all events at hand; arguments and errors as in Resolver."""
    return Resolver(version, states, graph).resolve(events, rejected)
