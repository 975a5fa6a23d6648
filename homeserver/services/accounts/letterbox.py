"""Letters that nobody waits for: they are made and sent beside the request, and again if the mail server refuses.

Whether there is a letter at all must not show in how long an answer takes. What is not sent yet is in memory only: who
gets no letter asks for another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from homeserver.core.errors import LimitExceeded
from homeserver.ports.mail import Letter, Mailer, MailFailed

_log = structlog.get_logger(__name__)

_WAITS_S = (2.0, 10.0, 60.0, 300.0)
_BUSY_MS = 60_000


class Letterbox:
    """Sends letters. `close` ends it."""

    def __init__(
        self, mailer: Callable[[], Mailer], *, at_once: int = 4, most: int = 500, waits_s: Sequence[float] = _WAITS_S
    ) -> None:
        """`mailer`: made with the first letter, for its library costs memory. `most`: letters that may wait.
        `waits_s`: how long before each further try."""
        self._mailer = mailer
        self._most = most
        self._waits_s = waits_s
        self._sending = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Letters that were not sent yet."""
        return len(self._tasks)

    def require_room(self) -> None:
        """Raises LimitExceeded if too many letters wait for the mail server."""
        if len(self._tasks) >= self._most:
            raise LimitExceeded(_BUSY_MS, "Too many letters are waiting; try again later")

    def put(self, write: Callable[[], Letter]) -> None:
        """Have the letter made and sent."""
        task = asyncio.create_task(self._send(write))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop sending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, write: Callable[[], Letter]) -> None:
        try:
            for wait_s in (*self._waits_s, None):
                try:
                    async with self._sending:
                        # Beside the loop: how busy it is must not show whether there is a letter.
                        await self._mailer().send(await asyncio.to_thread(write))
                    return
                except MailFailed as error:
                    _log.warning("address_letter_failed", error=str(error), again=wait_s is not None)
                if wait_s is not None:
                    await asyncio.sleep(wait_s)
        except Exception as error:
            _log.error("address_letter_crashed", exc_info=error)
