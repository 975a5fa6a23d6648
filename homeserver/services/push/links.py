"""The links in letters: what a click at them proves, and nothing else.

A link names the user and carries a code over the purpose and the whole name of the pusher, so that it holds no e-mail
address and is good for that pusher only, as long as there is one.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal

from homeserver.ports.pushers import Pusher, PusherName
from homeserver.ports.store import Transaction

Purpose = Literal["confirm", "unsubscribe"]
_PATH = "/_matrix/client/unstable/chat.hromada/mail"
_MAX_TOKEN = 1_024


class MailLinks:
    """Makes links and finds what they are about."""

    def __init__(self, key: bytes, base_url: str) -> None:
        """`key` must stay what it is: links stand in letters for years."""
        self._key = key
        self._base_url = base_url.rstrip("/")

    @property
    def home(self) -> str:
        """Where the messages can be read."""
        return f"{self._base_url}/"

    def link(self, purpose: Purpose, name: PusherName) -> str:
        """The address for a letter to this pusher."""
        return f"{self._base_url}{_PATH}/{purpose}?token={self.token(purpose, name)}"

    def token(self, purpose: Purpose, name: PusherName) -> str:
        """What the link carries."""
        return f"{_encoded(name[0].encode())}.{self._code(purpose, name)}"

    async def find(self, tx: Transaction, purpose: Purpose, token: str) -> Pusher | None:
        """The pusher whose link this is, if there still is one."""
        user, separator, code = token.partition(".")
        user_id = _decoded(user) if separator and len(token) <= _MAX_TOKEN and code.isascii() else None
        if user_id is None:
            return None
        for pusher in await tx.pushers.of_users([user_id]):
            if hmac.compare_digest(code, self._code(purpose, pusher.name)):
                return pusher
        return None

    def _code(self, purpose: Purpose, name: PusherName) -> str:
        text = b"\0".join(part.encode("utf-8", "surrogatepass") for part in (purpose, *name))
        return _encoded(hmac.digest(self._key, text, "sha256"))


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> str | None:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None
