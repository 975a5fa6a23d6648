"""Clocks of databases, where rows are found by their times: one that is set back stamps rows where nobody looks."""

from __future__ import annotations

import time

_JITTER_S = 0.5
_DRIFT = 0.001
"""A clock that is being corrected slowly is that much slower than ours."""


class DatabaseClock:
    """Notices that the clock of a database was set back, by more than passes read again anyway."""

    def __init__(self, margin: float) -> None:
        """`margin`: how many seconds before the newest time a pass begins."""
        self._margin = margin
        self._last: tuple[float, float] | None = None

    def is_set_back(self, now: float, asked: float, known: float | None) -> bool:
        """Whether rows may have got times that were passed over.

        `now` is what the database says (seconds since 1970) and `asked` when it was asked by `time.monotonic()`;
        `known` is what it said once, maybe to a process before this one.
        """
        last, self._last = self._last, (time.monotonic(), now)
        if last is None:
            return known is not None and now < known - _JITTER_S
        # From the end of the last answer to the next question: the clock went on for at least as long.
        away = asked - last[0]
        return away > self._margin and now - last[1] < away * (1 - _DRIFT) - _JITTER_S
