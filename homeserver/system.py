"""The real clock and the real randomness; everything else gets them injected."""

from __future__ import annotations

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
