"""The cookie with which the pages of this server show media in `<img>` and `<video>`, which send no token.

It opens nothing but the media paths, only for reading, and only from pages of the same origin (`web.auth`); no script
sees it; it is bound to a device and dies at its logout.
"""

from __future__ import annotations

from homeserver.ports.requester import Requester
from homeserver.web.cookies import MEDIA_COOKIE, MEDIA_PATH, WEB_COOKIE, WEB_PATH, set_cookie
from homeserver.web.request import Request
from homeserver.web.response import JSON_TYPE, Response
from media_repo.deps import MediaServices

_FRESH = ("Cache-Control", "no-store")


async def put_web_session(api: MediaServices, who: Requester, *, request: Request) -> Response:
    """Give the browser of this device the cookie."""
    value = api.cookies.media_cookie(who)
    return _answer(set_cookie(request, MEDIA_COOKIE, value, MEDIA_PATH, is_secure=api.is_secure))


async def delete_web_session(api: MediaServices, *, request: Request) -> Response:
    """Take the browser's cookies back: this one, and the one that renews the session of the web client."""
    names = ((MEDIA_COOKIE, MEDIA_PATH), (WEB_COOKIE, WEB_PATH))
    return _answer(*(set_cookie(request, name, "", path, is_secure=api.is_secure) for name, path in names))


def _answer(*cookies: tuple[str, str]) -> Response:
    return Response(200, (JSON_TYPE, *cookies, _FRESH), b"{}")
