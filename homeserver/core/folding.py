"""Text as searches compare it: without case, and without the difference between forms of one character.

spec: client-server-api#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

import unicodedata


def folded(text: str) -> str:
    """The comparable form; NUL, which no database keeps, is left out."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("\0", "")


def words(text: str, limit: int) -> list[str]:
    """The first `limit` words of a search, folded."""
    return folded(text).split()[:limit]
