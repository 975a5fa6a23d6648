"""Looking into one room: its present, and what happens in it.  spec: client-server-api#guest-access"""

from __future__ import annotations

from typing import Any

import orjson

from client_api import legacy
from client_api.deps import ClientServices
from client_api.messages import recipient
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.rooms.history import PageRequest

_MESSAGES = 20


async def peek_events(
    api: ClientServices, who: Requester, *, room_id: str | None = None, from_: str | None = None, timeout: int = 0
) -> dict[str, Any]:
    """Listen to a room, or to all of one's own, as clients did before there was `/sync`."""
    if timeout < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "timeout must not be negative")
    if room_id is None:
        return await legacy.stream(api, who, from_, timeout)
    heard = await api.peeks.events(await recipient(api, who), who.session_id, room_id, from_, timeout)
    return {"start": heard.start, "end": heard.end, "chunk": [orjson.Fragment(event) for event in heard.chunk]}


async def room_initial_sync(api: ClientServices, who: Requester, *, room_id: str) -> dict[str, Any]:
    """The state of a room and its newest messages."""
    state = await api.rooms.state.all(who.user_id, room_id)
    page = await api.rooms.history.messages(await recipient(api, who), room_id, PageRequest(True, limit=_MESSAGES))
    messages: dict[str, Any] = {"chunk": [orjson.Fragment(event) for event in reversed(page.chunk)], "end": page.start}
    if page.end is not None:
        messages["start"] = page.end
    membership = await api.rooms.state.membership(who.user_id, room_id)
    data = await api.accounts.account_data.of_room(who.user_id, room_id)
    answer: dict[str, Any] = {
        "room_id": room_id,
        "messages": messages,
        "state": [orjson.Fragment(event) for event in state],
        "visibility": "public" if await api.rooms.directory.is_published(room_id) else "private",
        "account_data": [{"type": item.type, "content": orjson.Fragment(item.content)} for item in data],
    }
    return answer if membership is None else {**answer, "membership": membership}
