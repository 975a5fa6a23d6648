"""The stages of interactive authentication: dummy, password, registration token, terms.

spec: client-server-api#authentication-types
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, Transaction
from homeserver.services.accounts.credentials import THIRD_PARTY, USER, Credentials
from homeserver.services.accounts.interactive import Operation
from homeserver.services.accounts.names import is_storable

DUMMY = "m.login.dummy"
PASSWORD = "m.login.password"
REGISTRATION_TOKEN = "m.login.registration_token"
TERMS = "m.login.terms"


class _Stage:
    """What most stages do not need to do."""

    type: str

    def params(self) -> Mapping[str, Any] | None:
        """Nothing to know."""
        return None

    async def record(self, tx: Transaction, result: str) -> None:
        """Nothing to store."""

    async def settle(self, tx: Transaction, result: str, *, succeeded: bool) -> None:
        """Nothing to give back."""


class DummyStage(_Stage):
    """Always succeeds.  spec: client-server-api#dummy-auth"""

    type = DUMMY

    async def check(self, auth: Mapping[str, Any], operation: Operation) -> str:
        """Nothing to prove."""
        return ""


class PasswordStage(_Stage):
    """The asking user's own password.  spec: client-server-api#password-based"""

    type = PASSWORD

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def check(self, auth: Mapping[str, Any], operation: Operation) -> str:
        """The user id. Raises FORBIDDEN for a wrong password or somebody else's."""
        password = auth.get("password")
        if not isinstance(password, str):
            raise MatrixError(ErrCode.MISSING_PARAM, "auth needs a password")
        identifier = identifier_of(auth, operation.user_id, by_mail=True)
        return (await self._credentials.prove(identifier, password, operation.user_id)).user_id


class RegistrationTokenStage(_Stage):
    """A token that allows a number of registrations.  spec: client-server-api#token-authenticated-registration

    While a registration is under way one use of the token is reserved, so nobody completes all other stages in vain.
    """

    type = REGISTRATION_TOKEN

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def check(self, auth: Mapping[str, Any], operation: Operation) -> str:
        """The token. Raises FORBIDDEN if it cannot be used."""
        token = auth.get("token")
        if not isinstance(token, str):
            raise MatrixError(ErrCode.MISSING_PARAM, "auth needs a token")
        if not await self.is_usable(token):
            raise _unusable()
        return token

    async def is_usable(self, token: str) -> bool:
        """True if a registration could begin with the token now."""
        if not is_storable(token):
            return False
        async with self._store.read() as tx:
            known = await tx.registration_tokens.get(token)
        return known is not None and known.usable(self._clock.now_ms())

    async def record(self, tx: Transaction, result: str) -> None:
        """Reserve a use. Raises FORBIDDEN if the last one has just gone."""
        if not await tx.registration_tokens.reserve(result, self._clock.now_ms()):
            raise _unusable()

    async def settle(self, tx: Transaction, result: str, *, succeeded: bool) -> None:
        """Count the use, or give it back."""
        await tx.registration_tokens.release(result, completed=succeeded)


class TermsStage(_Stage):
    """Acceptance of the configured policies.  spec: client-server-api#terms-of-service-at-registration"""

    type = TERMS

    def __init__(self, policies: Mapping[str, Any]) -> None:
        """`policies`: as they appear in `params`, by name."""
        self._policies = policies

    def params(self) -> Mapping[str, Any]:
        """The policies."""
        return {"policies": self._policies}

    async def check(self, auth: Mapping[str, Any], operation: Operation) -> str:
        """Submitting the stage is accepting; the result says which versions."""
        return ",".join(f"{name}:{policy.get('version', '')}" for name, policy in sorted(self._policies.items()))


def identifier_of(details: Mapping[str, Any], default: str | None = None, *, by_mail: bool = False) -> str:
    """The user that a login or an `auth` names, by `identifier` or the deprecated `user`.

    spec: client-server-api#identifier-types. Raises INVALID_PARAM, MISSING_PARAM; FORBIDDEN for third-party
    identifiers that no account has here; with `by_mail`, accounts or login providers may know an e-mail address.
    """
    identifier = details.get("identifier")
    if isinstance(identifier, dict):
        kind = identifier.get("type")
        if kind == THIRD_PARTY and by_mail and identifier.get("medium") == "email":
            kind, identifier = USER, {"user": identifier.get("address")}
        if kind == THIRD_PARTY:
            raise MatrixError(
                ErrCode.FORBIDDEN, "Log in with your user name: third-party identifiers are not known here"
            )
        if kind != USER:
            raise MatrixError(ErrCode.INVALID_PARAM, "This type of identifier is not supported")
        user = identifier.get("user")
    else:
        user = details.get("user") or default
    if not isinstance(user, str) or not user:
        raise MatrixError(ErrCode.MISSING_PARAM, "identifier needs the user")
    return user


def _unusable() -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, "The registration token is not valid")
