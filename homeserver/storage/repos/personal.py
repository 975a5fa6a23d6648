"""Profiles, account data and filters of local users. Implements the ports of ports/accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from homeserver.core.folding import folded
from homeserver.ports.accounts import AccountDataChanged
from homeserver.storage.schema.accounts import account_data, filters, profile_fields, users

if TYPE_CHECKING:
    from homeserver.ports.accounts import AccountDataRepo, FilterRepo, ProfileRepo

_DISPLAYNAME = "displayname"
_PUT_FIELD = text(
    "INSERT INTO profile_fields (user_id, name, value) VALUES (:user_id, :name, :value)"
    " ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value"
)
_PUT_ACCOUNT_DATA = text(
    "INSERT INTO account_data (user_id, room_id, type, position, content)"
    " VALUES (:user_id, :room_id, :type, :position, :content)"
    " ON CONFLICT (user_id, room_id, type)"
    " DO UPDATE SET position = excluded.position, content = excluded.content"
)


class SqlProfileRepo:
    """Profile fields (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, user_id: str) -> dict[str, bytes]:
        query = select(profile_fields.c.name, profile_fields.c.value).where(profile_fields.c.user_id == user_id)
        return {row.name: row.value for row in await self._connection.execute(query)}

    async def get_many(self, user_ids: Collection[str], names: Collection[str]) -> dict[str, dict[str, bytes]]:
        query = select(profile_fields).where(
            profile_fields.c.user_id.in_(list(user_ids)), profile_fields.c.name.in_(list(names))
        )
        found: dict[str, dict[str, bytes]] = defaultdict(dict)
        for row in await self._connection.execute(query):
            found[row.user_id][row.name] = row.value
        return found

    async def put(self, user_id: str, name: str, value: bytes) -> None:
        await self._connection.execute(_PUT_FIELD, {"user_id": user_id, "name": name, "value": value})
        if name == _DISPLAYNAME:
            await self._name(user_id, orjson.loads(value))

    async def delete(self, user_id: str, name: str | None) -> None:
        query = delete(profile_fields).where(profile_fields.c.user_id == user_id)
        if name is not None:
            query = query.where(profile_fields.c.name == name)
        await self._connection.execute(query)
        if name in (None, _DISPLAYNAME):
            await self._name(user_id, "")

    async def _name(self, user_id: str, name: str) -> None:
        """Let searches find the user by a display name."""
        text_ = f"{folded(user_id)} {folded(name)}".rstrip()
        await self._connection.execute(update(users).where(users.c.user_id == user_id).values(search=text_))


class SqlAccountDataRepo:
    """Account data (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, user_id: str, room_id: str | None, type_: str) -> bytes | None:
        table = account_data.c
        query = select(table.content).where(
            table.user_id == user_id, table.room_id == (room_id or ""), table.type == type_
        )
        content: bytes | None = (await self._connection.execute(query)).scalar()
        return content

    async def after(self, user_id: str, position: int) -> list[AccountDataChanged]:
        table = account_data.c
        query = (
            select(table.user_id, table.room_id, table.type, table.content)
            .where(table.user_id == user_id, table.position > position)
            .order_by(table.position)
        )
        return [
            AccountDataChanged(row.user_id, row.room_id or None, row.type, row.content)
            for row in await self._connection.execute(query)
        ]

    async def put(self, data: AccountDataChanged, position: int) -> None:
        await self._connection.execute(
            _PUT_ACCOUNT_DATA,
            {
                "user_id": data.user_id,
                "room_id": data.room_id or "",
                "type": data.type,
                "position": position,
                "content": data.content,
            },
        )

    async def delete_all(self, user_id: str) -> None:
        await self._connection.execute(delete(account_data).where(account_data.c.user_id == user_id))


class SqlFilterRepo:
    """Stored filters (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, user_id: str, filter_id: int) -> bytes | None:
        query = select(filters.c.definition).where(filters.c.user_id == user_id, filters.c.filter_id == filter_id)
        definition: bytes | None = (await self._connection.execute(query)).scalar()
        return definition

    async def find(self, user_id: str, digest: bytes) -> int | None:
        query = select(filters.c.filter_id).where(filters.c.user_id == user_id, filters.c.digest == digest)
        filter_id: int | None = (await self._connection.execute(query)).scalar()
        return filter_id

    async def add(self, user_id: str, digest: bytes, definition: bytes) -> int:
        query = select(func.count()).select_from(filters).where(filters.c.user_id == user_id)
        filter_id = int((await self._connection.execute(query)).scalar_one())
        await self._connection.execute(
            insert(filters).values(user_id=user_id, filter_id=filter_id, digest=digest, definition=definition)
        )
        return filter_id


if TYPE_CHECKING:

    def _profiles(repo: SqlProfileRepo) -> ProfileRepo:
        return repo

    def _account_data(repo: SqlAccountDataRepo) -> AccountDataRepo:
        return repo

    def _filters(repo: SqlFilterRepo) -> FilterRepo:
        return repo
