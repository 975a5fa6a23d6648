"""A WebSocket as services see it: frames of text in, frames of text out, and an end with a code.

The web layer implements `Socket`; services never learn which server or protocol library carries it.
The description for clients is docs/websocket.md.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol


class CloseCode(IntEnum):
    """Why a socket is closed. Clients decide by these numbers what to do next (docs/websocket.md)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The server stops."""
    UNSUPPORTED = 1003
    """A binary frame."""
    BAD_TEXT = 1007
    """Text that is not UTF-8."""
    POLICY = 1008
    """A flood of control frames."""
    TOO_LARGE = 1009
    """A frame over the limit."""
    INTERNAL = 1011
    """A fault of the server."""
    TRY_AGAIN = 1013
    """The database is not available."""
    BAD_FRAME = 4000
    """A frame that breaks the protocol."""
    UNKNOWN_TOKEN = 4001
    """The access token does not serve (any more)."""
    TOO_SLOW = 4008
    """Too many sockets of one user, or a client that does not read, or is silent, also before it said who it is."""
    RATE = 4029
    """More frames than allowed."""


class SocketClosed(Exception):
    """The client is gone: there is nobody to read from or to tell anything."""


class CloseSocket(Exception):
    """Whoever serves the socket is to close it, with this code and a sentence for people."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Socket(Protocol):
    """One open WebSocket. One task reads; any number may send."""

    async def receive(self) -> bytes:
        """The next frame. Nothing is read ahead: who does not call this slows the client down.

        Raises SocketClosed, or CloseSocket for a frame that may not be.
        """
        ...

    async def send(self, frame: bytes) -> None:
        """Send a frame, UTF-8. Raises SocketClosed, or CloseSocket(TOO_SLOW) if the client does not take it in time."""
        ...

    def send_now(self, frame: bytes) -> bool:
        """Send a frame if nothing else is on its way to the client. False: it was not sent."""
        ...

    def overhear(self, heard: Callable[[bytes], bool]) -> None:
        """Offer frames to `heard` as soon as they come, before who waits in `receive`; True says that it dealt with it.

        An offer, not a promise: frames may as well go to `receive`, and one that is heard overtakes those there.
        """
        ...
