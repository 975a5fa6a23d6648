"""One connection: bounded in time and bytes where Hypercorn is not, with a short way for what needs nothing of it.

The short ways: frames (`web.websocket.Direct`, docs/adr/0004-direct-frames.md), of which a text to a client whose
connection is idle is written at once and a small text that came in one piece is offered at once; and requests
(`web.plain`, docs/adr/0006-plain-requests.md) that came whole, which are answered in the connection's own task.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import h11
import hypercorn.config
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol

from homeserver.web import plain
from homeserver.web.arriving import ArrivingBody
from homeserver.web.leaving import OutgoingFile
from homeserver.web.websocket import SLOWEST_BYTES_PER_SECOND

_LINGER_SECONDS = 5.0  # for the last 64 KiB of an answer; everything before has been taken
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
    _common_fields: tuple[int, plain.Fields] = (0, [])

    def common_fields(self) -> plain.Fields:
        """Fields of every answer: the date, mostly."""
        now = int(time.time())
        if self._common_fields[0] != now:
            self._common_fields = (now, self.response_headers("h11"))
        return self._common_fields[1]


class BoundedConnection(TCPServer):
    """A connection that ends if its client drips its requests or does not read the answers."""

    config: Bounds
    _idle = True
    _head: asyncio.TimerHandle | None = None
    _held_back: list[bytes] | None = None
    _caller: plain.Caller | None = None
    _arriving: ArrivingBody | None = None
    _answered = 0  # without h11, which counts the others

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._idleness = _Idleness(self)
        self.idle_task: Any = self._idleness

    async def run(self) -> None:
        """As the base class, with little in the kernel that the client has not asked it for.

        Otherwise the kernel keeps megabytes for a client that does not read, and we would believe them delivered.
        """
        CONNECTION.set(self)
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            with suppress(OSError):  # the client is gone already
                self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)
        reader = self.reader
        reader.feed_eof = partial(self._ended, reader.feed_eof)  # type: ignore[method-assign] # this reader's only
        reader.set_exception = partial(self._ended, reader.set_exception)  # type: ignore[method-assign] # likewise
        reader._transport = _Reading(reader._transport, self)  # type: ignore[attr-defined] # private: what it pauses
        try:
            await super().run()
        except asyncio.CancelledError:
            # A request was cancelled while the server stops, or all that still run are. Nothing comes after this in the
            # task, and Python 3.11's streams would ask it for its exception and log the CancelledError as a fault.
            pass
        finally:
            self._come_apart()

    def _come_apart(self) -> None:
        """Forget what refers back to the connection: only the garbage collector would free any of it otherwise."""
        for replaced in ("feed_data", "feed_eof", "set_exception"):
            vars(self.reader).pop(replaced, None)
        wrapper = vars(self).get("protocol")  # there is none if the client was gone before anything began
        if wrapper is not None and isinstance(wrapper.protocol, H11Protocol):
            wrapper.protocol.stream = None
        self.reader._transport = None  # type: ignore[attr-defined] # it leads back here
        for leads_back in ("protocol", "_task_group", "_idleness", "idle_task"):
            vars(self).pop(leads_back, None)

    def _ended(self, tell: Callable[..., None], *how: Any) -> None:
        """Nothing more will come: whoever waits for an answer is gone."""
        tell(*how)
        if self._arriving is not None:
            self._arriving.end()
        if self._caller is not None:
            self._caller.leave()
        elif self._answers_behind_h11():
            # h11 reads no further while the answer is due, and so would see the end only behind it.
            self._task_group.spawn(self._give_up_on_h11)

    def _answers_behind_h11(self) -> bool:
        """Whether h11 has read a whole request and its answer is due."""
        wrapper = vars(self).get("protocol")
        connection = None if wrapper is None else getattr(wrapper.protocol, "connection", None)
        return isinstance(connection, h11.Connection) and (
            connection.our_state is h11.SEND_RESPONSE and connection.their_state in (h11.DONE, h11.MUST_CLOSE)
        )

    async def _give_up_on_h11(self) -> None:
        protocol: Any = self.protocol.protocol
        protocol.connection = _Gone()
        await protocol.handle(Closed())
        await protocol.can_read.set()

    def pauses_for(self) -> bool:
        """Whether reading may pause; otherwise the connection has ended.

        A paused connection does not notice that its client is gone. While a body is read, pausing is what slows its
        sender down; but nobody has a reason to send this much behind a request whose answer is due.
        """
        if self._caller is None and not self._answers_behind_h11():
            return True
        self.writer.transport.abort()
        return False

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
                request = self._plain(data)
                if request is not None:
                    if not await self._answer(request):
                        break
                    continue
                if data and self._idle and self._head is None and isinstance(self.protocol.protocol, H11Protocol):
                    self._head = self.loop.call_later(self.config.head_seconds, self.writer.close)
                await self.protocol.handle(RawData(data))
        finally:
            self._head_is_complete()
            self._idleness.end()
        await self.protocol.handle(Closed())

    def _plain(self, data: bytes) -> plain.PlainRequest | None:
        """The request that `data` is, if it is plain and h11 is at the beginning of a request, with nothing unread."""
        protocol = self.protocol.protocol
        if not self._idle or self._head is not None or not isinstance(protocol, H11Protocol):
            return None
        connection = protocol.connection
        if connection.our_state is not h11.IDLE or connection.their_state is not h11.IDLE:
            return None
        return None if connection.trailing_data[0] else plain.read_begun(data)

    async def _answer(self, request: plain.PlainRequest) -> bool:
        """Have a request answered. Whether the connection goes on. h11 hears nothing of it."""
        self._idle = False
        await self._idleness.stop()
        exchange = self._exchange(request)
        scope = exchange.scope((self.protocol.client, self.protocol.server), "https" if self.protocol.ssl else "http")
        try:
            # The last two are for WSGI, and what is a plain dictionary here has types of its own there.
            await self.app(scope, exchange.receive, exchange.send, None, None)  # type: ignore[arg-type] # see above
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or self.context.terminated.is_set():
                raise
            task.uncancel()  # the request was cancelled, not the server: this ends with its connection
        except Exception:  # as Hypercorn does: whatever the application raises is logged and becomes a 500
            await self.config.log.exception("Error in ASGI Framework")
        finally:
            self._caller = None
            if self._arriving is not None:
                self._arriving.let_go()
                self._arriving = None
        if not exchange.started and not exchange.caller.is_gone():
            await exchange.fail()
        if not exchange.complete or exchange.closes or exchange.is_owed or exchange.caller.is_gone():
            return False
        self._idle = True
        await self._idleness.restart(self._task_group, None)
        return True

    def _exchange(self, request: plain.PlainRequest) -> plain.Exchange:
        """The exchange of a request. Its caller is watched from when all of it has come."""
        if not request.missing:
            # What TLS encrypts has to pass through the program.
            files = None if self.protocol.ssl else self._write_file
            exchange = plain.Exchange(request, self._write_in_turn, self._fields_of_every_answer, files)
            self._watch(exchange.caller)
            return exchange
        body = self._arriving = ArrivingBody(self.reader, self.writer.transport, request.body, request.missing)
        long = plain.LongExchange(request, body, self._write_in_turn, self._fields_of_every_answer)
        if body.missing:
            body.when_whole = lambda: self._watch(long.caller)
        else:
            self._watch(long.caller)
        return long

    def _watch(self, caller: plain.Caller) -> None:
        self._caller = caller
        if self.reader.at_eof():
            caller.leave()

    def _fields_of_every_answer(self) -> plain.Fields:
        self._answered += 1
        if self._answered >= self.config.keep_alive_max_requests or self.context.terminated.is_set():
            return [*self.config.common_fields(), (b"connection", b"close")]
        return self.config.common_fields()

    async def _write_in_turn(self, pieces: tuple[bytes, ...]) -> None:
        async with self.send_lock:
            await self._write(pieces)

    async def _write_file(self, pieces: tuple[bytes, ...], file: int, offset: int, count: int) -> None:
        """The pieces, then a part of a file, within the time that a client has for as much."""
        transport = self.writer.transport
        try:
            async with self.send_lock, asyncio.timeout(self.config.answer_seconds + count / SLOWEST_BYTES_PER_SECOND):
                await self._nothing_unsent()
                outgoing = OutgoingFile(self.writer.get_extra_info("socket").fileno())
                try:
                    await outgoing.send(pieces, file, offset, count)
                finally:
                    outgoing.close()
        except TimeoutError:
            transport.abort()
        except (ConnectionError, RuntimeError):
            await self.protocol.handle(Closed())

    async def _nothing_unsent(self) -> None:
        """Wait until the transport has nothing more to send. Raises ConnectionError."""
        transport = self.writer.transport
        if transport.is_closing():
            raise ConnectionResetError
        if transport.get_write_buffer_size():
            low, high = transport.get_write_buffer_limits()
            transport.set_write_buffer_limits(high=0)
            try:
                await self.writer.drain()
            finally:
                transport.set_write_buffer_limits(high=high, low=low)

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


class _Reading:
    """What a reader knows of its transport: it pauses it when too much is unread."""

    def __init__(self, transport: Any, connection: BoundedConnection) -> None:
        self._transport = transport
        self._connection = connection

    def pause_reading(self) -> None:
        """Pause, unless the client must not be lost sight of."""
        if self._connection.pauses_for():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._transport.resume_reading()


class _Gone:
    """In the place of h11's connection when the client is gone: there is nothing to read, and nobody to write to."""

    our_state = their_state = None
    they_are_waiting_for_100_continue = False
    trailing_data = (b"", True)

    def receive_data(self, data: bytes) -> None:
        """Nobody will read it."""

    def next_event(self) -> h11.ConnectionClosed:
        """The end."""
        return h11.ConnectionClosed()

    def send(self, event: object) -> bytes:
        """Nothing goes out."""
        return b""


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
            self._task = None

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


CONNECTION: ContextVar[BoundedConnection | None] = ContextVar("connection", default=None)
"""The connection that a stream is made in; Hypercorn itself hands it on only as layers of callbacks."""
