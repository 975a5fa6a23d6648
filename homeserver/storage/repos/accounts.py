"""Local users and their devices. Implements `UserRepo` and `DeviceRepo` of ports/accounts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from homeserver.core.folding import folded
from homeserver.ports.accounts import Device, User, UserFlags
from homeserver.storage.dialect import Sql
from homeserver.storage.schema.accounts import devices, users
from homeserver.storage.schema.rooms import counters

if TYPE_CHECKING:
    from homeserver.ports.accounts import DeviceRepo, UserRepo

_FIRST_USER = "first_user"
_CLAIM_FIRST = text("INSERT INTO counters (name, value) VALUES (:name, 1) ON CONFLICT (name) DO NOTHING")
_ANNOUNCE = Sql(
    "INSERT INTO counters (name, value) VALUES ('accounts', 1) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value + 1"
)
_ANNOUNCED = Sql("SELECT value FROM counters WHERE name = 'accounts'")
_STILL_IN_ROOMS = Sql(
    "SELECT user_id FROM users u WHERE deactivated AND EXISTS (SELECT 1 FROM memberships m "
    "WHERE m.user_id = u.user_id AND m.membership IN ('join', 'invite', 'knock')) ORDER BY user_id LIMIT :count"
)


def user_of(row: Any) -> User:
    """A User from a row that has all columns of `users`."""
    return User(**{name: getattr(row, name) for name in User.__dataclass_fields__})


class SqlUserRepo:
    """Local accounts (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, user: User) -> None:
        await self._connection.execute(insert(users).values(**asdict(user), search=folded(user.user_id)))

    async def claim_first(self) -> bool:
        return (await self._connection.execute(_CLAIM_FIRST, {"name": _FIRST_USER})).rowcount == 1

    async def any(self) -> bool:
        query = select(counters.c.value).where(counters.c.name == _FIRST_USER)
        return (await self._connection.execute(query)).first() is not None

    async def get(self, user_id: str) -> User | None:
        row = (await self._connection.execute(select(users).where(users.c.user_id == user_id))).first()
        return None if row is None else user_of(row)

    async def lock(self, user_id: str) -> User | None:
        # SQLite has no row locks and needs none: its write transactions exclude each other.
        query = select(users).where(users.c.user_id == user_id).with_for_update()
        row = (await self._connection.execute(query)).first()
        return None if row is None else user_of(row)

    async def page(self, *, after: str = "", limit: int = 100) -> list[User]:
        query = select(users).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
        return [user_of(row) for row in await self._connection.execute(query)]

    async def set_password(self, user_id: str, password_hash: str | None) -> None:
        await self._connection.execute(
            update(users).where(users.c.user_id == user_id).values(password_hash=password_hash)
        )

    async def set_flags(self, user_id: str, flags: UserFlags) -> None:
        values = {name: value for name, value in asdict(flags).items() if value is not None}
        if values:
            await self._connection.execute(update(users).where(users.c.user_id == user_id).values(**values))

    async def deactivate(self, user_id: str, *, erase: bool) -> None:
        values: dict[str, Any] = {"deactivated": True, "is_admin": False}
        if erase:
            values |= {"erased": True, "password_hash": None}
        await self._connection.execute(update(users).where(users.c.user_id == user_id).values(**values))

    async def still_in_rooms(self, limit: int) -> list[str]:
        return [row.user_id for row in await _STILL_IN_ROOMS.rows(self._connection, count=limit)]

    async def announce(self) -> None:
        await _ANNOUNCE.run(self._connection)

    async def announced(self) -> int:
        row = await _ANNOUNCED.first(self._connection)
        return 0 if row is None else int(row.value)


class SqlDeviceRepo:
    """Devices (see the port)."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def of_user(self, user_id: str) -> list[Device]:
        query = select(devices).where(devices.c.user_id == user_id).order_by(devices.c.created_ms, devices.c.device_id)
        return [_device(row) for row in await self._connection.execute(query)]

    async def get(self, user_id: str, device_id: str) -> Device | None:
        row = (await self._connection.execute(select(devices).where(*_is(user_id, device_id)))).first()
        return None if row is None else _device(row)

    async def count(self, user_id: str) -> int:
        query = select(func.count()).select_from(devices).where(devices.c.user_id == user_id)
        return int((await self._connection.execute(query)).scalar_one())

    async def create(self, device: Device) -> None:
        await self._connection.execute(insert(devices).values(**asdict(device)))

    async def rename(self, user_id: str, device_id: str, display_name: str | None) -> bool:
        query = update(devices).where(*_is(user_id, device_id)).values(display_name=display_name)
        return (await self._connection.execute(query)).rowcount == 1

    async def delete(self, user_id: str, device_ids: Collection[str] | None) -> None:
        query = delete(devices).where(devices.c.user_id == user_id)
        if device_ids is not None:
            query = query.where(devices.c.device_id.in_(list(device_ids)))
        await self._connection.execute(query)

    async def seen(self, devices_seen: Sequence[Device]) -> None:
        if not devices_seen:
            return
        query = (
            update(devices)
            .where(devices.c.user_id == bindparam("of_user"), devices.c.device_id == bindparam("of_device"))
            .values(seen_ms=bindparam("at_ms"), seen_ip=bindparam("from_ip"))
        )
        rows = [
            {"of_user": seen.user_id, "of_device": seen.device_id, "at_ms": seen.seen_ms, "from_ip": seen.seen_ip}
            # In one order everywhere, so that two processes cannot wait for each other's rows.
            for seen in sorted(devices_seen, key=lambda seen: (seen.user_id, seen.device_id))
        ]
        await self._connection.execute(query, rows)


def _is(user_id: str, device_id: str) -> tuple[Any, Any]:
    return devices.c.user_id == user_id, devices.c.device_id == device_id


def _device(row: Any) -> Device:
    return Device(**{name: getattr(row, name) for name in Device.__dataclass_fields__})


if TYPE_CHECKING:

    def _users(repo: SqlUserRepo) -> UserRepo:
        return repo

    def _devices(repo: SqlDeviceRepo) -> DeviceRepo:
        return repo
