"""Sync tokens: `s<position>`, with `_<ephemeral>` behind it for what is not in the log (typing).

Opaque to clients, valid on every process and across restarts. The ephemeral part is only a hint: a value this
process has not reached (a restart) makes it send the current ephemeral state again.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.core.errors import ErrCode, MatrixError

_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SyncToken:
    """A point in the log (`position`) and in this process's ephemeral stream."""

    position: int
    ephemeral: int = 0

    def __str__(self) -> str:
        return f"s{self.position}_{self.ephemeral}" if self.ephemeral else f"s{self.position}"


def decode(token: str, *, last: int) -> SyncToken:
    """Parse a `since` token. `last` is the last committed position.

    Raises MatrixError(INVALID_PARAM) for anything this server did not issue, a position in the future included:
    answering such a token with a lower one would make the client see events twice.
    """
    head, separator, tail = token.partition("_")
    digits = head[1:]
    if (
        not head.startswith("s")
        or len(token) > 64
        or not _is_number(digits)
        or (separator and not _is_number(tail))
        or int(digits) > min(last, _MAX)
    ):
        raise MatrixError(ErrCode.INVALID_PARAM, "The since token is not one of this server's")
    return SyncToken(int(digits), int(tail) if separator else 0)


def prev_batch(order: int) -> str:
    """The pagination token just before the timeline event at `order` (see `services.rooms.tokens`)."""
    return f"t{order - 1}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
