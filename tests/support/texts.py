"""Texts for tests that need their bytes to take up room."""

from __future__ import annotations

import random
from base64 import b64encode


def text_of(length: int, chance: random.Random) -> str:
    """Text that nothing makes much shorter."""
    return b64encode(chance.randbytes(length)).decode()[:length]
