"""SQL for `ports.e2e.ToDeviceRepo`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from zlib import crc32

from homeserver.ports.e2e import DeviceMessage, DeviceName, ToDeviceRepo
from homeserver.storage.dialect import (
    Connection,
    Fragment,
    Rows,
    Sql,
    in_texts,
    is_storable,
    json_rows,
    json_texts,
    rows_of,
)

_OF_USERS = Sql("SELECT user_id, device_id FROM devices WHERE {users}", users=in_texts("user_id", "users"))
_LENGTHS = Sql(
    "SELECT w.user_id, w.device_id, (SELECT count(*) FROM (SELECT 1 FROM to_device t WHERE t.device = w.device "
    "LIMIT :most) q) FROM {named}",
    named=rows_of("devices", "w", user_id="text", device_id="text", device="bigint"),
)
_ADD = Rows(
    "INSERT INTO to_device {rows}", id="bigint", device="bigint", user_id="text", device_id="text", json="bytea"
)
_MESSAGES = 1 << 20  # of one position
_POSITIONS = (1 << 43) - 2  # and one more still fits in 64 bits
_OF_DEVICE = "device = :device AND user_id = :user_id AND device_id = :device_id"
_WAITING = Sql(
    f"SELECT id / {_MESSAGES}, json FROM to_device WHERE {_OF_DEVICE} AND id >= :low AND id < :high "
    "ORDER BY id LIMIT :count"
)
_BETWEEN = Sql(
    f"SELECT id / {_MESSAGES}, user_id, device_id FROM to_device WHERE id >= :low AND id < "
    f"(SELECT max(position) + 1 FROM (SELECT DISTINCT id / {_MESSAGES} AS position FROM to_device "
    f"WHERE id >= :low AND id < :high ORDER BY position LIMIT :count) p) * {_MESSAGES} ORDER BY id"
)
_DELETE = Sql(f"DELETE FROM to_device WHERE {_OF_DEVICE} AND id < :below")
_DELETE_OF_USER = Sql("DELETE FROM to_device WHERE device >= :least AND device <= :most AND user_id = :user_id")
_BEGIN = Sql("INSERT INTO request_txns (key, position) VALUES (:key, :position) ON CONFLICT (key) DO NOTHING")
_PRUNE = Sql(
    "DELETE FROM request_txns WHERE {some}",
    some=Fragment(
        "key IN (SELECT key FROM request_txns WHERE position < :position LIMIT :count)",
        "key = ANY(ARRAY(SELECT key FROM request_txns WHERE position < :position LIMIT :count))",
    ),
)


def device_number(user_id: str, device_id: str) -> int:
    """What a device's messages are found by: 32 bits of each of the names. Two devices may have the same."""
    return (crc32(user_id.encode()) - (1 << 31) << 32) | crc32(device_id.encode())


async def delete_messages(connection: Connection, user_id: str, device_ids: Collection[str] | None = None) -> None:
    """Delete all messages to devices of a user (None: to all of them)."""
    if device_ids is None:
        least = device_number(user_id, "") & ~0xFFFFFFFF
        await _DELETE_OF_USER.run(connection, least=least, most=least | 0xFFFFFFFF, user_id=user_id)
    else:
        ids = sorted(one for one in device_ids if is_storable(one))
        await _DELETE.run_many(connection, [_below(user_id, one, _POSITIONS) for one in ids])


class SqlToDeviceRepo(ToDeviceRepo):
    """Implements `ports.e2e.ToDeviceRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def existing(self, devices: Collection[DeviceName], users: Collection[str]) -> list[DeviceName]:
        whose = json_texts({*users, *[user_id for user_id, _ in devices]})
        found = [(user_id, device_id) for user_id, device_id in await _OF_USERS.rows(self._connection, users=whose)]
        return sorted([device for device in found if device in devices or device[0] in users])

    async def lengths(self, devices: Collection[DeviceName], most: int) -> dict[DeviceName, int]:
        named = json_rows(
            {"user_id": user_id, "device_id": device_id, "device": device_number(user_id, device_id)}
            for user_id, device_id in devices
        )
        rows = await _LENGTHS.rows(self._connection, devices=named, most=most)
        return {(row[0], row[1]): row[2] for row in rows}

    async def add(self, position: int, messages: Sequence[tuple[DeviceName, bytes]]) -> None:
        sealing = self._connection.sealing
        if sealing.is_on:
            messages = [(device, sealing.seal(json, "device")) for device, json in messages]
        first = position * _MESSAGES
        rows = [
            (number, device_number(user_id, device_id), user_id, device_id, json)
            for number, ((user_id, device_id), json) in enumerate(messages, first)
        ]
        await _ADD.run(self._connection, rows)

    async def waiting(self, device: DeviceName, after: int, upto: int, limit: int) -> list[DeviceMessage]:
        low, high = ((min(position, _POSITIONS) + 1) * _MESSAGES for position in (after, upto))
        whose = {"device": device_number(*device), "user_id": device[0], "device_id": device[1]}
        rows = await _WAITING.rows(self._connection, **whose, low=low, high=high, count=limit)
        opened = self._connection.sealing.open
        return [DeviceMessage(row[0], opened(row[1], "device")) for row in rows]

    async def between(self, low: int, high: int, limit: int) -> dict[int, frozenset[DeviceName]]:
        found: dict[int, set[DeviceName]] = {}
        first, end = (low + 1) * _MESSAGES, (high + 1) * _MESSAGES
        for position, user_id, device_id in await _BETWEEN.rows(self._connection, low=first, high=end, count=limit):
            found.setdefault(position, set()).add((user_id, device_id))
        return {position: frozenset(devices) for position, devices in found.items()}

    async def delete_acknowledged(self, acknowledged: Mapping[DeviceName, int]) -> None:
        rows = [_below(*device, position) for device, position in sorted(acknowledged.items())]
        await _DELETE.run_many(self._connection, rows)

    async def begin(self, key: bytes, position: int) -> bool:
        return await _BEGIN.run(self._connection, key=key, position=position) == 1

    async def prune_txns(self, before_position: int, limit: int) -> int:
        return await _PRUNE.run(self._connection, position=before_position, count=limit)


def _below(user_id: str, device_id: str, position: int) -> dict[str, object]:
    """The parameters of a device's messages up to a position."""
    below = (min(position, _POSITIONS) + 1) * _MESSAGES
    return {"device": device_number(user_id, device_id), "user_id": user_id, "device_id": device_id, "below": below}
