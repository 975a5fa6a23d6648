"""Stored filters.  spec: client-server-api#filtering"""

from __future__ import annotations

from typing import Any

from client_api.accounts import require_self
from client_api.deps import ClientServices
from homeserver.ports.requester import Requester
from homeserver.web.response import Json


async def define_filter(api: ClientServices, who: Requester, *, user_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Store a filter."""
    require_self(who, user_id)
    return {"filter_id": await api.accounts.filters.define(user_id, body)}


async def get_filter(api: ClientServices, who: Requester, *, user_id: str, filter_id: str) -> Json:
    """A stored filter."""
    require_self(who, user_id)
    return Json(await api.accounts.filters.definition(user_id, filter_id))
