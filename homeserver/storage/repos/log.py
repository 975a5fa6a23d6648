"""The counter row that gives log positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from homeserver.storage.dialect import Sql

if TYPE_CHECKING:
    from homeserver.ports.events import LogRepo

_RESERVE = Sql("UPDATE counters SET value = value + :count WHERE name = 'log' RETURNING value")
_POSITION = Sql("SELECT value FROM counters WHERE name = 'log'")


class SqlLogRepo:
    """Implements `ports.events.LogRepo`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def reserve(self, count: int) -> int:
        """See the port."""
        last = int((await _RESERVE.first(self._connection, count=count))[0])
        return last - count + 1

    async def position(self) -> int:
        """See the port."""
        return int((await _POSITION.first(self._connection))[0])


if TYPE_CHECKING:

    def _is_the_port(repo: SqlLogRepo) -> LogRepo:
        return repo
