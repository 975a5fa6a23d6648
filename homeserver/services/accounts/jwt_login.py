"""Login with a JWT of a configured issuer (`org.matrix.login.jwt`).

Algorithm, issuer and audience are pinned by the configuration, never taken from the token.
"""

from __future__ import annotations

from dataclasses import dataclass

import jwt

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, UniqueViolation
from homeserver.services.accounts.names import localpart_of

_MAX_TOKEN = 16_384
_ALGORITHMS = frozenset({"HS256", "HS384", "HS512", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"})


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """Whose tokens log in. `key` is the shared secret (HS…) or the public key in PEM form."""

    issuer: str
    audience: str | None  # None: not checked
    algorithm: str
    key: str
    subject_claim: str = "sub"
    create_users: bool = False
    leeway_s: int = 60

    def __post_init__(self) -> None:
        """Refuse what could not be checked safely. Raises ValueError."""
        if self.algorithm not in _ALGORITHMS:
            raise ValueError(f"{self.algorithm} is not an algorithm for JWT login")
        if self.algorithm.startswith("HS") and (len(self.key) < 32 or "PUBLIC KEY" in self.key):
            raise ValueError("JWT login with a shared secret needs a secret of at least 32 characters")


class JwtLogin:
    """Finds or makes the user that a JWT names."""

    def __init__(self, store: Store, clock: Clock, issuer: JwtIssuer, server_name: str) -> None:
        self._store = store
        self._clock = clock
        self._issuer = issuer
        self._server_name = server_name

    async def user(self, token: str) -> User:
        """The token's user, made now if so configured. Raises FORBIDDEN, INVALID_USERNAME."""
        user_id = f"@{localpart_of(self._subject(token), self._server_name)}:{self._server_name}"
        async with self._store.read() as tx:
            user = await tx.users.get(user_id)
        if user is not None:
            return user
        if not self._issuer.create_users:
            raise _refused("there is no such user")
        user = User(user_id, self._clock.now_ms())
        try:
            async with self._store.write() as tx:
                await tx.users.claim_first()
                await tx.users.create(user)
        except UniqueViolation:
            return await self.user(token)  # another login of the same person was first
        return user

    def _subject(self, token: str) -> str:
        issuer = self._issuer
        if not token or len(token) > _MAX_TOKEN or not token.isascii():
            raise _refused("it is no JWT")
        try:
            claims = jwt.decode(
                token,
                issuer.key,
                algorithms=[issuer.algorithm],
                issuer=issuer.issuer,
                audience=issuer.audience,
                # Times are checked below against our own clock.
                options={
                    "require": ["exp", issuer.subject_claim],
                    "verify_aud": issuer.audience is not None,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise _refused(str(error)) from None
        now = self._clock.now_ms() // 1000
        if _number(claims["exp"]) + issuer.leeway_s <= now:
            raise _refused("it has expired")
        if (
            _number(claims.get("nbf", 0)) - issuer.leeway_s > now
            or _number(claims.get("iat", 0)) - issuer.leeway_s > now
        ):
            raise _refused("it is not valid yet")
        subject = claims[issuer.subject_claim]
        if not isinstance(subject, str):
            raise _refused("its subject is not a string")
        return subject


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused("its times are not numbers")
    return value


def _refused(reason: str) -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, f"The JWT is not accepted: {reason}")
