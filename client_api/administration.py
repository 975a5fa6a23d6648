"""The services behind the admin API, and what its handlers share."""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError

DEFAULT_PAGE = 100
_MAX_OFFSET = 10_000_000


def paging(offset: int, limit: int, max_page: int) -> tuple[int, int]:
    """Offset and length of a page, the length no more than what one page has. Raises INVALID_PARAM."""
    if not 0 <= offset <= _MAX_OFFSET:
        raise MatrixError(ErrCode.INVALID_PARAM, f"from must be between 0 and {_MAX_OFFSET}")
    if limit < 0:
        raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
    return offset, min(limit, max_page)


def next_token(offset: int, count: int, total: int) -> dict[str, str]:
    """Where the next page begins, if there is one, for the answer."""
    return {"next_token": str(offset + count)} if count and offset + count < total else {}
