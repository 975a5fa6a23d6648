"""SQL for `ports.addresses.AddressRepo`."""

from __future__ import annotations

from homeserver.ports.addresses import AddressCheck, AddressRepo, Purpose, UserAddress
from homeserver.storage.dialect import Connection, Sql, is_storable
from homeserver.storage.repos.columns import Columns

_ADDRESSES = Columns(UserAddress)
_CHECKS = Columns(AddressCheck)

_OF_USER = Sql(
    f"SELECT {_ADDRESSES.names} FROM user_addresses WHERE user_id = :user_id ORDER BY added_ms, medium, address"
)
_OWNER = Sql(f"SELECT {_ADDRESSES.names} FROM user_addresses WHERE medium = :medium AND address = :address")
_ADD = Sql(
    f"INSERT INTO user_addresses ({_ADDRESSES.names}) VALUES ({_ADDRESSES.parameters}) "
    "ON CONFLICT (medium, address) DO NOTHING"
)
_REMOVE = Sql("DELETE FROM user_addresses WHERE user_id = :user_id AND medium = :medium AND address = :address")
_REMOVE_ALL = Sql("DELETE FROM user_addresses WHERE user_id = :user_id")
_FORGET_ALL = Sql("DELETE FROM address_checks WHERE user_id = :user_id")
_FORGET = Sql("DELETE FROM address_checks WHERE user_id = :user_id AND purpose = :purpose")

_BEGIN = Sql(f"INSERT INTO address_checks ({_CHECKS.names}) VALUES ({_CHECKS.parameters})")
_FORGET_EXPIRED = Sql("DELETE FROM address_checks WHERE key = :key AND expires_ms <= :now_ms")
_BY_KEY = Sql(f"SELECT {_CHECKS.names} FROM address_checks WHERE key = :key AND expires_ms > :now_ms")
_ASK_AGAIN = Sql(
    "UPDATE address_checks SET send_attempt = :send_attempt WHERE key = :key AND send_attempt < :send_attempt"
)
_BY_SID = Sql(f"SELECT {_CHECKS.names} FROM address_checks WHERE sid = :sid AND expires_ms > :now_ms")
_CONFIRM = Sql("UPDATE address_checks SET validated_ms = coalesce(validated_ms, :now_ms) WHERE sid = :sid")
_TAKE = Sql(
    "DELETE FROM address_checks WHERE sid = :sid AND validated_ms IS NOT NULL AND expires_ms > :now_ms "
    f"RETURNING {_CHECKS.names}"
)
_NEWEST_TOO_MANY = Sql("SELECT expires_ms FROM address_checks ORDER BY expires_ms DESC LIMIT 1 OFFSET :keep")
_PRUNE = Sql(
    "DELETE FROM address_checks WHERE sid IN (SELECT sid FROM address_checks WHERE expires_ms <= :until_ms "
    "ORDER BY expires_ms LIMIT :count)"
)


class SqlAddressRepo(AddressRepo):
    """Addresses and their checks (see the port)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of_user(self, user_id: str) -> list[UserAddress]:
        return [_ADDRESSES.record(row) for row in await _OF_USER.rows(self._connection, user_id=user_id)]

    async def owner(self, medium: str, address: str) -> UserAddress | None:
        row = await _OWNER.first(self._connection, medium=medium, address=address)
        return None if row is None else _ADDRESSES.record(row)

    async def add(self, address: UserAddress) -> bool:
        return await _ADD.run(self._connection, **_ADDRESSES.values(address)) == 1

    async def remove(self, user_id: str, medium: str, address: str) -> bool:
        return await _REMOVE.run(self._connection, user_id=user_id, medium=medium, address=address) == 1

    async def forget_user(self, user_id: str) -> None:
        await _REMOVE_ALL.run(self._connection, user_id=user_id)
        await _FORGET_ALL.run(self._connection, user_id=user_id)

    async def forget_checks(self, user_id: str, purpose: Purpose) -> None:
        await _FORGET.run(self._connection, user_id=user_id, purpose=purpose)

    async def begin(self, check: AddressCheck, now_ms: int) -> None:
        await _FORGET_EXPIRED.run(self._connection, key=check.key, now_ms=now_ms)
        await _BEGIN.run(self._connection, **_CHECKS.values(check))

    async def by_key(self, key: bytes, now_ms: int) -> AddressCheck | None:
        row = await _BY_KEY.first(self._connection, key=key, now_ms=now_ms)
        return None if row is None else _CHECKS.record(row)

    async def ask_again(self, key: bytes, send_attempt: int) -> bool:
        return await _ASK_AGAIN.run(self._connection, key=key, send_attempt=send_attempt) == 1

    async def check(self, sid: str, now_ms: int) -> AddressCheck | None:
        if not is_storable(sid):
            return None
        row = await _BY_SID.first(self._connection, sid=sid, now_ms=now_ms)
        return None if row is None else _CHECKS.record(row)

    async def confirm(self, sid: str, now_ms: int) -> None:
        await _CONFIRM.run(self._connection, sid=sid, now_ms=now_ms)

    async def take(self, sid: str, now_ms: int) -> AddressCheck | None:
        row = await _TAKE.first(self._connection, sid=sid, now_ms=now_ms)
        return None if row is None else _CHECKS.record(row)

    async def prune(self, now_ms: int, keep: int, limit: int) -> int:
        row = await _NEWEST_TOO_MANY.first(self._connection, keep=keep)
        until_ms = now_ms if row is None else max(now_ms, row[0])
        return await _PRUNE.run(self._connection, until_ms=until_ms, count=limit)
