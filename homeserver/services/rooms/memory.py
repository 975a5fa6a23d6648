"""What this process remembers of rooms, and how it asks the store for the rest."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from homeserver.core.auth.power import PowerLevels
from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.event import StateKey
from homeserver.ports.events import RoomHead, StoredEvent
from homeserver.ports.log import LogEntry
from homeserver.ports.state import RoomState, StateMap
from homeserver.ports.store import Store
from homeserver.services.rooms.cache import EventCache
from homeserver.services.rooms.heads import HeadCache
from homeserver.services.rooms.histories import HistoryCache


class RoomMemory:
    """What this process remembers of rooms: heads, events and who saw what. All follow the log."""

    def __init__(self, store: Store, heads: HeadCache, events: EventCache, histories: HistoryCache) -> None:
        self.store = store
        self.heads = heads
        self.events = events
        self.histories = histories

    async def read(self, state: RoomState, keys: Collection[StateKey]) -> dict[StateKey, str]:
        """Those of `keys` that the state has, with their event ids; no statement for a state that is held whole.

        Not inside a transaction: one that waits for another one's connection could wait for ever.
        """
        if unknown := state.unknown(keys):
            stored = state.stored
            async with self.store.read_committed() as tx:
                found = await tx.rooms.newest_state_filtered(_nid(stored), unknown)
            stored.learn({key: found.get(key) for key in unknown})
        return {key: event_id for key in keys if (event_id := state.get(key)) is not None}

    async def read_events(self, state: RoomState, keys: Collection[StateKey]) -> dict[StateKey, StoredEvent]:
        """As `read`, with the events."""
        ids = await self.read(state, keys)
        found = await self.events.fetch(ids.values(), self.store)
        return {key: found[event_id] for key, event_id in ids.items() if event_id in found}

    async def power_levels(self, head: RoomHead) -> PowerLevels:
        """The power levels at a room's head."""
        found = await self.read_events(head.state, (CREATE, POWER_LEVELS))
        events = {key: stored.event for key, stored in found.items()}
        return PowerLevels(head.room_version, events.get(CREATE), events.get(POWER_LEVELS))

    async def read_whole(self, state: RoomState) -> StateMap:
        """All of a stored state, which in a large room takes time and memory."""
        if state.whole is not None:
            return state.whole
        async with self.store.read_committed() as tx:
            return await tx.rooms.state_at(_nid(state))

    def follow(self, entries: Sequence[LogEntry]) -> None:
        """Log listener."""
        self.events.follow(entries)
        self.heads.follow(entries)
        self.histories.follow(entries)

    def forget(self) -> None:
        """Entries of the log are missing: anything in memory may have been redacted or overtaken."""
        self.events.clear()
        self.heads.clear()
        self.histories.clear()


def _nid(state: RoomState) -> int:
    if state.snapshot is None:
        raise ValueError("Only a stored state can be read")
    return state.snapshot.nid
