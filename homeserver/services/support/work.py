"""Proof of work: what a browser does before a new visitor is made of it, where the site asks for that.

It makes floods dear that come from many addresses, which the limits by address do not see. The nonce of the frame is
in it, so that nothing can be worked out long before, and the key of the attempt, of which one visitor at most is made:
work serves once and nothing has to be kept.
"""

from __future__ import annotations

from hashlib import sha256

_LONGEST = 20


def is_done(nonce: str, key: str, work: str, bits: int) -> bool:
    """Whether SHA-256 of `nonce:key:work` begins with so many bits that are zero."""
    if bits == 0:
        return True
    if not work or len(work) > _LONGEST:
        return False
    digest = sha256(f"{nonce}:{key}:{work}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest) >> (256 - bits) == 0
