"""Room tags.  spec: client-server-api#room-tagging"""

from __future__ import annotations

from typing import Any

from client_api.accounts import require_self
from client_api.deps import ClientServices
from homeserver.ports.requester import Requester


async def get_room_tags(api: ClientServices, who: Requester, *, user_id: str, room_id: str) -> dict[str, Any]:
    """The user's tags of a room."""
    require_self(who, user_id)
    return {"tags": await api.personal.tags.of(user_id, room_id)}


async def set_room_tag(
    api: ClientServices, who: Requester, *, user_id: str, room_id: str, tag: str, body: dict[str, Any]
) -> None:
    """Tag a room."""
    require_self(who, user_id)
    await api.personal.tags.put(user_id, room_id, tag, body)


async def delete_room_tag(api: ClientServices, who: Requester, *, user_id: str, room_id: str, tag: str) -> None:
    """Take a tag off a room."""
    require_self(who, user_id)
    await api.personal.tags.delete(user_id, room_id, tag)
