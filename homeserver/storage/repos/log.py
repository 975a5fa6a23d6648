"""The counter row that gives log positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.storage.dialect import Connection, Sql

if TYPE_CHECKING:
    from homeserver.ports.events import LogRepo

_RESERVE = Sql("UPDATE counters SET value = value + :count WHERE name = 'log' RETURNING value")
_POSITION = Sql("SELECT value FROM counters WHERE name = 'log'")
_MARK = Sql(
    "INSERT INTO counters (name, value) SELECT :name, value FROM counters WHERE name = 'log' "
    "ON CONFLICT (name) DO NOTHING"
)
_MARKED = Sql("SELECT name, value FROM counters WHERE name LIKE 'day-%' AND name <= :name ORDER BY name DESC LIMIT 1")
_FORGET = Sql("DELETE FROM counters WHERE name LIKE 'day-%' AND name < :name")


class SqlLogRepo:
    """Implements `ports.events.LogRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def reserve(self, count: int) -> int:
        """See the port."""
        last = int((await _RESERVE.first(self._connection, count=count))[0])
        return last - count + 1

    async def position(self) -> int:
        """See the port."""
        return int((await _POSITION.first(self._connection))[0])

    async def mark(self, day: int) -> None:
        """See the port."""
        await _MARK.run(self._connection, name=_day(day))

    async def marked(self, day: int) -> int | None:
        """See the port."""
        row = await _MARKED.first(self._connection, name=_day(day))
        if row is None:
            return None
        await _FORGET.run(self._connection, name=row[0])
        return int(row[1])


def _day(day: int) -> str:
    return f"day-{day:08}"


if TYPE_CHECKING:

    def _is_the_port(repo: SqlLogRepo) -> LogRepo:
        return repo
