"""Local users and their devices. Implements `UserRepo` and `DeviceRepo` of ports/accounts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from homeserver.core.folding import folded
from homeserver.ports.accounts import Device, DeviceRepo, User, UserFlags, UserRepo
from homeserver.storage.dialect import FOR_UPDATE, Connection, Sql, in_texts, json_texts
from homeserver.storage.ids import TransactionIds
from homeserver.storage.repos.columns import Columns
from homeserver.storage.repos.to_device import delete_messages

USERS = Columns(User)
_DEVICES = Columns(Device)

_CREATE_USER = Sql(f"INSERT INTO users ({USERS.names}, search) VALUES ({USERS.parameters}, :search)")
_CLAIM_FIRST = Sql("INSERT INTO counters (name, value) VALUES ('first_user', 1) ON CONFLICT (name) DO NOTHING")
_FIRST = Sql("SELECT value FROM counters WHERE name = 'first_user'")
_USER = f"SELECT {USERS.names} FROM users WHERE user_id = :user_id"
_GET_USER = Sql(_USER)
_LOCK_USER = Sql(_USER + "{for_update}", for_update=FOR_UPDATE)
_PAGE = Sql(f"SELECT {USERS.names} FROM users WHERE user_id > :after ORDER BY user_id LIMIT :count")
_SET_PASSWORD = Sql("UPDATE users SET password_hash = :password_hash WHERE user_id = :user_id")
_UPGRADE_GUEST = Sql(
    "UPDATE users SET is_guest = false, site_id = NULL, password_hash = :password_hash WHERE user_id = :user_id"
)
_SET_FLAGS = Sql(
    """UPDATE users SET is_admin = coalesce(:is_admin, is_admin), locked = coalesce(:locked, locked),
        suspended = coalesce(:suspended, suspended)
    WHERE user_id = :user_id"""
)
_DEACTIVATE = Sql("UPDATE users SET deactivated = true, is_admin = false WHERE user_id = :user_id")
_ERASE = Sql("UPDATE users SET erased = true, password_hash = NULL WHERE user_id = :user_id")
_ERASE_EVENTS = Sql(
    "INSERT INTO erasures (room_nid, user_id, ord) SELECT m.room_nid, m.user_id, :ord FROM memberships m "
    "WHERE m.user_id = :user_id ON CONFLICT (room_nid, user_id) DO NOTHING"
)
_STILL_IN_ROOMS = Sql(
    "SELECT user_id FROM users u WHERE deactivated AND EXISTS (SELECT 1 FROM memberships m "
    "WHERE m.user_id = u.user_id AND m.membership IN ('join', 'invite', 'knock')) ORDER BY user_id LIMIT :count"
)
_ANNOUNCE = Sql(
    "INSERT INTO counters (name, value) VALUES ('accounts', 1) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value + 1"
)
_ANNOUNCED = Sql("SELECT value FROM counters WHERE name = 'accounts'")

_DEVICES_OF = Sql(f"SELECT {_DEVICES.names} FROM devices WHERE user_id = :user_id ORDER BY created_ms, device_id")
_GET_DEVICE = Sql(f"SELECT {_DEVICES.names} FROM devices WHERE user_id = :user_id AND device_id = :device_id")
_COUNT_DEVICES = Sql("SELECT count(*) FROM devices WHERE user_id = :user_id")
_CREATE_DEVICE = Sql(f"INSERT INTO devices ({_DEVICES.names}, nid) VALUES ({_DEVICES.parameters}, :nid)")
_RENAME = Sql("UPDATE devices SET display_name = :display_name WHERE user_id = :user_id AND device_id = :device_id")
_DELETE_DEVICES = Sql("DELETE FROM devices WHERE user_id = :user_id AND {ids}", ids=in_texts("device_id", "ids"))
_DELETE_ALL_DEVICES = Sql("DELETE FROM devices WHERE user_id = :user_id")
_SEEN = Sql(
    "UPDATE devices SET seen_ms = :seen_ms, seen_ip = :seen_ip, seen_agent = coalesce(:seen_agent, seen_agent) "
    "WHERE user_id = :user_id AND device_id = :device_id"
)


class SqlUserRepo(UserRepo):
    """Local accounts (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, user: User) -> None:
        await _CREATE_USER.run(self._connection, **asdict(user), search=folded(user.user_id))

    async def claim_first(self) -> bool:
        return await _CLAIM_FIRST.run(self._connection) == 1

    async def any(self) -> bool:
        return await _FIRST.first(self._connection) is not None

    async def get(self, user_id: str) -> User | None:
        row = await _GET_USER.first(self._connection, user_id=user_id)
        return None if row is None else USERS.record(row)

    async def lock(self, user_id: str) -> User | None:
        row = await _LOCK_USER.first(self._connection, user_id=user_id)
        return None if row is None else USERS.record(row)

    async def page(self, *, after: str = "", limit: int = 100) -> list[User]:
        return [USERS.record(row) for row in await _PAGE.rows(self._connection, after=after, count=limit)]

    async def set_password(self, user_id: str, password_hash: str | None) -> None:
        await _SET_PASSWORD.run(self._connection, user_id=user_id, password_hash=password_hash)

    async def upgrade_guest(self, user_id: str, password_hash: str | None) -> None:
        await _UPGRADE_GUEST.run(self._connection, user_id=user_id, password_hash=password_hash)

    async def set_flags(self, user_id: str, flags: UserFlags) -> None:
        await _SET_FLAGS.run(self._connection, user_id=user_id, **asdict(flags))

    async def deactivate(self, user_id: str, *, erase: bool) -> None:
        await _DEACTIVATE.run(self._connection, user_id=user_id)
        if erase:
            await _ERASE.run(self._connection, user_id=user_id)

    async def erase_events(self, user_id: str, order: int) -> None:
        await _ERASE_EVENTS.run(self._connection, user_id=user_id, ord=order)

    async def still_in_rooms(self, limit: int) -> list[str]:
        return [row[0] for row in await _STILL_IN_ROOMS.rows(self._connection, count=limit)]

    async def announce(self) -> None:
        await _ANNOUNCE.run(self._connection)

    async def announced(self) -> int:
        row = await _ANNOUNCED.first(self._connection)
        return 0 if row is None else int(row[0])


class SqlDeviceRepo(DeviceRepo):
    """Devices (see the port)."""

    def __init__(self, connection: Connection, ids: TransactionIds) -> None:
        self._connection = connection
        self._ids = ids

    async def of_user(self, user_id: str) -> list[Device]:
        return [_DEVICES.record(row) for row in await _DEVICES_OF.rows(self._connection, user_id=user_id)]

    async def get(self, user_id: str, device_id: str) -> Device | None:
        row = await _GET_DEVICE.first(self._connection, user_id=user_id, device_id=device_id)
        return None if row is None else _DEVICES.record(row)

    async def count(self, user_id: str) -> int:
        return int((await _COUNT_DEVICES.first(self._connection, user_id=user_id))[0])

    async def create(self, device: Device) -> None:
        (nid,) = await self._ids.take("device", 1)
        await _CREATE_DEVICE.run(self._connection, **asdict(device), nid=nid)

    async def rename(self, user_id: str, device_id: str, display_name: str | None) -> bool:
        changed = await _RENAME.run(self._connection, user_id=user_id, device_id=device_id, display_name=display_name)
        return changed == 1

    async def delete(self, user_id: str, device_ids: Collection[str] | None) -> None:
        await delete_messages(self._connection, user_id, device_ids)  # while their numbers are known
        if device_ids is None:
            await _DELETE_ALL_DEVICES.run(self._connection, user_id=user_id)
        else:
            await _DELETE_DEVICES.run(self._connection, user_id=user_id, ids=json_texts(device_ids))

    async def seen(self, devices_seen: Sequence[Device]) -> None:
        rows = [
            {
                "user_id": seen.user_id,
                "device_id": seen.device_id,
                "seen_ms": seen.seen_ms,
                "seen_ip": seen.seen_ip,
                "seen_agent": seen.seen_agent,
            }
            # In one order everywhere, so that two processes cannot wait for each other's rows.
            for seen in sorted(devices_seen, key=lambda seen: (seen.user_id, seen.device_id))
        ]
        await _SEEN.run_many(self._connection, rows)
