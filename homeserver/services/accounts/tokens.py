"""Access tokens: signing, verification and the keys for it.

A token is a JWT signed with EdDSA; it names a session but proves nothing by itself: `sessions` checks every token
against its session. The first key of the ring signs, all of them verify, so keys rotate without logging anybody
out. Files are not read here: whoever wires the server gives the bytes. See docs/subsystems/accounts.md.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from homeserver.ports.clock import Entropy

ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
COOKIE = "media-cookie+jwt"
"""The type of what is in the cookie that reads media: it is no access token, and an access token is none of these."""
VISITOR = "visitor-cookie+jwt"
"""The type of what a support chat's cookie holds."""
_MAX_TOKEN = 4096
_CLAIMS = ("sub", "did", "sid", "jti", "iat")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key and the id that tokens name it by."""

    kid: str
    key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token's verified content. `generation` is that of the session's tokens when it was issued."""

    user_id: str
    device_id: str
    session_id: str
    generation: int
    expires_ms: int | None


class BadToken(Exception):
    """The text is not a token that this server has signed."""


class BadKeyFile(Exception):
    """The key file does not hold usable keys."""


def new_key(entropy: Entropy) -> SigningKey:
    """A fresh key with a random id."""
    return SigningKey(entropy.letters(8).lower(), Ed25519PrivateKey.generate())


def dump_keys(keys: Sequence[SigningKey]) -> bytes:
    """The content of a key file: a JSON list, current key first."""
    return orjson.dumps(
        [
            {
                "kid": key.kid,
                "key": base64.b64encode(
                    key.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
                ).decode(),
            }
            for key in keys
        ],
        option=orjson.OPT_INDENT_2,
    )


def load_keys(data: bytes) -> list[SigningKey]:
    """Keys from the content of a key file. Raises BadKeyFile."""
    try:
        keys = [
            SigningKey(str(item["kid"]), Ed25519PrivateKey.from_private_bytes(base64.b64decode(item["key"])))
            for item in orjson.loads(data)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise BadKeyFile(f"The key file is damaged: {error}") from None
    if not keys or len({key.kid for key in keys}) != len(keys):
        raise BadKeyFile("The key file has no keys, or two with the same id")
    return keys


class AccessTokens:
    """Signs and verifies access tokens of one server."""

    def __init__(self, keys: Sequence[SigningKey], server_name: str, entropy: Entropy) -> None:
        """`keys` must not be empty; the first one signs."""
        self._current = keys[0]
        self._keys = {key.kid: key.key.public_key() for key in keys}
        self._server_name = server_name
        self._entropy = entropy

    def sign(self, token: AccessToken, now_ms: int, type_: str = _TYPE) -> str:
        """The token's text."""
        claims: dict[str, Any] = {
            "iss": self._server_name,
            "aud": self._server_name,
            "sub": token.user_id,
            "did": token.device_id,
            "sid": token.session_id,
            "jti": self._entropy.token(12),
            "iat": now_ms // 1000,
        }
        if token.expires_ms is not None:
            claims["gen"] = token.generation
            claims["exp"] = token.expires_ms // 1000
        headers = {"kid": self._current.kid, "typ": type_}
        return jwt.encode(claims, self._current.key, algorithm=ALGORITHM, headers=headers)

    def verify(self, text: str, type_: str = _TYPE) -> AccessToken:
        """The content of a token of this type that we signed, expired or not. Raises BadToken."""
        if len(text) > _MAX_TOKEN or not text.isascii():
            raise BadToken("Not an access token")
        try:
            header = jwt.get_unverified_header(text)
            key = self._keys.get(header.get("kid", ""))
            if key is None or header.get("typ") != type_:
                raise BadToken("Signed with an unknown key")
            claims = jwt.decode(
                text,
                key,
                algorithms=[ALGORITHM],
                issuer=self._server_name,
                audience=self._server_name,
                # Time is the caller's to check: an expired token has an answer of its own.
                options={"verify_exp": False, "verify_iat": False, "require": list(_CLAIMS)},
            )
        except jwt.InvalidTokenError as error:
            raise BadToken(str(error)) from None
        expires = claims.get("exp")
        return AccessToken(
            user_id=claims["sub"],
            device_id=claims["did"],
            session_id=claims["sid"],
            generation=claims.get("gen", 0),
            expires_ms=None if expires is None else expires * 1000,
        )
