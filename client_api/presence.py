"""Presence.  spec: client-server-api#presence"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from client_api.accounts import require_self
from client_api.bounds import Line
from client_api.deps import ClientServices
from homeserver.core.ids import parse_user_id
from homeserver.ports.requester import Requester


class PresenceStatus(msgspec.Struct):
    """What the user wants others to see."""

    presence: Literal["offline", "online", "unavailable"]
    status_msg: Line | None = None


async def get_presence(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """The presence of somebody who shares a room with the user."""
    return (await api.personal.presence.get(parse_user_id(user_id), who.user_id)).to_json()


async def set_presence(api: ClientServices, who: Requester, *, user_id: str, body: PresenceStatus) -> None:
    """Set one's own presence."""
    require_self(who, user_id)
    api.personal.presence.set(user_id, body.presence, body.status_msg)
