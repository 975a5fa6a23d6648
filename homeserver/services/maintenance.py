"""Work that keeps tables bounded: once an hour, in small steps, never in the way of requests.

Most of what expires is also forgotten when its subject is touched; this is for what nobody touches any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, StoreUnavailable

_DAY_MS = 24 * 3600 * 1000
_EVERY_S = 3600
_STEP = 1_000
_MAX_STEPS = 5_000
_PAUSE_S = 0.1

_log = structlog.get_logger(__name__)

Chore = Callable[[], Awaitable[int]]
"""One step of some work in a transaction of its own; returns how many rows it forgot, fewer than a step at the end."""


class Maintenance:
    """Forgets what has had its time: client transactions, logins nobody ended, half-done sign-ins, reports."""

    def __init__(
        self, store: Store, clock: Clock, *, transaction_days: int, report_days: int, chores: Sequence[Chore] = ()
    ) -> None:
        """`chores` are those of services that know more of their rows than when they end."""
        self._store = store
        self._clock = clock
        self._transaction_days = transaction_days
        self._report_days = report_days
        self._chores = (self._forget_sign_ins, self._forget_reports, self._forget_lost_messages, *chores)

    async def run(self) -> None:
        """Once at start and every hour, until cancelled. A database that is away is tried again next time."""
        while True:
            try:
                await self.once()
            except StoreUnavailable as error:
                _log.warning("maintenance_postponed", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> int:
        """Do what is due, within bounds: the rest is for the next time. Returns how many rows were forgotten."""
        forgotten = await self._forget_transactions()
        for chore in self._chores:
            forgotten += await _repeat(chore)
        return forgotten

    async def _forget_transactions(self) -> int:
        """Also what is kept to read the log back.

        Events carry no time of arrival in the database, so each day's first position is remembered.
        """
        today = self._clock.now_ms() // _DAY_MS
        async with self._store.write() as tx:
            await tx.log.mark(today)
            position = await tx.log.marked(today - self._transaction_days)
        if position is None:
            return 0

        async def step() -> int:
            async with self._store.write() as tx:
                return await tx.events.prune_txns(position, _STEP)

        async def forget_entries() -> int:
            async with self._store.write() as tx:
                return await tx.log.prune(position, _STEP)

        async def forget_requests() -> int:
            async with self._store.write() as tx:
                return await tx.to_device.prune_txns(position, _STEP)

        return await _repeat(step) + await _repeat(forget_entries) + await _repeat(forget_requests)

    async def _forget_sign_ins(self) -> int:
        async with self._store.write() as tx:
            return await tx.sessions.prune(self._clock.now_ms(), _STEP)

    async def _forget_reports(self) -> int:
        before_ms = self._clock.now_ms() - self._report_days * _DAY_MS
        async with self._store.write() as tx:
            return await tx.reports.prune(before_ms, _STEP)

    async def _forget_lost_messages(self) -> int:
        async with self._store.write() as tx:
            return await tx.to_device.prune_lost(_STEP)


async def _repeat(step: Chore) -> int:
    forgotten = 0
    for _ in range(_MAX_STEPS):
        gone = await step()
        forgotten += gone
        if gone < _STEP:
            break
        await asyncio.sleep(_PAUSE_S)
    return forgotten
