"""Finding people: the user directory, and the rooms that two users share.

spec: client-server-api#user-directory, client-server-api#mutual-rooms
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.folding import words
from homeserver.core.ids import parse_user_id
from homeserver.ports.store import Store
from homeserver.services.rooms.tokens import offset_of, offset_token

_WORDS = 5
_SHOWN = ("displayname", "avatar_url")
_ROOMS = 1_000


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the directory shows them."""

    user_id: str
    display_name: str | None = None
    avatar_url: str | None = None


class People:
    """Searches for requesters."""

    def __init__(self, store: Store, *, max_results: int, shown: Sequence[str] = ()) -> None:
        """`shown` are login providers whose people can be found by everybody."""
        self._store = store
        self._max_results = max_results
        self._shown = shown

    async def search(self, user_id: str, term: str, limit: int) -> tuple[list[Person], bool]:
        """People whose ids or display names match, and whether there are more.

        Raises MatrixError(INVALID_PARAM) for a limit below one.
        spec: client-server-api#post_matrixclientv3user_directorysearch
        """
        if limit < 1:
            raise MatrixError(ErrCode.INVALID_PARAM, "limit must be positive")
        limit = min(limit, self._max_results)
        async with self._store.read() as tx:
            found = await tx.people.search(user_id, words(term, _WORDS), limit + 1, self._shown)
            profiles = await tx.profiles.get_many(found[:limit], _SHOWN) if found else {}
        people = []
        for name in found[:limit]:
            profile = {key: orjson.loads(value) for key, value in profiles.get(name, {}).items()}
            people.append(Person(name, profile.get("displayname"), profile.get("avatar_url")))
        return people, len(found) > limit

    async def mutual_rooms(self, user_id: str, other: str, start: str | None) -> tuple[list[str], int, str | None]:
        """A page of the rooms that both are joined to, how many there are, and the next page's token.

        Raises MatrixError(INVALID_PARAM) for what is no user id, for oneself, and for a bad token.
        spec: client-server-api#get_matrixclientv1mutual_rooms
        """
        parse_user_id(other)
        if other == user_id:
            raise MatrixError(ErrCode.INVALID_PARAM, "You share all your rooms with yourself")
        offset = 0 if start is None else offset_of(start)
        async with self._store.read() as tx:
            rooms = await tx.people.mutual_rooms(user_id, other)
        end = offset + _ROOMS
        return rooms[offset:end], len(rooms), offset_token(end) if end < len(rooms) else None
