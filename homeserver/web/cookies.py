"""Cookies of this server's own pages: which there are, how they are read and set.

Each is HttpOnly, goes with requests of this site only, and to the one path that needs it; but for that of a support
chat's visitor, whose frame is on pages of other sites.
"""

from __future__ import annotations

from homeserver.web.request import Request

MEDIA_COOKIE = "hromada_media"
"""Pages read media with it, in `<img>` and `<video>`, which send no token."""
MEDIA_PATH = "/_matrix/client/v1/media"
WEB_COOKIE = "hromada_web"
"""The refresh token of the web client, so that no script has it."""
WEB_PATH = "/_hromada/web/session"
_VISITOR_COOKIE = "__Host-hromada-"

YEAR_S = 365 * 24 * 3600
_LONGEST_COOKIES = 8 * 1024


def visitor_cookie(site_id: str) -> str:
    """The cookie of a support chat's session. Its prefix makes browsers keep it to this host and to HTTPS."""
    return f"{_VISITOR_COOKIE}{site_id}"


def read_cookie(request: Request, name: str) -> str | None:
    """The value of the cookie; None if it was not sent, or is empty."""
    for pair in request.headers.get("cookie", "")[:_LONGEST_COOKIES].split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value or None
    return None


def set_cookie(request: Request, name: str, value: str, path: str, *, is_secure: bool) -> tuple[str, str]:
    """The header that gives the browser the cookie for a year, or, with an empty value, takes it back.

    `is_secure` says whether clients come over HTTPS as far as the configuration knows; the page's own address counts
    for more.
    """
    cookie = f"{name}={value}; Path={path}; Max-Age={YEAR_S if value else 0}; HttpOnly; SameSite=Strict"
    origin = request.headers.get("origin", "")
    if origin.startswith("https://") or (is_secure and not origin.startswith("http://")):
        cookie += "; Secure"
    return ("Set-Cookie", cookie)
