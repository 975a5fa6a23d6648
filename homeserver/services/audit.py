"""The record of what administrators did: written in the transaction of the act itself, bounded by age and number.

It says who, when, what and about whom, and never a secret: no password, no content of events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson
import structlog

from homeserver.ports.administration import Act, ActSearch
from homeserver.ports.clock import Clock
from homeserver.ports.requester import Requester
from homeserver.ports.store import Store, Transaction

Note: TypeAlias = Callable[[Transaction], Awaitable[None]]
"""Writes down an act in the transaction that does it: both happen, or neither."""

_DAY_MS = 24 * 3600 * 1000
_STEP = 1_000

_log = structlog.get_logger(__name__)


class Audit:
    """Writes and reads the record."""

    def __init__(self, store: Store, clock: Clock, *, days: int = 365, keep: int = 100_000) -> None:
        """Acts older than `days`, and all but the newest `keep`, are forgotten."""
        self._store = store
        self._clock = clock
        self._days = days
        self._keep = keep

    def note(self, who: Requester, action: str, target: str, **detail: Any) -> Note:
        """What records that `who` does `action` to `target`."""

        async def write(tx: Transaction) -> None:
            act = Act(self._clock.now_ms(), who.user_id, action, target, orjson.dumps(detail).decode())
            await tx.administration.record(act)
            _log.info("administered", admin=who.user_id, action=action, target=target)

        return write

    async def record(self, who: Requester, action: str, target: str, **detail: Any) -> None:
        """Record an act in a transaction of its own, for what is done in many steps: before the first of them."""
        async with self._store.write() as tx:
            await self.note(who, action, target, **detail)(tx)

    async def page(self, search: ActSearch, before: int | None, limit: int) -> list[tuple[int, Act]]:
        """(id, act), the newest first, those with an id below `before`."""
        async with self._store.read() as tx:
            return await tx.administration.acts(search, before, limit)

    async def prune(self) -> int:
        """One step of forgetting; returns how many acts are gone."""
        before_ms = self._clock.now_ms() - self._days * _DAY_MS
        async with self._store.write() as tx:
            return await tx.administration.prune_acts(before_ms, self._keep, _STEP)


async def noted(tx: Transaction, note: Note | None) -> None:
    """Write down an act, where there is one to be written down."""
    if note is not None:
        await note(tx)
