"""Media for administrators, at the paths that existing tools ask (docs/operating/admin-api.md)."""

from __future__ import annotations

from typing import Any, Literal

from client_api.administration import DEFAULT_PAGE, next_token, paging
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.folding import folded
from homeserver.ports.administration import UploaderSearch
from homeserver.ports.media import Media
from homeserver.ports.requester import Requester
from homeserver.services.administration.media import MEDIA_ORDERS, MediaAdministration
from homeserver.services.administration.users import text_of

_MAX_TERM = 256
_MAX_TIME = 2**53


async def get_media_of(
    api: ClientServices,
    who: Requester,
    *,
    user_id: str,
    from_: int = 0,
    limit: int = DEFAULT_PAGE,
    order_by: str = "created_ts",
    dir_: Literal["f", "b"] | None = None,
) -> dict[str, Any]:
    """A page of what somebody has uploaded, the newest first unless asked otherwise."""
    await api.administration.users.find(user_id)
    offset, limit = paging(from_, limit, api.administration.max_page)
    way = _way(order_by, dir_)
    page, total = await _media(api).page(user_id, offset, limit, order_by=order_by, descending=way)
    token = next_token(offset, len(page), total)
    # COMPAT(admin tools): a number here, where other lists have a string.
    return {"media": [_shown(media) for media in page], "total": total, **{key: int(at) for key, at in token.items()}}


async def get_uploaders(  # noqa: PLR0913 - one parameter for each of the query's
    api: ClientServices,
    who: Requester,
    *,
    from_: int = 0,
    limit: int = DEFAULT_PAGE,
    search_term: str = "",
    from_ts: int = 0,
    until_ts: int | None = None,
    order_by: Literal["user_id", "displayname", "media_length", "media_count"] = "user_id",
    dir_: Literal["f", "b"] = "f",
) -> dict[str, Any]:
    """A page of who has uploaded how much."""
    if len(search_term) > _MAX_TERM:
        raise MatrixError(ErrCode.INVALID_PARAM, "Nobody's name is so long")
    if not 0 <= from_ts <= _MAX_TIME or not (until_ts is None or from_ts < until_ts <= _MAX_TIME):
        raise MatrixError(ErrCode.INVALID_PARAM, "from_ts and until_ts are times in milliseconds, one after the other")
    offset, limit = paging(from_, limit, api.administration.max_page)
    search = UploaderSearch(folded(search_term), from_ts, until_ts, order_by, descending=dir_ == "b")
    rows, total = await api.administration.users.uploaders(search, offset, limit)
    users = [
        {
            "user_id": row.user_id,
            "displayname": text_of(row.displayname),
            "media_count": row.count,
            "media_length": row.size,
        }
        for row in rows
    ]
    token = next_token(offset, len(rows), total)
    # COMPAT(admin tools): a number here, where other lists have a string.
    return {"users": users, "total": total, **{key: int(at) for key, at in token.items()}}


async def delete_media_of(
    api: ClientServices,
    who: Requester,
    *,
    user_id: str,
    from_: int = 0,
    limit: int = DEFAULT_PAGE,
    order_by: str = "created_ts",
    dir_: Literal["f", "b"] | None = None,
) -> dict[str, Any]:
    """Delete a page of what somebody has uploaded."""
    await api.administration.users.find(user_id)
    offset, limit = paging(from_, limit, api.administration.max_page)
    way = _way(order_by, dir_)
    gone = await _media(api).delete_page(who, user_id, offset, limit, order_by=order_by, descending=way)
    return {"deleted_media": gone, "total": len(gone)}


async def delete_media(api: ClientServices, who: Requester, *, server_name: str, media_id: str) -> dict[str, Any]:
    """Delete one media id."""
    gone = await _media(api).delete(who, server_name, media_id)
    return {"deleted_media": gone, "total": len(gone)}


async def set_quarantine(
    api: ClientServices, who: Requester, *, server_name: str, media_id: str, quarantined: bool
) -> dict[str, Any]:
    """Let nobody have this content any more, or lift that."""
    await _media(api).set_quarantine(who, server_name, media_id, quarantined)
    return {}


async def quarantine_media_of(api: ClientServices, who: Requester, *, user_id: str) -> dict[str, Any]:
    """Quarantine all that somebody has uploaded."""
    await api.administration.users.find(user_id)
    return {"num_quarantined": await _media(api).quarantine_user(who, user_id)}


async def set_protection(api: ClientServices, who: Requester, *, media_id: str, protected: bool) -> dict[str, Any]:
    """Keep media from quarantine, or lift that."""
    await _media(api).protect(who, media_id, protected)
    return {}


def _media(api: ClientServices) -> MediaAdministration:
    if api.administration.media is None:
        raise MatrixError(ErrCode.UNRECOGNIZED, "This process serves no media", status=404)
    return api.administration.media


def _way(order_by: str, direction: Literal["f", "b"] | None) -> bool:
    """Whether a list goes down: that of times does unless asked otherwise. Raises INVALID_PARAM."""
    if order_by not in MEDIA_ORDERS:
        raise MatrixError(ErrCode.INVALID_PARAM, "order_by must be one of " + ", ".join(MEDIA_ORDERS))
    return direction == "b" or (direction is None and order_by == "created_ts")


def _shown(media: Media) -> dict[str, Any]:
    return {
        "media_id": media.media_id,
        "media_type": media.content_type,
        "media_length": media.size,
        "upload_name": media.upload_name,
        "created_ts": media.created_ms,
        "last_access_ts": media.accessed_ms,
        "quarantined_by": media.quarantined_by,
        "safe_from_quarantine": media.protected,
    }
