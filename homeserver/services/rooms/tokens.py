"""Pagination tokens of a room's timeline.

`t<order>` is the point just behind the timeline event with that order; a sync token `s<position>` is accepted
wherever a point in a timeline is, because every log position has its order in all timelines. Opaque to clients, the
same on every process and across restarts.
"""

from __future__ import annotations

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.events import order_of

_MAX = 2**63 - 1


def timeline_token(order: int) -> str:
    """The token of the point just behind the event at `order`."""
    return f"t{order}"


def timeline_order(token: str) -> int:
    """The order that a timeline or sync token stands for.

    Raises MatrixError(INVALID_PARAM) for anything this server does not issue.
    """
    kind, number = token[:1], token[1:]
    if kind == "s":
        number = number.partition("_")[0]
    digits = number.removeprefix("-") if kind == "t" else number
    if kind not in ("s", "t") or len(digits) > 19 or not (digits.isascii() and digits.isdigit()):
        raise MatrixError(ErrCode.INVALID_PARAM, "The pagination token is not one of this server's")
    order = order_of(int(number)) if kind == "s" else int(number)
    if abs(order) > _MAX:
        raise MatrixError(ErrCode.INVALID_PARAM, "The pagination token is not one of this server's")
    return order


def offset_token(offset: int) -> str:
    """The token of a place in a list that is computed on each request (directory, threads)."""
    return f"o{offset}"


def offset_of(token: str) -> int:
    """The place that `offset_token` named. Raises MatrixError(INVALID_PARAM)."""
    digits = token[1:]
    if token[:1] != "o" or len(digits) > 9 or not (digits.isascii() and digits.isdigit()):
        raise MatrixError(ErrCode.INVALID_PARAM, "The pagination token is not one of this server's")
    return int(digits)
