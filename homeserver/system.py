"""The real clock, the real randomness and the real memory; everything else gets them injected."""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import string
import time


class SystemClock:
    """Implements `ports.clock.Clock`."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()


class SystemEntropy:
    """Implements `ports.clock.Entropy`."""

    def token(self, n_bytes: int) -> str:
        """URL-safe base64 text of `n_bytes` random bytes."""
        return secrets.token_urlsafe(n_bytes)

    def letters(self, length: int) -> str:
        """`length` random upper-case letters."""
        return "".join(secrets.choice(string.ascii_uppercase) for _ in range(length))


# Parameters of glibc's mallopt(3) and what we set them to.
_ALLOCATOR = {
    # M_MMAP_THRESHOLD: a password hash takes 19 MiB, which go back to the system afterwards. But orjson parses in the
    # twelvefold memory of the text, and to get that from the system each time costs as much again as the parsing.
    -3: 8 << 20,
    -1: 12 << 20,  # M_TRIM_THRESHOLD: what is free at the heap's end and more than this goes back at once
    -8: 1,  # M_ARENA_MAX: threads share what others have freed; one of them runs at a time anyway
}


_TRIM_EVERY_S = 30.0
_TRIM_SHARE = 0.001  # of the time at most, since threads that need memory wait meanwhile


def return_unused_memory() -> None:
    """Let glibc give back what is not used any more. Left alone, it learns to keep whatever was needed once.

    Does nothing where there is another C library. Call it before there are threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in _ALLOCATOR.items():
            mallopt(parameter, value)


async def keep_returning_memory() -> None:
    """Give back what is free between things that are used, until cancelled.

    By itself glibc gives back only what is free at the heap's end. Events come and go in sizes that seldom fit where
    others have been, so after some hours most of the heap would be holes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return
    while True:
        began = time.monotonic()
        await asyncio.to_thread(trim, 0)
        took = time.monotonic() - began
        await asyncio.sleep(max(_TRIM_EVERY_S, took / _TRIM_SHARE))
