"""The cookie with which the pages of this server show media in `<img>` and `<video>`, which send no token.

It opens nothing but the media paths, only for reading, and only from pages of the same origin (`web.auth`); no script
sees it; it is bound to a device and dies at its logout.
"""

from __future__ import annotations

from homeserver.ports.requester import Requester
from homeserver.web.auth import MEDIA_COOKIE
from homeserver.web.request import Request
from homeserver.web.response import Response
from media_repo.deps import MediaServices

_PATH = "/_matrix/client/v1/media"
_YEAR_S = 365 * 24 * 3600
_JSON = ("Content-Type", "application/json")


async def put_web_session(api: MediaServices, who: Requester, *, request: Request) -> Response:
    """Give the browser of this device the cookie."""
    return _answer(api, request, api.cookies.media_cookie(who), _YEAR_S)


async def delete_web_session(api: MediaServices, *, request: Request) -> Response:
    """Take the cookie back."""
    return _answer(api, request, "", 0)


def _answer(api: MediaServices, request: Request, value: str, max_age: int) -> Response:
    cookie = f"{MEDIA_COOKIE}={value}; Path={_PATH}; Max-Age={max_age}; HttpOnly; SameSite=Strict"
    origin = request.headers.get("origin", "")
    if origin.startswith("https://") or (api.is_secure and not origin.startswith("http://")):
        cookie += "; Secure"
    return Response(200, (_JSON, ("Set-Cookie", cookie), ("Cache-Control", "no-store")), b"{}")
