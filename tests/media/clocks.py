"""Clocks of tests about age."""

from __future__ import annotations

from homeserver.system import SystemClock


class Later:
    """A clock some days ahead."""

    def __init__(self, days: int) -> None:
        self._ahead_ms = days * 24 * 3600 * 1000

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self._ahead_ms

    def monotonic(self) -> float:
        return SystemClock().monotonic()
