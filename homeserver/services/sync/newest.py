"""The newest events of many rooms among which a request's timelines are found."""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.ports.events import StoredEvent
from homeserver.ports.store import Transaction
from homeserver.ports.sync import Bounds
from homeserver.services.rooms.filtered import select
from homeserver.services.sync.request import SyncRequest, without_ignored


async def newest(
    tx: Transaction, request: SyncRequest, rooms: Mapping[int, Bounds]
) -> dict[int, tuple[list[StoredEvent], bool]]:
    """The newest events of each room, and whether there are more: enough to find the wanted ones, within bounds.

    Most filters let most events pass, so few are read at first, and more only of the rooms that need them.
    """
    limit = request.timeline_limit
    depth = limit if request.wants_all else max(request.limits.look_back, limit)
    found: dict[int, tuple[list[StoredEvent], bool]] = {}
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
