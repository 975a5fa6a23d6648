"""Bounds that Hypercorn does not set itself on sockets and connections, and has no hook for; and a short way past it.

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
* every answer was written in two pieces, and started a task that the next request cancelled.

The short way (`web.websocket.Direct`, docs/adr/0004-direct-frames.md) is for frames that need nothing of Hypercorn: a
text to a client whose connection is idle is written at once, a small text that came in one piece is offered at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import hypercorn.asyncio.run
import hypercorn.config
import hypercorn.protocol.h2
import hypercorn.protocol.h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Data, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from homeserver.web.websocket import SLOWEST_BYTES_PER_SECOND, TEXT, Direct

_FAREWELL_SECONDS = 2.0
_LINGER_SECONDS = 5.0  # for the last 64 KiB of an answer; everything before has been taken
_PINGS_PER_SECOND = 2.0
_PING_BURST = 20
_UNSENT_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_NEVER_PAUSED_BYTES = 8 * 1024
"""With no more than this unsent, asyncio and uvloop let a writer go on, so there is nothing to bound in time."""


class Bounds(hypercorn.config.Config):
    """Hypercorn's settings, and ours."""

    head_seconds = 10.0
    """Once the first byte of a request has come, its head must be complete within this."""
    answer_seconds = 60.0
    """A client must take an answer within this, and a second more for each 64 KiB of it."""


# A text in one frame of less than 126 bytes: two bytes of head, four of mask.
_WHOLE_TEXT = 0x81
_MASKED = 0x80
_SMALL_HEAD = 6


def install() -> None:
    """Serve every connection from here on within the bounds."""
    # The ignores: these are names that Hypercorn imported, which types neither export nor let anybody replace.
    hypercorn.asyncio.run.TCPServer = BoundedConnection  # type: ignore[attr-defined, assignment]
    hypercorn.protocol.h11.HTTPStream = BoundedRequest  # type: ignore[attr-defined]
    hypercorn.protocol.h2.HTTPStream = BoundedRequest  # type: ignore[attr-defined]
    hypercorn.protocol.h11.WSStream = BoundedStream  # type: ignore[attr-defined, assignment]
    hypercorn.protocol.h2.WSStream = BoundedStream  # type: ignore[attr-defined, assignment]


class BoundedConnection(TCPServer):
    """A connection that ends if its client drips its requests or does not read the answers."""

    config: Bounds
    _idle = True
    _head: asyncio.TimerHandle | None = None
    _held_back: list[bytes] | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._idleness = _Idleness(self)
        self.idle_task: Any = self._idleness

    async def run(self) -> None:
        """As the base class, with little in the kernel that the client has not asked it for.

        Otherwise the kernel keeps megabytes for a client that does not read, and we would believe them delivered.
        """
        _CONNECTION.set(self)
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            with suppress(OSError):  # the client is gone already
                self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)
        await super().run()

    async def protocol_send(self, event: Event) -> None:
        """As the base class, within a time; pieces of a frame go out as they are, without being joined."""
        if isinstance(event, RawData):
            data: Any = event.data
            pieces: tuple[bytes, ...] = data if isinstance(data, tuple) else (data,)
            if self._held_back is not None:
                self._held_back.extend(pieces)
                return
            async with self.send_lock:
                await self._write(pieces)
            return
        if isinstance(event, Closed):
            await self.let_go()
        if isinstance(event, Updated):
            self._idle = event.idle
            self._head_is_complete()
        await super().protocol_send(event)

    def hold_back(self) -> None:
        """Keep what is sent until `let_go`: a head that goes out with its body saves half of the writing."""
        if self._held_back is None:
            self._held_back = []

    async def let_go(self) -> None:
        """Write what was held back, if anything was."""
        if self._held_back is not None:
            pieces, self._held_back = tuple(self._held_back), None
            async with self.send_lock:
                await self._write(pieces)

    async def _write(self, pieces: tuple[bytes, ...]) -> None:
        size = sum(map(len, pieces))
        if not size:
            return
        transport = self.writer.transport
        try:
            self.writer.writelines(pieces)
            if transport.get_write_buffer_size() <= _NEVER_PAUSED_BYTES:
                await self.writer.drain()
                return
            async with asyncio.timeout(self.config.answer_seconds + size / SLOWEST_BYTES_PER_SECOND):
                await self.writer.drain()
        except TimeoutError:
            transport.abort()
        except (ConnectionError, RuntimeError):
            await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        """As the base class, and the first byte of a request sets a clock for the rest of its head."""
        try:
            while not self.reader.at_eof():
                try:
                    data = await self.reader.read(_READ_BYTES)
                except OSError:
                    break
                if data and self._idle and self._head is None and isinstance(self.protocol.protocol, H11Protocol):
                    self._head = self.loop.call_later(self.config.head_seconds, self.writer.close)
                await self.protocol.handle(RawData(data))
        finally:
            self._head_is_complete()
            self._idleness.end()
        await self.protocol.handle(Closed())

    def _head_is_complete(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

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
            if reader._buffer or not heard(data):  # type: ignore[attr-defined] # private: is anything unread?
                feed(data)

        reader.feed_data = first  # type: ignore[method-assign, assignment] # this reader's only

    async def _close(self) -> None:
        self.loop.call_later(_LINGER_SECONDS, self.writer.transport.abort)
        await super()._close()


class _Idleness:
    """Ends a connection that is idle for too long, or when the server stops. In the place of Hypercorn's `idle_task`.

    One timer and one task for the life of a connection: a request only says when it came and went.
    """

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection
        self._since: float | None = None  # None while there is a request
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    async def restart(self, task_group: Any, _action: object) -> None:
        """The connection is idle from now on."""
        if self._ended:
            return
        self._since = self._connection.loop.time()
        if self._task is None:
            self._task = task_group._task_group.create_task(self._until_the_server_stops())
            self._look_in(self._connection.config.keep_alive_timeout)

    async def stop(self) -> None:
        """The connection is not idle any more."""
        self._since = None

    def end(self) -> None:
        """Nothing will come over the connection any more."""
        self._ended = True
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def _until_the_server_stops(self) -> None:
        await self._connection.context.terminated.wait()
        if self._since is not None:  # else the connection ends with its answer
            await asyncio.shield(self._connection._initiate_server_close())

    def _look_in(self, seconds: float) -> None:
        self._timer = self._connection.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        limit, since, now = self._connection.config.keep_alive_timeout, self._since, self._connection.loop.time()
        left = limit if since is None else since + limit - now
        if left > 0:
            self._look_in(left)
        else:
            self._connection._task_group.spawn(self._connection._initiate_server_close)


_CONNECTION: ContextVar[BoundedConnection | None] = ContextVar("connection", default=None)
"""The connection that a stream is made in; Hypercorn itself hands it on only as layers of callbacks."""


class BoundedRequest(HTTPStream):
    """A request whose end does not wait for an application that reads no more."""

    async def handle(self, event: Any) -> None:
        """As the base class, and there is room to say that the client is gone."""
        if isinstance(event, StreamClosed) and not self.closed:
            _forget_unread(self.app_put, only_if_full=True)
        await super().handle(event)

    async def app_send(self, message: Any) -> None:
        """As the base class, and who waits to put something into the queue of an application that has ended goes on."""
        connection = _CONNECTION.get() if self.scope["http_version"] != "2" else None
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
        """As the base class, with text framed here: the payload is one piece, needs no state, and is not copied."""
        if message is None or message["type"] != "websocket.send" or message.get("bytes") is not None:
            await super().app_send(message)
            if message is None:
                put, self.app_put = self.app_put, None
                _forget_unread(put)
        elif self.state is ASGIWebsocketState.CONNECTED and not self.closed:
            text: bytes = message[TEXT] if TEXT in message else message["text"].encode()
            pieces = (_text_header(len(text)), text)
            whole: Any = pieces if self.handshake.http_version == "1.1" else b"".join(pieces)
            await self.send(Data(stream_id=self.stream_id, data=whole))

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
