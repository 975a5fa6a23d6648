"""The session of the web client: its refresh token is a cookie that no script reads, its access tokens last minutes.

Whoever runs a script in the page has the session while the page is open, and nothing to take along. Only the server's
own pages may ask: browsers say where a request comes from, and other pages cannot send the header without asking first,
which nothing here answers (`web.cors`).  spec: client-server-api#refreshing-access-tokens
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from embed.deps import EmbedServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.accounts.sessions import Opened
from homeserver.web.cookies import WEB_COOKIE, WEB_PATH, read_cookie, set_cookie
from homeserver.web.request import Request
from homeserver.web.response import JSON_TYPE, Response, encode


class KeepBody(msgspec.Struct):
    """A login to be kept."""

    refresh_token: Annotated[str, Meta(max_length=1_000)]


async def keep_session(embed: EmbedServices, *, request: Request, body: KeepBody) -> Response:
    """Put a session into the browser's cookie. The page's own refresh token dies with the first use of what it gets.

    Until then it is still good, so a browser that keeps no cookies goes on with it.
    """
    _require_page(request)
    return _answer(embed, request, {}, await embed.sessions.refresh(body.refresh_token))


async def renew_token(embed: EmbedServices, *, request: Request) -> Response:
    """An access token for the session in the cookie. If the answer is lost, the cookie of before does once more."""
    _require_page(request)
    kept = read_cookie(request, WEB_COOKIE)
    if kept is None:
        # The device is still there: who signs in again goes on with it.
        raise MatrixError(ErrCode.UNKNOWN_TOKEN, "This browser keeps no session", soft_logout=True)
    opened = await embed.sessions.refresh(kept)
    value = {
        "user_id": opened.session.user_id,
        "device_id": opened.session.device_id,
        "access_token": opened.tokens.access_token,
        "expires_in_ms": opened.tokens.expires_in_ms,
    }
    return _answer(embed, request, value, opened)


def _require_page(request: Request) -> None:
    if request.headers.get("x-hromada-web") != "1":
        raise MatrixError(ErrCode.FORBIDDEN, "The header X-Hromada-Web is missing")
    if request.headers.get("sec-fetch-site") != "same-origin":
        raise MatrixError(ErrCode.FORBIDDEN, "Only the pages of this server may do this")


def _answer(embed: EmbedServices, request: Request, value: dict[str, str | int | None], opened: Opened) -> Response:
    cookie = set_cookie(request, WEB_COOKIE, opened.tokens.refresh_token or "", WEB_PATH, is_secure=embed.is_secure)
    return Response(200, (JSON_TYPE, cookie, ("Cache-Control", "no-store")), encode(value))
