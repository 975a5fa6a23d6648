"""Login, logout, refresh, whoami.  spec: client-server-api#login"""

from __future__ import annotations

from typing import Any

import msgspec

from client_api.accounts import LoggedIn, bearer, logged_in
from client_api.bounds import Text
from client_api.deps import ClientServices
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.requester import Requester
from homeserver.services.accounts.interactive import Operation
from homeserver.services.accounts.stages import PASSWORD
from homeserver.web.request import Request


class RefreshRequest(msgspec.Struct):
    """Body of a refresh."""

    refresh_token: Text


class RefreshResponse(msgspec.Struct):
    """New tokens."""

    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None


async def get_login_flows(api: ClientServices) -> dict[str, Any]:
    """The ways to log in."""
    return {"flows": api.accounts.login.flows()}


async def login(api: ClientServices, *, request: Request, body: dict[str, Any]) -> LoggedIn:
    """Log in."""
    if "type" not in body:
        raise MatrixError(ErrCode.MISSING_PARAM, "type is missing")
    if not isinstance(body["type"], str):
        raise MatrixError(ErrCode.BAD_JSON, "type must be a string")
    opened = await api.accounts.login.login(body, bearer(request))
    return logged_in(opened, api.info.server_name, api.info.base_url)


async def generate_login_token(api: ClientServices, who: Requester, *, body: dict[str, Any]) -> dict[str, Any]:
    """A token with which another session of the user can log in."""
    accounts = api.accounts
    accounts.login.require_login_tokens()
    operation = Operation("generateLoginToken", who.user_id, body)
    proof = await accounts.interactive.authenticate(operation, [accounts.interactive.flow(PASSWORD)])
    token, lifetime_ms = await accounts.login.make_login_token(who.user_id, proof)
    return {"login_token": token, "expires_in_ms": lifetime_ms}


async def refresh(api: ClientServices, *, body: RefreshRequest) -> RefreshResponse:
    """New tokens for a refresh token."""
    tokens = (await api.accounts.sessions.refresh(body.refresh_token)).tokens
    return RefreshResponse(tokens.access_token, tokens.refresh_token, tokens.expires_in_ms)


async def logout(api: ClientServices, *, request: Request) -> None:
    """Log this device out."""
    await api.accounts.sessions.end(await _even_locked(api, request))


async def logout_all(api: ClientServices, *, request: Request) -> None:
    """Log all of the user's devices out."""
    who = await _even_locked(api, request)
    await api.accounts.sessions.end_devices(who.user_id, None)


async def get_token_owner(api: ClientServices, who: Requester) -> dict[str, Any]:
    """Whose token it is."""
    owner: dict[str, Any] = {"user_id": who.user_id, "is_guest": who.is_guest}
    if who.device_id is not None:
        owner["device_id"] = who.device_id
    return owner


async def _even_locked(api: ClientServices, request: Request) -> Requester:
    """The requester; locked accounts may log out.  spec: client-server-api#account-locking"""
    token = bearer(request)
    if token is None:
        raise MatrixError(ErrCode.MISSING_TOKEN, "An access token is needed")
    return await api.accounts.sessions.authenticate(token, allow_locked=True)
