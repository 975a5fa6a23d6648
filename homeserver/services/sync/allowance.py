"""How many bytes of answers one socket may keep for a client that has not read them yet.

Knows no socket and no answer: only sizes. An answer is counted from when it is there until it is on its way.
"""

from __future__ import annotations

import asyncio


class Allowance:
    """A number of bytes to take from and to give back."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._closed = False
        self._changed = asyncio.Event()

    def take(self, size: int) -> bool:
        """Take `size` bytes, if there are so many; a size over the limit can be taken while nothing else is."""
        if self._taken and self._taken + size > self.limit:
            return False
        self._taken += size
        return True

    async def taken(self, size: int) -> bool:
        """Take `size` bytes as soon as there are so many; False if that no longer matters."""
        while not self._closed:
            if self.take(size):
                return True
            self._changed.clear()
            await self._changed.wait()
        return False

    def give_back(self, size: int) -> None:
        """What was taken is on its way."""
        self._taken -= size
        self._changed.set()

    def close(self) -> None:
        """Nobody will read anything any more: let everybody go who waits."""
        self._closed = True
        self._changed.set()
