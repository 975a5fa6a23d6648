"""Room aliases of this server: names for rooms, who may make and remove them, and what rooms may claim about them.

spec: client-server-api#room-aliases
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.ids import domain_of, parse_room_alias, parse_room_id
from homeserver.ports.appservices import AppServices, Makers
from homeserver.ports.store import Transaction, UniqueViolation
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.writer import RoomMemory

_CANONICAL = ("m.room.canonical_alias", "")


class Aliases:
    """Local aliases."""

    def __init__(
        self,
        memory: RoomMemory,
        access: RoomAccess,
        server_name: str,
        *,
        max_per_user: int,
        appservices: AppServices | None = None,
        makers: Makers | None = None,
    ) -> None:
        """`appservices` have aliases to themselves, `makers` make rooms whose aliases somebody asks for."""
        self._appservices = appservices
        self._makers = makers
        self._max_per_user = max_per_user
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._memory = memory
        self._access = access
        self._server_name = server_name

    async def room_of(self, alias: str) -> str:
        """The room id behind an alias. Raises MatrixError(NOT_FOUND, INVALID_PARAM).

        spec: client-server-api#get_matrixclientv3directoryroomroomalias
        """
        parse_room_alias(alias)
        async with self._memory.store.read() as tx:
            found = await tx.aliases.get(alias)
        if found is None and self._makers is not None and await self._makers.make_alias(alias):
            async with self._memory.store.read() as tx:
                found = await tx.aliases.get(alias)
        if found is None:
            raise MatrixError(ErrCode.NOT_FOUND, "No room has this alias")
        return found.room_id

    def check_exclusive(self, alias: str, appservice: str | None) -> None:
        """Raise MatrixError(EXCLUSIVE) if the alias is another application service's to make.

        `appservice` is the service that asks, if one does.  spec: application-service-api#registration
        """
        owner = None if self._appservices is None else self._appservices.exclusive_alias(alias)
        if owner is not None and owner.id != appservice:
            raise MatrixError(ErrCode.EXCLUSIVE, "The alias is reserved by an application service")

    @asynccontextmanager
    async def quota(self, user_id: str) -> AsyncIterator[None]:
        """While an alias of the user is made: one after the other, so that each sees those before it.

        Raises MatrixError(RESOURCE_LIMIT_EXCEEDED) if the user has made as many aliases as anybody may.
        """
        lock = self._making.setdefault(user_id, asyncio.Lock())
        async with lock:
            async with self._memory.store.read() as tx:
                await self._check_quota(tx, user_id)
            yield

    async def _check_quota(self, tx: Transaction, user_id: str) -> None:
        made = await tx.aliases.count_of(user_id)
        if made < self._max_per_user:
            return
        owner = await tx.users.get(user_id)
        if owner is None or owner.appservice_id is None:  # a bridge names a room for everything that it maps
            raise MatrixError(ErrCode.RESOURCE_LIMIT_EXCEEDED, f"You have {made} aliases already")

    async def set_room_alias(self, user_id: str, alias: str, room_id: str, *, appservice: str | None = None) -> None:
        """Give a room an alias; any member may.

        `appservice` is the application service that acts for the user. Raises MatrixError: INVALID_PARAM for a bad
        alias or another server's, EXCLUSIVE, ALIAS_IN_USE (409), FORBIDDEN, RESOURCE_LIMIT_EXCEEDED.
        spec: client-server-api#put_matrixclientv3directoryroomroomalias
        """
        parse_room_alias(alias)
        parse_room_id(room_id)
        if domain_of(alias) != self._server_name:
            raise MatrixError(ErrCode.INVALID_PARAM, "The alias belongs to another server")
        self.check_exclusive(alias, appservice)
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        if head is None or await self._access.membership(head, user_id) != "join":
            raise NotAllowed("You are not in this room")
        try:
            async with self.quota(user_id), memory.store.write() as tx:
                await tx.users.lock(user_id)  # another process's aliases come before or behind
                await self._check_quota(tx, user_id)
                await tx.aliases.put(alias, head.room_nid, user_id)
        except UniqueViolation:
            raise MatrixError(ErrCode.ALIAS_IN_USE, "The alias is taken", status=409) from None

    async def delete_room_alias(self, user_id: str, alias: str, *, is_admin: bool = False) -> None:
        """Remove an alias: for whoever made it, those who may set the room's canonical alias, and admins.

        Raises MatrixError: NOT_FOUND, FORBIDDEN.  spec: client-server-api#delete_matrixclientv3directoryroomroomalias
        """
        parse_room_alias(alias)
        memory = self._memory
        async with memory.store.read() as tx:
            found = await tx.aliases.get(alias)
        if found is None:
            raise MatrixError(ErrCode.NOT_FOUND, "No room has this alias")
        if not is_admin and found.creator != user_id and not await self._may_set_canonical(user_id, found.room_id):
            raise NotAllowed("You may not remove this alias")
        async with memory.store.write() as tx:
            await tx.aliases.delete(alias)

    async def local_aliases(self, user_id: str, room_id: str) -> list[str]:
        """Aliases of a room.  spec: client-server-api#get_matrixclientv3roomsroomidaliases"""
        view = await self._access.current(room_id, user_id)
        async with self._memory.store.read_committed() as tx:
            return await tx.aliases.of_room(view.room_nid)

    async def check_canonical_alias(self, room_id: str, content: dict[str, Any]) -> None:
        """Check aliases that an m.room.canonical_alias event names and its predecessor did not.

        Raises MatrixError: INVALID_PARAM for one that is no alias, BAD_ALIAS for one that leads elsewhere.
        spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        if head is None:
            raise NotAllowed("You are not in this room")
        before: set[str] = set()
        if (canonical := (await memory.read_events(head.state, [_CANONICAL])).get(_CANONICAL)) is not None:
            before = set(_named(canonical.event.content))
        new = [alias for alias in _named(content) if alias not in before]
        for alias in new:
            parse_room_alias(alias)
        async with memory.store.read() as tx:
            for alias in new:
                known = await tx.aliases.get(alias)
                if known is None or known.room_nid != head.room_nid:
                    raise MatrixError(ErrCode.BAD_ALIAS, f"{alias} does not lead to this room")

    async def _may_set_canonical(self, user_id: str, room_id: str) -> bool:
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        if head is None or await self._access.membership(head, user_id) != "join":
            return False
        levels = await memory.power_levels(head)
        return levels.user(user_id) >= levels.event(_CANONICAL[0], is_state=True)


def _named(content: dict[str, Any]) -> list[str]:
    """The aliases that a canonical_alias event names, malformed ones left for the format check."""
    alias, alternatives = content.get("alias"), content.get("alt_aliases")
    named = [alias, *(alternatives if isinstance(alternatives, list) else [])]
    return [name for name in named if isinstance(name, str) and name]
