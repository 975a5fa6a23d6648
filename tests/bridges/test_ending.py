"""How a bridge's tasks are ended, whatever libraries make of a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from bridges import ending
from bridges.ending import end


async def test_who_forgets_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_PATIENCE_S", 0.01)
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        while forgotten < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                forgotten += 1

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end([task])
    assert forgotten == 2


async def test_who_cleans_up_is_not_disturbed_and_a_failure_is_not_raised() -> None:
    cleaned = False

    async def careful() -> None:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned = True

    async def failing() -> None:
        raise OSError("it went wrong")

    first, second = asyncio.create_task(careful()), asyncio.create_task(failing())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    await end([first, second])
    assert cleaned
    assert first.cancelled()
    assert isinstance(second.exception(), OSError)
    await end([])
