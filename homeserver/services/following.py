"""Following the log of other processes: what they committed is read from the database into the tail.

The database is the truth and a timer is enough; a bell (another process saying that it committed) only makes it
quicker. Memories that follow the log stay true this way without being emptied. See docs/subsystems/log.md.
"""

from __future__ import annotations

import asyncio

import structlog

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.store import Store, StoreUnavailable
from homeserver.services.log import Log

_EVERY_S = 1.0
_MOST_ENTRIES = 5_000
"""More are left out of the tail: followers that were so far behind read what they need from the database."""

_log = structlog.get_logger(__name__)


class LogFollower:
    """Brings the log of this process up to the database's. `run` must be running where several processes commit."""

    def __init__(self, store: Store, log: Log, *, most_entries: int = _MOST_ENTRIES) -> None:
        self._store = store
        self.log = log
        self._most_entries = most_entries
        self._reading = asyncio.Lock()

    async def catch_up(self) -> None:
        """Take in everything that is committed now. Raises StoreUnavailable."""
        async with self._reading:
            async with self._store.read_committed() as tx:  # nearly always there is nothing, so it costs one statement
                if await tx.log.position() <= self.log.position:
                    return
            async with self._store.read() as tx:
                low, high = self.log.position, await tx.log.position()
                if high <= low:
                    return
                entries = await tx.log.between(low, high) if high - low <= self._most_entries else None
        if entries is None:
            _log.warning("log_skipped", before=low, position=high)
            self.log.skip_to(high)
        else:
            self.log.publish(entries)

    async def reach(self, position: int) -> None:
        """Let the log come as far as a position that a client got from another process.

        Raises MatrixError(INVALID_PARAM) if nothing is committed there: the token is not one of this server's, and
        answering it with a lower one would make the client see events twice. Raises StoreUnavailable.
        """
        if position <= self.log.position:
            return
        await self.catch_up()
        if position > self.log.position:
            raise MatrixError(ErrCode.INVALID_PARAM, "The since token is not one of this server's")

    async def run(self) -> None:
        """Catch up once a second, until cancelled. While the database is away there is nothing to follow."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.catch_up()
            except StoreUnavailable as error:
                _log.debug("following_postponed", error=str(error))
