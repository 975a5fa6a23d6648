"""Work that keeps tables bounded: once an hour, in small steps, never in the way of requests."""

from __future__ import annotations

import asyncio

import structlog

from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, StoreUnavailable

_DAY_MS = 24 * 3600 * 1000
_EVERY_S = 3600
_STEP = 1_000
_PAUSE_S = 0.1

_log = structlog.get_logger(__name__)


class Maintenance:
    """Forgets client transactions whose repetition is no longer to be expected."""

    def __init__(self, store: Store, clock: Clock, *, transaction_days: int) -> None:
        self._store = store
        self._clock = clock
        self._transaction_days = transaction_days

    async def run(self) -> None:
        """Once at start and every hour, until cancelled. A database that is away is tried again next time."""
        while True:
            try:
                await self.once()
            except StoreUnavailable as error:
                _log.warning("maintenance_postponed", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> int:
        """Do what is due; returns how many transactions were forgotten.

        Events carry no time of arrival in the database, so each day's first position is remembered.
        """
        today = self._clock.now_ms() // _DAY_MS
        async with self._store.write() as tx:
            await tx.log.mark(today)
            position = await tx.log.marked(today - self._transaction_days)
        forgotten = 0
        while position is not None:
            async with self._store.write() as tx:
                gone = await tx.events.prune_txns(position, _STEP)
            forgotten += gone
            if gone < _STEP:
                break
            await asyncio.sleep(_PAUSE_S)
        return forgotten
