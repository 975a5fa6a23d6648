"""State resolution for rooms as they are stored: loads what it takes, and no more.

Which keys are in conflict comes from the deltas of the snapshots, the auth difference from a graph of row ids that is
kept per room; events are read only if they are in the full conflicted set or authorise one that is.
spec: server-server-api#room-state-resolution
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.delta import DeltaResolution, conflicts
from homeserver.core.resolve.graph import AuthGraph
from homeserver.core.resolve.lookup import create_id_of_v12
from homeserver.core.versions import RoomVersion
from homeserver.ports.events import AppendResult, EventFlags, NewEvent, StoredEvent
from homeserver.ports.state import RoomState
from homeserver.services.rooms.memory import RoomMemory

_IN_THREAD = 500
"""A full conflicted set from this size on is resolved in a thread: it takes from 40 ms to a second."""
_PER_NODE = 200
_TEMPORARY = -(2**62)
"""Row ids below this stand for events that are not stored yet."""


@dataclass(slots=True)
class _Graph:
    auth: AuthGraph[int]
    agreed_of: int = -1  # the snapshot whose events `agreed` are
    agreed: list[int] = field(default_factory=list)  # row ids


class Resolutions:
    """Resolves states of rooms, and keeps their auth graphs, bounded by estimated bytes."""

    def __init__(self, memory: RoomMemory, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._memory = memory
        self._graphs: OrderedDict[int, _Graph] = OrderedDict()
        self._max_nodes = max_bytes // _PER_NODE

    def appended(self, result: AppendResult) -> None:
        """Committer callback: the graphs in memory grow with their rooms."""
        for stored in result.events:
            graph = self._graphs.get(stored.room_nid)
            if graph is None or not stored.event.is_state or stored.nid in graph.auth:
                continue
            parents = [self._memory.events.get(event_id) for event_id in stored.event.auth_events]
            nids = tuple(parent.nid for parent in parents if parent is not None and parent.nid in graph.auth)
            if len(nids) < len(parents):
                del self._graphs[stored.room_nid]  # read again when it is needed
            else:
                graph.auth.add((stored.nid, nids, stored.event.type == "m.room.power_levels"))

    async def resolve(
        self,
        version: RoomVersion,
        room_nid: int,
        current: RoomState,
        states: Sequence[RoomState],
        new: Mapping[str, NewEvent],
    ) -> RoomState:
        """The resolution of one or more `states` of a room, as changes on top of its `current` one.

        `new` are the events that the states name and that are not stored yet, or only as outliers.
        """
        everywhere = [*states, current]
        keys = await self.differing(everywhere)
        values = {key: [state.get(key) for state in states] for key in keys}
        conflicted, agreed = conflicts(version, values)
        resolved: dict[StateKey, str | None] = {**dict.fromkeys(keys), **agreed}
        if conflicted:
            run = _Run(self, version, room_nid, current, new)
            resolved |= await run.resolve(conflicted, agreed, len(states), keys)
        return current.changed({key: event_id for key, event_id in resolved.items() if event_id != current.get(key)})

    async def differing(self, states: Sequence[RoomState]) -> set[StateKey]:
        """The keys on which the states may differ; afterwards `get` of these costs nothing."""
        stored = {id(state.stored): state.stored for state in states}
        nids = {root.snapshot.nid for root in stored.values() if root.snapshot is not None}
        found: dict[StateKey, dict[int, str | None]] = {}
        if len(nids) > 1:
            async with self._memory.store.read() as tx:
                found = await tx.rooms.differences(nids)
        keys = set(found)
        for state in states:
            keys.update(state.since(state.stored) or ())
        for root in stored.values():
            if root.snapshot is not None:
                nid = root.snapshot.nid
                root.learn({key: values[nid] for key, values in found.items()})
            await self._memory.read(root, keys)
        return keys

    async def graph(self, room_nid: int, nids: Collection[int]) -> AuthGraph[int]:
        """The room's auth graph with all of `nids` in it. Raises KeyError if one is not stored."""
        graph = self._graphs.get(room_nid)
        if graph is None or any(nid not in graph.auth for nid in nids):
            async with self._memory.store.read_committed() as tx:
                rows = await tx.rooms.auth_graph(room_nid)
            graph = self._graphs[room_nid] = _Graph(AuthGraph(rows))
        self._graphs.move_to_end(room_nid)
        while sum(len(known.auth) for known in self._graphs.values()) > self._max_nodes and len(self._graphs) > 1:
            self._graphs.popitem(last=False)
        return graph.auth

    async def agreed(self, room_nid: int, current: RoomState) -> list[int]:
        """Row ids of the events of the room's stored current state."""
        graph = self._graphs[room_nid]
        snapshot = current.stored.snapshot
        if snapshot is None or graph.agreed_of != snapshot.nid:
            async with self._memory.store.read_committed() as tx:
                graph.agreed = await tx.rooms.current_nids(room_nid)
            graph.agreed_of = -1 if snapshot is None else snapshot.nid
        return graph.agreed

    async def events(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        """Stored events by id."""
        return await self._memory.events.fetch(event_ids, self._memory.store)

    async def events_at(self, nids: Collection[int]) -> list[StoredEvent]:
        """Stored events by row id."""
        if not nids:
            return []
        async with self._memory.store.read_committed() as tx:
            return await tx.events.by_nids(list(nids))

    async def state(self, state: RoomState, keys: Collection[StateKey]) -> dict[StateKey, str]:
        """Some keys of a state."""
        return await self._memory.read(state, keys)


class _Run:
    """One resolution with a conflict."""

    def __init__(
        self,
        owner: Resolutions,
        version: RoomVersion,
        room_nid: int,
        current: RoomState,
        new: Mapping[str, NewEvent],
    ) -> None:
        self._owner = owner
        self._version = version
        self._room_nid = room_nid
        self._current = current
        # An outlier that gets its place now keeps its row, and so its node in the graph.
        self._new = {event_id: made.event for event_id, made in new.items() if made.known_as is None}
        self._events: dict[str, Event] = {event_id: made.event for event_id, made in new.items()}
        self._nids = {
            event_id: _TEMPORARY - number if made.known_as is None else made.known_as
            for number, (event_id, made) in enumerate(new.items(), 1)
        }
        self._rejected = {event_id for event_id, made in new.items() if made.flags & EventFlags.REJECTED}

    async def resolve(
        self,
        conflicted: Mapping[StateKey, Mapping[str, int]],
        agreed: Mapping[StateKey, str],
        states: int,
        differing: Collection[StateKey],
    ) -> dict[StateKey, str | None]:
        """The conflicted keys with what they resolve to."""
        resolution = DeltaResolution(self._version, conflicted, states)
        subjects = [event_id for holders in conflicted.values() for event_id in holders]
        await self._load({*subjects, *agreed.values()})
        graph: AuthGraph[int] = AuthGraph()
        size = 0
        full: dict[int, Event] = {}
        try:
            if resolution.needs_graph:
                graph, size = await self._graph([*subjects, *agreed.values()])
                nodes = await self._agreed_nodes(graph, agreed, differing)
                full_set = resolution.full_set(graph, lambda event_id: graph.node(self._nids[event_id]), nodes)
                full = await self._full_events(graph, full_set)
                checked = list(full.values())
            else:
                checked = [self._events[event_id] for event_id in subjects]
            known = await self._agreed_state(resolution, checked, differing, agreed)
            node_of = lambda event_id: graph.node(self._nids[event_id])  # noqa: E731 - one argument of the call below
            arguments = (full, graph, node_of, known, self._events, self._rejected)
            if len(full) < _IN_THREAD:
                return resolution.resolve(*arguments)
            return await asyncio.to_thread(resolution.resolve, *arguments)
        finally:
            graph.truncate(size)

    async def _load(self, event_ids: Collection[str]) -> None:
        missing = [event_id for event_id in event_ids if event_id not in self._events]
        if missing:
            self._take((await self._owner.events(missing)).values())

    def _take(self, found: Collection[StoredEvent]) -> None:
        for stored in found:
            event_id = stored.event.event_id
            self._events[event_id] = stored.event
            self._nids[event_id] = stored.nid
            if stored.flags and stored.flags & EventFlags.REJECTED:
                self._rejected.add(event_id)

    async def _graph(self, event_ids: Collection[str]) -> tuple[AuthGraph[int], int]:
        """The room's graph, for a while with the new events in it, and its size without them."""
        new = [event for event in self._new.values() if event.is_state]
        await self._load({event_id for event in new for event_id in event.auth_events})
        stored = {self._nids[event_id] for event_id in event_ids if event_id not in self._new}
        stored |= {self._nids[event_id] for event in new for event_id in event.auth_events if event_id not in self._new}
        graph = await self._owner.graph(self._room_nid, stored)
        size = len(graph)
        for event in new:
            parents = tuple(self._nids[event_id] for event_id in event.auth_events)
            graph.add((self._nids[event.event_id], parents, event.type == "m.room.power_levels"))
        return graph, size

    async def _agreed_nodes(
        self, graph: AuthGraph[int], agreed: Mapping[StateKey, str], differing: Collection[StateKey]
    ) -> list[int]:
        """The nodes of what all states agree on: stored current state from which nobody differs, and `agreed`."""
        stored = self._current.stored
        apart = {event_id for key in differing if (event_id := stored.get(key)) is not None}
        await self._load(apart)
        nids = set(await self._owner.agreed(self._room_nid, self._current))
        nids -= {self._nids[event_id] for event_id in apart}
        nids |= {self._nids[event_id] for event_id in agreed.values()}
        return graph.newest_first(graph.node(nid) for nid in nids)

    async def _full_events(self, graph: AuthGraph[int], nodes: Collection[int]) -> dict[int, Event]:
        ids = {nid: event_id for event_id, nid in self._nids.items()}
        nid_of = {node: graph.id_of(node) for node in nodes}
        found = await self._owner.events_at([nid for nid in nid_of.values() if nid not in ids])
        self._take(found)
        ids.update((stored.nid, stored.event.event_id) for stored in found)
        return {node: self._events[ids[nid]] for node, nid in nid_of.items()}

    async def _agreed_state(
        self,
        resolution: DeltaResolution,
        checked: Sequence[Event],
        differing: Collection[StateKey],
        agreed: Mapping[StateKey, str],
    ) -> dict[StateKey, str]:
        """What the rules may ask for, with all the events that takes."""
        keys = resolution.keys_for(checked)
        known = await self._owner.state(self._current.stored, keys - set(differing))
        known |= {key: agreed[key] for key in keys & agreed.keys()}
        wanted = set(known.values())
        for event in checked:
            wanted.update(event.auth_events)
            if (create_id := create_id_of_v12(event)) is not None:
                wanted.add(create_id)
        await self._load(wanted)
        return known
