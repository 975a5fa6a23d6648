"""Account data, global and per room.  spec: client-server-api#client-config"""

from __future__ import annotations

from typing import Any

from client_api.accounts import require_self
from client_api.deps import ClientServices
from client_api.visitors import check_account_data
from homeserver.ports.requester import Requester
from homeserver.services.personal.pushrules import PUSH_RULES
from homeserver.web.response import Json


async def get_account_data(api: ClientServices, who: Requester, *, user_id: str, type: str) -> Json:
    """Global account data of one type."""
    require_self(who, user_id)
    check_account_data(who, type)
    if type == PUSH_RULES:  # everybody has some, stored or not
        return Json(await api.personal.push_rules.content(user_id))
    return Json(await api.accounts.account_data.get(user_id, None, type))


async def set_account_data(
    api: ClientServices, who: Requester, *, user_id: str, type: str, body: dict[str, Any]
) -> None:
    """Set global account data of one type."""
    require_self(who, user_id)
    check_account_data(who, type, body)
    await api.accounts.account_data.put(user_id, None, type, body)


async def get_account_data_per_room(
    api: ClientServices, who: Requester, *, user_id: str, room_id: str, type: str
) -> Json:
    """Account data of one type for a room."""
    require_self(who, user_id)
    return Json(await api.accounts.account_data.get(user_id, room_id, type))


async def set_account_data_per_room(
    api: ClientServices, who: Requester, *, user_id: str, room_id: str, type: str, body: dict[str, Any]
) -> None:
    """Set account data of one type for a room."""
    require_self(who, user_id)
    await api.accounts.account_data.put(user_id, room_id, type, body)
