"""Noticing what operators change in the database beside a running server. See docs/subsystems/accounts.md.

One small read per second; commands announce their changes by a counter.
"""

from __future__ import annotations

import asyncio

import structlog

from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.sessions import Sessions

_EVERY_S = 1.0

_log = structlog.get_logger(__name__)


class AccountWatch:
    """Ends sessions and deactivations that were changed by somebody else."""

    def __init__(self, store: Store, sessions: Sessions, account: Account) -> None:
        self._store = store
        self._sessions = sessions
        self._account = account
        self._seen: int | None = None

    async def run(self) -> None:
        """Look once a second, until cancelled. While the database is away there is nothing to notice."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                _log.debug("watch_postponed", error=str(error))
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Act on what was announced since the last time; the first time always. Raises StoreUnavailable."""
        async with self._store.read_committed() as tx:
            announced = await tx.users.announced()
        if announced != self._seen:
            await self._sessions.recheck()
            await self._account.leave_behind()
            self._seen = announced
