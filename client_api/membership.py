"""Joining, inviting, leaving, kicking, banning, knocking.  spec: client-server-api#room-membership"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api import limits
from client_api.bounds import Id, Text
from client_api.deps import ClientServices
from client_api.rooms import require_active
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester


class ReasonBody(msgspec.Struct):
    """A body with nothing but a reason; `third_party_signed` and other keys are not used."""

    reason: Text | None = None


class TargetBody(msgspec.Struct):
    """A body that names a user."""

    user_id: Id
    reason: Text | None = None


class InviteBody(msgspec.Struct):
    """An invite, by user id; by address it needs an identity server."""

    user_id: Id | None = None
    reason: Text | None = None
    medium: Id | None = None
    address: Id | None = None


async def join_room(
    api: ClientServices, who: Requester, *, room_id_or_alias: str, body: ReasonBody | None = None
) -> dict[str, Any]:
    """Join a room by id or alias."""
    require_active(who)
    async with limits.taking(api, who, limits.of_join(room_id_or_alias)):
        room_id = await api.rooms.memberships.join(
            who.user_id, room_id_or_alias, reason=_reason(body), is_guest=who.is_guest
        )
    await api.personal.succession.follow(who.user_id, room_id)
    return {"room_id": room_id}


async def join_room_by_id(
    api: ClientServices, who: Requester, *, room_id: str, body: ReasonBody | None = None
) -> dict[str, Any]:
    """Join a room by id."""
    return await join_room(api, who, room_id_or_alias=room_id, body=body)


async def knock_room(
    api: ClientServices, who: Requester, *, room_id_or_alias: str, body: ReasonBody | None = None
) -> dict[str, Any]:
    """Ask to be invited."""
    require_active(who)
    return {"room_id": await api.rooms.memberships.knock(who.user_id, room_id_or_alias, reason=_reason(body))}


async def invite_user(api: ClientServices, who: Requester, *, room_id: str, body: InviteBody) -> None:
    """Invite a user."""
    require_active(who)
    if body.user_id is None:
        if body.medium is not None and body.address is not None:
            raise MatrixError(
                ErrCode.INVALID_PARAM, "This server has no identity server to invite by address: use user ids"
            )
        raise MatrixError(ErrCode.MISSING_PARAM, "user_id is missing")
    async with limits.taking(api, who, limits.of_invites(room_id, [body.user_id])):
        await api.rooms.memberships.invite(who.user_id, room_id, body.user_id, reason=body.reason)


async def leave_room(api: ClientServices, who: Requester, *, room_id: str, body: ReasonBody | None = None) -> None:
    """Leave a room or reject an invite."""
    await api.rooms.memberships.leave(who.user_id, room_id, reason=_reason(body))


async def kick(api: ClientServices, who: Requester, *, room_id: str, body: TargetBody) -> None:
    """Remove a user."""
    require_active(who)
    await api.rooms.memberships.kick(who.user_id, room_id, body.user_id, reason=body.reason)


async def ban(api: ClientServices, who: Requester, *, room_id: str, body: TargetBody) -> None:
    """Ban a user."""
    require_active(who)
    await api.rooms.memberships.ban(who.user_id, room_id, body.user_id, reason=body.reason)


async def unban(api: ClientServices, who: Requester, *, room_id: str, body: TargetBody) -> None:
    """Lift a ban."""
    require_active(who)
    await api.rooms.memberships.unban(who.user_id, room_id, body.user_id, reason=body.reason)


async def forget_room(api: ClientServices, who: Requester, *, room_id: str, body: dict[str, Any] | None = None) -> None:
    """Hide a room that was left."""
    await api.rooms.memberships.forget(who.user_id, room_id)


async def get_joined_rooms(api: ClientServices, who: Requester) -> dict[str, Any]:
    """Rooms the user is joined to."""
    return {"joined_rooms": await api.rooms.memberships.joined_rooms(who.user_id)}


def _reason(body: ReasonBody | None) -> str | None:
    return None if body is None else body.reason
