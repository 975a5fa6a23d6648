"""Who may hold a connection: few that are busy cost less than many that are not.

A new connection is a new process of PostgreSQL, which has to learn the schema and prepare every statement anew: more
than ten milliseconds of the processor. So whoever finds all connections in use waits a moment for one of them, and one
more is opened only if that was not enough.
"""

from __future__ import annotations

import asyncio

_PATIENCE_S = 0.01


class Slots:
    """Connections that may be held at once: none at first, and never fewer than were needed once."""

    def __init__(self, most: int, *, patience_s: float = _PATIENCE_S) -> None:
        """`most` of them; whoever waits longer than `patience_s` gets a new one, one after the other."""
        self._most = most
        self._patience_s = patience_s
        self._free = asyncio.Semaphore(0)
        self._opened = 0
        self._opening = False

    async def take(self, timeout_s: float) -> None:
        """Wait for a slot, which has to be given back. Raises TimeoutError."""
        if not self._free.locked():
            await self._free.acquire()  # does not wait
            return
        if self._opened == 0:
            self._open()
            return
        async with asyncio.timeout(timeout_s):
            while not await self._freed():
                if self._opened < self._most and not self._opening:
                    self._open()
                    return

    def connected(self) -> None:
        """Whoever took a slot has its connection: others may open theirs now."""
        self._opening = False

    def give(self) -> None:
        """Give a slot back."""
        self._opening = False
        self._free.release()

    def _open(self) -> None:
        self._opened += 1
        self._opening = True

    async def _freed(self) -> bool:
        """Whether one became free while it was worth waiting."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._free.acquire()
        except TimeoutError:
            return False
        return True
