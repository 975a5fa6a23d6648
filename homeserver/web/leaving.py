"""A part of a file on its way out: from the page cache to the socket, without passing through the program.

Beside the transport, which must have nothing unsent meanwhile: what is written here would overtake it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable

ZERO_COPY = "http.response.zerocopysend"
"""The ASGI extension, and its message: `file` (a descriptor), `offset`, `count`, `more_body`."""

# Linux: what is sent waits for what follows, so that a head leaves in one packet with the beginning of its file.
_MORE_FOLLOWS = getattr(socket, "MSG_MORE", 0)


class FileEnded(OSError):
    """The file is shorter than the part that was to be sent."""


class OutgoingFile:
    """Writes to the socket of a connection. Closing it leaves the connection open."""

    def __init__(self, connected: int) -> None:
        """`connected` is the connection's descriptor, which does not block."""
        # A descriptor of our own: event loops watch none that belongs to one of their transports.
        self._socket = socket.socket(fileno=os.dup(connected))
        self._loop = asyncio.get_running_loop()

    async def send(self, pieces: Iterable[bytes], file: int, offset: int, count: int) -> None:
        """Send the pieces, then `count` bytes of the file from `offset` on. Raises OSError, FileEnded among them."""
        head = memoryview(b"".join(pieces))
        while head:
            try:
                head = head[self._socket.send(head, _MORE_FOLLOWS) :]
            except BlockingIOError:
                await self._writable()
        end = offset + count
        while offset < end:
            try:
                sent = os.sendfile(self._socket.fileno(), file, offset, end - offset)
            except BlockingIOError:
                await self._writable()
                continue
            if not sent:
                raise FileEnded(f"the file ends at {offset} instead of {end}")
            offset += sent

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._socket, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._socket)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
