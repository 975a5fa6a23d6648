"""The auth graph of a room on interned integers, without the events.

Grows by one node per state event and is kept beside the room's head. Every node knows its generation, the length of
the longest path back to the create event: parents always have a smaller one, whatever `depth` an event claims, so
walks in order of generation meet each node once and can stop early. Nothing here recurses.
spec: rooms/v2#definitions (auth chain, auth difference), rooms/v12#definitions (conflicted state subgraph)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from homeserver.core.errors import BadEvent
from homeserver.core.event import Event

NO_NODE = -1

Key = TypeVar("Key", bound=Hashable)
"""What names an event: its id, or the row id that a store gave it."""

AuthRow = tuple[Key, tuple[Key, ...], bool]
"""(event, its auth events, whether it is m.room.power_levels)"""


def auth_row(event: Event) -> AuthRow[str]:
    """What the graph keeps of an event.

    The create event of v12 is no auth event, and as the root of everything it would never be in a difference.
    """
    return event.event_id, event.auth_events, event.type == "m.room.power_levels"


class AuthGraph(Generic[Key]):
    """Auth edges between the state events of one room; nodes are small integers in order of arrival."""

    __slots__ = ("_ids", "_is_power", "_nodes", "generation", "parents", "power_parent")

    def __init__(self, rows: Iterable[AuthRow[Key]] = ()) -> None:
        """A graph of `rows`, in any order. Raises as `extend` does."""
        self._ids: list[Key] = []
        self._nodes: dict[Key, int] = {}
        self._is_power: list[bool] = []
        self.parents: list[tuple[int, ...]] = []
        self.generation: list[int] = []
        self.power_parent: list[int] = []
        self.extend(rows)

    def __contains__(self, event_id: Key) -> bool:
        return event_id in self._nodes

    def __len__(self) -> int:
        return len(self._ids)

    def node(self, event_id: Key) -> int:
        """The node of an event. Raises KeyError if it was never added."""
        return self._nodes[event_id]

    def id_of(self, node: int) -> Key:
        """The event id of a node."""
        return self._ids[node]

    def add(self, row: AuthRow[Key]) -> None:
        """Add an event whose auth events are all there; one that is there already changes nothing.

        Raises KeyError with the first auth event that is not.
        """
        event_id, auth_events, is_power = row
        if event_id in self._nodes:
            return
        parents = tuple(self._nodes[auth_event] for auth_event in dict.fromkeys(auth_events))
        self._nodes[event_id] = len(self._ids)
        self._ids.append(event_id)
        self._is_power.append(is_power)
        self.parents.append(parents)
        self.generation.append(1 + max((self.generation[parent] for parent in parents), default=-1))
        self.power_parent.append(next((parent for parent in parents if self._is_power[parent]), NO_NODE))

    def extend(self, rows: Iterable[AuthRow[Key]]) -> None:
        """Add events in any order.

        Raises KeyError with an auth event that is neither among them nor here, BadEvent if they name each other in a
        circle; what could be added before is.
        """
        pending = {row[0]: row for row in rows if row[0] not in self._nodes}
        waiting = {event_id: sum(parent in pending for parent in set(row[1])) for event_id, row in pending.items()}
        children: dict[Key, list[Key]] = {}
        for event_id, row in pending.items():
            for parent in set(row[1]):
                children.setdefault(parent, []).append(event_id)
        ready = [event_id for event_id, count in waiting.items() if count == 0]
        added = 0
        while ready:
            event_id = ready.pop()
            self.add(pending[event_id])
            added += 1
            for child in children.get(event_id, ()):
                waiting[child] -= 1
                if waiting[child] == 0:
                    ready.append(child)
        if added < len(pending):
            raise BadEvent("Events name each other as auth events in a circle")

    def truncate(self, size: int) -> None:
        """Take away what was added after the first `size` events."""
        for event_id in self._ids[size:]:
            del self._nodes[event_id]
        for column in (self._ids, self._is_power, self.parents, self.generation, self.power_parent):
            del column[size:]

    def auth_difference(self, conflicted: Mapping[int, int], agreed: Iterable[int], states: int) -> set[int]:
        """The nodes that are in the auth chain of some, but not of all of `states` states.

        `conflicted` maps nodes to the states that hold them, as bits; `agreed` are the nodes that all states hold,
        the highest generation first. An event of a state counts as part of that state's chain. Walks from high
        generations to low, takes from `agreed` only what lies in that range, and stops as soon as every path left is
        common to all states.
        """
        everywhere = (1 << states) - 1
        reached = dict(conflicted)
        agreed = iter(agreed)
        upcoming = next(agreed, NO_NODE)
        # One integer per entry: generation above, node below; negative, because heapq yields the smallest.
        width = len(self._ids).bit_length()
        heap = [-(self.generation[node] << width | node) for node in reached]
        heapify(heap)
        partial = sum(held != everywhere for held in reached.values())
        difference: set[int] = set()
        while partial:
            oldest = -heap[0] >> width
            while upcoming != NO_NODE and self.generation[upcoming] >= oldest:
                before = reached.get(upcoming, 0)
                reached[upcoming] = everywhere
                if not before:
                    heappush(heap, -(self.generation[upcoming] << width | upcoming))
                elif before != everywhere:
                    partial -= 1
                upcoming = next(agreed, NO_NODE)
            node = -heappop(heap) & ((1 << width) - 1)
            held = reached[node]
            if held != everywhere:
                partial -= 1
                difference.add(node)
            for parent in self.parents[node]:
                before = reached.get(parent, 0)
                after = before | held
                if before == after:
                    continue
                reached[parent] = after
                partial += (after != everywhere) - (before not in (0, everywhere))
                if not before:
                    heappush(heap, -(self.generation[parent] << width | parent))
        return difference

    def ancestors(self, nodes: Iterable[int], oldest: int) -> set[int]:
        """`nodes` and what is in their auth chains, down to the generation `oldest`."""
        seen = set(nodes)
        stack = list(seen)
        while stack:
            for parent in self.parents[stack.pop()]:
                if parent not in seen and self.generation[parent] >= oldest:
                    seen.add(parent)
                    stack.append(parent)
        return seen

    def newest_first(self, nodes: Iterable[int]) -> list[int]:
        """`nodes`, the highest generation first."""
        return sorted(nodes, key=self.generation.__getitem__, reverse=True)

    def oldest(self, nodes: Iterable[int]) -> int:
        """The smallest generation among `nodes`."""
        return min(self.generation[node] for node in nodes)

    def between(self, nodes: set[int]) -> set[int]:
        """Every node on a path from one of `nodes` to another, both ends included: the conflicted state subgraph."""
        if not nodes:
            return set()
        leading: set[int] = set()  # to some node of `nodes`
        for node in sorted(self.ancestors(nodes, self.oldest(nodes)), key=self.generation.__getitem__):
            if node in nodes or any(parent in leading for parent in self.parents[node]):
                leading.add(node)
        return leading
