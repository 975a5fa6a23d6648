"""Registration, by people, guests, application services and operators.

spec: client-server-api#account-registration
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from client_api.accounts import LoggedIn, bearer, logged_in
from client_api.bounds import Id, Text
from client_api.deps import ClientServices
from client_api.fallback import language
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.services.accounts.interactive import Operation
from homeserver.services.accounts.login import APPSERVICE
from homeserver.services.accounts.register import NewAccount, Registered
from homeserver.web.request import Request


class RegisterRequest(msgspec.Struct):
    """What a registration may say besides `auth`."""

    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool | None = None
    refresh_token: bool | None = None
    guest_access_token: Text | None = None
    type: str | None = None
    email: str | None = msgspec.field(default=None, name="chat.hromada.email")
    """An address that is asked, once the account is there, whether it is its owner's."""

    def wanted(self) -> NewAccount:
        """The account asked for."""
        return NewAccount(
            self.username,
            self.password,
            self.device_id,
            self.initial_device_display_name,
            inhibit_login=bool(self.inhibit_login),
            refresh=bool(self.refresh_token),
            guest_token=self.guest_access_token,
        )


class SharedSecretRequest(msgspec.Struct):
    """Registration by an operator's tool."""

    nonce: Id
    username: Id
    password: Text
    mac: Id
    admin: bool = False
    user_type: Id | None = None
    displayname: Text | None = None


async def register(
    api: ClientServices, *, request: Request, body: dict[str, Any], kind: Literal["user", "guest"] = "user"
) -> LoggedIn:
    """Register an account."""
    body = dict(await api.accounts.interactive.whole_body(Operation("register", None, body)))
    details = convert(body, RegisterRequest)
    register_, addresses = api.accounts.register, api.accounts.addresses
    if details.email is not None and addresses.offered:
        addresses.require_address(details.email)
    if kind == "guest":
        return _answer(api, await register_.register_guest(details.initial_device_display_name))
    if details.type == APPSERVICE:
        return _answer(api, await register_.register_for_appservice(details.wanted(), bearer(request)))
    answer = _answer(api, await register_.register(details.wanted(), body))
    api.accounts.interactive.remember(Operation("register", None, body), msgspec.to_builtins(answer))
    if details.email is not None and addresses.offered:
        await addresses.welcome(answer.user_id, details.email, language(request))
    return answer


async def check_username_availability(api: ClientServices, *, username: str) -> dict[str, Any]:
    """Whether a user name is free."""
    await api.accounts.register.check_available(username)
    return {"available": True}


async def registration_token_validity(api: ClientServices, *, token: str) -> dict[str, Any]:
    """Whether a registration token could be used now."""
    return {"valid": await api.accounts.registration_tokens.is_usable(token)}


async def get_registration_nonce(api: ClientServices) -> dict[str, Any]:
    """A nonce for registration with the shared secret."""
    return {"nonce": api.accounts.shared_secret.nonce()}


async def register_with_shared_secret(api: ClientServices, *, body: SharedSecretRequest) -> LoggedIn:
    """Register with the operator's shared secret."""
    registered = await api.accounts.shared_secret.register(
        nonce=body.nonce,
        username=body.username,
        password=body.password,
        admin=body.admin,
        user_type=body.user_type,
        mac=body.mac,
    )
    return _answer(api, registered)


def convert(body: dict[str, Any], kind: type[RegisterRequest]) -> RegisterRequest:
    """`body` as a Struct. Raises BAD_JSON."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise MatrixError(ErrCode.BAD_JSON, str(error)) from None


def _answer(api: ClientServices, registered: Registered) -> LoggedIn:
    if registered.opened is None:
        return LoggedIn(registered.user_id, api.info.server_name)
    return logged_in(registered.opened, api.info.server_name)
