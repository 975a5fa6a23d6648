"""Proofs that somebody reads the letters that go to an address, and the stage of authentication that they complete.

A check is known by its id and the client's secret, and the link in the letter by a code over the id that only this
server can make: whoever asks has the first two, and whoever reads the letter the third. It is good for the purpose and
the user it was asked for, and is used up in the transaction that it allows.
spec: client-server-api#email-based-identity--homeserver
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.addresses import EMAIL, AddressCheck, Purpose, UserAddress
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store, Transaction
from homeserver.services.accounts.interactive import Operation

EMAIL_IDENTITY = "m.login.email.identity"
PATH = "/_matrix/client/unstable/chat.hromada/mail/address"
_SECRET = re.compile(r"[0-9a-zA-Z.=_-]{1,255}", re.ASCII)
_MAX_TOKEN = 256


class AddressLinks:
    """The links in letters."""

    def __init__(self, key: bytes, base_url: str) -> None:
        self._key = key
        self._base_url = base_url.rstrip("/")

    def link(self, sid: str) -> str:
        """The address for a letter about this check."""
        return f"{self._base_url}{PATH}?token={sid}.{self._code(sid)}"

    def sid(self, token: str) -> str | None:
        """The check that a link is about; None if this server has not made the link."""
        sid, separator, code = token.partition(".")
        if not separator or len(token) > _MAX_TOKEN or not token.isascii():
            return None
        return sid if hmac.compare_digest(code, self._code(sid)) else None

    def _code(self, sid: str) -> str:
        digest = hmac.digest(self._key, b"address\0" + sid.encode(), "sha256")
        return urlsafe_b64encode(digest).decode().rstrip("=")


def key_of(secret: str, purpose: Purpose, address: str, user_id: str | None) -> bytes:
    """What identifies a check beside its id. Raises INVALID_PARAM for a secret that is none."""
    if _SECRET.fullmatch(secret) is None:
        raise MatrixError(ErrCode.INVALID_PARAM, "client_secret must be 1 to 255 of the characters 0-9a-zA-Z.=_-")
    asker = user_id if purpose in ("add", "welcome") and user_id is not None else ""
    return sha256("\0".join((purpose, asker, address, secret)).encode()).digest()


def not_proved() -> MatrixError:
    """The answer to whoever has not shown that the address is theirs, whatever is missing."""
    return MatrixError(ErrCode.THREEPID_AUTH_FAILED, "The link in the letter was not followed yet, or is too old")


def in_use() -> MatrixError:
    """The address is another account's."""
    return MatrixError(ErrCode.THREEPID_IN_USE, "The e-mail address belongs to an account already")


async def proved(
    tx: Transaction, sid: str, secret: str, purpose: Purpose, user_id: str | None, now_ms: int
) -> AddressCheck:
    """The check, if its link was followed and it is this one's. Raises THREEPID_AUTH_FAILED, INVALID_PARAM."""
    check = await tx.addresses.check(sid, now_ms)
    # Whoever asked without saying who they are can be anybody who knows the secret.
    asker = None if check is None or check.user_id is None else user_id
    key = key_of(secret, purpose, "" if check is None else check.address, asker)
    if check is None or check.purpose != purpose or not hmac.compare_digest(check.key, key):
        raise not_proved()
    if check.validated_ms is None:
        raise not_proved()
    return check


@dataclass(frozen=True, slots=True)
class Proved:
    """What the completed stage says, as interactive authentication keeps it."""

    sid: str
    address: str
    user_id: str | None
    validated_ms: int

    def dump(self) -> str:
        """As text."""
        return orjson.dumps([self.sid, self.address, self.user_id, self.validated_ms]).decode()

    @classmethod
    def load(cls, result: str) -> Proved:
        """From what `dump` made."""
        return cls(*orjson.loads(result))

    async def attach(self, tx: Transaction, user_id: str, now_ms: int) -> None:
        """Give the address to a new user. Raises THREEPID_IN_USE."""
        if not await tx.addresses.add(UserAddress(EMAIL, self.address, user_id, self.validated_ms, now_ms)):
            raise in_use()


class EmailStage:
    """Somebody reads an address's letters.  spec: client-server-api#email-based-identity--homeserver"""

    type = EMAIL_IDENTITY

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def params(self) -> Mapping[str, Any] | None:
        """Nothing to know."""
        return None

    async def check(self, auth: Mapping[str, Any], operation: Operation) -> str:
        """What was proved. Raises THREEPID_AUTH_FAILED until the link was followed, MISSING_PARAM, INVALID_PARAM."""
        # COMPAT(Element): the old name stands beside the new one.
        creds = auth.get("threepid_creds", auth.get("threepidCreds"))
        sid, secret = (creds.get("sid"), creds.get("client_secret")) if isinstance(creds, dict) else (None, None)
        if not isinstance(sid, str) or not isinstance(secret, str):
            raise MatrixError(ErrCode.MISSING_PARAM, "threepid_creds needs sid and client_secret")
        purpose: Purpose = "password" if operation.name == "changePassword" else "register"
        async with self._store.read() as tx:
            check = await proved(tx, sid, secret, purpose, None, self._clock.now_ms())
            if purpose == "register" and await tx.addresses.owner(EMAIL, check.address) is not None:
                raise in_use()
        return Proved(check.sid, check.address, check.user_id, check.validated_ms or 0).dump()

    async def record(self, tx: Transaction, result: str) -> None:
        """Use the check up: it completes one stage of one request."""
        if await tx.addresses.take(Proved.load(result).sid, self._clock.now_ms()) is None:
            raise not_proved()

    async def settle(self, tx: Transaction, result: str, *, succeeded: bool) -> None:
        """Nothing to give back."""
