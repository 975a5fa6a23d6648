"""Who a visitor is, on the word of the site: a short-lived JWT signed with one of its keys.

The algorithm is the key's, never the token's; the audience is the site; a token lives ten minutes at most and serves
once. An e-mail address in it says nothing about who somebody is: only `sub` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt
import msgspec

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store
from homeserver.services.support.sites import LiveSite
from homeserver.services.support.texts import clean, mail_of, name_of

_MOST_BYTES = 4_096
_LONGEST_MS = 10 * 60 * 1000
_SKEW_MS = 60 * 1000
_SUBJECT = 255
_JTI = 128
_MOST_ATTRIBUTES = 20


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody whom the site knows."""

    subject: str
    name: str
    email: str
    attributes: dict[str, str]
    jti: str
    expires_ms: int


def names_a_key(site: LiveSite, text: str) -> bool:
    """Whether a token names one of the site's keys, as this process knows them."""
    try:
        kid = jwt.get_unverified_header(text).get("kid") if len(text) <= _MOST_BYTES else None
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return any(key.kid == kid for key in site.config.identity.keys)


def read_token(site: LiveSite, text: str, now_ms: int) -> Known:
    """What a token says, if the site has signed it. Raises MatrixError(FORBIDDEN), which says what is wrong."""
    if len(text) > _MOST_BYTES or not text.isascii():
        raise _refused("it is too long")
    try:
        header = jwt.get_unverified_header(text)
        key = next((key for key in site.config.identity.keys if key.kid == header.get("kid")), None)
        if key is None or (key.not_after_ms is not None and key.not_after_ms <= now_ms):
            raise _refused("its kid is none of the site's keys")
        if header.get("alg") != key.alg:
            raise _refused(f"the key {key.kid} is for {key.alg}")
        claims = jwt.decode(
            text,
            key.secret if key.alg == "HS256" else key.public_key,
            algorithms=[key.alg],
            audience=site.id,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["sub", "aud", "jti"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise _refused(str(error)) from None
    return _known(claims, now_ms)


def _known(claims: dict[str, Any], now_ms: int) -> Known:
    issued, expires, jti = _seconds(claims, "iat"), _seconds(claims, "exp"), claims.get("jti")
    if expires * 1000 <= now_ms:
        raise MatrixError(ErrCode.FORBIDDEN, "The identity has expired", reason="identity_expired")
    if issued * 1000 > now_ms + _SKEW_MS:
        raise _refused("iat is in the future")
    if not 0 < (expires - issued) * 1000 <= _LONGEST_MS or expires * 1000 > now_ms + _LONGEST_MS + _SKEW_MS:
        raise _refused("it may live ten minutes at most")
    if not isinstance(jti, str) or not 8 <= len(jti) <= _JTI:
        raise _refused(f"jti has 8 to {_JTI} characters")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 1 <= len(subject) <= _SUBJECT or clean(subject, _SUBJECT) != subject:
        raise _refused("sub is no plain text")
    given: Any = claims.get("attrs")
    items = list(given.items())[:_MOST_ATTRIBUTES] if isinstance(given, dict) else []
    shown = {clean(str(k), 40): clean(str(v), 200) for k, v in items if isinstance(v, str | int | float | bool)}
    name: Any = claims.get("name")
    email: Any = claims.get("email")
    return Known(
        subject,
        name_of(name) if isinstance(name, str) else "",
        mail_of(email) if isinstance(email, str) and claims.get("email_verified") is not False else "",
        shown,
        jti,
        expires * 1000,
    )


def _seconds(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**40:
        raise _refused(f"{name} is missing or no whole number of seconds")
    return value


class Identities:
    """Takes tokens, each once."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def take(self, site: LiveSite, text: str) -> Known:
        """Who a token stands for. Raises MatrixError(FORBIDDEN)."""
        now_ms = self._clock.now_ms()
        known = read_token(site, text, now_ms)
        async with self._store.write() as tx:
            if not await tx.support.use_jti(site.id, known.jti, known.expires_ms + _SKEW_MS, now_ms):
                raise _refused("it was used before")
        return known


def attributes_json(attributes: dict[str, str]) -> str:
    """As it is stored with a visitor."""
    return msgspec.json.encode(attributes).decode()


def _refused(why: str) -> MatrixError:
    return MatrixError(ErrCode.FORBIDDEN, f"The identity does not hold: {why}", reason="identity_invalid")
