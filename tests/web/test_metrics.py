"""How the event loop is watched."""

from __future__ import annotations

import asyncio
import time

import pytest

from homeserver.web import metrics
from homeserver.web.metrics import Metrics


async def pauses(monkeypatch: pytest.MonkeyPatch, working_s: float, looks: int) -> list[float]:
    """From which moment to which the loop waits for its own looks, while it works `working_s` seconds between two."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) > 2 * looks:
            raise asyncio.CancelledError
        if len(asked) % 2:
            until = time.thread_time() + working_s
            while time.thread_time() < until:
                pass

    monkeypatch.setattr(metrics.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Metrics().watch_loop()
    return [asked[first] + asked[first + 1] for first in range(0, 2 * looks, 2)]


async def test_an_idle_server_is_woken_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop is looked at twice a second after the first look."""
    assert await pauses(monkeypatch, working_s=0, looks=4) == pytest.approx([0.1, 0.5, 0.5, 0.5])


async def test_a_loop_that_works_is_looked_at_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it worked more than 2 % of the time."""
    assert await pauses(monkeypatch, working_s=0.015, looks=4) == pytest.approx([0.1, 0.1, 0.1, 0.1])
    found = await pauses(monkeypatch, working_s=0.005, looks=5)
    assert found == pytest.approx([0.1] * 5), "5 ms of 100 are more, and it does not get to the long pauses"
