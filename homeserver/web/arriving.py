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
ARRIVING = "chat.hromada.arriving"
"""ASGI extension of requests whose body is still coming: their `ArrivingBody`."""


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
        self._usual: Any = None  # the transport's protocol, while another one is in its place
        self._room: memoryview | None = None
        self._take_over()

    @property
    def is_unread(self) -> bool:
        """Whether there is more to read, now or later."""
        return bool(self._pieces or self.missing)

    async def next(self) -> bytes:
        """The next piece; nothing if the client has gone before all of it had come, or all was read."""
        self._as_usual()
        while not self._pieces:
            if self._ended or not self.missing:
                return b""
            await self._change()
        return self._first()

    async def read_into(self, memory: memoryview, patience_s: float) -> int:
        """Read until the memory is full or all has come; how many bytes, fewer only if the client has gone.

        Raises TimeoutError if nothing comes for `patience_s`, or up to twice as long.
        """
        filled = 0
        while self._pieces and filled < len(memory):
            piece = self._first()
            part = piece[: len(memory) - filled]
            memory[filled : filled + len(part)] = part
            filled += len(part)
            if len(part) < len(piece):
                self._pieces.appendleft(piece[len(part) :])
                self._unread += len(piece) - len(part)
        wanted = min(len(memory) - filled, self.missing)
        if not wanted or self._ended:
            return filled
        before = self.missing
        self._room = memory[filled : filled + wanted]
        self._go_straight()
        try:
            while self._room and not self._ended:
                seen = self.missing
                try:
                    async with asyncio.timeout(patience_s):
                        await self._change()
                except TimeoutError:
                    if self.missing == seen:
                        raise
        finally:
            self._room = None
            if self._usual is not None:
                self._pause()
        return filled + before - self.missing

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def let_go(self) -> None:
        """Give the connection back its reader."""
        self.when_whole = None  # it leads back here: only the garbage collector would free either
        self._as_usual()
        if vars(self._reader).get("feed_data") == self._take:
            del self._reader.feed_data
        self._resume()

    async def _change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _first(self) -> bytes:
        piece = self._pieces.popleft()
        self._unread -= len(piece)
        if self._unread <= _MOST_UNREAD // 2:
            self._resume()
        return piece

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # --- straight into the reader's memory ---

    def _go_straight(self) -> None:
        """Let the transport read into `_room`. Protocols are changed while nothing is read."""
        if self._usual is None:
            self._pause()
            self._usual = self._transport.get_protocol()
            self._transport.set_protocol(_Straight(self, self._usual))
        self._resume()

    def _as_usual(self) -> None:
        if self._usual is not None:
            self._pause()
            usual, self._usual = self._usual, None
            self._transport.set_protocol(usual)
            if not self._unread:
                self._resume()

    def room(self) -> memoryview:
        """Where what comes next is to be put."""
        assert self._room is not None  # noqa: S101 - nothing is read without
        return self._room

    def filled(self, count: int) -> None:
        """So many bytes have been put there."""
        assert self._room is not None  # noqa: S101 - as above
        self.missing -= count
        self._room = self._room[count:]
        if not self._room:
            self._pause()
            if not self.missing:
                tell = self.when_whole
                self.let_go()
                if tell is not None:
                    tell()
            self._wake()

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
        elif self._unread > _MOST_UNREAD:
            self._pause()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Straight(asyncio.BufferedProtocol):
    """In the place of the transport's protocol while a body is read straight into memory: only reading differs."""

    def __init__(self, body: ArrivingBody, usual: Any) -> None:
        self._body = body
        self.pause_writing = usual.pause_writing  # type: ignore[method-assign] # as it was
        self.resume_writing = usual.resume_writing  # type: ignore[method-assign] # as it was
        self.eof_received = usual.eof_received  # type: ignore[method-assign] # as it was
        self.connection_lost = usual.connection_lost  # type: ignore[method-assign] # as it was

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._body.room()

    def buffer_updated(self, nbytes: int) -> None:
        self._body.filled(nbytes)
