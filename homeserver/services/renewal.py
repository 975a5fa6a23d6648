"""What the database holds is brought into the form that new values get: sealed with the current key, or plain again.

In small transactions beside everything else; it goes on where it was when the server starts anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from homeserver.ports.store import Store, StoreUnavailable

_STEP = 200
_PAUSE_S = 0.02
_AGAIN_S = 30.0

_log = structlog.get_logger(__name__)


class Renewal:
    """Renews the database for encryption at rest."""

    def __init__(self, store: Store, *, keeps_words: bool) -> None:
        """`keeps_words`: the index of words may stay, though it shows what is written."""
        self._store = store
        self._keeps_words = keeps_words

    async def begin(self) -> int | None:
        """After which event to go on, None if there is nothing to do. Raises KeysMissing."""
        async with self._store.read_committed() as tx:
            if not await tx.at_rest.is_concerned():
                return None
        async with self._store.write() as tx:
            return await tx.at_rest.begin()

    async def run(self) -> None:
        """Renew what is there, until nothing is left or cancelled."""
        while True:
            try:
                renewed = await self.once()
            except StoreUnavailable as error:
                _log.warning("renewal_postponed", error=str(error))
                await asyncio.sleep(_AGAIN_S)
                continue
            if renewed:
                _log.info("renewal_done", rows=renewed)
            await asyncio.Event().wait()  # what is written from now on has the current form

    async def once(self, progress: Callable[[int], None] = lambda _looked: None) -> int:
        """Renew everything; returns how many rows were looked at, 0 if there was nothing to do. Raises KeysMissing."""
        last = await self.begin()
        if last is None:
            return 0
        looked = 0

        async def pause() -> None:
            nonlocal looked
            looked += _STEP
            progress(looked)
            await asyncio.sleep(_PAUSE_S)

        while last is not None:
            async with self._store.write() as tx:
                last = await tx.at_rest.renew_events(last, _STEP)
            await pause()
        async with self._store.write() as tx:
            tables = tx.at_rest.tables
            if not self._keeps_words:
                await tx.at_rest.drop_words()
        for table in tables:
            key: Sequence[str | int] | None = ()
            while key is not None:
                async with self._store.write() as tx:
                    key = await tx.at_rest.renew_values(table, key, _STEP)
                await pause()
        async with self._store.write() as tx:
            await tx.at_rest.finish()
        return looked
