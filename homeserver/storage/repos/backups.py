"""SQL for `ports.backups.BackupRepo`."""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.ports.backups import BackedUpKey, BackupRepo, BackupVersion, KeyPlace
from homeserver.storage.dialect import Connection, Fragment, Sql, json_rows, rows_of

# Not characters: SQLite's own octet_length is too new.
_BYTES = Fragment("length(CAST(session_data AS BLOB))", "octet_length(session_data)")
_THIS = "user_id = :user_id AND version = :version"
_NUMBER = Sql(
    "INSERT INTO key_backup_counters (user_id, last) VALUES (:user_id, 1) "
    "ON CONFLICT (user_id) DO UPDATE SET last = key_backup_counters.last + 1 RETURNING last"
)
_LAST = Sql("SELECT last FROM key_backup_counters WHERE user_id = :user_id")
_FORGET_NUMBERS = Sql("DELETE FROM key_backup_counters WHERE user_id = :user_id")
_CREATE = Sql(
    "INSERT INTO key_backups (user_id, version, algorithm, auth_data, etag, count, bytes, deleted) "
    "VALUES (:user_id, :version, :algorithm, :auth_data, 0, 0, 0, FALSE)"
)
_GET = Sql(f"SELECT version, algorithm, auth_data, etag, count FROM key_backups WHERE {_THIS} AND NOT deleted")
_NEWEST = Sql(
    "SELECT version, algorithm, auth_data, etag, count FROM key_backups "
    "WHERE user_id = :user_id AND NOT deleted ORDER BY version DESC LIMIT 1"
)
_TOTALS = Sql(
    "SELECT count(*), CAST(coalesce(sum(count), 0) AS bigint), CAST(coalesce(sum(bytes), 0) AS bigint) "
    "FROM key_backups WHERE user_id = :user_id AND NOT deleted"
)
_SET_AUTH_DATA = Sql(f"UPDATE key_backups SET auth_data = :auth_data WHERE {_THIS}")
_CHANGED = Sql(f"UPDATE key_backups SET etag = etag + 1, count = count + :by, bytes = bytes + :by_bytes WHERE {_THIS}")

_SENT = rows_of(
    "keys",
    "w",
    room_id="text",
    session_id="text",
    first_message_index="bigint",
    forwarded_count="bigint",
    is_verified="boolean",
    session_data="text",
)
_KNOWN = Sql(
    # CROSS JOIN: otherwise SQLite may begin with all keys of the backup, and look for each among those sent.
    "SELECT count(*), CAST(coalesce(sum({bytes}), 0) AS bigint) "
    "FROM {sent} CROSS JOIN key_backup_keys k WHERE k.user_id = :user_id AND k.version = :version "
    "AND k.room_id = w.room_id AND k.session_id = w.session_id",
    sent=_SENT,
    bytes=Fragment("length(CAST(k.session_data AS BLOB))", "octet_length(k.session_data)"),
)
# Of two keys for one session the verified one is better, then that of the lower index, then the less forwarded one.
# spec: client-server-api#server-side-key-backups
_MERGE = Sql(
    "INSERT INTO key_backup_keys AS k "
    "(user_id, version, room_id, session_id, first_message_index, forwarded_count, is_verified, session_data) "
    "SELECT :user_id, {version}, w.room_id, w.session_id, w.first_message_index, w.forwarded_count, "
    "w.is_verified, w.session_data FROM {sent} WHERE TRUE "  # SQLite takes ON for a join's without a WHERE
    "ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET "
    "first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count, "
    "is_verified = excluded.is_verified, session_data = excluded.session_data "
    "WHERE (NOT excluded.is_verified, excluded.first_message_index, excluded.forwarded_count) "
    "< (NOT k.is_verified, k.first_message_index, k.forwarded_count)",
    sent=_SENT,
    version=Fragment(":version", "CAST(:version AS bigint)"),
)
_FIELDS = "room_id, session_id, first_message_index, forwarded_count, is_verified, session_data"
_KEY = Sql(f"SELECT {_FIELDS} FROM key_backup_keys WHERE {_THIS} AND room_id = :room_id AND session_id = :session_id")
_KEYS = Sql(
    f"SELECT {_FIELDS} FROM key_backup_keys WHERE {_THIS} AND (room_id, session_id) > (:room_id, :session_id) "
    "ORDER BY room_id, session_id LIMIT :count"
)
_KEYS_OF_ROOM = Sql(
    f"SELECT {_FIELDS} FROM key_backup_keys WHERE {_THIS} AND room_id = :room_id AND session_id > :session_id "
    "ORDER BY session_id LIMIT :count"
)
_SIZE = "SELECT CAST(coalesce(sum({bytes}), 0) AS bigint) FROM key_backup_keys WHERE "
_SIZE_OF_KEY = Sql(f"{_SIZE}{_THIS} AND room_id = :room_id AND session_id = :session_id", bytes=_BYTES)
_SIZE_OF_ROOM = Sql(f"{_SIZE}{_THIS} AND room_id = :room_id", bytes=_BYTES)
_SIZE_OF_ALL = Sql(f"{_SIZE}{_THIS}", bytes=_BYTES)
_DELETE_KEY = Sql(f"DELETE FROM key_backup_keys WHERE {_THIS} AND room_id = :room_id AND session_id = :session_id")
_DELETE_ROOM = Sql(f"DELETE FROM key_backup_keys WHERE {_THIS} AND room_id = :room_id")
_DELETE_KEYS = Sql(f"DELETE FROM key_backup_keys WHERE {_THIS}")
_HIDE = Sql(f"UPDATE key_backups SET deleted = TRUE WHERE {_THIS} AND NOT deleted")
_HIDE_ALL = Sql("UPDATE key_backups SET deleted = TRUE WHERE user_id = :user_id AND NOT deleted")
_HIDDEN = Sql("SELECT user_id, version FROM key_backups WHERE deleted LIMIT 1")
_EDGE = Sql(
    f"SELECT room_id, session_id FROM key_backup_keys WHERE {_THIS} ORDER BY room_id, session_id LIMIT 1 OFFSET :count"
)
_DELETE_BEFORE = Sql(f"DELETE FROM key_backup_keys WHERE {_THIS} AND (room_id, session_id) < (:room_id, :session_id)")
_PURGE = Sql(f"DELETE FROM key_backups WHERE {_THIS} AND deleted")


class SqlBackupRepo(BackupRepo):
    """Implements `ports.backups.BackupRepo`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, user_id: str, algorithm: str, auth_data: bytes) -> int:
        version = int((await _NUMBER.first(self._connection, user_id=user_id))[0])
        await _CREATE.run(self._connection, user_id=user_id, version=version, algorithm=algorithm, auth_data=auth_data)
        return version

    async def get(self, user_id: str, version: int | None) -> BackupVersion | None:
        if version is None:
            row = await _NEWEST.first(self._connection, user_id=user_id)
        else:
            row = await _GET.first(self._connection, user_id=user_id, version=version)
        return None if row is None else BackupVersion(*row)

    async def last_version(self, user_id: str) -> int:
        row = await _LAST.first(self._connection, user_id=user_id)
        return 0 if row is None else row[0]

    async def totals(self, user_id: str) -> tuple[int, int, int]:
        row = await _TOTALS.first(self._connection, user_id=user_id)
        return row[0], row[1], row[2]

    async def set_auth_data(self, user_id: str, version: int, auth_data: bytes) -> None:
        await _SET_AUTH_DATA.run(self._connection, user_id=user_id, version=version, auth_data=auth_data)

    async def merge_keys(self, user_id: str, version: int, keys: Sequence[BackedUpKey]) -> tuple[int, int, int]:
        sent = json_rows(
            {
                "room_id": key.room_id,
                "session_id": key.session_id,
                "first_message_index": key.first_message_index,
                "forwarded_count": key.forwarded_count,
                "is_verified": key.is_verified,
                "session_data": key.session_data,
            }
            for key in keys
        )
        which = {"user_id": user_id, "version": version, "keys": sent}
        known, size = await _KNOWN.first(self._connection, **which)
        changed = await _MERGE.run(self._connection, **which)
        after = size if changed == 0 else (await _KNOWN.first(self._connection, **which))[1]
        return len(keys) - known, changed, after - size

    async def delete_keys(
        self, user_id: str, version: int, room_id: str | None, session_id: str | None
    ) -> tuple[int, int]:
        which: dict[str, object] = {"user_id": user_id, "version": version}
        size, delete = _SIZE_OF_ALL, _DELETE_KEYS
        if room_id is not None:
            which["room_id"] = room_id
            size, delete = _SIZE_OF_ROOM, _DELETE_ROOM
            if session_id is not None:
                which["session_id"] = session_id
                size, delete = _SIZE_OF_KEY, _DELETE_KEY
        (bytes_,) = await size.first(self._connection, **which)
        return await delete.run(self._connection, **which), bytes_

    async def changed(self, user_id: str, version: int, by: int, by_bytes: int) -> None:
        await _CHANGED.run(self._connection, user_id=user_id, version=version, by=by, by_bytes=by_bytes)

    async def key(self, user_id: str, version: int, place: KeyPlace) -> BackedUpKey | None:
        row = await _KEY.first(
            self._connection, user_id=user_id, version=version, room_id=place[0], session_id=place[1]
        )
        return None if row is None else _key(row)

    async def keys(
        self, user_id: str, version: int, *, room_id: str | None, after: KeyPlace, limit: int
    ) -> list[BackedUpKey]:
        rows = await (_KEYS if room_id is None else _KEYS_OF_ROOM).rows(
            self._connection,
            user_id=user_id,
            version=version,
            room_id=after[0] if room_id is None else room_id,
            session_id=after[1],
            count=limit,
        )
        return [_key(row) for row in rows]

    async def delete(self, user_id: str, version: int | None) -> bool:
        if version is None:
            return await _HIDE_ALL.run(self._connection, user_id=user_id) > 0
        return await _HIDE.run(self._connection, user_id=user_id, version=version) > 0

    async def purge(self, limit: int) -> int:
        row = await _HIDDEN.first(self._connection)
        if row is None:
            return 0
        which = {"user_id": row[0], "version": row[1]}
        edge = await _EDGE.first(self._connection, **which, count=limit)
        if edge is not None:
            return await _DELETE_BEFORE.run(self._connection, **which, room_id=edge[0], session_id=edge[1])
        deleted = await _DELETE_KEYS.run(self._connection, **which)
        return deleted if deleted == limit else deleted + await _PURGE.run(self._connection, **which)

    async def forget_user(self, user_id: str) -> None:
        await self.delete(user_id, None)
        await _FORGET_NUMBERS.run(self._connection, user_id=user_id)


def _key(row: Sequence[object]) -> BackedUpKey:
    room_id, session_id, first_message_index, forwarded_count, is_verified, session_data = row
    return BackedUpKey(
        str(room_id),
        str(session_id),
        int(str(first_message_index)),
        int(str(forwarded_count)),
        bool(is_verified),
        str(session_data),
    )
