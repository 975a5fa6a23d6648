"""Time and randomness as the services see them, so that tests and simulations can supply their own."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall-clock and monotonic time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch (`origin_server_ts`, expiry times)."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back (timeouts, rate limits)."""
        ...


class Entropy(Protocol):
    """Cryptographic randomness."""

    def token(self, n_bytes: int) -> str:
        """URL-safe base64 text of `n_bytes` random bytes."""
        ...

    def letters(self, length: int) -> str:
        """`length` random upper-case letters (device ids, readable codes)."""
        ...
