"""Membership: joining, inviting, leaving, kicking, banning, knocking, forgetting.

Each call is one decision under the room's queue, so that two of them at once see each other. What the rules forbid
they forbid in `core.auth`; here stands only what the endpoints add (being in the room already is no error, `/kick`
does not lift bans).
spec: client-server-api#room-membership
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from homeserver.core.errors import ErrCode, MatrixError, NotAllowed
from homeserver.core.ids import domain_of, parse_room_id, parse_user_id
from homeserver.ports.log import ForgottenEntry, LogEntry
from homeserver.ports.store import Transaction
from homeserver.services.commit import Committer
from homeserver.services.rooms.claims import own_words
from homeserver.services.rooms.drafts import Decider, Draft, Existing, RoomView
from homeserver.services.rooms.guests import GuestAccess
from homeserver.services.rooms.invites import InvitePermission
from homeserver.services.rooms.profiles import MemberProfiles
from homeserver.services.rooms.restricted import Authorisers
from homeserver.services.rooms.writer import RoomMemory, RoomWriter

_log = structlog.get_logger(__name__)

_MEMBER = "m.room.member"
_ROOMS_AT_ONCE = 10
_PROFILE_ATTEMPTS = 20
_SHOWN = ("displayname", "avatar_url")
_NOT_KEPT = ("displayname", "avatar_url", "reason", "third_party_invite", "join_authorised_via_users_server")
"""What a member event says about one change of membership, or about the old profile."""


class AliasResolver(Protocol):
    """Finds rooms by alias."""

    async def room_of(self, alias: str) -> str:
        """The room id behind an alias. Raises MatrixError(NOT_FOUND)."""
        ...


@dataclass(frozen=True, slots=True)
class Forgetting:
    """A user forgets a room: a change of the log."""

    user_id: str
    room_id: str
    room_nid: int

    async def prepare(self, _tx: Transaction) -> int:
        """One position."""
        return 1

    async def write(self, tx: Transaction, first: int) -> Sequence[LogEntry]:
        """Hide the room."""
        await tx.rooms.set_forgotten(self.user_id, self.room_nid)
        return [ForgottenEntry(first, self.user_id, self.room_id)]


class Memberships:
    """Changes memberships on behalf of local users."""

    def __init__(
        self,
        writer: RoomWriter,
        committer: Committer,
        memory: RoomMemory,
        profiles: MemberProfiles,
        aliases: AliasResolver,
        invites: InvitePermission,
        guests: GuestAccess,
        server_name: str,
    ) -> None:
        self._writer = writer
        self._committer = committer
        self._memory = memory
        self._profiles = profiles
        self._aliases = aliases
        self._invites = invites
        self._guests = guests
        self._server_name = server_name
        self._authorisers = Authorisers(memory, server_name)

    async def join(
        self, user_id: str, room_id_or_alias: str, *, reason: str | None = None, is_guest: bool | None = None
    ) -> str:
        """Join a room; returns its id. Being joined already is success and changes nothing.

        `is_guest` is asked if it is not given.

        Raises MatrixError: NOT_FOUND, FORBIDDEN, UNABLE_TO_AUTHORISE_JOIN, GUEST_ACCESS_FORBIDDEN.
        spec: client-server-api#post_matrixclientv3joinroomidoralias
        """
        room_id = await self._existing_room(room_id_or_alias)
        authoriser = await self._authorisers.for_join(room_id, user_id)
        content = await self._content(user_id, "join", reason)
        if is_guest is None:
            is_guest = await self._guests.is_guest(user_id)

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            if is_guest:
                self._guests.check(room)
            if (existing := _already(room, user_id, "join")) is not None:
                return existing
            if authoriser is not None and room.membership(user_id) != "invite":
                return {**content, "join_authorised_via_users_server": authoriser}
            return content

        await self._set(room_id, user_id, user_id, decide)
        await self._left_out_if_refused(room_id, lambda joined: self._show_newest(user_id, joined, content))
        return room_id

    async def by_state(
        self, sender: str, room_id: str, target: str, content: dict[str, Any], *, ts: int | None = None
    ) -> str:
        """Do what a client's member event asks for, as the endpoint for that change would; returns the event's id.

        Users may show another name in one room; of others only their profile is shown. Keys that nobody defines
        stay. Raises MatrixError as the endpoint would.
        spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        parse_user_id(target)
        membership, own = content.get("membership"), sender == target
        content = own_words(_MEMBER, content)
        if membership == "invite":
            await self._require_invitable(target)
        is_guest = own and await self._guests.is_guest(target)
        hidden = _hidden(own and membership in ("join", "knock"), is_guest)
        content = {key: value for key, value in content.items() if key not in hidden}
        names_itself = any(key in content for key in _SHOWN)
        authoriser = None
        if membership == "invite" or (own and membership in ("join", "knock")):
            content = {**await self._profiles.member_profile(target), **content}
        if own and membership == "join":
            authoriser = await self._authorisers.for_join(room_id, target)

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            now = room.membership(target)
            if is_guest and membership == "join":
                self._guests.check(room)
            if own and membership in ("knock", "leave") and (existing := _already(room, target, membership)):
                return existing
            if not own:
                _require_in_room(room, sender)
            if not own and membership == "leave" and now not in ("join", "invite", "knock", "ban"):
                raise NotAllowed("The user is neither in the room nor banned")
            if authoriser is not None and now not in ("invite", "join"):
                return {**content, "join_authorised_via_users_server": authoriser}
            return content

        event_id = await self._set(room_id, sender, target, decide, ts=ts)
        if own and membership == "join" and not names_itself:
            await self._left_out_if_refused(room_id, lambda joined: self._show_newest(target, joined, content))
        return event_id

    async def knock(self, user_id: str, room_id_or_alias: str, *, reason: str | None = None) -> str:
        """Ask to be invited; returns the room id.  spec: client-server-api#post_matrixclientv3knockroomidoralias"""
        room_id = await self._existing_room(room_id_or_alias)
        content = await self._content(user_id, "knock", reason)

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            return _already(room, user_id, "knock") or content

        await self._set(room_id, user_id, user_id, decide)
        return room_id

    async def invite(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Invite a user.  spec: client-server-api#post_matrixclientv3roomsroomidinvite"""
        parse_user_id(target)
        await self._require_invitable(target)
        content = await self._content(target, "invite", reason)
        await self._set(room_id, sender, target, lambda room: content)

    async def leave(self, user_id: str, room_id: str, *, reason: str | None = None) -> None:
        """Leave a room, reject an invite or take back a knock. Having left already is success.

        spec: client-server-api#post_matrixclientv3roomsroomidleave
        """
        content = _plain("leave", reason)

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            return _already(room, user_id, "leave") or content

        await self._set(room_id, user_id, user_id, decide)

    async def kick(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Remove a user, their invite or their knock.  spec: client-server-api#post_matrixclientv3roomsroomidkick"""
        parse_user_id(target)
        content = _plain("leave", reason)

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            _require_in_room(room, sender)
            if room.membership(target) not in ("join", "invite", "knock"):
                raise NotAllowed("The user is not in the room")
            return content

        await self._set(room_id, sender, target, decide)

    async def ban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Ban a user.  spec: client-server-api#post_matrixclientv3roomsroomidban"""
        parse_user_id(target)
        content = _plain("ban", reason)
        await self._set(room_id, sender, target, lambda room: content)

    async def unban(self, sender: str, room_id: str, target: str, *, reason: str | None = None) -> None:
        """Lift a ban.  spec: client-server-api#post_matrixclientv3roomsroomidunban"""
        parse_user_id(target)
        content = _plain("leave", reason)

        def decide(room: RoomView) -> dict[str, Any] | Existing:
            _require_in_room(room, sender)
            if room.membership(target) != "ban":
                raise NotAllowed("The user is not banned")
            return content

        await self._set(room_id, sender, target, decide)

    async def forget(self, user_id: str, room_id: str) -> None:
        """Hide a room the user has left for good; its history is no longer theirs.

        Raises MatrixError: UNKNOWN while the user is still in the room, NOT_FOUND.
        spec: client-server-api#post_matrixclientv3roomsroomidforget
        """
        parse_room_id(room_id)
        async with self._memory.store.read() as tx:
            mine = next((m for m in await tx.rooms.memberships(user_id) if m.room_id == room_id), None)
        if mine is None:
            raise MatrixError(ErrCode.NOT_FOUND, "You have never been in this room")
        if mine.membership not in ("leave", "ban"):
            raise MatrixError(ErrCode.UNKNOWN, "You are still in this room")
        if not mine.forgotten:
            await self._committer.commit(Forgetting(user_id, room_id, mine.room_nid))

    async def leave_all(self, user_id: str) -> None:
        """Leave every room and reject every invite and knock; a room where that fails is left out."""
        rooms = await self._rooms_of(user_id, "join", "invite", "knock")
        await self._in_all(rooms, lambda room_id: self.leave(user_id, room_id))

    async def profile_changed(self, user_id: str) -> None:
        """Put the newest profile into the user's member event of every joined room.

        spec: client-server-api#events-on-change-of-profile-information
        """
        rooms = await self._rooms_of(user_id, "join")
        await self._in_all(rooms, lambda room_id: self._show_newest(user_id, room_id, None))

    async def _show_newest(self, user_id: str, room_id: str, shown: Mapping[str, Any] | None) -> None:
        """Make a room show the newest profile, when it shows that of `shown` (None: an unknown one).

        The profile is read again after each commit: a change that was written before that read is put in here, one
        that is written later finds the committed join and comes by itself. So whoever is last leaves the newest.
        """
        for _ in range(_PROFILE_ATTEMPTS):
            newest = await self._profiles.member_profile(user_id)
            if shown is not None and all(shown.get(key) == newest.get(key) for key in _SHOWN):
                return

            def decide(room: RoomView, newest: Mapping[str, str] = newest) -> dict[str, Any] | Existing:
                member = room.get(_MEMBER, user_id)
                if member is None or member.membership != "join":
                    raise NotAllowed("The user has left the room meanwhile")
                kept = {key: value for key, value in member.content.items() if key not in _NOT_KEPT}
                return {**kept, **newest}

            await self._set(room_id, user_id, user_id, decide)
            shown = newest

    async def _rooms_of(self, user_id: str, *memberships: str) -> list[str]:
        async with self._memory.store.read() as tx:
            return [m.room_id for m in await tx.rooms.memberships(user_id) if m.membership in memberships]

    async def _in_all(self, rooms: list[str], act: Callable[[str], Awaitable[object]]) -> None:
        """Do something in many rooms, a few at a time."""
        slots = asyncio.Semaphore(_ROOMS_AT_ONCE)

        async def one(room_id: str) -> None:
            async with slots:
                await self._left_out_if_refused(room_id, act)

        await asyncio.gather(*map(one, rooms))

    async def _left_out_if_refused(self, room_id: str, act: Callable[[str], Awaitable[object]]) -> None:
        try:
            await act(room_id)
        except MatrixError as error:
            _log.info("room_left_out", room_id=room_id, error=str(error))

    async def joined_rooms(self, user_id: str) -> list[str]:
        """Rooms the user is joined to.  spec: client-server-api#get_matrixclientv3joined_rooms"""
        return await self._rooms_of(user_id, "join")

    async def _existing_room(self, room_id_or_alias: str) -> str:
        if room_id_or_alias.startswith("#"):
            return await self._aliases.room_of(room_id_or_alias)
        room_id = parse_room_id(room_id_or_alias)
        if await self._memory.heads.fetch(room_id, self._memory.store) is None:
            raise MatrixError(ErrCode.NOT_FOUND, "This server knows no such room")
        return room_id

    async def _content(self, user_id: str, membership: str, reason: str | None) -> dict[str, Any]:
        return {**await self._profiles.member_profile(user_id), **_plain(membership, reason)}

    async def _require_invitable(self, target: str) -> None:
        if domain_of(target) != self._server_name:
            raise NotAllowed(f"{target} is not a user of this server and cannot be invited from here")
        await self._invites.check([target])

    def _set(self, room_id: str, sender: str, target: str, decide: Decider, *, ts: int | None = None) -> Awaitable[str]:
        parse_room_id(room_id)
        return self._writer.send(room_id, Draft(sender, _MEMBER, {}, target, origin_server_ts=ts, decide=decide))


def _plain(membership: str, reason: str | None) -> dict[str, Any]:
    return {"membership": membership} if reason is None else {"membership": membership, "reason": reason}


def _hidden(names_oneself: bool, is_guest: bool) -> Sequence[str]:
    """What of a profile a client's member event may not say; guests change their display name only."""
    if not names_oneself:
        return _SHOWN
    return ("avatar_url",) if is_guest else ()


def _already(room: RoomView, user_id: str, membership: str) -> Existing | None:
    member = room.get(_MEMBER, user_id)
    return Existing(member.event_id) if member is not None and member.membership == membership else None


def _require_in_room(room: RoomView, sender: str) -> None:
    # First, so that outsiders do not learn who is in the room.
    if room.membership(sender) != "join":
        raise NotAllowed("You are not in this room")
