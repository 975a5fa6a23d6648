"""The services behind the account endpoints, and what their handlers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.admin import Admin, SharedSecretRegistration
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.interactive import Interactive
from homeserver.services.accounts.login import Login
from homeserver.services.accounts.profile import Profiles
from homeserver.services.accounts.providers import Providers
from homeserver.services.accounts.register import Register
from homeserver.services.accounts.sessions import Opened, Sessions
from homeserver.services.accounts.stages import RegistrationTokenStage
from homeserver.services.personal.account_data import AccountData
from homeserver.services.personal.filters import Filters
from homeserver.web.auth import access_token
from homeserver.web.request import Request


@dataclass(frozen=True, slots=True)
class AccountServices:
    """Services of accounts and of what belongs to one user."""

    account: Account
    account_data: AccountData
    admin: Admin
    devices: Devices
    filters: Filters
    interactive: Interactive
    login: Login
    profiles: Profiles
    register: Register
    registration_tokens: RegistrationTokenStage
    sessions: Sessions
    shared_secret: SharedSecretRegistration
    providers: Providers | None = None

    async def close(self) -> None:
        """Write down what is still in memory, and end connections to login providers."""
        await self.devices.flush()
        for provider in () if self.providers is None else self.providers.all:
            await provider.close()


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
