"""How many events rooms have, and how many bytes these take.

Counted along the log, a stretch at a time, and kept: never a room from its beginning, and not by whoever sends. What
was stored out of the log (fetched history, rejected events) does not count; events count as large as they were when
they were counted, whatever is redacted later. Media belongs to who uploaded it, not to rooms.
"""

from __future__ import annotations

import asyncio

from homeserver.ports.store import Store

_STEP = 10_000
_PER_LOOK = 5
_PER_CHORE = 1_000
_PAUSE_S = 0.05


class RoomSizes:
    """Adds up what the log brings."""

    def __init__(self, store: Store, *, step: int = _STEP) -> None:
        self._store = store
        self._step = step

    async def look(self) -> None:
        """Before a list is shown: count what is new, within bounds; on a large server the rest is for the chore."""
        for _ in range(_PER_LOOK):
            if await self._count() < self._step:
                break

    async def chore(self) -> int:
        """For the maintenance: count what is left, in small steps. Forgets nothing."""
        for _ in range(_PER_CHORE):
            if await self._count() < self._step:
                break
            await asyncio.sleep(_PAUSE_S)
        return 0

    async def _count(self) -> int:
        """Count one stretch; returns its length. What another process counts meanwhile is left to it."""
        async with self._store.read() as tx:
            growth = await tx.administration.growth(self._step)
        if growth.high > growth.low:
            async with self._store.write() as tx:
                await tx.administration.grow(growth)
        return growth.high - growth.low
