"""Backups of room keys.  spec: client-server-api#server-side-key-backups"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import orjson

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.backups import BackupVersion
from homeserver.ports.requester import Requester
from homeserver.services.accounts.names import require_text
from homeserver.services.e2e.backup import BackedUp, Stored
from homeserver.web.response import JSON_TYPE, Json, Response

_Count = Annotated[int, msgspec.Meta(ge=0)]


class VersionBody(msgspec.Struct):
    """How the keys of a backup are encrypted."""

    algorithm: str
    auth_data: dict[str, Any]
    version: str | None = None


class KeyBody(msgspec.Struct):
    """A key.  spec: client-server-api#server-side-key-backups"""

    first_message_index: _Count
    forwarded_count: _Count
    is_verified: bool
    session_data: dict[str, Any]


class RoomBody(msgspec.Struct):
    """Keys of a room by session."""

    sessions: dict[str, KeyBody]


class KeysBody(msgspec.Struct):
    """Keys by room and session."""

    rooms: dict[str, RoomBody]


async def post_room_keys_version(api: ClientServices, who: Requester, *, body: VersionBody) -> dict[str, Any]:
    """Begin a backup."""
    algorithm = require_text(body.algorithm, "algorithm")
    return {"version": str(await api.e2e.backups.create(who.user_id, algorithm, body.auth_data))}


async def get_room_keys_version_current(api: ClientServices, who: Requester) -> dict[str, Any]:
    """The current backup."""
    return _version(await api.e2e.backups.get(who.user_id, None))


async def get_room_keys_version(api: ClientServices, who: Requester, *, version: str) -> dict[str, Any]:
    """One backup."""
    return _version(await api.e2e.backups.get(who.user_id, version))


async def put_room_keys_version(api: ClientServices, who: Requester, *, version: str, body: VersionBody) -> None:
    """Replace the authentication data of a backup."""
    if body.version is not None and body.version != version:
        raise MatrixError(ErrCode.INVALID_PARAM, "The version in the body is not that in the path")
    await api.e2e.backups.update(who.user_id, version, body.algorithm, body.auth_data)


async def delete_room_keys_version(api: ClientServices, who: Requester, *, version: str) -> None:
    """Delete a backup."""
    await api.e2e.backups.delete(who.user_id, version)


async def put_room_keys(api: ClientServices, who: Requester, *, version: str, body: KeysBody) -> dict[str, Any]:
    """Store keys."""
    return await _put(api, who, version, body.rooms)


async def put_room_keys_by_room_id(
    api: ClientServices, who: Requester, *, room_id: str, version: str, body: RoomBody
) -> dict[str, Any]:
    """Store keys of a room."""
    return await _put(api, who, version, {room_id: body})


async def put_room_key_by_session_id(
    api: ClientServices, who: Requester, *, room_id: str, session_id: str, version: str, body: KeyBody
) -> dict[str, Any]:
    """Store a key."""
    return await _put(api, who, version, {room_id: RoomBody({session_id: body})})


async def get_room_keys(api: ClientServices, who: Requester, *, version: str) -> Json | Response:
    """All keys."""
    return _answer(await api.e2e.backups.keys(who.user_id, version))


async def get_room_keys_by_room_id(
    api: ClientServices, who: Requester, *, room_id: str, version: str
) -> Json | Response:
    """The keys of a room."""
    return _answer(await api.e2e.backups.keys(who.user_id, version, room_id))


async def get_room_key_by_session_id(
    api: ClientServices, who: Requester, *, room_id: str, session_id: str, version: str
) -> Json:
    """A key."""
    return Json(await api.e2e.backups.key(who.user_id, version, room_id, session_id))


async def delete_room_keys(api: ClientServices, who: Requester, *, version: str) -> dict[str, Any]:
    """Delete all keys of a backup."""
    return _stored(await api.e2e.backups.delete_keys(who.user_id, version))


async def delete_room_keys_by_room_id(
    api: ClientServices, who: Requester, *, room_id: str, version: str
) -> dict[str, Any]:
    """Delete the keys of a room."""
    return _stored(await api.e2e.backups.delete_keys(who.user_id, version, room_id))


async def delete_room_key_by_session_id(
    api: ClientServices, who: Requester, *, room_id: str, session_id: str, version: str
) -> dict[str, Any]:
    """Delete a key."""
    return _stored(await api.e2e.backups.delete_keys(who.user_id, version, room_id, session_id))


async def _put(api: ClientServices, who: Requester, version: str, rooms: dict[str, RoomBody]) -> dict[str, Any]:
    keys: dict[str, dict[str, BackedUp]] = {}
    for room_id, room in rooms.items():
        require_text(room_id, "A room id")
        keys[room_id] = {
            require_text(session_id, "A session id"): BackedUp(
                key.first_message_index, key.forwarded_count, key.is_verified, orjson.dumps(key.session_data)
            )
            for session_id, key in room.sessions.items()
        }
    return _stored(await api.e2e.backups.put_keys(who.user_id, version, keys, visitor=who.site_id is not None))


def _answer(keys: bytes | AsyncIterator[bytes]) -> Json | Response:
    if isinstance(keys, bytes):
        return Json(keys)
    return Response(headers=(JSON_TYPE,), body=keys)


def _version(backup: BackupVersion) -> dict[str, Any]:
    return {
        "algorithm": backup.algorithm,
        "auth_data": orjson.Fragment(backup.auth_data),
        "count": backup.count,
        "etag": str(backup.etag),
        "version": str(backup.version),
    }


def _stored(stored: Stored) -> dict[str, Any]:
    return {"count": stored.count, "etag": str(stored.etag)}
