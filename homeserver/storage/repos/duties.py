"""SQL for `ports.duties.DutyRepo`."""

from __future__ import annotations

from homeserver.ports.duties import DutyRepo, DutyRow
from homeserver.storage.dialect import Connection, Fragment, Sql

_GET = Sql("SELECT name, holder, term, beat FROM duties WHERE name = :name")
_ADD = Sql("INSERT INTO duties (name, holder, term, beat) VALUES (:name, :holder, 1, 0) ON CONFLICT (name) DO NOTHING")
_TAKE = Sql(
    "UPDATE duties SET holder = :holder, term = term + 1, beat = 0 WHERE name = :name AND term = :term AND beat = :beat"
)
_BEAT = Sql("UPDATE duties SET beat = beat + 1 WHERE name = :name AND term = :term AND holder IS NOT NULL")
_REQUIRE = Sql(
    "SELECT 1 FROM duties WHERE name = :name AND term = :term AND holder IS NOT NULL{lock}",
    lock=Fragment("", " FOR SHARE"),
)
_GIVE_BACK = Sql("UPDATE duties SET holder = NULL WHERE name = :name AND term = :term")


class SqlDutyRepo(DutyRepo):
    """Implements `ports.duties.DutyRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, name: str) -> DutyRow | None:
        row = await _GET.first(self._connection, name=name)
        return None if row is None else DutyRow(*row)

    async def take(self, name: str, holder: str, seen: DutyRow | None) -> int | None:
        if seen is None:
            return 1 if await _ADD.run(self._connection, name=name, holder=holder) else None
        row = {"name": name, "holder": holder, "term": seen.term, "beat": seen.beat}
        return seen.term + 1 if await _TAKE.run(self._connection, **row) else None

    async def beat(self, name: str, term: int) -> bool:
        return await _BEAT.run(self._connection, name=name, term=term) > 0

    async def require(self, name: str, term: int) -> bool:
        return await _REQUIRE.first(self._connection, name=name, term=term) is not None

    async def give_back(self, name: str, term: int) -> None:
        await _GIVE_BACK.run(self._connection, name=name, term=term)
