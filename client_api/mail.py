"""The pages behind the links in letters: they ask, and do what was asked.

Programs that look for harm in letters follow every link, so only the POST of the form, or of a mail program's own
button (RFC 8058), does anything.
"""

from __future__ import annotations

from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.push.links import Purpose
from homeserver.web.response import Response

_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)


async def get_mail_page(api: ClientServices, *, purpose: Purpose, token: str) -> Response:
    """The page that asks."""
    mail = api.personal.mail
    return _page(await mail.page(purpose, token) if mail is not None else None)


async def post_mail_page(api: ClientServices, *, purpose: Purpose, token: str) -> Response:
    """What was asked is done."""
    mail = api.personal.mail
    return _page(await mail.act(purpose, token) if mail is not None else None)


async def get_address_page(api: ClientServices, *, token: str) -> Response:
    """The page that asks whose an address is."""
    return _page(await api.accounts.addresses.page(token))


async def post_address_page(api: ClientServices, *, token: str) -> Response:
    """Whoever reads the address's letters says that it is theirs."""
    return _page(await api.accounts.addresses.act(token))


def _page(html: str | None) -> Response:
    if html is None:
        raise MatrixError(ErrCode.NOT_FOUND, "This link is not known, or not any more")
    return Response(200, _HEADERS, html.encode())
