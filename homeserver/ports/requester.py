"""Who makes a request, and who finds that out.

The web layer takes the token out of the request; an `Authenticator` (services/accounts) turns it into a `Requester`.
spec: client-server-api#using-access-tokens, application-service-api#identity-assertion
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

CALLER_ADDRESS: ContextVar[str] = ContextVar("caller_address", default="")
"""What the address of the request under way is counted as. Attempts at passwords are limited by it."""


@dataclass(frozen=True, slots=True)
class Requester:
    """The authenticated sender of a request. Immutable, so an authenticator may cache and share it."""

    user_id: str
    device_id: str | None = None
    """None for an application service that acts without a device."""
    session_id: str | None = None
    """The session behind the token; None for application services."""
    is_guest: bool = False
    is_admin: bool = False
    suspended: bool = False
    """The account may read, leave and log out, but not act.  spec: client-server-api#account-suspension"""
    appservice: str | None = None
    """The id of the application service whose token was used."""
    site_id: str | None = None
    """Of visitors: the website whose support chat they write in. They may do only what routes say they may."""
    rate_limited: bool = True
    """False for application services registered with `rate_limited: false`."""
    until_ms: int | None = None
    """Of visitors who showed a handle that serves until then: no handle that they get for it serves longer."""


class Authenticator(Protocol):
    """Turns access tokens into requesters."""

    async def authenticate(
        self, token: str, *, masquerade_user: str | None = None, masquerade_device: str | None = None
    ) -> Requester:
        """The requester behind `token`.

        `masquerade_user` and `masquerade_device` are the `user_id` and `device_id` query parameters; they count for
        application service tokens only and are ignored for all others.

        Raises MatrixError: UNKNOWN_TOKEN (with `soft_logout` where it applies), USER_LOCKED, USER_DEACTIVATED, or
        FORBIDDEN for a user outside the application service's namespaces.
        """
        ...

    async def authenticate_cookie(self, value: str) -> Requester:
        """The requester behind the cookie with which pages read media. Raises MatrixError as `authenticate`."""
        ...

    async def authenticate_visitor(self, value: str) -> Requester:
        """The visitor behind the cookie of a support chat. Raises MatrixError as `authenticate`."""
        ...
