"""Bounds that Hypercorn does not set itself on sockets and connections, and has no hook for; and a short way past it.

`install` puts two subclasses in the place of Hypercorn's own, once, before serving. What they mend (Hypercorn 0.18;
tests/client_api/test_stream_abuse.py fails if one of them is lost):

* a message over the limit went on being buffered, fragment by fragment, without an end;
* bad UTF-8 ended the connection without the close code 1007;
* permessage-deflate was always accepted, and 64 KiB of it can unpack to 64 MiB;
* pings were answered without a limit;
* a reader blocked for ever on the queue of an application that had ended;
* a connection whose client does not read was never let go of, because closing waits for its buffer to drain.

The short way (`web.websocket.Direct`, docs/adr/0004-direct-frames.md) is for frames that need nothing of Hypercorn: a
text to a client whose connection is idle is written at once, a small text that came in one piece is offered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import hypercorn.asyncio.run
import hypercorn.protocol.h2
import hypercorn.protocol.h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.events import Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from homeserver.web.websocket import Direct

_FAREWELL_SECONDS = 2.0
_LINGER_SECONDS = 15.0
_PINGS_PER_SECOND = 2.0
_PING_BURST = 20

# A text in one frame of less than 126 bytes: two bytes of head, four of mask.
_WHOLE_TEXT = 0x81
_MASKED = 0x80
_SMALL_HEAD = 6


def install() -> None:
    """Serve every connection from here on within the bounds."""
    hypercorn.asyncio.run.TCPServer = BoundedConnection  # type: ignore[attr-defined]
    hypercorn.protocol.h11.WSStream = BoundedStream  # type: ignore[attr-defined]
    hypercorn.protocol.h2.WSStream = BoundedStream  # type: ignore[attr-defined]


class BoundedConnection(TCPServer):
    """A connection that ends even if its client never reads what was sent."""

    async def run(self) -> None:
        _CONNECTION.set(self)
        await super().run()

    def write_now(self, data: bytes) -> bool:
        """Write if everything written before has left; so no more than this is ever waiting because of it."""
        transport = self.writer.transport
        if self.send_lock.locked() or transport.is_closing() or transport.get_write_buffer_size() > 0:
            return False
        transport.write(data)
        return True

    def offer(self, heard: Callable[[bytes], bool]) -> None:
        """Offer what arrives to `heard` first, as long as nothing that came before is still to be read.

        What it takes wakes no task. Reading an acknowledgement the long way costs as much as writing an update.
        """
        reader = self.reader
        feed = reader.feed_data

        def first(data: bytes) -> None:
            if reader._buffer or not heard(data):  # type: ignore[attr-defined]
                feed(data)

        reader.feed_data = first  # type: ignore[method-assign, assignment]

    async def _close(self) -> None:
        self.loop.call_later(_LINGER_SECONDS, self.writer.transport.abort)
        await super()._close()


_CONNECTION: ContextVar[BoundedConnection | None] = ContextVar("connection", default=None)
"""The connection that a stream is made in; Hypercorn itself hands it on only as layers of callbacks."""


class BoundedStream(WSStream):
    """A WebSocket that keeps no more than one message, and answers no flood."""

    _pings_left = float(_PING_BURST)
    _pinged_at = 0.0
    _direct: Direct | None = None
    _connection: BoundedConnection | None = None

    async def _accept(self, message: Any) -> None:
        self.handshake.extensions = None
        await super()._accept(message)
        connection, direct = _CONNECTION.get(), message.get("direct")
        # In HTTP/2 a stream shares its connection and is framed once more.
        if connection is not None and direct is not None and self.scope["http_version"] == "1.1":
            self._connection, self._direct = connection, direct
            direct.write = self._write_now
            connection.offer(self._overheard)

    def _write_now(self, text: bytes) -> bool:
        if self.closed or self._connection is None or self.state is not ASGIWebsocketState.CONNECTED:
            return False
        return self._connection.write_now(_text_header(len(text)) + text)

    def _overheard(self, data: bytes) -> bool:
        """Whether `data` is one small text, whole and by itself, and the application dealt with it."""
        heard = self._direct.heard if self._direct is not None else None
        if heard is None or self.closed or self.state is not ASGIWebsocketState.CONNECTED:
            return False
        if len(data) < _SMALL_HEAD or data[0] != _WHOLE_TEXT or data[1] != _MASKED | (len(data) - _SMALL_HEAD):
            return False
        return _between_messages(self.connection) and heard(_unmasked(data))

    async def app_send(self, message: Any) -> None:
        """As the base class, with text framed here: the payload is one piece and needs no state."""
        if message is None or message["type"] != "websocket.send" or message.get("text") is None:
            await super().app_send(message)
        elif self.state is ASGIWebsocketState.CONNECTED and not self.closed:
            payload = message["text"].encode()
            await self.send(Data(stream_id=self.stream_id, data=_text_header(len(payload)) + payload))

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, CloseConnection):
                await self._on_close(event)
            elif self.state is not ASGIWebsocketState.CONNECTED:
                continue  # after our close frame only the client's matters
            elif isinstance(event, Message):
                await self._on_message(event)
            elif isinstance(event, Ping):
                await self._on_ping(event)

    async def _on_message(self, event: Message[Any]) -> None:
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.buffer.clear()
            await self._fail(CloseReason.MESSAGE_TOO_BIG)
            return
        if event.message_finished:
            message = self.buffer.to_message()
            self.buffer.clear()
            if self.app_put is not None:
                await self.app_put(message)

    async def _on_ping(self, event: Ping) -> None:
        now = asyncio.get_running_loop().time()
        self._pings_left = min(_PING_BURST, self._pings_left + (now - self._pinged_at) * _PINGS_PER_SECOND) - 1
        self._pinged_at = now
        if self._pings_left < 0:
            await self._fail(CloseReason.POLICY_VIOLATION)
        else:
            await self._send_wsproto_event(event.response())

    async def _on_close(self, event: CloseConnection) -> None:
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            await self._send_wsproto_event(event.response())
        elif self.connection.state is ConnectionState.OPEN:  # not the client's: wsproto cannot read on
            await self._fail(CloseReason(event.code))
            return
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _fail(self, code: CloseReason) -> None:
        """Send a close frame; let go when the client has had time to read it. What it sends is thrown away."""
        self.state = ASGIWebsocketState.CLOSED
        await self._send_wsproto_event(CloseConnection(code=code))
        self.task_group.spawn(self._let_go)

    async def _let_go(self) -> None:
        await asyncio.sleep(_FAREWELL_SECONDS)
        if not self.closed:
            await self.send(StreamClosed(stream_id=self.stream_id))


def _between_messages(connection: Connection) -> bool:
    """Whether the next byte begins a message: nothing of the one before is still to come."""
    protocol = connection._proto
    frames = protocol._frame_decoder
    return frames.header is None and len(frames.buffer) == 0 and protocol._message_decoder.opcode is None


def _unmasked(frame: bytes) -> bytes:
    """The payload of a small frame.  RFC 6455 5.3"""
    length = len(frame) - _SMALL_HEAD
    mask = int.from_bytes((frame[2:_SMALL_HEAD] * (length // 4 + 1))[:length], "big")
    return (int.from_bytes(frame[_SMALL_HEAD:], "big") ^ mask).to_bytes(length, "big")


def _text_header(length: int) -> bytes:
    """The head of an unmasked text frame.  RFC 6455 5.2"""
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")
