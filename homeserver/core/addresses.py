"""E-mail addresses: which are one, and when two are the same."""

from __future__ import annotations

import re

MAX_ADDRESS = 254
"""Source: RFC 5321, 4.5.3.1.3, without the angle brackets."""
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}", re.ASCII
)


def is_address(text: str) -> bool:
    """Whether letters can be sent there. ASCII only: no look-alikes, and nothing that begins another header."""
    return len(text) <= MAX_ADDRESS and _ADDRESS.fullmatch(text) is not None


def canonical_address(text: str) -> str | None:
    """The address as it is kept and compared, in lower case; None if it is none."""
    return text.lower() if is_address(text) else None
