"""Frame nonces: what a session is begun with, so that it is begun from a frame that this server has just shown.

A program can fetch a frame as well as a browser; the rate limits carry the weight. The nonce keeps pages that were
saved, or are framed elsewhere, from making visitors.
"""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.clock import Clock

LIFETIME_MS = 5 * 60 * 1000
_LONGEST = 200


class Nonces:
    """Makes and checks them; nothing is stored."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def make(self, site_id: str) -> str:
        """A nonce for a frame of this site."""
        until = str(self._clock.now_ms() + LIFETIME_MS)
        return f"{until}.{self._sign(site_id, until)}"

    def check(self, site_id: str, nonce: str) -> None:
        """Raise MatrixError(FORBIDDEN) unless the nonce was made for this site within five minutes."""
        until, _, signature = nonce[:_LONGEST].partition(".")
        good = hmac.compare_digest(signature.encode(), self._sign(site_id, until).encode())
        if not good or not until.isascii() or not until.isdigit() or int(until) < self._clock.now_ms():
            raise MatrixError(ErrCode.FORBIDDEN, "Load the chat again", reason="nonce")

    def _sign(self, site_id: str, until: str) -> str:
        digest = hmac.digest(self._secret, f"{site_id}\0{until}".encode("utf-8", "replace"), sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
