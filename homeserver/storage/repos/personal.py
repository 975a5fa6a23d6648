"""Profiles, account data and filters of local users. Implements the ports of ports/accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import orjson

from homeserver.core.folding import folded
from homeserver.ports.accounts import AccountDataChanged, AccountDataRepo, FilterRepo, ProfileRepo
from homeserver.storage.dialect import Connection, Sql, in_texts, json_texts

_DISPLAYNAME = "displayname"

_FIELDS = Sql("SELECT name, value FROM profile_fields WHERE user_id = :user_id")
_FIELDS_OF_MANY = Sql(
    "SELECT user_id, name, value FROM profile_fields WHERE {users} AND {names}",
    users=in_texts("user_id", "users"),
    names=in_texts("name", "names"),
)
_PUT_FIELD = Sql(
    """INSERT INTO profile_fields (user_id, name, value) VALUES (:user_id, :name, :value)
    ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value"""
)
_DELETE_FIELD = Sql("DELETE FROM profile_fields WHERE user_id = :user_id AND name = :name")
_DELETE_PROFILE = Sql("DELETE FROM profile_fields WHERE user_id = :user_id")
_SET_SEARCH = Sql("UPDATE users SET search = :search WHERE user_id = :user_id")

_CONTENT = Sql("SELECT content FROM account_data WHERE user_id = :user_id AND room_id = :room_id AND type = :type")
_CHANGED = Sql(
    """SELECT room_id, type, content FROM account_data
    WHERE user_id = :user_id AND position > :position ORDER BY position"""
)
_PUT_ACCOUNT_DATA = Sql(
    """INSERT INTO account_data (user_id, room_id, type, position, content)
    VALUES (:user_id, :room_id, :type, :position, :content)
    ON CONFLICT (user_id, room_id, type) DO UPDATE SET position = excluded.position, content = excluded.content"""
)
_USAGE = Sql("SELECT count(*), coalesce(sum(length(content)), 0) FROM account_data WHERE user_id = :user_id")
_DELETE_ACCOUNT_DATA = Sql("DELETE FROM account_data WHERE user_id = :user_id")

_DEFINITION = Sql("SELECT definition FROM filters WHERE user_id = :user_id AND filter_id = :filter_id")
_EQUAL_FILTER = Sql("SELECT filter_id FROM filters WHERE user_id = :user_id AND digest = :digest")
_COUNT_FILTERS = Sql("SELECT count(*) FROM filters WHERE user_id = :user_id")
_SIZE_OF_FILTERS = Sql("SELECT coalesce(sum(length(definition)), 0) FROM filters WHERE user_id = :user_id")
_ADD_FILTER = Sql(
    """INSERT INTO filters (user_id, filter_id, digest, definition)
    VALUES (:user_id, :filter_id, :digest, :definition)"""
)


class SqlProfileRepo(ProfileRepo):
    """Profile fields (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, user_id: str) -> dict[str, bytes]:
        return {row[0]: row[1] for row in await _FIELDS.rows(self._connection, user_id=user_id)}

    async def get_many(self, user_ids: Collection[str], names: Collection[str]) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = defaultdict(dict)
        rows = await _FIELDS_OF_MANY.rows(self._connection, users=json_texts(user_ids), names=json_texts(names))
        for user_id, name, value in rows:
            found[user_id][name] = value
        return found

    async def put(self, user_id: str, name: str, value: bytes) -> None:
        await _PUT_FIELD.run(self._connection, user_id=user_id, name=name, value=value)
        if name == _DISPLAYNAME:
            await self._name(user_id, orjson.loads(value))

    async def delete(self, user_id: str, name: str | None) -> None:
        if name is None:
            await _DELETE_PROFILE.run(self._connection, user_id=user_id)
        else:
            await _DELETE_FIELD.run(self._connection, user_id=user_id, name=name)
        if name in (None, _DISPLAYNAME):
            await self._name(user_id, "")

    async def _name(self, user_id: str, name: str) -> None:
        """Let searches find the user by a display name."""
        search = f"{folded(user_id)} {folded(name)}".rstrip()
        await _SET_SEARCH.run(self._connection, user_id=user_id, search=search)


class SqlAccountDataRepo(AccountDataRepo):
    """Account data (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, user_id: str, room_id: str | None, type_: str) -> bytes | None:
        row = await _CONTENT.first(self._connection, user_id=user_id, room_id=room_id or "", type=type_)
        return None if row is None else self._connection.sealing.open(row[0], "account")

    async def after(self, user_id: str, position: int) -> list[AccountDataChanged]:
        opened = self._connection.sealing.open
        return [
            AccountDataChanged(user_id, room_id or None, type_, opened(content, "account"))
            for room_id, type_, content in await _CHANGED.rows(self._connection, user_id=user_id, position=position)
        ]

    async def usage(self, user_id: str) -> tuple[int, int]:
        row = await _USAGE.first(self._connection, user_id=user_id)
        return int(row[0]), int(row[1])

    async def put(self, data: AccountDataChanged, position: int) -> None:
        await _PUT_ACCOUNT_DATA.run(
            self._connection,
            user_id=data.user_id,
            room_id=data.room_id or "",
            type=data.type,
            position=position,
            content=self._connection.sealing.seal(data.content, "account"),
        )

    async def delete_all(self, user_id: str) -> None:
        await _DELETE_ACCOUNT_DATA.run(self._connection, user_id=user_id)


class SqlFilterRepo(FilterRepo):
    """Stored filters (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, user_id: str, filter_id: int) -> bytes | None:
        row = await _DEFINITION.first(self._connection, user_id=user_id, filter_id=filter_id)
        return None if row is None else row[0]

    async def find(self, user_id: str, digest: bytes) -> int | None:
        row = await _EQUAL_FILTER.first(self._connection, user_id=user_id, digest=digest)
        return None if row is None else row[0]

    async def add(self, user_id: str, digest: bytes, definition: bytes) -> int:
        filter_id = int((await _COUNT_FILTERS.first(self._connection, user_id=user_id))[0])
        await _ADD_FILTER.run(
            self._connection, user_id=user_id, filter_id=filter_id, digest=digest, definition=definition
        )
        return filter_id

    async def size(self, user_id: str) -> int:
        return int((await _SIZE_OF_FILTERS.first(self._connection, user_id=user_id))[0])
