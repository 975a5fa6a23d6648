"""URL previews.  spec: client-server-api#get_matrixclientv1mediapreview_url"""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.web.request import Request
from homeserver.web.response import Json
from media_repo.deps import MediaServices


async def get_url_preview_authed(
    api: MediaServices, who: Requester, *, request: Request, url: str, ts: int | None = None
) -> Json:
    """What a web page says of itself. The newest there is, whatever time is preferred."""
    if api.previews is None:
        raise MatrixError(ErrCode.UNRECOGNIZED, "This server makes no previews")
    return Json(await api.previews.preview(url, request.headers.get("accept-language")))


async def get_url_preview(
    api: MediaServices, who: Requester, *, request: Request, url: str, ts: int | None = None
) -> Json:
    """The same by its old name.  spec: client-server-api#get_matrixmediav3preview_url"""
    return await get_url_preview_authed(api, who, request=request, url=url, ts=ts)
