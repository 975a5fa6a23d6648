"""What accounts do for application services: their users, registered and logged in without passwords.

spec: application-service-api#server-admin-style-permissions
"""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.appservices import AppService, AppServices


class NoAppServices:
    """A server without application services."""

    def by_token(self, token: str) -> AppService | None:
        """None: no token is one of theirs."""
        return None

    def exclusive(self, user_id: str) -> AppService | None:
        """None: no user id is reserved."""
        return None

    def exclusive_alias(self, alias: str) -> AppService | None:
        """None: no alias is reserved."""
        return None


def require_appservice(appservices: AppServices, token: str | None) -> AppService:
    """The application service making the request. Raises MISSING_TOKEN, UNKNOWN_TOKEN."""
    if token is None:
        raise MatrixError(ErrCode.MISSING_TOKEN, "An application service authenticates with its as_token")
    appservice = appservices.by_token(token)
    if appservice is None:
        raise MatrixError(ErrCode.UNKNOWN_TOKEN, "This is not the token of an application service")
    return appservice


def require_covered(appservice: AppService, user_id: str) -> None:
    """Raises EXCLUSIVE unless the user id belongs to the application service."""
    if not appservice.covers(user_id):
        raise MatrixError(ErrCode.EXCLUSIVE, "The user id is not in a namespace of the application service")
