"""Backups of room keys: clients encrypt keys for themselves, the server keeps them and decides which of two is better.

Whatever changes keys holds the user's lock, so that number and etag are exact, and does all of a request or nothing.
The same upload again changes nothing: a client whose answer was lost may repeat it.
spec: client-server-api#server-side-key-backups
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.backups import BackedUpKey, BackupVersion, KeyPlace
from homeserver.ports.store import Store, Transaction

CHUNK = 1_000
"""Keys in memory at a time."""

_VISITOR_KEY_BYTES = 2_048
_FIRST: KeyPlace = ("", "")


@dataclass(frozen=True, slots=True)
class BackupLimits:
    """Bounds of what one user may store."""

    versions: int = 100
    keys: int = 500_000  # in all versions
    bytes: int = 536_870_912  # of session data in all versions
    key_bytes: int = 16_384  # of one key's `session_data`, and of a version's `auth_data`
    visitor_keys: int = 5_000  # of a visitor of a support chat, 2 KiB each


@dataclass(frozen=True, slots=True)
class Stored:
    """What a backup is like after a request."""

    etag: int
    count: int


class Backups:
    """Owns backups of room keys."""

    def __init__(self, store: Store, limits: BackupLimits) -> None:
        self._store = store
        self._limits = limits

    async def create(self, user_id: str, algorithm: str, auth_data: Mapping[str, Any]) -> int:
        """Begin a new version, which is the current one from now on.

        Raises MatrixError: TOO_LARGE, RESOURCE_LIMIT_EXCEEDED.
        spec: client-server-api#post_matrixclientv3room_keysversion
        """
        encoded = self._bounded("auth_data", auth_data)
        async with self._store.write() as tx:
            await _lock(tx, user_id)
            versions, _, _ = await tx.backups.totals(user_id)
            if versions >= self._limits.versions:
                raise MatrixError(
                    ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You have {versions} key backups already; delete old ones"
                )
            return await tx.backups.create(user_id, algorithm, encoded)

    async def get(self, user_id: str, version: str | None) -> BackupVersion:
        """A version; the current one if None. Raises MatrixError(NOT_FOUND)."""
        async with self._store.read() as tx:
            return await _existing(tx, user_id, version)

    async def update(self, user_id: str, version: str, algorithm: str, auth_data: Mapping[str, Any]) -> None:
        """Replace a version's authentication data.

        Raises MatrixError: NOT_FOUND, TOO_LARGE, INVALID_PARAM for another algorithm than it has.
        spec: client-server-api#put_matrixclientv3room_keysversionversion
        """
        encoded = self._bounded("auth_data", auth_data)
        async with self._store.write() as tx:
            await _lock(tx, user_id)
            backup = await _existing(tx, user_id, version)
            if backup.algorithm != algorithm:
                raise MatrixError(ErrCode.INVALID_PARAM, f"The algorithm of this backup is {backup.algorithm}")
            await tx.backups.set_auth_data(user_id, backup.version, encoded)

    async def delete(self, user_id: str, version: str) -> None:
        """Delete a version with its keys; one that was deleted before is no error. Raises MatrixError(NOT_FOUND).

        spec: client-server-api#delete_matrixclientv3room_keysversionversion
        """
        number = _number(version)
        async with self._store.write() as tx:
            await _lock(tx, user_id)
            if number > await tx.backups.last_version(user_id):
                raise _no_backup()
            deleted = await tx.backups.delete(user_id, number)
        if deleted:
            while await self.purge() == CHUNK:
                pass

    async def purge(self) -> int:
        """Delete some keys of deleted backups (also of accounts that are gone). Fewer than `CHUNK`: at the end."""
        async with self._store.write() as tx:
            return await tx.backups.purge(CHUNK)

    async def put_keys(
        self, user_id: str, version: str, keys: Mapping[str, Mapping[str, BackedUp]], *, visitor: bool = False
    ) -> Stored:
        """Store keys by room and session, each unless a better one is there. A `visitor` may have fewer.

        Raises MatrixError: NOT_FOUND, WRONG_ROOM_KEYS_VERSION, TOO_LARGE, INVALID_PARAM, RESOURCE_LIMIT_EXCEEDED.
        spec: client-server-api#put_matrixclientv3room_keyskeys
        """
        for sessions in keys.values():
            for key in sessions.values():
                if len(key.session_data) > self._limits.key_bytes:
                    raise self._too_large("session_data")
        async with self._store.write() as tx:
            await _lock(tx, user_id)
            backup = await _existing(tx, user_id, version)
            current = await tx.backups.get(user_id, None)
            if current is not None and current.version != backup.version:
                raise MatrixError(
                    ErrCode.WRONG_ROOM_KEYS_VERSION,
                    f"The current backup is version {current.version}",
                    current_version=str(current.version),
                )
            added = changed = grown = 0
            rows = _rows(keys)
            while chunk := list(islice(rows, CHUNK)):
                if faults.plan is not None:
                    await faults.plan.reach("backups.chunk")
                new, rewritten, by_bytes = await tx.backups.merge_keys(user_id, backup.version, chunk)
                added += new
                changed += rewritten
                grown += by_bytes
            if changed == 0:
                return Stored(backup.etag, backup.count)
            await tx.backups.changed(user_id, backup.version, added, grown)
            if added or grown > 0:
                await self._check_quota(tx, user_id, visitor)
        return Stored(backup.etag + 1, backup.count + added)

    async def _check_quota(self, tx: Transaction, user_id: str, visitor: bool) -> None:
        """Undo the transaction if the user has too much now."""
        _, keys, size = await tx.backups.totals(user_id)
        most_keys = self._limits.visitor_keys if visitor else self._limits.keys
        most_bytes = most_keys * _VISITOR_KEY_BYTES if visitor else self._limits.bytes
        for has, most, what in ((keys, most_keys, "keys"), (size, most_bytes, "bytes")):
            if has > most:
                raise MatrixError(
                    ErrCode.RESOURCE_LIMIT_EXCEEDED,
                    f"Your key backups have at most {most} {what}; delete old versions",
                )

    async def delete_keys(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> Stored:
        """Delete one key, those of a room, or all. Raises MatrixError(NOT_FOUND) without such a backup.

        spec: client-server-api#delete_matrixclientv3room_keyskeys
        """
        async with self._store.write() as tx:
            await _lock(tx, user_id)
            backup = await _existing(tx, user_id, version)
            gone, size = await tx.backups.delete_keys(user_id, backup.version, room_id, session_id)
            if gone == 0:
                return Stored(backup.etag, backup.count)
            await tx.backups.changed(user_id, backup.version, -gone, -size)
        return Stored(backup.etag + 1, backup.count - gone)

    async def key(self, user_id: str, version: str, room_id: str, session_id: str) -> bytes:
        """One key as JSON. Raises MatrixError(NOT_FOUND)."""
        async with self._store.read() as tx:
            backup = await _existing(tx, user_id, version)
            key = await tx.backups.key(user_id, backup.version, (room_id, session_id))
        if key is None:
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such key in the backup")
        return _encoded(key)

    async def keys(self, user_id: str, version: str, room_id: str | None = None) -> bytes | AsyncIterator[bytes]:
        """The keys of a room or of all as JSON: whole, or piece by piece if they are many.

        The first piece has been read when this returns. Raises MatrixError(NOT_FOUND).
        spec: client-server-api#get_matrixclientv3room_keyskeys
        """
        chunk = await self._chunk(user_id, version, room_id, _FIRST)
        if len(chunk) == CHUNK:
            return self._pieces(user_id, version, room_id, chunk)
        writer = _Writer(by_room=room_id is None)
        return writer.begin() + writer.write(chunk) + writer.end()

    async def _pieces(
        self, user_id: str, version: str, room_id: str | None, chunk: list[BackedUpKey]
    ) -> AsyncIterator[bytes]:
        """A client that reads slowly holds no transaction. If the backup goes meanwhile, the answer breaks off."""
        writer = _Writer(by_room=room_id is None)
        yield writer.begin()
        while chunk:
            yield writer.write(chunk)
            last = chunk[-1]
            more = len(chunk) == CHUNK
            chunk = await self._chunk(user_id, version, room_id, (last.room_id, last.session_id)) if more else []
        yield writer.end()

    async def _chunk(self, user_id: str, version: str, room_id: str | None, after: KeyPlace) -> list[BackedUpKey]:
        async with self._store.read() as tx:
            backup = await _existing(tx, user_id, version)
            return await tx.backups.keys(user_id, backup.version, room_id=room_id, after=after, limit=CHUNK)

    def _bounded(self, what: str, value: Mapping[str, Any]) -> bytes:
        encoded = orjson.dumps(value)
        if len(encoded) > self._limits.key_bytes:
            raise self._too_large(what)
        return encoded

    def _too_large(self, what: str) -> MatrixError:
        return MatrixError(ErrCode.TOO_LARGE, f"{what} has at most {self._limits.key_bytes} bytes")


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A key as a client sends it.  spec: client-server-api#server-side-key-backups"""

    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: bytes  # JSON object


class _Writer:
    """Writes keys, in the order of their rooms, as the object that a request for keys is answered with."""

    def __init__(self, *, by_room: bool) -> None:
        self._by_room = by_room
        self._room: str | None = None
        self._is_first = True

    def begin(self) -> bytes:
        """What comes before the keys."""
        return b'{"rooms":{' if self._by_room else b'{"sessions":{'

    def write(self, keys: Sequence[BackedUpKey]) -> bytes:
        """The next keys."""
        parts: list[bytes] = []
        for key in keys:
            if self._by_room and key.room_id != self._room:
                parts.append(b"" if self._room is None else b"}},")
                parts.append(orjson.dumps(key.room_id) + b':{"sessions":{')
                self._room = key.room_id
            elif not self._is_first:
                parts.append(b",")
            self._is_first = False
            parts.append(orjson.dumps(key.session_id) + b":" + _encoded(key))
        return b"".join(parts)

    def end(self) -> bytes:
        """What comes after the keys."""
        return b"}}" if self._room is None else b"}}}}"


def _encoded(key: BackedUpKey) -> bytes:
    return orjson.dumps(
        {
            "first_message_index": key.first_message_index,
            "forwarded_count": key.forwarded_count,
            "is_verified": key.is_verified,
            "session_data": orjson.Fragment(key.session_data),
        }
    )


def _rows(keys: Mapping[str, Mapping[str, BackedUp]]) -> Iterator[BackedUpKey]:
    for room_id, sessions in keys.items():
        for session_id, key in sessions.items():
            yield BackedUpKey(
                room_id,
                session_id,
                key.first_message_index,
                key.forwarded_count,
                key.is_verified,
                key.session_data.decode(),
            )


async def _lock(tx: Transaction, user_id: str) -> None:
    user = await tx.users.lock(user_id)
    if user is not None and user.deactivated:
        raise MatrixError(ErrCode.USER_DEACTIVATED, "This account has been deactivated")


async def _existing(tx: Transaction, user_id: str, version: str | None) -> BackupVersion:
    backup = await tx.backups.get(user_id, None if version is None else _number(version))
    if backup is None:
        raise _no_backup()
    return backup


def _number(version: str) -> int:
    """The number in a version. Raises MatrixError(NOT_FOUND) for what has none: no backup is called that."""
    if not (version.isascii() and version.isdigit() and len(version) <= 18) or version.startswith("0"):
        raise _no_backup()
    return int(version)


def _no_backup() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no such key backup")
