"""Places at which a test kills or stops this process: `HROMADA_BRIDGES_FAULT=kill:NAME:N`, at the N-th time.

Between any two of these places something is certain that was not before; whatever ends the process there, nothing is
lost and nothing comes twice. Without the variable a place is a call that does nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Literal

Point = Literal[
    "read",  # changes are read, and stored nowhere
    "stored",  # and stored here, with what they make
    "acknowledging",  # and about to be forgotten by the source
    "acknowledged",  # and forgotten
    "scanned",  # a page of a backfill is stored
    "making-room",
    "made-room",  # at the homeserver, and not noted here
    "sent",  # a message is at the homeserver, and not noted here
    "received",  # events are stored, and the homeserver was not answered
    "written",  # a statement is committed by the source, and not noted here
]


def _nothing(_name: Point) -> None:
    pass


def _armed(text: str) -> Callable[[Point], None]:
    action, name, number = text.split(":")
    left = int(number)
    sent = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[action]

    def reach(reached: Point) -> None:
        nonlocal left
        if reached == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), sent)

    return reach


_FAULT = os.environ.get("HROMADA_BRIDGES_FAULT")
reach = _nothing if _FAULT is None else _armed(_FAULT)
