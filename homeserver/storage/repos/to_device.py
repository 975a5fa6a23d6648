"""SQL for `ports.e2e.ToDeviceRepo`.

On SQLite, what one request sends is stored in packs of a few messages, behind one another, and a row of two numbers
says of each message that it waits; a pack goes with the last of its messages that does. PostgreSQL has the messages in
these rows themselves: there a row costs nearly the same whatever its size, and to look after packs costs more than they
spare.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count

import orjson

from homeserver.ports.e2e import DeviceMessage, DeviceName, ToDeviceRepo
from homeserver.storage.dialect import (
    Connection,
    Fragment,
    Rows,
    Sql,
    in_ints,
    in_texts,
    json_ints,
    json_rows,
    json_texts,
    rows_of,
)

_PACK_BYTES = 3_900
"""Of messages in one row. SQLite stores what is longer than a page elsewhere."""
_NUMBER_BYTES = 8  # of the number of a device in a pack, or so
_PACKS = 1 << 20  # of one position, or messages
_POSITIONS = (1 << 43) - 2  # and one more still fits in 64 bits
_AT_ONCE = 10_000  # messages deleted by one statement

_OF_USERS = Sql(
    "SELECT d.user_id, d.device_id, d.nid FROM {devices}",
    devices=Fragment(
        "json_each(:users) u CROSS JOIN devices d WHERE d.user_id = u.value",
        f"devices d WHERE {in_texts('d.user_id', 'users').postgres}",
    ),
)
_LENGTHS = Sql(
    "SELECT d.nid, (SELECT count(*) FROM (SELECT 1 FROM to_device t WHERE t.device = d.nid LIMIT :most) q) "
    "FROM devices d WHERE {devices}",
    devices=in_ints("d.nid", "devices"),
)
_ADD = Rows("INSERT INTO to_device {rows}", device="bigint", pack="bigint", json="bytea")
_ADD_PACKED = Rows("INSERT INTO to_device {rows}", device="bigint", pack="bigint")
_ADD_PACKS = Rows("INSERT INTO to_device_packs {rows}", id="bigint", devices="text", json="bytea")
_WAITING = Sql(
    f"SELECT t.pack / {_PACKS}, t.device, p.devices, coalesce(p.json, t.json) "
    "FROM to_device t LEFT JOIN to_device_packs p ON p.id = t.pack "
    "WHERE t.device = (SELECT d.nid FROM devices d WHERE d.user_id = :user_id AND d.device_id = :device_id) "
    "AND t.pack >= :low AND t.pack < :high ORDER BY t.pack LIMIT :count"
)
_EACH_DEVICE = "json_each(p.devices) AS e JOIN to_device t ON t.device = e.value AND t.pack = p.id"
_FIRST_POSITIONS = (
    f"(SELECT max(position) + 1 FROM (SELECT DISTINCT {{id}} / {_PACKS} AS position FROM {{table}} "
    f"WHERE {{id}} >= :low AND {{id}} < :high ORDER BY position LIMIT :count) q) * {_PACKS}"
)
_BETWEEN = Sql(
    "{between}",
    between=Fragment(
        f"SELECT p.id / {_PACKS}, d.user_id, d.device_id FROM to_device_packs p JOIN {_EACH_DEVICE} "
        "JOIN devices d ON d.nid = t.device WHERE p.id >= :low "
        f"AND p.id < {_FIRST_POSITIONS.format(id='id', table='to_device_packs')} ORDER BY p.id",
        f"SELECT t.pack / {_PACKS}, d.user_id, d.device_id FROM to_device t JOIN devices d ON d.nid = t.device "
        f"WHERE t.pack >= :low AND t.pack < {_FIRST_POSITIONS.format(id='pack', table='to_device')} ORDER BY t.pack",
    ),
)
_ACKNOWLEDGED = Sql(
    "SELECT t.device, t.pack FROM {named} JOIN devices d ON d.user_id = w.user_id AND d.device_id = w.device_id "
    "JOIN to_device t ON t.device = d.nid AND t.pack < w.below ORDER BY t.pack LIMIT :count",
    named=rows_of("devices", "w", user_id="text", device_id="text", below="bigint"),
)
_DELETE_BELOW = Sql(
    "DELETE FROM to_device WHERE pack < :below "
    "AND device = (SELECT nid FROM devices WHERE user_id = :user_id AND device_id = :device_id)"
)
# On SQLite they are found, the oldest first, so that their packs can be looked at; PostgreSQL deletes them at once.
_OF_USER = Sql(
    "{take}",
    take=Fragment(
        "SELECT t.device, t.pack FROM (SELECT nid FROM devices WHERE user_id = :user_id) d "
        "JOIN to_device t ON t.device = d.nid ORDER BY t.pack LIMIT :count",
        "DELETE FROM to_device t USING devices d WHERE d.user_id = :user_id AND t.device = d.nid",
    ),
)
_IDS = in_texts("d.device_id", "ids")
_OF_DEVICES = Sql(
    "{take}",
    take=Fragment(
        f"SELECT t.device, t.pack FROM (SELECT nid FROM devices d WHERE user_id = :user_id AND {_IDS.sqlite}) d "
        "JOIN to_device t ON t.device = d.nid ORDER BY t.pack LIMIT :count",
        f"DELETE FROM to_device t USING devices d WHERE d.user_id = :user_id AND {_IDS.postgres} AND t.device = d.nid",
    ),
)
_DELETE = Sql("DELETE FROM to_device WHERE device = :device AND pack <= :pack")
_DELETE_PACKS = Sql(
    f"DELETE FROM to_device_packs AS p WHERE {{packs}} AND NOT EXISTS (SELECT 1 FROM {_EACH_DEVICE})",
    packs=in_ints("p.id", "packs"),
)
_BEGIN = Sql("INSERT INTO request_txns (key, position) VALUES (:key, :position) ON CONFLICT (key) DO NOTHING")
_PRUNE = Sql(
    "DELETE FROM request_txns WHERE {some}",
    some=Fragment(
        "key IN (SELECT key FROM request_txns WHERE position < :position LIMIT :count)",
        "key = ANY(ARRAY(SELECT key FROM request_txns WHERE position < :position LIMIT :count))",
    ),
)


async def delete_messages(connection: Connection, user_id: str, device_ids: Collection[str] | None = None) -> None:
    """Delete all messages to devices of a user (None: to all of them), which still exist."""
    if device_ids is None:
        await _delete(connection, _OF_USER, user_id=user_id)
    else:
        await _delete(connection, _OF_DEVICES, user_id=user_id, ids=json_texts(device_ids))


async def _delete(connection: Connection, statement: Sql, **which: str) -> None:
    """Delete messages, and the packs of which none waits any more."""
    while found := await statement.rows(connection, **which, count=_AT_ONCE):
        # All up to the newest of a device are among those found.
        newest = {device: pack for device, pack in found}
        await _DELETE.run_many(connection, [{"device": device, "pack": pack} for device, pack in newest.items()])
        await _DELETE_PACKS.run_many(connection, [{"packs": json_ints({pack for _, pack in found})}])
        if len(found) < _AT_ONCE:
            return


class SqlToDeviceRepo(ToDeviceRepo):
    """Implements `ports.e2e.ToDeviceRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def queues(self, users: Collection[str]) -> Sequence[tuple[str, str, int]]:
        return await _OF_USERS.rows(self._connection, users=json_texts(users))

    async def lengths(self, devices: Collection[int], most: int) -> dict[int, int]:
        return dict(await _LENGTHS.rows(self._connection, devices=json_ints(devices), most=most))

    async def add(self, position: int, head: bytes, queues: Sequence[int], contents: Sequence[bytes]) -> None:
        seal, first = self._connection.sealing.seal, position * _PACKS
        if not self._connection.is_sqlite:
            events = [seal(b"%b%b}" % (head, content), "device") for content in contents]
            await _ADD.run(self._connection, list(zip(queues, count(first), events, strict=False)))
            return
        waiting, packs = [], []
        for pack, (devices, json) in enumerate(_packed(head, queues, contents), first):
            packs.append((pack, orjson.dumps(devices).decode(), seal(json, "device")))
            waiting += [(device, pack) for device in devices]
        await _ADD_PACKS.run(self._connection, packs)
        await _ADD_PACKED.run(self._connection, waiting)

    async def waiting(self, device: DeviceName, after: int, upto: int, limit: int) -> list[DeviceMessage]:
        low, high = (_end(position) for position in (after, upto))
        whose = {"user_id": device[0], "device_id": device[1]}
        rows = await _WAITING.rows(self._connection, **whose, low=low, high=high, count=limit)
        opened = self._connection.sealing.open
        found = []
        for position, number, devices, json in rows:
            plain = opened(json, "device")
            event = plain if devices is None else _unpacked(plain, orjson.loads(devices).index(number))
            found.append(DeviceMessage(position, event))
        return found

    async def between(self, low: int, high: int, limit: int) -> dict[int, frozenset[DeviceName]]:
        found: dict[int, set[DeviceName]] = {}
        rows = await _BETWEEN.rows(self._connection, low=_end(low), high=_end(high), count=limit)
        for position, user_id, device_id in rows:
            found.setdefault(position, set()).add((user_id, device_id))
        return {position: frozenset(devices) for position, devices in found.items()}

    async def delete_acknowledged(self, acknowledged: Mapping[DeviceName, int]) -> None:
        rows = [
            {"user_id": user_id, "device_id": device_id, "below": _end(position)}
            for (user_id, device_id), position in sorted(acknowledged.items())
        ]
        if self._connection.is_sqlite:
            await _delete(self._connection, _ACKNOWLEDGED, devices=json_rows(rows))
        else:
            await _DELETE_BELOW.run_many(self._connection, rows)

    async def begin(self, key: bytes, position: int) -> bool:
        return await _BEGIN.run(self._connection, key=key, position=position) == 1

    async def prune_txns(self, before_position: int, limit: int) -> int:
        return await _PRUNE.run(self._connection, position=before_position, count=limit)


def _end(position: int) -> int:
    """What the packs of a position and of those before it are below."""
    return (min(position, _POSITIONS) + 1) * _PACKS


def _packed(head: bytes, queues: Sequence[int], contents: Sequence[bytes]) -> Iterator[tuple[Sequence[int], bytes]]:
    """The devices and the JSON of each pack. A longer message has one of its own."""
    first, size = 0, len(head)
    for number, content in enumerate(contents):
        size += len(content) + _NUMBER_BYTES
        if size > _PACK_BYTES and number > first:
            yield queues[first:number], b"\n".join((head, *contents[first:number]))
            first, size = number, len(head) + len(content) + _NUMBER_BYTES
    if contents:
        yield queues[first:], b"\n".join((head, *contents[first:]))


def _unpacked(json: bytes, place: int) -> bytes:
    """An event as its device gets it."""
    lines = json.split(b"\n", place + 2)
    return b"%b%b}" % (lines[0], lines[place + 1])
