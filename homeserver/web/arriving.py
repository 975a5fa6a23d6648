"""A request's body on its way in, taken from the connection as it comes: without h11, and without being copied.

The pieces are those that the transport reads. While too many are unread the transport is paused, which slows the sender
down. Why: docs/adr/0006-plain-requests.md
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

_MOST_UNREAD = 128 * 1024


class ArrivingBody:
    """What is still to come of one body, and what has come and was not read yet."""

    def __init__(self, reader: asyncio.StreamReader, transport: Any, begun: bytes, missing: int) -> None:
        """`begun` are the bytes that came with the head, `missing` how many follow."""
        self.when_whole: Callable[[], None] | None = None
        """Told that all have come, if that was not so from the beginning."""
        self.missing = missing
        self._reader = reader
        self._transport = transport
        self._pieces: deque[bytes] = deque([begun] if begun else ())
        self._unread = len(begun)
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._ended = False
        self._feed = reader.feed_data
        self._take_over()

    @property
    def is_unread(self) -> bool:
        """Whether there is more to read, now or later."""
        return bool(self._pieces or self.missing)

    async def next(self) -> bytes:
        """The next piece; nothing if the client has gone before all of it had come, or all was read."""
        while not self._pieces:
            if self._ended or not self.missing:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        self._unread -= len(piece)
        if self._paused and self._unread <= _MOST_UNREAD // 2:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def let_go(self) -> None:
        """Give the connection back its reader."""
        self.when_whole = None  # it leads back here: only the garbage collector would free either
        if vars(self._reader).get("feed_data") == self._take:
            del self._reader.feed_data
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _take_over(self) -> None:
        """What the reader holds already comes first, then everything directly."""
        buffer: bytearray = self._reader._buffer  # type: ignore[attr-defined] # private: what is unread
        held = bytes(buffer[: self.missing])
        del buffer[: len(held)]
        self._reader._maybe_resume_transport()  # type: ignore[attr-defined] # private: reading it does so
        self._reader.feed_data = self._take  # type: ignore[method-assign, assignment] # this reader's only
        if held:
            self._take(held)
        if self._reader.at_eof():
            self.end()

    def _take(self, data: bytes) -> None:
        rest = data[self.missing :]
        if rest:
            data = data[: self.missing]
        self.missing -= len(data)
        self._pieces.append(data)
        self._unread += len(data)
        if not self.missing:
            tell = self.when_whole
            self.let_go()
            if rest:
                self._feed(rest)
            if tell is not None:
                tell()
        elif self._unread > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
