"""The two orders of state resolution v2.

spec: rooms/v2#definitions (reverse topological power ordering, mainline ordering)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

from homeserver.core.auth.power import PowerLevels
from homeserver.core.auth.state import CREATE, POWER_LEVELS, MappingState
from homeserver.core.event import Event
from homeserver.core.resolve.graph import NO_NODE, AuthGraph
from homeserver.core.resolve.lookup import EventLookup, create_of_v12

PowerKey = tuple[float, int, str]


def power_key(event: Event, events: EventLookup) -> PowerKey:
    """What "x < y" compares: greater power of the sender, by the event's own auth events; then time; then event id."""
    auth = MappingState.of(auth for auth in map(events.__getitem__, event.auth_events) if auth.is_state)
    create = create_of_v12(event, events) or auth.get(*CREATE)
    level = PowerLevels(event.version, create, auth.get(*POWER_LEVELS)).user(event.sender)
    return -level, event.origin_server_ts, event.event_id


def reverse_topological(graph: AuthGraph[Any], nodes: set[int], key: Callable[[int], PowerKey]) -> list[int]:
    """`nodes`, auth events first; of those that may come next, always the one with the smallest `key`."""
    if not nodes:
        return []
    children: dict[int, list[int]] = {}
    waiting: dict[int, int] = {}
    for node, parents in _nearest_parents(graph, nodes).items():
        waiting[node] = len(parents)
        for parent in parents:
            children.setdefault(parent, []).append(node)
    heap = [(key(node), node) for node, count in waiting.items() if count == 0]
    heapify(heap)
    ordered: list[int] = []
    while heap:
        node = heappop(heap)[1]
        ordered.append(node)
        for child in children.get(node, ()):
            waiting[child] -= 1
            if waiting[child] == 0:
                heappush(heap, (key(child), child))
    return ordered


def _nearest_parents(graph: AuthGraph[Any], nodes: set[int]) -> dict[int, frozenset[int]]:
    """For each of `nodes`, those others that its auth chain reaches first, be it through events outside of `nodes`."""
    nearest: dict[int, frozenset[int]] = {}
    nothing: frozenset[int] = frozenset()
    between = graph.ancestors(nodes, graph.oldest(nodes))
    for node in sorted(between, key=graph.generation.__getitem__):
        found: set[int] = set()
        for parent in graph.parents[node]:
            found.update((parent,) if parent in nodes else nearest.get(parent, nothing))
        nearest[node] = frozenset(found) if found else nothing
    return {node: nearest[node] for node in nodes}


def mainline_positions(graph: AuthGraph[Any], power_levels: int, nodes: Iterable[int]) -> dict[int, float]:
    """The mainline position of each of `nodes`, counted from `power_levels` (NO_NODE: the mainline is empty)."""
    position: dict[int, float] = {NO_NODE: inf}
    node = power_levels
    while node != NO_NODE:
        position[node] = len(position) - 1
        node = graph.power_parent[node]
    found: dict[int, float] = {}
    for start in nodes:
        # Walk to the first known ancestor and note what was passed, so that no stretch is walked twice.
        passed: list[int] = []
        node = graph.power_parent[start]
        while node not in position:
            passed.append(node)
            node = graph.power_parent[node]
        found[start] = position[node]
        position.update(dict.fromkeys(passed, position[node]))
    return found
