"""SQL for `ports.identity`."""

from __future__ import annotations

from dataclasses import asdict

from homeserver.ports.identity import Identity, IdentityRepo
from homeserver.storage.dialect import Connection, Sql, is_storable
from homeserver.storage.repos.columns import Columns

_IDENTITIES = Columns(Identity)

_ADD = Sql(f"INSERT INTO identities ({_IDENTITIES.names}) VALUES ({_IDENTITIES.parameters})")
_GET = Sql(f"SELECT {_IDENTITIES.names} FROM identities WHERE provider = :provider AND key = :key")
_OF_USER = Sql(f"SELECT {_IDENTITIES.names} FROM identities WHERE user_id = :user_id")
_PAGE = Sql(
    f"SELECT {_IDENTITIES.names} FROM identities WHERE provider = :provider AND key > :after ORDER BY key LIMIT :count"
)
_UPDATE = Sql("UPDATE identities SET stamp = :stamp, disabled = :disabled WHERE provider = :provider AND key = :key")


class SqlIdentityRepo(IdentityRepo):
    """Implements `ports.identity.IdentityRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, identity: Identity) -> None:
        await _ADD.run(self._connection, **asdict(identity))

    async def get(self, provider: str, key: str) -> Identity | None:
        if not is_storable(key):
            return None
        row = await _GET.first(self._connection, provider=provider, key=key)
        return None if row is None else _IDENTITIES.record(row)

    async def of_user(self, user_id: str) -> Identity | None:
        row = await _OF_USER.first(self._connection, user_id=user_id)
        return None if row is None else _IDENTITIES.record(row)

    async def page(self, provider: str, after: str, limit: int) -> list[Identity]:
        rows = await _PAGE.rows(self._connection, provider=provider, after=after, count=limit)
        return [_IDENTITIES.record(row) for row in rows]

    async def update(self, provider: str, key: str, stamp: str, *, disabled: bool) -> None:
        await _UPDATE.run(self._connection, provider=provider, key=key, stamp=stamp, disabled=disabled)
