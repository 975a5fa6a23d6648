"""Finding people.  spec: client-server-api#user-directory"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api.bounds import Search
from client_api.deps import ClientServices
from homeserver.ports.requester import Requester


class SearchBody(msgspec.Struct):
    """What to search for."""

    search_term: Search
    limit: int = 10


async def search_user_directory(api: ClientServices, who: Requester, *, body: SearchBody) -> dict[str, Any]:
    """People that the user may find."""
    found, limited = await api.personal.people.search(who.user_id, body.search_term, body.limit)
    shown = [
        {
            key: value
            for key, value in (
                ("user_id", person.user_id),
                ("display_name", person.display_name),
                ("avatar_url", person.avatar_url),
            )
            if value is not None
        }
        for person in found
    ]
    return {"results": shown, "limited": limited}


async def get_mutual_rooms(
    api: ClientServices, who: Requester, *, user_id: str, from_: str | None = None
) -> dict[str, Any]:
    """Rooms shared with another user."""
    rooms, count, end = await api.personal.people.mutual_rooms(who.user_id, user_id, from_)
    answer: dict[str, Any] = {"joined": rooms, "count": count}
    return answer if end is None else {**answer, "next_batch": end}
