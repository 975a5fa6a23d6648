"""Taking the access token out of a request. What the token is worth, the `Authenticator` decides.

spec: client-server-api#using-access-tokens, application-service-api#identity-assertion
"""

from __future__ import annotations

from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Authenticator, Requester
from homeserver.web.cookies import MEDIA_COOKIE, read_cookie, visitor_cookie
from homeserver.web.request import Request
from homeserver.web.route import Auth, Route

SITE_PARAMETER = "chat.hromada.site"
"""In addresses of media that the frame of a support chat shows: the site whose visitor's cookie counts."""


def access_token(request: Request, *, query_tokens: bool) -> str | None:
    """The token, or None without one.

    The query string is looked at only if `query_tokens` (it ends up in the logs of proxies, and specification v1.20
    dropped it). Raises MatrixError MISSING_TOKEN for two tokens, or for a header that is not a bearer token.
    """
    header = request.headers.get("authorization")
    in_query = request.query.get("access_token")
    if header is None:
        return in_query[0] if in_query and query_tokens else None
    if in_query:
        raise MatrixError(ErrCode.MISSING_TOKEN, "Send the access token in the Authorization header only")
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise MatrixError(ErrCode.MISSING_TOKEN, "The Authorization header is not a bearer token")
    return token


async def _by_cookie(authenticator: Authenticator, request: Request) -> Requester | None:
    """Who reads media by a cookie, as `<img>` and `<video>` do, which send no token; None without one that counts.

    Only for reading, and only if the browser says that a page of the same origin asks: a page of another port or host
    name of this site is sent the cookie as well. The frame of a support chat says whose visitor it shows.
    """
    if request.method not in ("GET", "HEAD") or request.headers.get("sec-fetch-site") != "same-origin":
        return None
    site = request.query.get(SITE_PARAMETER)
    cookie = read_cookie(request, MEDIA_COOKIE if site is None else visitor_cookie(site[0]))
    if cookie is None:
        return None
    request.by_cookie = True
    if site is None:
        who = await authenticator.authenticate_cookie(cookie)
    else:
        who = await authenticator.authenticate_visitor(cookie)
    if who.site_id != (None if site is None else site[0]):
        raise MatrixError(ErrCode.FORBIDDEN, "Visitors of a support chat read media with their site's cookie")
    return who


async def requester(
    authenticator: Authenticator, request: Request, route: Route[Any], *, query_tokens: bool
) -> Requester | None:
    """Who makes the request, as far as the route wants to know. Raises MatrixError if it may not be made."""
    auth = route.auth
    token = access_token(request, query_tokens=query_tokens)
    if token is None:
        if route.media_cookie and (known := await _by_cookie(authenticator, request)) is not None:
            return known
        if auth is Auth.OPTIONAL:
            return None
        raise MatrixError(ErrCode.MISSING_TOKEN, "An access token is needed")
    query = request.query
    device = query.get("device_id") or query.get("org.matrix.msc3202.device_id")
    user = query.get("user_id")
    who = await authenticator.authenticate(
        token, masquerade_user=user[0] if user else None, masquerade_device=device[0] if device else None
    )
    if who.site_id is not None:
        if route.visitors is None:
            raise MatrixError(ErrCode.FORBIDDEN, "Visitors of a support chat may not do this")
        return who
    if auth is Auth.ADMIN:
        _require_admin(who)
    if who.is_guest and auth is Auth.USER:
        raise MatrixError(ErrCode.GUEST_ACCESS_FORBIDDEN, "Guests may not do this")
    return who


def _require_admin(who: Requester) -> None:
    if not who.is_admin or who.appservice is not None:
        raise MatrixError(ErrCode.FORBIDDEN, "You are not a server administrator")
    if who.suspended:
        raise MatrixError(ErrCode.USER_SUSPENDED, "Suspended accounts administer nothing")
