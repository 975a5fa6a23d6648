"""Servers that are wrong on purpose: negative controls of the chaos tests, which must find them out.

Reached only through `faults.plan.control` and so only with UNSAFE_HROMADA_FAULTS; imported nowhere else. Each wraps the
store and the log that `boot` has built, so that no other code knows of it. See docs/subsystems/chaos.md.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from homeserver.services.log import Log
from homeserver.storage.engine import Engine
from homeserver.storage.repos.log import SqlLogRepo
from homeserver.storage.unit import Database, SqlTransaction

_LATE_S = 0.2


def spoil(control: str, engine: Engine, server_name: str, log: Log) -> tuple[Database, Log]:
    """The store and the log of a server with this fault, in the place of sound ones that were not used yet."""
    if control == "positions-ahead":
        ahead = AheadLog(log.position)
        return AheadDatabase(engine, server_name, ahead), ahead
    return LateDatabase(engine, server_name), log


class AheadLog(Log):
    """Readers see the highest position that anybody has taken, committed or not: a `max(id)` for a token."""

    taken = 0

    @property
    def position(self) -> int:
        """The position taken last."""
        return max(super().position, self.taken)


class _AheadPositions(SqlLogRepo):
    def __init__(self, positions: SqlLogRepo, log: AheadLog) -> None:
        super().__init__(positions._connection, positions._reader)
        self._log = log

    async def reserve(self, count: int) -> int:
        """The log is told at once."""
        first = await super().reserve(count)
        self._log.taken = first + count - 1
        return first


class AheadDatabase(Database):
    """Tells an AheadLog of positions when they are taken."""

    def __init__(self, engine: Engine, server_name: str, log: AheadLog) -> None:
        super().__init__(engine, server_name)
        self._log = log

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        async with super().write() as tx:
            # The transaction caches its repositories under their names.
            vars(tx)["log"] = _AheadPositions(tx.log, self._log)
            yield tx


class LateDatabase(Database):
    """Says that changes of the log are committed, and commits them a moment later."""

    def __init__(self, engine: Engine, server_name: str) -> None:
        super().__init__(engine, server_name)
        self._late: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlTransaction]:
        unit = super().write()
        tx = await unit.__aenter__()
        try:
            yield tx
        except BaseException:
            if not await unit.__aexit__(*sys.exc_info()):
                raise
            return
        if "log" not in vars(tx):
            await unit.__aexit__(None, None, None)
            return
        task = asyncio.create_task(_commit_late(unit))
        self._late.add(task)
        task.add_done_callback(self._late.discard)


async def _commit_late(unit: AbstractAsyncContextManager[SqlTransaction]) -> None:
    await asyncio.sleep(_LATE_S)
    await unit.__aexit__(None, None, None)
