"""Bounds that Hypercorn does not set itself on sockets and connections, and has no hook for.

`install` puts three subclasses in the place of Hypercorn's own, once, before serving. What they mend (Hypercorn 0.18;
tests/client_api/test_stream_abuse.py fails if one of them is lost):

* a message over the limit went on being buffered, fragment by fragment, without an end;
* bad UTF-8 ended the connection without the close code 1007;
* permessage-deflate was always accepted, and 64 KiB of it can unpack to 64 MiB;
* pings were answered without a limit;
* a reader blocked for ever on the queue of an application that had ended;
* a connection whose client does not read was never let go of, because closing waits for its buffer to drain;
* an answer that its client does not read was kept for ever, and a frame was copied several times on its way out;
* a request's head had as much time as an idle connection;
* every answer was written in two pieces, and started a task that the next request cancelled;
* a request could turn its connection into one of HTTP/2, past a proxy's rules and past all of these bounds.

Three of these are mended by the connection itself (`web.connection`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
import hypercorn.protocol.h11
from hypercorn.events import Closed
from hypercorn.protocol.events import Data, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from homeserver.web.connection import CONNECTION, BoundedConnection
from homeserver.web.websocket import TEXT, Direct

_FAREWELL_SECONDS = 2.0
_PINGS_PER_SECOND = 2.0
_PING_BURST = 20
_VERSION_NOT_SUPPORTED = 505

# A text in one frame of less than 126 bytes: two bytes of head, four of mask.
_WHOLE_TEXT = 0x81
_MASKED = 0x80
_SMALL_HEAD = 6


def install() -> None:
    """Serve every connection from here on within the bounds."""
    # The ignores: these are names that Hypercorn imported, which types neither export nor let anybody replace.
    hypercorn.asyncio.run.TCPServer = BoundedConnection  # type: ignore[attr-defined, assignment]
    hypercorn.protocol.h11.HTTPStream = BoundedRequest  # type: ignore[attr-defined]
    hypercorn.protocol.h11.WSStream = BoundedStream  # type: ignore[attr-defined, assignment]
    hypercorn.protocol.H11Protocol = OnlyHttp1  # type: ignore[attr-defined]


class OnlyHttp1(H11Protocol):
    """HTTP/1.0 and 1.1, and no way out of them but a WebSocket.

    An upgrade that a proxy passes on would hide everything that follows from its rules, and the flow control of HTTP/2
    would keep answers for as long as a client likes. A proxy that speaks HTTP/2 to clients speaks HTTP/1.1 to us.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        """No upgrade to HTTP/2: a server may ignore any that it does not want.  RFC 9110, section 7.8"""

    async def _create_stream(self, request: h11.Request) -> None:
        if request.http_version in (b"1.0", b"1.1"):
            await super()._create_stream(request)
            return
        await self._send_error_response(_VERSION_NOT_SUPPORTED)
        await self.send(Closed())


class BoundedRequest(HTTPStream):
    """A request whose end does not wait for an application that reads no more."""

    async def handle(self, event: Any) -> None:
        """As the base class, and there is room to say that the client is gone."""
        if isinstance(event, StreamClosed) and not self.closed:
            _forget_unread(self.app_put, only_if_full=True)
        await super().handle(event)

    async def app_send(self, message: Any) -> None:
        """As the base class, and who waits to put something into the queue of an application that has ended goes on."""
        connection = CONNECTION.get()
        if connection is not None and message is not None and message["type"] == "http.response.start":
            connection.hold_back()
            await super().app_send(message)
            return
        await super().app_send(message)
        if connection is not None:
            await connection.let_go()
        if message is None:
            _forget_unread(self.app_put)


class BoundedStream(WSStream):
    """A WebSocket that keeps no more than one message, and answers no flood."""

    _pings_left = float(_PING_BURST)
    _pinged_at = 0.0
    _direct: Direct | None = None
    _connection: BoundedConnection | None = None

    def __init__(self, app: Any, *rest: Any) -> None:
        super().__init__(partial(_offering_text, app), *rest)
        self.buffer = _Pieces(self.config.websocket_max_message_size)

    async def handle(self, event: Any) -> None:
        """As the base class, and there is room to say that the client is gone."""
        if isinstance(event, StreamClosed) and not self.closed:
            _forget_unread(self.app_put, only_if_full=True)
        await super().handle(event)

    async def _accept(self, message: Any) -> None:
        self.handshake.extensions = None
        await super()._accept(message)
        connection, direct = CONNECTION.get(), message.get("direct")
        if connection is not None and direct is not None:
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
        """As the base class, with text framed here: the payload is one piece, needs no state, and is not copied."""
        if message is None or message["type"] != "websocket.send" or message.get("bytes") is not None:
            await super().app_send(message)
            if message is None:
                put, self.app_put = self.app_put, None
                _forget_unread(put)
                if self._direct is not None:  # it leads back here, and to the application's end of the socket
                    self._direct.write = self._direct.heard = None
                    self._direct = None
        elif self.state is ASGIWebsocketState.CONNECTED and not self.closed:
            text: bytes = message[TEXT] if TEXT in message else message["text"].encode()
            pieces: Any = (_text_header(len(text)), text)
            await self.send(Data(stream_id=self.stream_id, data=pieces))

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


class _Pieces(WebsocketBuffer):
    """The pieces of one message. As the base class, whose buffer for text takes four bytes for each of its letters."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self._pieces: list[Any] = []

    def extend(self, event: Message[Any]) -> None:
        data: str | bytes = event.data
        self.length += len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        if self.length > self.max_length:
            raise FrameTooLargeError
        self._pieces.append(data)

    def clear(self) -> None:
        self._pieces = []
        self.length = 0

    def to_message(self) -> dict[str, Any]:
        text = isinstance(self._pieces[0], str)
        whole = self._pieces[0][:0].join(self._pieces)
        return {"type": "websocket.receive", "text" if text else "bytes": whole}


def _forget_unread(put: Any, *, only_if_full: bool = False) -> None:
    """Empty the queue of an application, of which Hypercorn gives us only the method `put`, or None."""
    queue: asyncio.Queue[Any] | None = getattr(put, "__self__", None)
    if queue is None or (only_if_full and not queue.full()):
        return
    while not queue.empty():
        queue.get_nowait()


async def _offering_text(app: Any, scope: Any, *rest: Any) -> None:
    scope["extensions"][TEXT] = {}
    await app(scope, *rest)


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
