"""Encryption at rest of values in the database: what people write, in the columns that hold it.

A sealed value is a mark, the key's id, a random nonce and AES-256-GCM of what would otherwise stand there. Sealed and
plain values, and values of several keys, may stand beside one another in any column, so turning it on, changing keys
and turning it off go on while the server runs (`repos/sealing.py`). What a value is for is authenticated with it; which
row it stands in is not: this keeps content from whoever reads the database, not from whoever writes it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Use = Literal["event", "unsigned", "account", "device", "delivery", "preview", "excerpt"]

PLAIN_FORM: Final = "none"
"""What the form of values that are not sealed is called; no key has this id."""

_MARK = 0xE1  # neither JSON nor a packed event begins so
_TEXT_MARK = "\ue0e1"  # of the private use area
_NONCE = 12
_INFO = b"hromada rows at rest 1"


class UnknownKey(ValueError):
    """A value was sealed with a key that is not configured, or is damaged."""


class Sealing:
    """Seals with the current key, opens with any."""

    def __init__(self, keys: Sequence[tuple[str, bytes]] = (), *, enabled: bool = False) -> None:
        """`keys` are ids and 32 bytes each, the current one first; not `enabled`, they only open."""
        self._ciphers = {kid: AESGCM(HKDF(SHA256(), 32, None, _INFO).derive(key)) for kid, key in keys}
        self.form = keys[0][0] if enabled else PLAIN_FORM
        """The id of the key that new values are sealed with, or PLAIN_FORM."""
        self.is_on = enabled
        self._head = bytes((_MARK, len(self.form))) + self.form.encode("ascii")

    @property
    def forms(self) -> frozenset[str]:
        """The forms of values that can be read."""
        return frozenset((*self._ciphers, PLAIN_FORM))

    def seal(self, plain: bytes, use: Use) -> bytes:
        """The form in which a value is stored."""
        if not self.is_on:
            return plain
        nonce = os.urandom(_NONCE)
        return self._head + nonce + self._ciphers[self.form].encrypt(nonce, plain, use.encode())

    def open(self, stored: bytes, use: Use) -> bytes:
        """The value that is stored. Raises UnknownKey."""
        if not stored or stored[0] != _MARK:
            return stored
        end = 2 + stored[1]
        kid = stored[2:end].decode("ascii", "replace")
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise UnknownKey(f"A stored value needs the key {kid} of encryption at rest, which is not there")
        try:
            return cipher.decrypt(stored[end : end + _NONCE], stored[end + _NONCE :], use.encode())
        except InvalidTag:
            raise UnknownKey(f"A stored value is damaged, or its key is not the key {kid} that is there") from None

    def seal_text(self, plain: str, use: Use) -> str:
        """The same for a column of text."""
        plain = plain.removeprefix(_TEXT_MARK)  # or what somebody writes would be taken for sealed
        return _TEXT_MARK + base64.b85encode(self.seal(plain.encode(), use)).decode() if self.is_on else plain

    def open_text(self, stored: str, use: Use) -> str:
        """The same for a column of text. Raises UnknownKey."""
        if not stored.startswith(_TEXT_MARK):
            return stored
        return self.open(base64.b85decode(stored[len(_TEXT_MARK) :]), use).decode()

    def is_current(self, stored: bytes) -> bool:
        """Whether a value has the form that new ones get."""
        return stored.startswith(self._head) if self.is_on else stored[:1] != bytes((_MARK,))


UNSEALED = Sealing()
"""Without keys: everything in the clear."""
