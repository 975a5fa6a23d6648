"""What a user was told of.  spec: client-server-api#listing-notifications"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from client_api.deps import ClientServices
from client_api.messages import recipient
from homeserver.ports.requester import Requester


async def get_notifications(
    api: ClientServices,
    who: Requester,
    *,
    from_: str | None = None,
    limit: int = 20,
    only: Literal["highlight"] | None = None,
) -> dict[str, Any]:
    """A page of what the user was told of, newest first."""
    reader = await recipient(api, who)
    page = await api.personal.notifications.page(reader, from_, limit, only_highlights=only is not None)
    answer: dict[str, Any] = {
        "notifications": [
            {
                "actions": one.actions,
                "event": orjson.Fragment(one.event),
                "read": one.read,
                "room_id": one.room_id,
                "ts": one.ts,
            }
            for one in page.notifications
        ]
    }
    if page.next_token is not None:
        answer["next_token"] = page.next_token
    return answer
