"""How fast messages go out."""

from __future__ import annotations

import asyncio
import time


class Bucket:
    """So many a second on average, and those of one second at once."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second)
        self._left = self._most
        self._at = time.monotonic()

    async def take(self) -> None:
        """Wait for one."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._rate)
