"""Portable PHP password hashes: `$P$` and `$H$` over MD5 (WordPress, phpBB, Joomla), `$S$` over SHA-512 (Drupal)."""

from __future__ import annotations

from hashlib import md5, sha512

_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MOST_ROUNDS_LOG2 = 24
DRUPAL_LENGTH = 55


def phpass(setting: str, password: bytes) -> str:
    """The hash whose first twelve characters are those of `setting`: kind, cost and salt. Raises ValueError."""
    kind, cost, salt = setting[:3], _ITOA64.index(setting[3]), setting[4:12].encode("ascii")
    if not 7 <= cost <= _MOST_ROUNDS_LOG2 or len(salt) != 8:
        raise ValueError("the cost of a phpass hash is out of bounds")
    if kind == "$S$":
        digest = sha512(salt + password).digest()
        for _ in range(1 << cost):
            digest = sha512(digest + password).digest()
        return (setting[:12] + _encode(digest))[:DRUPAL_LENGTH]
    digest = md5(salt + password, usedforsecurity=False).digest()
    for _ in range(1 << cost):
        digest = md5(digest + password, usedforsecurity=False).digest()
    return setting[:12] + _encode(digest)


def _encode(digest: bytes) -> str:
    """Base 64 from the lowest bits up, three bytes at a time."""
    letters = []
    for at in range(0, len(digest), 3):
        group = digest[at : at + 3]
        value = int.from_bytes(group, "little")
        for number in range(len(group) + 1):
            letters.append(_ITOA64[value >> 6 * number & 63])
    return "".join(letters)
