"""SQL for `ports.e2e.KeyRepo`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import orjson

from homeserver.ports.e2e import (
    DehydratedDevice,
    DeviceKeys,
    DeviceName,
    KeyCounts,
    KeyName,
    KeyQueue,
    KeyRepo,
    KeySignature,
    KeyStanding,
    PublishedKeys,
)
from homeserver.storage.dialect import Connection, Fragment, Rows, Sql, in_texts, json_rows, json_texts, rows_of
from homeserver.storage.ids import TransactionIds
from homeserver.storage.repos.to_device import delete_messages

_DEVICES = rows_of("devices", "w", user_id="text", device_id="text", algorithm="text")

_DEVICE_KEYS = Sql(
    "SELECT k.user_id, k.device_id, k.json, d.display_name FROM device_keys k "
    "LEFT JOIN devices d ON d.user_id = k.user_id AND d.device_id = k.device_id WHERE {users}",
    users=in_texts("k.user_id", "users"),
)
_DEVICE_KEY = Sql("SELECT json FROM device_keys WHERE user_id = :user_id AND device_id = :device_id")
_PUT_DEVICE_KEYS = Sql(
    "INSERT INTO device_keys (user_id, device_id, json) VALUES (:user_id, :device_id, :json) "
    "ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json"
)
_ADD_ONE_TIME_KEYS = Rows(
    "INSERT INTO one_time_keys {rows}", queue="bigint", first="bigint", last="bigint", keys="bytea"
)
_PACK_BYTES = 940
"""Of keys in one row. SQLite stores what is longer than 1,002 bytes of a row without a number elsewhere."""
_REMEMBERED = 2_000  # ids of claimed keys of a device and an algorithm
_ADD_QUEUE = Sql(
    "INSERT INTO key_queues (user_id, device_id, algorithm, queue, last, claimed) "
    "VALUES (:user_id, :device_id, :algorithm, :queue, :last, 0)"
)
_LENGTHEN = Sql(
    "UPDATE key_queues SET last = :last WHERE user_id = :user_id AND device_id = :device_id AND algorithm = :algorithm"
)
_PUT_IDS = Sql(
    "INSERT INTO one_time_key_ids (queue, ids) VALUES (:queue, :ids) "
    "ON CONFLICT (queue) DO UPDATE SET ids = excluded.ids"
)
_CLEAR = Sql("DELETE FROM one_time_keys WHERE queue = :queue AND last <= :claimed")
_PUT_FALLBACK = Sql(
    "INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, used, json) "
    "VALUES (:user_id, :device_id, :algorithm, :key_id, :used, :json) "
    "ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET key_id = excluded.key_id, used = excluded.used, "
    "json = excluded.json WHERE fallback_keys.key_id <> excluded.key_id OR fallback_keys.json <> excluded.json"
)
_OF_DEVICE = "user_id = :user_id AND device_id = :device_id"
_OF_FALLBACK = f"FROM fallback_keys WHERE {_OF_DEVICE} AND NOT used"
_COUNTS = Sql(
    f"SELECT algorithm, last - claimed FROM key_queues WHERE {_OF_DEVICE} AND last > claimed "
    f"UNION ALL SELECT algorithm, 0 {_OF_FALLBACK}"
)
_STANDING = Sql(
    "SELECT q.algorithm, q.queue, q.last, q.claimed, i.ids FROM key_queues q "
    f"JOIN one_time_key_ids i ON i.queue = q.queue WHERE {_OF_DEVICE} "
    f"UNION ALL SELECT NULL, 0, 0, 0, NULL FROM devices WHERE {_OF_DEVICE}"
)
_LEFT = Sql("SELECT first, keys FROM one_time_keys WHERE queue = :queue AND last > :claimed")


def _pack_with(queue: str, ordinal: str) -> str:
    """The row of `one_time_keys k` in which a key is; none if a statement does not see it yet."""
    begins = f"(SELECT max(p.first) FROM one_time_keys p WHERE p.queue = {queue} AND p.first <= {ordinal})"
    return f"k.queue = {queue} AND k.first = {begins} AND k.last >= {ordinal}"


_IN_QUEUE = "q.user_id = w.user_id AND q.device_id = w.device_id AND q.algorithm = w.algorithm"
_CLAIM = Sql(
    "{claim}",
    claim=Fragment(
        f"UPDATE key_queues AS q SET claimed = claimed + 1 FROM {_DEVICES.sqlite} WHERE {_IN_QUEUE} "
        "AND q.claimed < q.last RETURNING user_id, device_id, algorithm, queue, claimed",
        # Always in the same order: another process may be claiming from the same devices.
        "WITH w AS MATERIALIZED (SELECT q.user_id, q.device_id, q.algorithm "
        f"FROM {_DEVICES.postgres} JOIN key_queues q ON {_IN_QUEUE} "
        "WHERE q.claimed < q.last ORDER BY q.queue FOR UPDATE OF q), "
        f"t AS (UPDATE key_queues q SET claimed = q.claimed + 1 FROM w WHERE {_IN_QUEUE} "
        "RETURNING q.user_id, q.device_id, q.algorithm, q.queue, q.claimed) "
        "SELECT t.user_id, t.device_id, t.algorithm, t.queue, t.claimed, k.first, k.keys "
        f"FROM t LEFT JOIN one_time_keys k ON {_pack_with('t.queue', 't.claimed')}",
    ),
)
_PACKS = Sql(
    f"SELECT t.queue, k.first, k.keys FROM {{taken}} JOIN one_time_keys k ON {_pack_with('t.queue', 't.ordinal')}",
    taken=rows_of("taken", "t", queue="bigint", ordinal="bigint"),
)
_PACK_AT = Sql("SELECT first, keys FROM one_time_keys WHERE queue = :queue AND first <= :ordinal AND last >= :ordinal")
_ALL_LEFT = Sql("SELECT coalesce(sum(last - claimed), 0) FROM key_queues")
_CLAIM_ALL = Sql("UPDATE key_queues SET claimed = last")
_CLEAR_ALL = Sql("DELETE FROM one_time_keys")
_USERS = Sql("SELECT DISTINCT user_id FROM device_keys ORDER BY user_id")
_FALLBACK = Sql(
    "SELECT k.user_id, k.device_id, k.algorithm, k.key_id, k.json, k.used FROM {devices} "
    "JOIN fallback_keys k ON k.user_id = w.user_id AND k.device_id = w.device_id AND k.algorithm = w.algorithm",
    devices=_DEVICES,
)
_USE = Sql(
    "UPDATE fallback_keys SET used = :used WHERE user_id = :user_id AND device_id = :device_id "
    "AND algorithm = :algorithm AND key_id = :key_id"
)
_BY_QUEUE = ("one_time_keys", "one_time_key_ids")
_DELETE_KEYS = [
    Sql(
        f"DELETE FROM {table} WHERE queue IN (SELECT queue FROM key_queues WHERE user_id = :user_id AND {{devices}})",
        devices=in_texts("device_id", "ids"),
    )
    for table in _BY_QUEUE
]
_DELETE_ALL_KEYS = [
    Sql(f"DELETE FROM {table} WHERE queue IN (SELECT queue FROM key_queues WHERE user_id = :user_id)")
    for table in _BY_QUEUE
]
_OF_DEVICES = ("device_keys", "key_queues", "fallback_keys", "dehydrated_devices")
_DELETE = {
    table: Sql(f"DELETE FROM {table} WHERE user_id = :user_id AND {{devices}}", devices=in_texts("device_id", "ids"))
    for table in _OF_DEVICES
}
_DELETE_ALL = {table: Sql(f"DELETE FROM {table} WHERE user_id = :user_id") for table in _OF_DEVICES}
_DELETE_SIGNATURES = Sql(
    "DELETE FROM key_signatures WHERE target_user = :user_id AND {devices}", devices=in_texts("target_key", "ids")
)
_DELETE_ALL_SIGNATURES = Sql("DELETE FROM key_signatures WHERE target_user = :user_id OR signer_user = :user_id")
_DELETE_CROSS_SIGNING = Sql("DELETE FROM cross_signing_keys WHERE user_id = :user_id")
_CROSS_SIGNING = Sql(
    "SELECT user_id, usage, json FROM cross_signing_keys WHERE {users}", users=in_texts("user_id", "users")
)
_PUT_CROSS_SIGNING = Sql(
    "INSERT INTO cross_signing_keys (user_id, usage, json) VALUES (:user_id, :usage, :json) "
    "ON CONFLICT (user_id, usage) DO UPDATE SET json = excluded.json"
)
_PUBLISHED = Sql(
    "SELECT 0, k.user_id, k.device_id, k.json, d.display_name, NULL, NULL FROM device_keys k "
    "LEFT JOIN devices d ON d.user_id = k.user_id AND d.device_id = k.device_id WHERE {owners} "
    "UNION ALL SELECT 1, user_id, usage, json, NULL, NULL, NULL FROM cross_signing_keys WHERE {users} "
    "UNION ALL SELECT 2, target_user, target_key, NULL, signer_user, signer_key, signature FROM key_signatures "
    "WHERE {targets} AND (signer_user = target_user OR signer_user = :reader)",
    owners=in_texts("k.user_id", "users"),
    users=in_texts("user_id", "users"),
    targets=in_texts("target_user", "users"),
)
_PUT_SIGNATURE = Sql(
    "INSERT INTO key_signatures (target_user, target_key, signer_user, signer_key, signature) "
    "VALUES (:target_user, :target_key, :signer_user, :signer_key, :signature) "
    "ON CONFLICT (target_user, target_key, signer_user, signer_key) DO UPDATE SET signature = excluded.signature"
)
_DEHYDRATED = Sql("SELECT device_id, data FROM dehydrated_devices WHERE user_id = :user_id")
_PUT_DEHYDRATED = Sql(
    "INSERT INTO dehydrated_devices (user_id, device_id, data) VALUES (:user_id, :device_id, :data) "
    "ON CONFLICT (user_id) DO UPDATE SET device_id = excluded.device_id, data = excluded.data"
)
_CHANGED = Sql(
    "SELECT DISTINCT user_id FROM device_lists WHERE position > :after AND (reader = '' OR reader = :reader)"
)


class SqlKeyRepo(KeyRepo):
    """Implements `ports.e2e.KeyRepo`."""

    def __init__(self, connection: Connection, ids: TransactionIds) -> None:
        self._connection = connection
        self._ids = ids

    async def device_keys(self, user_ids: Collection[str]) -> list[DeviceKeys]:
        return [DeviceKeys(*row) for row in await _DEVICE_KEYS.rows(self._connection, users=json_texts(user_ids))]

    async def device_key(self, user_id: str, device_id: str) -> bytes | None:
        row = await _DEVICE_KEY.first(self._connection, user_id=user_id, device_id=device_id)
        return None if row is None else row[0]

    async def put_device_keys(self, user_id: str, device_id: str, json: bytes) -> None:
        await _PUT_DEVICE_KEYS.run(self._connection, user_id=user_id, device_id=device_id, json=json)

    async def standing(self, device: DeviceName, names: Collection[KeyName]) -> KeyStanding | None:
        rows = await _STANDING.rows(self._connection, user_id=device[0], device_id=device[1])
        queues = {
            algorithm: KeyQueue(number, last, claimed, orjson.loads(ids))
            for algorithm, number, last, claimed, ids in rows
            if algorithm is not None
        }
        if len(queues) == len(rows):
            return None
        known: dict[KeyName, bytes | None] = {}
        for algorithm, queue in queues.items():
            remembered = {(algorithm, key_id) for key_id in queue.ids}
            if again := remembered.intersection(names):
                left: dict[str, bytes] = {}
                for first, keys in await _LEFT.rows(self._connection, queue=queue.number, claimed=queue.claimed):
                    left.update(_unpacked(keys)[max(0, queue.claimed + 1 - first) :])
                known.update({name: left.get(name[1]) for name in again})
        return KeyStanding(queues, known)

    async def add_one_time_keys(
        self, device: DeviceName, keys: Mapping[KeyName, bytes], queues: Mapping[str, KeyQueue]
    ) -> None:
        rows: list[tuple[int, int, int, bytes]] = []
        new, longer, claimed, remembered = [], [], [], []
        for algorithm, of_algorithm in groupby(sorted(keys), lambda name: name[0]):
            names = [key_id for _, key_id in of_algorithm]
            queue = queues.get(algorithm)
            if queue is None:
                queue = KeyQueue((await self._ids.take("key", 1))[0], 0, 0, ())
            last = queue.last + len(names)
            rows += _packs(queue, [(key_id, keys[algorithm, key_id]) for key_id in names])
            ids = [*queue.ids, *names][-(last - queue.claimed + _REMEMBERED) :]
            remembered.append({"queue": queue.number, "ids": orjson.dumps(ids)})
            key = {"user_id": device[0], "device_id": device[1], "algorithm": algorithm, "last": last}
            if not queue.last:
                new.append({**key, "queue": queue.number})
                continue
            longer.append(key)
            if queue.claimed:
                claimed.append({"queue": queue.number, "claimed": queue.claimed})
        await _ADD_QUEUE.run_many(self._connection, new)
        await _LENGTHEN.run_many(self._connection, longer)
        await _CLEAR.run_many(self._connection, claimed)
        await _PUT_IDS.run_many(self._connection, remembered)
        await _ADD_ONE_TIME_KEYS.run(self._connection, rows)

    async def put_fallback_keys(self, device: DeviceName, keys: Mapping[KeyName, bytes]) -> None:
        for (algorithm, key_id), json in keys.items():
            await _PUT_FALLBACK.run(
                self._connection,
                user_id=device[0],
                device_id=device[1],
                algorithm=algorithm,
                key_id=key_id,
                used=False,
                json=json,
            )

    async def counts(self, device: DeviceName) -> KeyCounts:
        return _counts(await _COUNTS.rows(self._connection, user_id=device[0], device_id=device[1]))

    async def claim(self, wanted: Sequence[tuple[DeviceName, str]]) -> dict[DeviceName, tuple[KeyName, bytes]]:
        if not wanted:
            return {}
        rows = await _CLAIM.rows(self._connection, devices=_wanted(wanted))
        # What was uploaded by another process since PostgreSQL's statement began, when what was before it is taken, is
        # not seen by the statement itself; and SQLite says of what it changed only what is in the same table.
        unseen = [{"queue": row[3], "ordinal": row[4]} for row in rows if len(row) == 5 or row[6] is None]
        packs = await _PACKS.rows(self._connection, taken=json_rows(unseen)) if unseen else []
        seen = {queue: (first, keys) for queue, first, keys in packs}
        found: dict[DeviceName, tuple[KeyName, bytes]] = {}
        for user_id, device_id, algorithm, queue, ordinal, *pack in rows:
            first, keys = seen[queue] if queue in seen else pack
            key_id, json = _unpacked_one(keys, ordinal - first)
            found[user_id, device_id] = ((algorithm, key_id), json)
        return found

    async def claim_fallback(self, wanted: Sequence[tuple[DeviceName, str]]) -> dict[DeviceName, tuple[KeyName, bytes]]:
        rows = await _FALLBACK.rows(self._connection, devices=_wanted(wanted)) if wanted else []
        fresh = [_key_row((row[0], row[1]), (row[2], row[3])) for row in rows if not row[5]]
        await _USE.run_many(self._connection, [{**row, "used": True} for row in fresh])
        return {(row[0], row[1]): ((row[2], row[3]), row[4]) for row in rows}

    async def drop_one_time_keys(self) -> int:
        left = int((await _ALL_LEFT.first(self._connection))[0])
        await _CLAIM_ALL.run(self._connection)
        await _CLEAR_ALL.run(self._connection)
        return left

    async def users(self) -> list[str]:
        return [row[0] for row in await _USERS.rows(self._connection)]

    async def delete_devices(self, user_id: str, device_ids: Collection[str] | None) -> bool:
        if device_ids is None:
            await delete_messages(self._connection, user_id)
            for statement in _DELETE_ALL_KEYS:
                await statement.run(self._connection, user_id=user_id)
            deleted = [await _DELETE_ALL[table].run(self._connection, user_id=user_id) for table in _OF_DEVICES]
            return deleted[0] > 0
        ids = json_texts(device_ids)
        await delete_messages(self._connection, user_id, device_ids)
        for statement in _DELETE_KEYS:
            await statement.run(self._connection, user_id=user_id, ids=ids)
        deleted = [await _DELETE[table].run(self._connection, user_id=user_id, ids=ids) for table in _OF_DEVICES]
        await _DELETE_SIGNATURES.run(self._connection, user_id=user_id, ids=ids)
        return deleted[0] > 0

    async def delete_user(self, user_id: str) -> None:
        await _DELETE_CROSS_SIGNING.run(self._connection, user_id=user_id)
        await _DELETE_ALL_SIGNATURES.run(self._connection, user_id=user_id)

    async def cross_signing_keys(self, user_ids: Collection[str]) -> dict[str, dict[str, bytes]]:
        found: dict[str, dict[str, bytes]] = {}
        for user_id, usage, json in await _CROSS_SIGNING.rows(self._connection, users=json_texts(user_ids)):
            found.setdefault(user_id, {})[usage] = json
        return found

    async def put_cross_signing_key(self, user_id: str, usage: str, json: bytes) -> None:
        await _PUT_CROSS_SIGNING.run(self._connection, user_id=user_id, usage=usage, json=json)

    async def published(self, user_ids: Collection[str], reader: str) -> PublishedKeys:
        devices: list[tuple[str, str, bytes, str | None]] = []
        cross_signing: dict[str, dict[str, bytes]] = {}
        signatures: list[KeySignature] = []
        rows = await _PUBLISHED.rows(self._connection, users=json_texts(user_ids), reader=reader)
        for kind, user_id, name, json, other, signer_key, signature in rows:
            if kind == 0:
                devices.append((user_id, name, json, other))
            elif kind == 1:
                cross_signing.setdefault(user_id, {})[name] = json
            else:
                signatures.append(KeySignature(user_id, name, other, signer_key, signature))
        return PublishedKeys(devices, cross_signing, signatures)

    async def put_signatures(self, signatures: Sequence[KeySignature]) -> None:
        rows = [{name: getattr(one, name) for name in KeySignature.__slots__} for one in signatures]
        await _PUT_SIGNATURE.run_many(self._connection, rows)

    async def dehydrated(self, user_id: str) -> DehydratedDevice | None:
        row = await _DEHYDRATED.first(self._connection, user_id=user_id)
        return None if row is None else DehydratedDevice(row[0], row[1])

    async def put_dehydrated(self, user_id: str, device: DehydratedDevice) -> None:
        await _PUT_DEHYDRATED.run(self._connection, user_id=user_id, device_id=device.device_id, data=device.data)

    async def changed_lists(self, reader: str, after: int) -> list[str]:
        return [row[0] for row in await _CHANGED.rows(self._connection, after=after, reader=reader)]


def _counts(rows: Iterable[Sequence[Any]]) -> KeyCounts:
    """From rows of an algorithm and how many one-time keys it has; none says that its fallback key was never used."""
    one_time = {algorithm: count for algorithm, count in rows if count}
    return KeyCounts(one_time, tuple(sorted(algorithm for algorithm, count in rows if not count)))


def _wanted(wanted: Sequence[tuple[DeviceName, str]]) -> str:
    return json_rows(
        {"user_id": user_id, "device_id": device_id, "algorithm": algorithm}
        for (user_id, device_id), algorithm in wanted
    )


def _key_row(device: DeviceName, name: KeyName) -> dict[str, object]:
    return {"user_id": device[0], "device_id": device[1], "algorithm": name[0], "key_id": name[1]}


def _packs(queue: KeyQueue, keys: Iterable[tuple[str, bytes]]) -> Iterator[tuple[int, int, int, bytes]]:
    """Rows of `one_time_keys` for keys (id, JSON) behind those that are there.

    A line of a key is its canonical JSON and its id's, in neither of which a tab or the end of a line can be.
    """
    first, size = queue.last + 1, 0
    lines: list[bytes] = []
    for key_id, json in keys:
        line = b"%b\t%b" % (json, orjson.dumps(key_id))
        if lines and size + len(line) > _PACK_BYTES:
            yield queue.number, first, first + len(lines) - 1, b"\n".join(lines)
            first, lines, size = first + len(lines), [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield queue.number, first, first + len(lines) - 1, b"\n".join(lines)


def _unpacked(pack: bytes) -> list[tuple[str, bytes]]:
    return [_unpacked_line(line) for line in pack.split(b"\n")]


def _unpacked_one(pack: bytes, index: int) -> tuple[str, bytes]:
    return _unpacked_line(pack.split(b"\n", index + 1)[index])


def _unpacked_line(line: bytes) -> tuple[str, bytes]:
    json, _, key_id = line.partition(b"\t")
    return str(orjson.loads(key_id)), json
