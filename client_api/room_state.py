"""Reading a room's state.  spec: client-server-api#getting-events-for-a-room"""

from __future__ import annotations

from typing import Any, Literal

from client_api.deps import ClientServices
from homeserver.ports.requester import Requester
from homeserver.web.response import Json, Response, json_list

Membership = Literal["join", "invite", "knock", "leave", "ban"]


async def get_room_state(api: ClientServices, who: Requester, *, room_id: str) -> Json | Response:
    """All state events."""
    return await json_list(b"[", await api.rooms.state.all_paged(who.user_id, room_id), b"]")


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
) -> Json | Response:
    """Member events."""
    members = await api.rooms.state.members(
        who.user_id, room_id, at=at, membership=membership, not_membership=not_membership
    )
    return await json_list(b'{"chunk":[', members, b"]}")


async def get_joined_members_by_room(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """Joined users with their profiles."""
    return {"joined": await api.rooms.state.joined_members(who.user_id, room_id)}
