"""Upgrades a room: a new one of another version takes its place, and its aliases.

The tombstone and the new room are one commit: each names the other, and neither is ever without the other (ADR 0012).
spec: client-server-api#room-upgrades
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from homeserver.core.auth.power import PowerLevels
from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.event import Event, StateKey
from homeserver.core.ids import parse_room_id, parse_user_id
from homeserver.core.versions import RoomVersion, room_version
from homeserver.ports.events import NewRoom, RoomAppend, RoomHead
from homeserver.services.rooms.access import RoomAccess
from homeserver.services.rooms.drafts import Draft, Existing, RoomView
from homeserver.services.rooms.profiles import MemberProfiles
from homeserver.services.rooms.replacement import (
    SPACE_CHILD,
    TOMBSTONE,
    TRANSFERRED,
    closed_levels,
    create_content,
    opened_last,
    replacement_events,
)
from homeserver.services.rooms.writer import RoomMemory, RoomWriter

_log = structlog.get_logger(__name__)

_CANONICAL = ("m.room.canonical_alias", "")
_TOMBSTONE = (TOMBSTONE, "")
_MAX_CREATORS = 100
_AT_ONCE = 300
_BATCH = 100
_CARRIED = frozenset({*TRANSFERRED, SPACE_CHILD, "m.room.create", "m.room.power_levels"})


@dataclass(frozen=True, slots=True)
class _OldRoom:
    """The room to replace, as it is when the upgrade begins."""

    head: RoomHead
    create: Event
    tombstone: str | None
    is_public: bool


class _Replacement:
    """The tombstone and the new room that it names, decided together as often as the writer needs to."""

    def __init__(
        self, writer: RoomWriter, version: RoomVersion, user_id: str, drafts: Sequence[Draft], old: _OldRoom
    ) -> None:
        self.room_id = ""
        self._writer = writer
        self._version = version
        self._user_id = user_id
        self._drafts = drafts
        self._old = old
        self._made: RoomAppend | None = None

    def draft(self) -> Draft:
        """The tombstone."""
        return Draft(self._user_id, TOMBSTONE, {}, "", decide=self._decide, successor=self._successor)

    def _decide(self, room: RoomView) -> dict[str, Any]:
        known = room.get(*_TOMBSTONE)
        if (None if known is None else known.event_id) != self._old.tombstone:
            raise NotAllowed("Somebody else is upgrading this room")
        if self._version.auth.room_id_is_create_hash:
            # Its id is made of all that its create event says, so that this cannot name the tombstone.
            self._made = self._begin(self._drafts, "")
            self.room_id = self._made.head.room_id
        else:
            self._made = None
            self.room_id = self._writer.new_room_id()
        return {"body": "This room has been replaced", "replacement_room": self.room_id}

    def _successor(self, tombstone: str) -> RoomAppend:
        if self._made is not None:
            return self._made
        create = self._drafts[0]
        predecessor = {**create.content["predecessor"], "event_id": tombstone}
        create = replace(create, content={**create.content, "predecessor": predecessor})
        return self._begin([create, *self._drafts[1:]], self.room_id)

    def _begin(self, drafts: Sequence[Draft], room_id: str) -> RoomAppend:
        try:
            return self._writer.begin(self._version, drafts, NewRoom(room_id, self._version, self._user_id, False))
        except NotAllowed as error:
            raise MatrixError(
                ErrCode.INVALID_ROOM_STATE, f"The room's state does not fit the new version: {error.message}"
            ) from None


class RoomUpgrades:
    """Replaces rooms on behalf of local users."""

    def __init__(
        self,
        memory: RoomMemory,
        writer: RoomWriter,
        access: RoomAccess,
        profiles: MemberProfiles,
    ) -> None:
        self._memory = memory
        self._writer = writer
        self._access = access
        self._profiles = profiles

    async def upgrade(self, user_id: str, room_id: str, version_id: str, additional_creators: Sequence[str]) -> str:
        """Replace a room; returns the id of the new one.

        Raises MatrixError: UNSUPPORTED_ROOM_VERSION, INVALID_PARAM, FORBIDDEN if the user may not send tombstones
        there, INVALID_ROOM_STATE if the old room's state cannot go over.
        spec: client-server-api#post_matrixclientv3roomsroomidupgrade
        """
        parse_room_id(room_id)
        version = room_version(version_id)
        if not version.auth.privileged_creators:
            additional_creators = ()
        if len(additional_creators) > _MAX_CREATORS:
            raise MatrixError(ErrCode.INVALID_PARAM, f"A room has at most {_MAX_CREATORS} additional creators")
        for creator in additional_creators:
            parse_user_id(creator)
        old = await self._old_room(user_id, room_id)  # 1
        last = old.head.extremities[0][0] if old.head.extremities else None
        creators = [creator for creator in additional_creators if creator != user_id]
        create = create_content(user_id, version, old.create, last, creators)
        profile = await self._profiles.member_profile(user_id)
        drafts = replacement_events(user_id, profile, version, create, await self._carried(old.head))  # 3
        if len(drafts) > _AT_ONCE:
            drafts = opened_last(drafts)
        replacement = _Replacement(self._writer, version, user_id, drafts[:_AT_ONCE], old)
        await self._writer.send(room_id, replacement.draft())  # 2 and 5
        await self._send_rest(replacement.room_id, drafts[_AT_ONCE:])
        await self._move(old, replacement.room_id)  # 4
        await self._give_up_alias(user_id, room_id)
        await self._lock_out(user_id, room_id)  # 6
        return replacement.room_id

    async def _send_rest(self, room_id: str, drafts: Sequence[Draft]) -> None:
        """Of very many bans or children only the first are part of the one append."""
        for start in range(0, len(drafts), _BATCH):
            batch = (self._writer.send(room_id, draft) for draft in drafts[start : start + _BATCH])
            for outcome in await asyncio.gather(*batch, return_exceptions=True):
                if isinstance(outcome, MatrixError):
                    _log.info("state_left_behind", room_id=room_id, error=outcome.message)
                elif isinstance(outcome, BaseException):
                    raise outcome

    async def _old_room(self, user_id: str, room_id: str) -> _OldRoom:
        memory = self._memory
        head = await memory.heads.fetch(room_id, memory.store)
        try:
            await self._access.window(room_id, user_id)
        except NotAllowed:
            # The same for a room that does not exist and one that the user may not know.
            raise MatrixError(ErrCode.NOT_FOUND, "There is no such room, or you are not in it") from None
        if head is None or await self._access.membership(head, user_id) != "join":
            raise NotAllowed("You are not in this room")
        state = await self._events(head, (CREATE, POWER_LEVELS, _TOMBSTONE))
        levels = PowerLevels(head.room_version, state.get(CREATE), state.get(POWER_LEVELS))
        if levels.user(user_id) < levels.event(TOMBSTONE, is_state=True):
            raise NotAllowed("You may not upgrade this room")
        async with memory.store.read() as tx:
            is_public = any(nid == head.room_nid for nid, _ in await tx.rooms.public_rooms())
        tombstone = state.get(_TOMBSTONE)
        return _OldRoom(head, state[CREATE], None if tombstone is None else tombstone.event_id, is_public)

    async def _carried(self, head: RoomHead) -> list[Event]:
        """The state that may go over to the new room: the few transferred types, and whom the room has banned."""
        async with self._memory.store.read() as tx:
            state = (await tx.rooms.current_state([head.room_nid], types=_CARRIED)).get(head.room_nid, [])
            banned = await tx.rooms.current_members(head.room_nid, ["ban"])
        return [stored.event for stored in (*state, *banned)]

    async def _move(self, old: _OldRoom, replacement: str) -> None:
        """Let aliases and the directory lead to the new room. After the tombstone: a refused one moves nothing."""
        async with self._memory.store.write() as tx:
            new = (await tx.rooms.room_nids([replacement]))[replacement]
            await tx.aliases.move(old.head.room_nid, new)
            if old.is_public:
                await tx.rooms.set_public(old.head.room_nid, False)
                await tx.rooms.set_public(new, True)

    async def _give_up_alias(self, user_id: str, room_id: str) -> None:
        """Let the old room no longer claim the aliases that lead to the new one, if the upgrader may decide so."""

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            known = room.get(*_CANONICAL)
            return Existing("") if known is None or not known.content else {}

        try:
            await self._writer.send(room_id, Draft(user_id, _CANONICAL[0], {}, "", decide=decide))
        except MatrixError as error:
            _log.info("old_room_keeps_alias", room_id=room_id, error=error.message)

    async def _lock_out(self, user_id: str, room_id: str) -> None:
        """Let ordinary members of the old room neither write nor invite, if the upgrader may decide so."""

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            levels = room.get(*POWER_LEVELS)
            if levels is None:
                raise NotAllowed("The room has no power levels")
            return closed_levels(levels.content, room.version)

        try:
            await self._writer.send(room_id, Draft(user_id, "m.room.power_levels", {}, "", decide=decide))
        except MatrixError as error:
            _log.info("old_room_left_open", room_id=room_id, error=error.message)

    async def _events(self, head: RoomHead, keys: Sequence[StateKey]) -> dict[StateKey, Event]:
        found = await self._memory.read_events(head.state, keys)
        return {key: stored.event for key, stored in found.items()}
