"""Reading a room's state.  spec: client-server-api#getting-events-for-a-room"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from client_api.deps import ClientServices
from homeserver.ports.requester import Requester
from homeserver.web.response import Json

Membership = Literal["join", "invite", "knock", "leave", "ban"]


async def get_room_state(api: ClientServices, who: Requester, *, room_id: str) -> Json:
    """All state events."""
    state = await api.rooms.state.all(who.user_id, room_id)
    return Json(b"[" + b",".join(state) + b"]")


async def get_room_state_with_key(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    event_type: str,
    state_key: str,
    format: Literal["content", "event"] = "content",
) -> Json:
    """One piece of state."""
    content, render = await api.rooms.state.one(who.user_id, room_id, event_type, state_key)
    return Json(render()) if format == "event" else Json.of(content)


async def get_members_by_room(
    api: ClientServices,
    who: Requester,
    *,
    room_id: str,
    at: str | None = None,
    membership: Membership | None = None,
    not_membership: Membership | None = None,
) -> dict[str, Any]:
    """Member events."""
    members = await api.rooms.state.members(
        who.user_id, room_id, at=at, membership=membership, not_membership=not_membership
    )
    return {"chunk": [orjson.Fragment(member) for member in members]}


async def get_joined_members_by_room(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """Joined users with their profiles."""
    return {"joined": await api.rooms.state.joined_members(who.user_id, room_id)}
