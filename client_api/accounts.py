"""The services behind the account endpoints, and what their handlers share."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.accounts.sessions import Opened
from homeserver.web.auth import access_token
from homeserver.web.request import Request


class LoggedIn(msgspec.Struct, omit_defaults=True):
    """A new session, as login and registration answer it.  spec: client-server-api#post_matrixclientv3login"""

    user_id: str
    home_server: str
    access_token: str | None = None
    device_id: str | None = None
    refresh_token: str | None = None
    expires_in_ms: int | None = None
    well_known: dict[str, Any] | None = None


def logged_in(opened: Opened, home_server: str, base_url: str | None = None) -> LoggedIn:
    """The answer for a new session; login also says where the server is."""
    return LoggedIn(
        user_id=opened.session.user_id,
        home_server=home_server,
        access_token=opened.tokens.access_token,
        device_id=opened.session.device_id,
        refresh_token=opened.tokens.refresh_token,
        expires_in_ms=opened.tokens.expires_in_ms,
        well_known={"m.homeserver": {"base_url": base_url}} if base_url else None,
    )


def bearer(request: Request) -> str | None:
    """The access token of a request that need not have one."""
    return access_token(request, query_tokens=request.query_tokens)


def require_self(who: Requester, user_id: str) -> None:
    """Raises FORBIDDEN unless the path names the requester."""
    if who.user_id != user_id:
        raise MatrixError(ErrCode.FORBIDDEN, "This belongs to another user")
