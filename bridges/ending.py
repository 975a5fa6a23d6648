"""How tasks are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_PATIENCE_S = 8.0


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended, however they do.

    Who was cancelled already is let clean up first. Who has not ended after some seconds is cancelled again: a library
    can forget that it was cancelled, if its answer comes just then or its connection is closed meanwhile.
    """
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        if not task.cancelling():
            task.cancel()
    while pending:
        _, pending = await asyncio.wait(pending, timeout=_PATIENCE_S)
        for task in pending:
            task.cancel()
