"""E-mail addresses of accounts.

spec: client-server-api#adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from client_api.bounds import Id, Line
from client_api.deps import ClientServices
from client_api.fallback import language
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.addresses import Purpose
from homeserver.ports.requester import Requester
from homeserver.services.accounts.addresses import Asked
from homeserver.web.request import Request

_MAX_ATTEMPT = 2**53 - 1


class TokenRequest(msgspec.Struct):
    """A letter that is asked for. Where it would lead afterwards and identity servers are not looked at."""

    client_secret: Id
    email: Line
    send_attempt: Annotated[int, msgspec.Meta(ge=0, le=_MAX_ATTEMPT)]


class Removal(msgspec.Struct):
    """An address that is no longer one's own."""

    medium: Id
    address: Line


async def get_account_3pids(api: ClientServices, who: Requester) -> dict[str, Any]:
    """The user's addresses."""
    found = await api.accounts.addresses.of_user(who.user_id)
    return {
        "threepids": [
            {
                "medium": one.medium,
                "address": one.address,
                "validated_at": one.validated_ms,
                "added_at": one.added_ms,
            }
            for one in found
        ]
    }


async def request_token_to_3pid_email(
    api: ClientServices, who: Requester | None, *, request: Request, body: TokenRequest
) -> dict[str, Any]:
    """Ask for a letter to an address that is to be added.

    COMPAT(matrix-js-sdk 43): it does not say who asks, and the specification does not want it to.
    """
    if who is not None and who.is_guest:
        raise MatrixError(ErrCode.GUEST_ACCESS_FORBIDDEN, "Guests may not do this")
    return await _ask(api, "add", request, body, None if who is None else who.user_id)


async def request_token_to_register_email(
    api: ClientServices, *, request: Request, body: TokenRequest
) -> dict[str, Any]:
    """Ask for a letter to an address to register with."""
    return await _ask(api, "register", request, body)


async def request_token_to_reset_password_email(
    api: ClientServices, *, request: Request, body: TokenRequest
) -> dict[str, Any]:
    """Ask for a letter with which a lost password can be set anew."""
    return await _ask(api, "password", request, body)


async def add_3pid(api: ClientServices, who: Requester, *, body: dict[str, Any]) -> None:
    """Add an address once the link in its letter was followed."""
    sid, secret = body.get("sid"), body.get("client_secret")
    if sid is None or secret is None:
        raise MatrixError(ErrCode.MISSING_PARAM, "sid and client_secret are needed")
    if not isinstance(sid, str) or not isinstance(secret, str):
        raise MatrixError(ErrCode.BAD_JSON, "sid and client_secret must be strings")
    await api.accounts.addresses.add(who, sid, secret, body)


async def delete_3pid_from_account(api: ClientServices, who: Requester, *, body: Removal) -> dict[str, Any]:
    """Remove an address. No identity server knows of it, so there is nothing to unbind."""
    await api.accounts.addresses.remove(who, body.medium, body.address)
    return {"id_server_unbind_result": "success"}


async def _ask(
    api: ClientServices, purpose: Purpose, request: Request, body: TokenRequest, user_id: str | None = None
) -> dict[str, Any]:
    asked = Asked(body.email, body.client_secret, body.send_attempt, language(request))
    return {"sid": await api.accounts.addresses.ask(purpose, asked, user_id)}
