"""Sync tokens: `s<position>`, with `_<ephemeral>` behind it for what is not in the log (typing), and a third part for
a device that has not been given all its to-device messages yet.

Opaque to clients, valid on every process and across restarts. The ephemeral part says which run of a process counted
it (`TypingTracker`): for another one it means that everything may have changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeserver.core.errors import ErrCode, MatrixError

_MAX = 2**63 - 1
_TOKEN = re.compile(r"s([0-9]{1,19})(?:_([0-9]{1,19})(?:_([0-9]{1,19}))?)?")


@dataclass(frozen=True, slots=True)
class SyncToken:
    """A point in the log (`position`) and in the ephemeral stream.

    `to_device` is the position of the last to-device message that was given out, if more were waiting behind it.
    """

    position: int
    ephemeral: int = 0
    to_device: int | None = None

    def __str__(self) -> str:
        if self.to_device is not None:
            return f"s{self.position}_{self.ephemeral}_{self.to_device}"
        return f"s{self.position}_{self.ephemeral}" if self.ephemeral else f"s{self.position}"

    @property
    def acknowledged(self) -> int:
        """The position up to which a client that has this token has got its to-device messages."""
        return self.position if self.to_device is None else self.to_device


def decode(token: str) -> SyncToken:
    """Parse a `since` token. Raises MatrixError(INVALID_PARAM) for anything this server did not issue.

    Whether its position has been reached is for the log to say (`LogFollower.reach`).
    """
    found = _TOKEN.fullmatch(token)
    if found is not None:
        position, ephemeral, to_device = found.groups()
        values = int(position), int(ephemeral or 0), None if to_device is None else int(to_device)
        if all(value is None or value <= _MAX for value in values):
            return SyncToken(*values)
    raise MatrixError(ErrCode.INVALID_PARAM, "The since token is not one of this server's")


def prev_batch(order: int) -> str:
    """The pagination token just before the timeline event at `order` (see `services.rooms.tokens`)."""
    return f"t{order - 1}"
