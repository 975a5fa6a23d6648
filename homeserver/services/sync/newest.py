"""The newest events of many rooms among which a request's timelines are found."""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.ports.sync import Bounds
from homeserver.services.rooms.filtered import select
from homeserver.services.sync.request import SyncRequest, without_ignored

Newest = dict[int, tuple[list[StoredEvent], bool]]
"""By room, its newest events, and whether there are more."""


async def newest(tx: Transaction, request: SyncRequest, rooms: Mapping[int, Bounds], ids: Mapping[int, str]) -> Newest:
    """The newest events of each room: enough to find the wanted ones, within bounds. `ids` are the rooms' own.

    Rooms of which equally many are wanted are read together.
    """
    if not request.wishes:
        return await _newest(tx, request, rooms, request.timeline_limit)
    by_limit: dict[int, dict[int, Bounds]] = {}
    for room_nid, bounds in rooms.items():
        by_limit.setdefault(request.timeline_limit_of(ids[room_nid]), {})[room_nid] = bounds
    found: Newest = {}
    for limit, alike in by_limit.items():
        found |= await _newest(tx, request, alike, limit)
    return found


async def _newest(tx: Transaction, request: SyncRequest, rooms: Mapping[int, Bounds], limit: int) -> Newest:
    """Most filters let most events pass, so few are read at first, and more only of the rooms that need them."""
    depth = limit if request.wants_all else max(request.limits.look_back, limit)
    found: Newest = {}
    count = depth if request.wants_all else min(limit * 2 + 10, depth)
    wanted = dict(rooms)
    while wanted:
        for room_nid, events in (await tx.events.recent(wanted, count + 1)).items():
            more = len(events) > count
            known = events[-count:] if count else []
            found[room_nid] = known, more
            kept = select(request.filter.room.timeline, without_ignored(known, request.ignored))
            if not more or count >= depth or len(kept) >= limit:
                del wanted[room_nid]
        count = min(count * 4, depth)
    return found
