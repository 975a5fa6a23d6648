"""Logging in: by password, by a token from another session, as an application service, by JWT.

spec: client-server-api#login
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.appservices import AppServices
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.store import Store
from homeserver.services.accounts.appservices import require_appservice, require_covered
from homeserver.services.accounts.credentials import Credentials
from homeserver.services.accounts.interactive import Proof
from homeserver.services.accounts.jwt_login import JwtLogin
from homeserver.services.accounts.names import device_id_of, display_name_of_device, user_id_at_login
from homeserver.services.accounts.providers import Providers
from homeserver.services.accounts.sessions import Opened, Sessions, require_usable
from homeserver.services.accounts.stages import identifier_of

PASSWORD = "m.login.password"
TOKEN = "m.login.token"
APPSERVICE = "m.login.application_service"
JWT = "org.matrix.login.jwt"


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """Which ways to log in are offered. A lifetime of 0 turns login tokens off."""

    server_name: str
    password: bool = True
    login_token_lifetime_ms: int = 0
    by_mail: bool = False
    """Whether people may call themselves by an e-mail address."""


class Login:
    """Owns login."""

    def __init__(  # noqa: PLR0913, PLR0917 - one collaborator per way to log in
        self,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        credentials: Credentials,
        sessions: Sessions,
        appservices: AppServices,
        jwt: JwtLogin | None,
        settings: LoginSettings,
        providers: Providers | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._credentials = credentials
        self._sessions = sessions
        self._appservices = appservices
        self._jwt = jwt
        self._settings = settings
        self._providers = providers

    def flows(self) -> list[dict[str, Any]]:
        """The ways to log in, as `GET /login` lists them."""
        flows: list[dict[str, Any]] = []
        if self._settings.password:
            flows.append({"type": PASSWORD})
        if self._settings.login_token_lifetime_ms:
            flows.append({"type": TOKEN, "get_login_token": True})
        if self._jwt is not None:
            flows.append({"type": JWT})
        return [*flows, {"type": APPSERVICE}]

    async def login(self, details: Mapping[str, Any], bearer: str | None) -> Opened:
        """Log in as the request `details` say; `bearer` is the token of the request's header, if any.

        Raises FORBIDDEN, USER_DEACTIVATED, USER_LOCKED, LimitExceeded, MISSING_PARAM, INVALID_PARAM, UNKNOWN (a
        type that is not offered).
        """
        device_id = device_id_of(_text(details, "device_id"))
        display_name = display_name_of_device(_text(details, "initial_device_display_name"))
        user = await self._user(details, bearer)
        require_usable(user)
        if self._providers is not None:
            await self._providers.require_enabled(user.user_id)
        return await self._sessions.open(user, device_id, display_name, refresh=details.get("refresh_token") is True)

    async def _user(self, details: Mapping[str, Any], bearer: str | None) -> User:
        type_ = details.get("type")
        if type_ == PASSWORD and self._settings.password:
            password = _text(details, "password")
            if password is None:
                raise MatrixError(ErrCode.MISSING_PARAM, "password is missing")
            by_mail = self._settings.by_mail or self._providers is not None
            return await self._credentials.verify(identifier_of(details, by_mail=by_mail), password)
        if type_ == TOKEN and self._settings.login_token_lifetime_ms:
            return await self._by_login_token(_text(details, "token") or "")
        if type_ == JWT and self._jwt is not None:
            return await self._jwt.user(_text(details, "token") or "")
        if type_ == APPSERVICE:
            return await self._of_appservice(details, bearer)
        raise MatrixError(ErrCode.UNKNOWN, "This type of login is not offered", status=400)

    async def _by_login_token(self, token: str) -> User:
        async with self._store.write() as tx:
            user_id = await tx.sessions.take_login_token(_digest(token), self._clock.now_ms())
            user = None if user_id is None else await tx.users.get(user_id)
        if user is None:
            raise MatrixError(ErrCode.FORBIDDEN, "The login token is not valid")
        return user

    async def _of_appservice(self, details: Mapping[str, Any], bearer: str | None) -> User:
        appservice = require_appservice(self._appservices, bearer)
        user_id = user_id_at_login(identifier_of(details), self._settings.server_name)
        require_covered(appservice, user_id or "")
        async with self._store.read() as tx:
            user = await tx.users.get(user_id or "")
        if user is None:
            raise MatrixError(ErrCode.FORBIDDEN, "There is no such user")
        return user

    async def make_login_token(self, user_id: str, proof: Proof) -> tuple[str, int]:
        """A token that logs one more session of the user in, once, and its lifetime in milliseconds.

        spec: client-server-api#post_matrixclientv1loginget_token. Raises UNRECOGNIZED if login tokens are off.
        """
        lifetime = self._settings.login_token_lifetime_ms
        self.require_login_tokens()
        token = self._entropy.token(32)
        now_ms = self._clock.now_ms()
        async with self._store.write() as tx:
            await proof.claim(tx)
            await tx.sessions.add_login_token(_digest(token), user_id, now_ms + lifetime, now_ms)
        return token, lifetime

    def require_login_tokens(self) -> None:
        """Raises UNRECOGNIZED if login tokens are off."""
        if not self._settings.login_token_lifetime_ms:
            raise MatrixError(ErrCode.UNRECOGNIZED, "This server does not issue login tokens")


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _text(details: Mapping[str, Any], name: str) -> str | None:
    value = details.get(name)
    if value is not None and not isinstance(value, str):
        raise MatrixError(ErrCode.BAD_JSON, f"{name} must be a string")
    return value
