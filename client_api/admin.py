"""The admin API's view of the server itself, and the record of what administrators did."""

from __future__ import annotations

from typing import Any

import orjson

from client_api.administration import DEFAULT_PAGE, paging
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.administration import ActSearch
from homeserver.ports.requester import Requester

_MAX_TERM = 256
_MAX_TIME = 2**53


async def get_server_version(api: ClientServices, who: Requester) -> dict[str, Any]:
    """The version of this software."""
    return {"server_version": api.administration.version}


async def get_audit(  # noqa: PLR0913 - one parameter for each of the query's
    api: ClientServices,
    who: Requester,
    *,
    from_: int | None = None,
    limit: int = DEFAULT_PAGE,
    admin: str | None = None,
    action: str | None = None,
    target: str | None = None,
    admin_term: str = "",
    target_term: str = "",
    from_ts: int = 0,
    until_ts: int | None = None,
) -> dict[str, Any]:
    """A page of what administrators did, the newest first; `from` is the `next_token` of the page before.

    An `action` that ends in a dot stands for all that begin so.
    """
    if from_ is not None and from_ < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "from must be the next_token of a page")
    if max(len(admin_term), len(target_term)) > _MAX_TERM:
        raise MatrixError(ErrCode.INVALID_PARAM, f"Search terms have at most {_MAX_TERM} characters")
    if not 0 <= from_ts <= _MAX_TIME or not (until_ts is None or from_ts < until_ts <= _MAX_TIME):
        raise MatrixError(ErrCode.INVALID_PARAM, "from_ts and until_ts are times in milliseconds, one after the other")
    kind = action if action is not None and action.endswith(".") else ""
    search = ActSearch(
        admin, None if kind else action, target, kind, admin_term.lower(), target_term.lower(), from_ts, until_ts
    )
    _, limit = paging(0, limit, api.administration.max_page)
    found = await api.administration.audit.page(search, from_, limit)
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
