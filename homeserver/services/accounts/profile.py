"""Profiles of local users: display name, avatar and any other field.  spec: client-server-api#profiles"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.appservices import Makers
from homeserver.ports.requester import Requester
from homeserver.ports.rooms_of_users import RoomActions
from homeserver.ports.store import Store
from homeserver.services.accounts.names import is_storable
from homeserver.services.audit import Note, noted

DISPLAYNAME = "displayname"
AVATAR_URL = "avatar_url"
MAX_PROFILE = 65_536
_MAX_KEY = 255
_SHOWN = (DISPLAYNAME, AVATAR_URL)  # what rooms show of a profile


@dataclass(frozen=True, slots=True)
class ProfileLimits:
    """Longest values, in characters, and the most fields."""

    displayname: int = 256
    avatar_url: int = 1000
    fields: int = 100

    def of(self, name: str) -> int | None:
        """The limit of a field; None for custom ones, which only the profile as a whole bounds."""
        return {DISPLAYNAME: self.displayname, AVATAR_URL: self.avatar_url}.get(name)


# spec: appendices#common-namespaced-identifier-grammar
_CUSTOM = re.compile(r"m\.tz|[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")


class Profiles:
    """Owns profiles."""

    def __init__(
        self,
        store: Store,
        rooms: RoomActions,
        server_name: str,
        limits: ProfileLimits | None = None,
        makers: Makers | None = None,
    ) -> None:
        """`makers` make users of theirs whom somebody asks about before they are there."""
        self._makers = makers
        self._limits = limits or ProfileLimits()
        self._store = store
        self._rooms = rooms
        self._server_name = server_name

    async def get(self, user_id: str) -> dict[str, Any]:
        """All fields. Raises NOT_FOUND for users that this server does not know."""
        if not is_storable(user_id):
            raise _no_user()
        user, fields = await self._read(user_id)
        if user is None and self._makers is not None and await self._makers.make_user(user_id):
            user, fields = await self._read(user_id)
        if user is None or user.deactivated:
            raise _no_user()
        return {name: orjson.loads(value) for name, value in fields.items()}

    async def _read(self, user_id: str) -> tuple[User | None, dict[str, bytes]]:
        async with self._store.read() as tx:
            return await tx.users.get(user_id), await tx.profiles.get(user_id)

    async def get_field(self, user_id: str, name: str) -> Any:
        """One field. Raises NOT_FOUND."""
        profile = await self.get(user_id)
        if name not in profile:
            raise MatrixError(ErrCode.NOT_FOUND, "The profile has no such field")
        return profile[name]

    async def put_field(self, who: Requester, user_id: str, name: str, value: Any) -> None:
        """Set a field; the name and avatar are put into the user's rooms as well.

        Raises FORBIDDEN, GUEST_ACCESS_FORBIDDEN, USER_SUSPENDED, INVALID_PARAM, BAD_JSON, KEY_TOO_LARGE,
        PROFILE_TOO_LARGE.
        """
        self._check(who, user_id, name)
        if value is not None or name not in _SHOWN:
            data = _encode(name, value, self._limits.of(name))
        else:
            await self.delete_field(who, user_id, name)  # clients clear a display name with null
            return
        await self._write(user_id, name, data)

    def check_value(self, name: str, value: str) -> None:
        """Raises INVALID_PARAM unless the field may have this value."""
        _encode(name, value, self._limits.of(name))

    async def set_by_operator(self, user_id: str, name: str, value: str | None, note: Note) -> None:
        """Set a field of somebody's profile by an administrator's order, or remove it (None). Raises as `put_field`."""
        await self._write(user_id, name, None if value is None else _encode(name, value, self._limits.of(name)), note)

    async def set_by_site(self, user_id: str, name: str, value: str) -> None:
        """Set a field to what the site says where the user's account comes from. Raises as `put_field`."""
        await self._write(user_id, name, _encode(name, value, self._limits.of(name)))

    async def _write(self, user_id: str, name: str, data: bytes | None, note: Note | None = None) -> None:
        async with self._store.write() as tx:
            await noted(tx, note)
            await tx.users.lock(user_id)  # two fields at once must not be more together than one after the other
            fields = await tx.profiles.get(user_id)
            if data is None:
                await tx.profiles.delete(user_id, name)
                fields.pop(name, None)
            elif name not in fields and len(fields) >= self._limits.fields:
                raise MatrixError(ErrCode.PROFILE_TOO_LARGE, f"Profiles have at most {self._limits.fields} fields")
            else:
                fields[name] = data
            if sum(len(key) + len(field) + 4 for key, field in fields.items()) + 2 > MAX_PROFILE:
                raise MatrixError(ErrCode.PROFILE_TOO_LARGE, f"Profiles have at most {MAX_PROFILE} bytes")
            if data is not None:
                await tx.profiles.put(user_id, name, data)
        await self._tell_rooms(user_id, name)

    async def delete_field(self, who: Requester, user_id: str, name: str) -> None:
        """Remove a field. Raises FORBIDDEN, GUEST_ACCESS_FORBIDDEN, USER_SUSPENDED, INVALID_PARAM."""
        self._check(who, user_id, name)
        async with self._store.write() as tx:
            fields = await tx.profiles.get(user_id)
            await tx.profiles.delete(user_id, name)
        if fields.pop(name, None) is not None:
            await self._tell_rooms(user_id, name)

    def _check(self, who: Requester, user_id: str, name: str) -> None:
        if who.user_id != user_id:
            raise MatrixError(ErrCode.FORBIDDEN, "You can change your own profile only")
        if who.is_guest and name != "displayname":
            # spec: client-server-api#guest-access
            raise MatrixError(ErrCode.GUEST_ACCESS_FORBIDDEN, "Guests may change their display name only")
        if who.suspended:
            raise MatrixError(ErrCode.USER_SUSPENDED, "Suspended accounts cannot change their profile")
        if len(name.encode("utf-8", "surrogatepass")) > _MAX_KEY:
            raise MatrixError(ErrCode.KEY_TOO_LARGE, f"Field names have at most {_MAX_KEY} bytes")
        if name not in _SHOWN and not _CUSTOM.fullmatch(name):
            raise MatrixError(ErrCode.INVALID_PARAM, "This is not a name for a profile field")

    async def _tell_rooms(self, user_id: str, name: str) -> None:
        if name in _SHOWN:
            await self._rooms.profile_changed(user_id)


def _encode(name: str, value: Any, limit: int | None) -> bytes:
    if limit is not None:
        if not isinstance(value, str):
            raise MatrixError(ErrCode.BAD_JSON, f"{name} must be a string")
        if len(value) > limit:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{name} is longer than {limit} characters")
        if "\0" in value:
            raise MatrixError(ErrCode.INVALID_PARAM, f"{name} contains a character that is not allowed")
    data = orjson.dumps(value)
    if len(data) > MAX_PROFILE:
        raise MatrixError(ErrCode.PROFILE_TOO_LARGE, f"Profiles have at most {MAX_PROFILE} bytes")
    return data


def _no_user() -> MatrixError:
    return MatrixError(ErrCode.NOT_FOUND, "There is no profile of this user")
