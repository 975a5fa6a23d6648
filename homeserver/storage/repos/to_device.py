"""SQL for `ports.e2e.ToDeviceRepo`.

On SQLite, what one request sends is stored in packs of a few messages, behind one another. For which devices a pack's
messages wait is said by a row for each block of devices with neighbouring numbers, a bit for each of them; a pack goes
with the last such row. PostgreSQL has a row with the message for each device: there a row costs nearly the same
whatever its size, and to look after packs costs more than they spare.
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
_AT_ONCE = 10_000  # rows of blocks looked at by one statement
_BLOCK = 16
"""Devices in a block. A device's messages are found among those of its block, so there must not be many."""

_OF_USERS = Sql(
    "SELECT d.user_id, d.device_id, d.nid FROM {devices}",
    devices=Fragment(
        "json_each(:users) u CROSS JOIN devices d WHERE d.user_id = u.value",
        f"devices d WHERE {in_texts('d.user_id', 'users').postgres}",
    ),
)
_BLOCK_OF = f"b.block = d.nid / {_BLOCK}"
_FOR_IT = f"b.waiting & (1 << (d.nid % {_BLOCK}))"
_LENGTHS = Sql(
    "SELECT d.nid, (SELECT count(*) FROM (SELECT 1 FROM {messages} LIMIT :most) q) FROM devices d WHERE {devices}",
    messages=Fragment(f"to_device_blocks b WHERE {_BLOCK_OF} AND {_FOR_IT}", "to_device t WHERE t.device = d.nid"),
    devices=in_ints("d.nid", "devices"),
)
_ADD = Rows("INSERT INTO to_device {rows}", device="bigint", pack="bigint", json="bytea")
_ADD_BLOCKS = Rows("INSERT INTO to_device_blocks {rows}", block="bigint", pack="bigint", waiting="bigint")
_ADD_PACKS = Rows("INSERT INTO to_device_packs {rows}", id="bigint", devices="text", json="bytea")
_NAMED = "d.user_id = :user_id AND d.device_id = :device_id"
_WAITING = Sql(
    "{waiting}",
    waiting=Fragment(
        f"SELECT p.id / {_PACKS}, d.nid, p.devices, p.json FROM devices d CROSS JOIN to_device_blocks b "
        f"ON {_BLOCK_OF} AND {_FOR_IT} JOIN to_device_packs p ON p.id = b.pack "
        f"WHERE {_NAMED} AND b.pack >= :low AND b.pack < :high ORDER BY b.pack LIMIT :count",
        f"SELECT t.pack / {_PACKS}, t.device, NULL, t.json FROM to_device t "
        f"WHERE t.device = (SELECT d.nid FROM devices d WHERE {_NAMED}) "
        "AND t.pack >= :low AND t.pack < :high ORDER BY t.pack LIMIT :count",
    ),
)
_EACH_BLOCK = f"json_each(p.devices) e JOIN to_device_blocks b ON b.block = e.value / {_BLOCK} AND b.pack = p.id"
_FIRST_POSITIONS = (
    f"(SELECT max(position) + 1 FROM (SELECT DISTINCT {{id}} / {_PACKS} AS position FROM {{table}} "
    f"WHERE {{id}} >= :low AND {{id}} < :high ORDER BY position LIMIT :count) q) * {_PACKS}"
)
_BETWEEN = Sql(
    "{between}",
    between=Fragment(
        f"SELECT p.id / {_PACKS}, d.user_id, d.device_id FROM to_device_packs p JOIN {_EACH_BLOCK} "
        f"JOIN devices d ON d.nid = e.value AND {_FOR_IT} WHERE p.id >= :low "
        f"AND p.id < {_FIRST_POSITIONS.format(id='id', table='to_device_packs')} ORDER BY p.id",
        f"SELECT t.pack / {_PACKS}, d.user_id, d.device_id FROM to_device t JOIN devices d ON d.nid = t.device "
        f"WHERE t.pack >= :low AND t.pack < {_FIRST_POSITIONS.format(id='pack', table='to_device')} ORDER BY t.pack",
    ),
)


def _found(devices: str, further: str = "") -> str:
    """SQLite: what waits for some devices d, by block and pack: their bits, and those of all for whom it waits."""
    return (
        f"SELECT b.block, b.pack, sum(1 << (d.nid % {_BLOCK})), b.waiting FROM {devices} CROSS JOIN to_device_blocks b "
        f"ON {_BLOCK_OF} AND {_FOR_IT}{further} GROUP BY b.block, b.pack LIMIT :count"
    )


_ACKNOWLEDGED = Sql(
    _found("{named} JOIN devices d ON d.user_id = w.user_id AND d.device_id = w.device_id", " AND b.pack < w.below"),
    named=rows_of("devices", "w", user_id="text", device_id="text", below="bigint"),
)
_DELETE_BELOW = Sql(
    "DELETE FROM to_device WHERE pack < :below "
    "AND device = (SELECT nid FROM devices WHERE user_id = :user_id AND device_id = :device_id)"
)
# On SQLite they are found, so that their packs can be looked at; PostgreSQL deletes them at once.
_OF_USER = Sql(
    "{take}",
    take=Fragment(
        _found("(SELECT nid FROM devices WHERE user_id = :user_id) d"),
        "DELETE FROM to_device t USING devices d WHERE d.user_id = :user_id AND t.device = d.nid",
    ),
)
_IDS = in_texts("d.device_id", "ids")
_OF_DEVICES = Sql(
    "{take}",
    take=Fragment(
        _found(f"(SELECT nid FROM devices d WHERE user_id = :user_id AND {_IDS.sqlite}) d"),
        f"DELETE FROM to_device t USING devices d WHERE d.user_id = :user_id AND {_IDS.postgres} AND t.device = d.nid",
    ),
)
_KEEP_WAITING = Sql("UPDATE to_device_blocks SET waiting = :waiting WHERE block = :block AND pack = :pack")
_DELETE_BLOCK = Sql("DELETE FROM to_device_blocks WHERE block = :block AND pack = :pack")
_DELETE_PACKS = Sql(
    f"DELETE FROM to_device_packs AS p WHERE {{packs}} AND NOT EXISTS (SELECT 1 FROM {_EACH_BLOCK})",
    packs=in_ints("p.id", "packs"),
)
# The devices for which anything waits are found one after the other in the index.
_PRUNE_LOST = Sql(
    "WITH RECURSIVE w AS ((SELECT device FROM to_device ORDER BY device LIMIT 1) "
    "UNION ALL SELECT (SELECT t.device FROM to_device t WHERE t.device > w.device ORDER BY t.device LIMIT 1) "
    "FROM w WHERE w.device IS NOT NULL), "
    "lost AS (SELECT device FROM w WHERE device IS NOT NULL "
    "AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.nid = w.device) LIMIT :count) "
    "DELETE FROM to_device WHERE device IN (SELECT device FROM lost)"
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
        shorter, gone = [], []
        for block, pack, bits, waiting in found:
            if waiting == bits:
                gone.append({"block": block, "pack": pack})
            else:
                shorter.append({"block": block, "pack": pack, "waiting": waiting & ~bits})
        await _KEEP_WAITING.run_many(connection, shorter)
        await _DELETE_BLOCK.run_many(connection, gone)
        if gone:
            await _DELETE_PACKS.run_many(connection, [{"packs": json_ints({row["pack"] for row in gone})}])
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
        # In the order of their numbers, neighbours share a pack, and so the row that says so.
        order = sorted(range(len(queues)), key=queues.__getitem__)
        queues, contents = [queues[place] for place in order], [contents[place] for place in order]
        blocks, packs = [], []
        for pack, (devices, json) in enumerate(_packed(head, queues, contents), first):
            packs.append((pack, orjson.dumps(devices).decode(), seal(json, "device")))
            bits: dict[int, int] = {}
            for device in devices:
                block = device // _BLOCK
                bits[block] = bits.get(block, 0) | 1 << device % _BLOCK
            blocks += [(block, pack, waiting) for block, waiting in bits.items()]
        await _ADD_PACKS.run(self._connection, packs)
        await _ADD_BLOCKS.run(self._connection, blocks)

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

    async def prune_lost(self, queues: int) -> int:
        # SQLite's write transactions exclude each other: who sends sees a device that goes, or its messages go along.
        return 0 if self._connection.is_sqlite else await _PRUNE_LOST.run(self._connection, count=queues)

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
