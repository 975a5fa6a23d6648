"""Creating rooms and sending events into them.  spec: client-server-api#creation, #sending-events-to-a-room"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta

from client_api import limits
from client_api.bounds import STATE_EVENTS, USERS, Content, Id, Text, Users
from client_api.deps import ClientServices
from client_api.visitors import check_sent
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.rooms.claims import MEMBER
from homeserver.services.rooms.create import InitialState, RoomRequest
from homeserver.services.rooms.present import Recipient
from homeserver.services.rooms.replacement import TOMBSTONE


class StateEventBody(msgspec.Struct):
    """One entry of `initial_state`."""

    type: Id
    content: Content
    state_key: Id = ""


class CreateRoomBody(msgspec.Struct):
    """The body of createRoom."""

    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    visibility: Literal["public", "private"] | None = None
    room_version: Id | None = None
    creation_content: Content | None = None
    initial_state: Annotated[list[StateEventBody], Meta(max_length=STATE_EVENTS)] | None = None
    power_level_content_override: Content | None = None
    name: Text | None = None
    topic: Text | None = None
    room_alias_name: Id | None = None
    invite: Users | None = None
    invite_3pid: Annotated[list[Content], Meta(max_length=USERS)] | None = None
    is_direct: bool | None = None


class UpgradeBody(msgspec.Struct):
    """The body of an upgrade."""

    new_version: Id
    additional_creators: Users | None = None


class RedactBody(msgspec.Struct):
    """The body of a redaction."""

    reason: Text | None = None


async def create_room(api: ClientServices, who: Requester, *, body: CreateRoomBody) -> dict[str, Any]:
    """Create a room."""
    require_active(who)
    request = RoomRequest(
        preset=body.preset,
        visibility=body.visibility or "private",
        room_version=body.room_version,
        creation_content=body.creation_content or {},
        initial_state=[InitialState(item.type, item.content, item.state_key) for item in body.initial_state or ()],
        power_level_content_override=body.power_level_content_override or {},
        name=body.name,
        topic=body.topic,
        room_alias_name=body.room_alias_name,
        invite=body.invite or (),
        invite_3pid=body.invite_3pid or (),
        is_direct=bool(body.is_direct),
    )
    if request.room_alias_name is not None:
        api.rooms.aliases.check_exclusive(f"#{request.room_alias_name}:{api.info.server_name}", who.appservice)
    quota = api.rooms.aliases.quota(who.user_id) if request.room_alias_name is not None else nullcontext()
    async with limits.taking(api, who, limits.of_invites(None, request.invite)), quota:
        return {"room_id": await api.rooms.creation.create_room(who.user_id, request)}


async def upgrade_room(api: ClientServices, who: Requester, *, room_id: str, body: UpgradeBody) -> dict[str, Any]:
    """Replace a room by one of another version."""
    require_active(who)
    creators = body.additional_creators or ()
    replacement = await api.rooms.upgrades.upgrade(who.user_id, room_id, body.new_version, creators)
    await api.personal.succession.follow(who.user_id, replacement)
    return {"replacement_room": replacement}


async def send_message(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_type: str,
    txn_id: str,
    body: dict[str, Any],
    ts: int | None = None,
) -> dict[str, Any]:
    """Send a message event."""
    return await send_event(api, who, (room_id, event_type), txn_id, body, ts)


async def send_event(
    api: ClientServices,
    who: Requester,
    what: tuple[str, str],
    txn_id: str | None,
    body: dict[str, Any],
    ts: int | None = None,
) -> dict[str, Any]:
    """Send an event of `what` (room id, type), once if it has a transaction id."""
    room_id, event_type = what
    check_sent(who, event_type, body, api.info.visitor_message_bytes)
    await api.visitor_messages.count(who)
    redacted = body.get("redacts") if event_type == "m.room.redaction" else None
    if isinstance(redacted, str):
        await _require_redactable(api, who, room_id, redacted)
    else:
        require_active(who)
    sent = await api.rooms.sending.send_message(room_id, _device(who), event_type, txn_id, body, ts=_massaged(who, ts))
    return {"event_id": sent}


async def set_room_state_with_key(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_type: str,
    state_key: str,
    body: dict[str, Any],
    ts: int | None = None,
) -> dict[str, Any]:
    """Set a piece of state."""
    is_leaving = (event_type, state_key) == ("m.room.member", who.user_id) and body.get("membership") == "leave"
    if not is_leaving:
        require_active(who)
    membership = body.get("membership") if event_type == MEMBER else None
    parts: limits.Parts = []
    if membership == "invite":
        parts = limits.of_invites(room_id, [state_key])
        if who.rate_limited:
            api.limits.take("invites_issuer", who.user_id)
    elif membership == "join" and state_key == who.user_id:
        parts = limits.of_join(room_id)
        if who.rate_limited:
            api.limits.take("joins", who.user_id)
    elif membership == "knock" and state_key == who.user_id and who.rate_limited:
        api.limits.take("joins", who.user_id)
    async with limits.taking(api, who, parts):
        sent = await api.rooms.sending.set_state(
            room_id, who.user_id, (event_type, state_key), body, ts=_massaged(who, ts)
        )
    if membership == "join":
        await api.personal.succession.follow(who.user_id, room_id)
    elif (event_type, state_key) == (TOMBSTONE, ""):
        await _follow_own_upgrade(api, who, body.get("replacement_room"))
    return {"event_id": sent}


async def _follow_own_upgrade(api: ClientServices, who: Requester, replacement: Any) -> None:
    """Who upgrades by hand is in the new room before the old one names it."""
    if isinstance(replacement, str) and replacement in await api.rooms.memberships.joined_rooms(who.user_id):
        await api.personal.succession.follow(who.user_id, replacement)


async def redact_event(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_id: str,
    txn_id: str,
    body: RedactBody | None = None,
) -> dict[str, Any]:
    """Redact an event."""
    return await redact(api, who, (room_id, event_id), txn_id, body)


async def redact(
    api: ClientServices, who: Requester, what: tuple[str, str], txn_id: str | None, body: RedactBody | None
) -> dict[str, Any]:
    """Redact `what` (room id, event id)."""
    room_id, event_id = what
    await _require_redactable(api, who, room_id, event_id)
    reason = None if body is None else body.reason
    return {"event_id": await api.rooms.sending.redact(room_id, _device(who), event_id, txn_id, reason)}


def require_active(who: Requester) -> None:
    """Refuse suspended users.  spec: client-server-api#account-suspension"""
    if who.suspended:
        raise MatrixError(ErrCode.USER_SUSPENDED, "This account is suspended")


async def _require_redactable(api: ClientServices, who: Requester, room_id: str, event_id: str) -> None:
    """Suspended users may redact what they wrote and nothing else.  spec: client-server-api#account-suspension"""
    if not who.suspended:
        return
    event = orjson.loads(await api.rooms.history.event(Recipient(who.user_id), room_id, event_id))
    if event["sender"] != who.user_id:
        require_active(who)


def _device(who: Requester) -> tuple[str, str]:
    # An application service without a device still has one scope of transaction ids per user.
    return who.user_id, who.device_id or ""


def _massaged(who: Requester, ts: int | None) -> int | None:
    """The timestamp an application service chose; others cannot.  spec: application-service-api#timestamp-massaging"""
    if who.appservice is None or ts is None:
        return None
    if not 0 <= ts < 2**53:  # what an event may hold  spec: appendices#canonical-json
        raise MatrixError(ErrCode.INVALID_PARAM, "ts must be milliseconds since 1970")
    return ts
