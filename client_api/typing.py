"""Typing notifications.  spec: client-server-api#typing-notifications"""

from __future__ import annotations

import msgspec

from client_api.accounts import require_self
from client_api.deps import ClientServices
from homeserver.ports.requester import Requester

_DEFAULT_MS = 30_000


class TypingState(msgspec.Struct):
    """Whether the user types, and for how many milliseconds from now."""

    typing: bool
    timeout: int | None = None


async def set_typing(api: ClientServices, who: Requester, *, room_id: str, user_id: str, body: TypingState) -> None:
    """The user types, or has stopped."""
    require_self(who, user_id)
    await api.personal.members.require_joined(room_id, user_id)
    timeout = _DEFAULT_MS if body.timeout is None else body.timeout
    api.personal.typing.set(room_id, user_id, timeout if body.typing else None)
