"""The admin API's view of the server itself, and the record of what administrators did."""

from __future__ import annotations

from typing import Any

import orjson

from client_api.administration import DEFAULT_PAGE, paging
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.administration import ActSearch
from homeserver.ports.requester import Requester


async def get_server_version(api: ClientServices, who: Requester) -> dict[str, Any]:
    """The version of this software."""
    return {"server_version": api.administration.version}


async def get_audit(
    api: ClientServices,
    who: Requester,
    *,
    from_: int | None = None,
    limit: int = DEFAULT_PAGE,
    admin: str | None = None,
    action: str | None = None,
    target: str | None = None,
) -> dict[str, Any]:
    """A page of what administrators did, the newest first; `from` is the `next_token` of the page before."""
    if from_ is not None and from_ < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "from must be the next_token of a page")
    _, limit = paging(0, limit, api.administration.max_page)
    found = await api.administration.audit.page(ActSearch(admin, action, target), from_, limit)
    acts = [
        {
            "id": act_id,
            "ts": act.ts,
            "admin": act.admin,
            "action": act.action,
            "target": act.target,
            "detail": orjson.Fragment(act.detail),
        }
        for act_id, act in found
    ]
    return {"acts": acts, **({"next_token": str(found[-1][0])} if found and len(found) == limit else {})}
