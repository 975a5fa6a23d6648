"""SQL for `ports.e2e.ToDeviceRepo`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from homeserver.ports.e2e import DeviceMessage, DeviceName, ToDeviceRepo
from homeserver.storage.dialect import Connection, Fragment, Rows, Sql, in_texts, json_rows, json_texts, rows_of

_OF_USERS = Sql("SELECT user_id, device_id FROM devices WHERE {users}", users=in_texts("user_id", "users"))
_LENGTHS = Sql(
    "SELECT w.user_id, w.device_id, (SELECT count(*) FROM (SELECT 1 FROM to_device t WHERE t.user_id = w.user_id "
    "AND t.device_id = w.device_id LIMIT :most) q) FROM {named}",
    named=rows_of("devices", "w", user_id="text", device_id="text"),
)
_ADD = Rows("INSERT INTO to_device {rows}", position="bigint", user_id="text", device_id="text", json="bytea")
_WAITING = Sql(
    "SELECT position, json FROM to_device WHERE user_id = :user_id AND device_id = :device_id "
    "AND position > :after AND position <= :upto ORDER BY position LIMIT :count"
)
_BETWEEN = Sql(
    "SELECT position, user_id, device_id FROM to_device WHERE position IN (SELECT DISTINCT position FROM to_device "
    "WHERE position > :low AND position <= :high ORDER BY position LIMIT :count) ORDER BY position"
)
_DELETE = Sql("DELETE FROM to_device WHERE user_id = :user_id AND device_id = :device_id AND position <= :position")
_BEGIN = Sql("INSERT INTO request_txns (key, position) VALUES (:key, :position) ON CONFLICT (key) DO NOTHING")
_PRUNE = Sql(
    "DELETE FROM request_txns WHERE {some}",
    some=Fragment(
        "key IN (SELECT key FROM request_txns WHERE position < :position LIMIT :count)",
        "key = ANY(ARRAY(SELECT key FROM request_txns WHERE position < :position LIMIT :count))",
    ),
)


class SqlToDeviceRepo(ToDeviceRepo):
    """Implements `ports.e2e.ToDeviceRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def existing(self, devices: Collection[DeviceName], users: Collection[str]) -> list[DeviceName]:
        whose = json_texts({*users, *[user_id for user_id, _ in devices]})
        found = [(user_id, device_id) for user_id, device_id in await _OF_USERS.rows(self._connection, users=whose)]
        return sorted([device for device in found if device in devices or device[0] in users])

    async def lengths(self, devices: Collection[DeviceName], most: int) -> dict[DeviceName, int]:
        named = json_rows({"user_id": user_id, "device_id": device_id} for user_id, device_id in devices)
        rows = await _LENGTHS.rows(self._connection, devices=named, most=most)
        return {(row[0], row[1]): row[2] for row in rows}

    async def add(self, position: int, messages: Sequence[tuple[DeviceName, bytes]]) -> None:
        sealing = self._connection.sealing
        if sealing.is_on:
            messages = [(device, sealing.seal(json, "device")) for device, json in messages]
        rows = [(position, user_id, device_id, json) for (user_id, device_id), json in messages]
        await _ADD.run(self._connection, rows)

    async def waiting(self, device: DeviceName, after: int, upto: int, limit: int) -> list[DeviceMessage]:
        rows = await _WAITING.rows(
            self._connection, user_id=device[0], device_id=device[1], after=after, upto=upto, count=limit
        )
        opened = self._connection.sealing.open
        return [DeviceMessage(row[0], opened(row[1], "device")) for row in rows]

    async def between(self, low: int, high: int, limit: int) -> dict[int, frozenset[DeviceName]]:
        found: dict[int, set[DeviceName]] = {}
        for position, user_id, device_id in await _BETWEEN.rows(self._connection, low=low, high=high, count=limit):
            found.setdefault(position, set()).add((user_id, device_id))
        return {position: frozenset(devices) for position, devices in found.items()}

    async def delete_acknowledged(self, acknowledged: Mapping[DeviceName, int]) -> None:
        rows = [
            {"user_id": user_id, "device_id": device_id, "position": position}
            for (user_id, device_id), position in sorted(acknowledged.items())
        ]
        await _DELETE.run_many(self._connection, rows)

    async def begin(self, key: bytes, position: int) -> bool:
        return await _BEGIN.run(self._connection, key=key, position=position) == 1

    async def prune_txns(self, before_position: int, limit: int) -> int:
        return await _PRUNE.run(self._connection, position=before_position, count=limit)
