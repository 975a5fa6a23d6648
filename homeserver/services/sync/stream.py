"""Streaming sync over a socket: one session per socket, and what bounds them.

A session is a cursor with a window of one: the next update is computed only when the client has acknowledged the one
before, so a slow client is an older position and never a queue, and a cut socket resumes from the last position it
acknowledged, as `/sync` would. What many get alike is sent without waking a task (`_look`, called by the bell and by
the acknowledgement); what only this client gets, its own task makes (`_answer`). Knows no web server: it speaks
through `ports.socket.Socket`, and calls of the API through `StreamHost.call`. Frames and close codes are described in
docs/websocket.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from homeserver import faults
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import Filter
from homeserver.ports.clock import Clock
from homeserver.ports.ratelimits import Rate
from homeserver.ports.requester import Requester
from homeserver.ports.socket import CloseCode, CloseSocket, Socket, SocketClosed
from homeserver.ports.store import StoreUnavailable
from homeserver.services.sync import frames
from homeserver.services.sync.allowance import Allowance
from homeserver.services.sync.fanout import audience
from homeserver.services.sync.held import HeldOpen
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.service import SyncService

_NO_ACK = b""  # which no frame is

_SILENCE = 2.5
"""A client that sent nothing for so many heartbeats is gone."""

_ARRIVING = 16

_TRANSPORT_BYTES = 64 * 1024
"""What the web server keeps of earlier frames before it stops taking more (the default of asyncio)."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The bounds of streaming."""

    auth_seconds: float = 5.0
    heartbeat_seconds: float = 30.0
    sockets_per_user: int = 20
    sockets_per_guest: int = 3
    frames: Rate = field(default_factory=lambda: Rate(20, 60))
    requests_in_flight: int = 8
    buffer_bytes: int = 256 * 1024


class StreamHost(Protocol):
    """What a session needs of the role that opened the socket."""

    async def authenticate(self, token: str) -> Requester:
        """The requester behind an access token. Raises MatrixError."""
        ...

    def serves(self, token: str) -> bool:
        """Whether it is certain, without waiting, that the token still serves. False: ask `authenticate`."""
        ...

    async def request(self, who: Requester, start: frames.Start) -> SyncRequest:
        """What is to be streamed. Raises MatrixError for a bad filter or token."""
        ...

    async def advance(self, request: SyncRequest) -> SyncRequest:
        """The request for the next update, with what may have changed since the last (ignored users)."""
        ...

    def call(self, token: str, method: str, path: str, body: bytes, /) -> Awaitable[tuple[int, bytes]]:
        """Serve one call of the API: status and JSON. Raises nothing."""
        ...


class Sockets:
    """The sessions of this process: bounds them by user, and looks after the quiet ones."""

    def __init__(self, settings: StreamSettings, held: HeldOpen, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self._held = held
        self.arriving = asyncio.Semaphore(_ARRIVING)
        """After a restart everybody comes at once. Who waits for a turn costs nothing; see `SyncService`, too."""

    def has(self, user_id: str) -> bool:
        """Whether the user has a socket open."""
        return any(isinstance(held, StreamSession) for held in self._held.of(user_id))

    def add(self, session: StreamSession) -> None:
        """Raises CloseSocket if the user has too many, or the server stops."""
        if self._held.released:
            raise _stopping()
        who = session.who
        user_id, most = who.user_id, self.settings.sockets_per_guest if who.is_guest else self.settings.sockets_per_user
        if sum(isinstance(held, StreamSession) for held in self._held.of(user_id)) >= most:
            raise CloseSocket(CloseCode.TOO_SLOW, f"A user may have {most} sockets")
        self._held.add(user_id, session)

    def remove(self, session: StreamSession) -> None:
        """The session is over."""
        self._held.remove(session.who.user_id, session)

    async def run(self) -> None:
        """Look after quiet sessions: silent clients, and tokens that expired without being used."""
        while True:
            await asyncio.sleep(self.settings.heartbeat_seconds / 2)
            earliest = self.clock.monotonic() - _SILENCE * self.settings.heartbeat_seconds
            for session in self._held.all():
                if not isinstance(session, StreamSession):
                    continue
                if session.heard < earliest:
                    session.close(CloseSocket(CloseCode.TOO_SLOW, "No sign of life"))
                else:
                    session.recheck()


class StreamSession:
    """One client on one socket."""

    def __init__(self, socket: Socket, host: StreamHost, sync: SyncService, sockets: Sockets) -> None:
        self._socket = socket
        self._host = host
        self._sync = sync
        self._sockets = sockets
        self._clock = sockets.clock
        self._pace = _Pace(sockets.settings.frames, self._clock)
        self._slots = asyncio.Semaphore(sockets.settings.requests_in_flight)
        self._answers = Allowance(sockets.settings.buffer_bytes - _TRANSPORT_BYTES)
        self._over = asyncio.Event()
        self._reason: Exception | None = None
        """Why it is over. `run` takes it away: its traceback leads here, and both would wait for the collector."""
        self._loops: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._token = ""
        self._request: SyncRequest | None = None
        """What is streamed, once it has begun; from where on says `_since`."""
        self._form = audience(SyncRequest("", None, Filter()))
        self._since: SyncToken | None = None
        self._unacknowledged: SyncToken | None = None
        self._likely_ack = _NO_ACK
        self._own_work = asyncio.Event()
        """Set while the client's own task has something to do, or does it."""
        self.who = Requester("")
        self.heard = self._clock.monotonic()
        """When the client last sent anything."""

    async def run(self) -> None:
        """Serve the client. Always ends with an error: CloseSocket, SocketClosed, or a bug."""
        try:
            async with asyncio.timeout(self._sockets.settings.auth_seconds):
                frame = frames.parse(await self._socket.receive())
        except TimeoutError:
            # Not UNKNOWN_TOKEN: a client that was slow, or a server that was, must not believe to be logged out.
            raise CloseSocket(CloseCode.TOO_SLOW, "No access token came in time") from None
        if not isinstance(frame, frames.Auth):
            raise CloseSocket(CloseCode.UNKNOWN_TOKEN, "The first frame must be auth")
        async with self._sockets.arriving:
            self.who = await self._authenticate(frame.access_token)
        self._token = frame.access_token
        self._sockets.add(self)
        try:
            await self._welcome()
            self._spawn(self._read(), self._loops)
            await self._over.wait()
            raise self._taken_reason()
        finally:
            self._sockets.remove(self)
            self._answers.close()
            for task in self._loops:
                task.cancel()
            # A call that has begun is finished, as over HTTP, though its answer has nowhere to go.
            await asyncio.gather(*self._loops, *self._calls, return_exceptions=True)

    @property
    def session_id(self) -> str | None:
        """The session whose token it was opened with."""
        return self.who.session_id

    def end(self, reason: MatrixError) -> None:
        """The client must not learn anything more: close the socket, unless its token serves all the same."""
        if reason.code is ErrCode.UNKNOWN_TOKEN:
            self.close(CloseSocket(CloseCode.UNKNOWN_TOKEN, reason.message))
        else:
            self.recheck()

    def stop(self) -> None:
        """The server stops."""
        self.close(_stopping())

    def close(self, reason: Exception) -> None:
        """Make `run` end with `reason`, unless it does so already."""
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    def _taken_reason(self) -> Exception:
        reason, self._reason = self._reason, None
        return reason or SocketClosed()

    def recheck(self) -> None:
        """See whether the token still serves, and end if not."""
        if not self._host.serves(self._token):
            self._spawn(self._confirm(), self._loops)

    def _spawn(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                unavailable = CloseSocket(CloseCode.TRY_AGAIN, "The database is not available")
                self.close(unavailable if isinstance(error, StoreUnavailable) else _as_exception(error))

        task.add_done_callback(done)

    # Tokens

    async def _authenticate(self, token: str) -> Requester:
        """Raises CloseSocket, after telling the client why."""
        try:
            return await self._host.authenticate(token)
        except MatrixError as error:
            await self._socket.send(frames.failure(error))
            raise CloseSocket(CloseCode.UNKNOWN_TOKEN, error.code) from None

    async def _confirm(self) -> None:
        await self._authenticate(self._token)

    async def _renew(self, frame: frames.Auth) -> None:
        who = await self._authenticate(frame.access_token)
        if (who.user_id, who.device_id) != (self.who.user_id, self.who.device_id):
            raise CloseSocket(CloseCode.UNKNOWN_TOKEN, "The token is another device's")
        self.who, self._token = who, frame.access_token
        await self._welcome()

    async def _welcome(self) -> None:
        await self._socket.send(frames.ready(self.who, int(self._sockets.settings.heartbeat_seconds * 1000)))

    # What the client sends

    async def _read(self) -> None:
        while True:
            frame = frames.parse(await self._socket.receive())
            self.heard = self._clock.monotonic()
            if isinstance(frame, frames.Ack):
                self._acknowledge(frame)  # needs no pace: there is one per update
                continue
            self._pace.take()
            match frame:
                case frames.Ping():
                    await self._socket.send(frames.PONG)
                case frames.Req():
                    await self._slots.acquire()
                    self._spawn(self._call(frame), self._calls)
                case frames.Start():
                    await self._start(frame)
                case frames.Auth():
                    await self._renew(frame)

    def _acknowledge(self, frame: frames.Ack) -> None:
        if self._unacknowledged is None or frame.pos != str(self._unacknowledged):
            raise CloseSocket(CloseCode.BAD_FRAME, "There is no update to acknowledge at this position")
        self._go_on()

    def _overhear(self, data: bytes) -> bool:
        """Take the acknowledgement that is due, in the form in which most clients write it, before it is parsed."""
        if data != self._likely_ack:
            return False
        self.heard = self._clock.monotonic()
        self._go_on()
        return True

    def _go_on(self) -> None:
        """The update has been acknowledged."""
        if faults.plan is not None:
            faults.plan.touch("stream.acknowledged")
        self._since, self._unacknowledged, self._likely_ack = self._unacknowledged, None, _NO_ACK
        self._look()

    async def _call(self, frame: frames.Req) -> None:
        """Serve a call and send its answer, keeping no more answers than the client may leave unread."""
        try:
            answer = await self._serve(frame)
            size = len(answer)
            if not self._answers.take(size):
                if frame.method != "GET":
                    raise CloseSocket(CloseCode.TOO_SLOW, "The client does not read its answers")
                # What can be asked again is: the answer is let go of, and made anew when there is room for it.
                del answer
                if not await self._answers.taken(size):
                    return
                answer = await self._serve(frame)
            await self._socket.send(answer)
            self._answers.give_back(size)  # if it cannot be sent, the session ends, and nobody may take its place
        finally:
            self._slots.release()

    async def _serve(self, frame: frames.Req) -> bytes:
        body = b"" if frame.body is None else orjson.dumps(frame.body)
        status, answer = await self._host.call(self._token, frame.method, frame.path, body)
        if len(answer) > self._answers.limit:
            error = MatrixError(ErrCode.TOO_LARGE, "The answer is too large for a socket: use HTTP")
            status, answer = error.status, orjson.dumps(error.body())
        return frames.result(frame.id, status, answer)

    async def _start(self, frame: frames.Start) -> None:
        if self._request is not None:
            raise CloseSocket(CloseCode.BAD_FRAME, "The stream has been started")
        try:
            request = await self._host.request(self.who, frame)
        except MatrixError as error:
            await self._socket.send(frames.failure(error))
            return
        self._request, self._since = request, request.since
        self._form = audience(request)
        self._spawn(self._stream(request), self._loops)

    # What the client gets

    async def _stream(self, request: SyncRequest) -> None:
        """Make the updates that are this client's own; `_look` says when."""
        self._own_work.set()  # the first may be an initial sync
        self._socket.overhear(self._overhear)
        with self._sync.listening(request, self._look):
            while True:
                await self._own_work.wait()
                request = await self._answer(request)
                self._request, self._form = request, audience(request)
                self._own_work.clear()
                self._look()

    def _look(self) -> None:
        """Send the next update if there is one and its turn has come, or have it made. Raises nothing."""
        request, since = self._request, self._since
        if self._own_work.is_set() or self._unacknowledged is not None or self._over.is_set():
            return
        if request is None or since is None or self._sync.is_current(since):
            return
        try:
            if faults.plan is not None:
                faults.plan.touch("stream.shared")
            told = self._sync.shared(request, since, self._form)
            if told is not None and not (json := told.json):
                self._since = told.token
            elif told is not None and self._host.serves(self._token) and self._socket.send_now(frames.update(json)):
                self._expect(told.token)
            else:
                self._own_work.set()
        except Exception as error:  # it has no caller who could do anything about it
            self.close(error)

    async def _answer(self, request: SyncRequest) -> SyncRequest:
        """Send the next update, if there is one. The request for the one after it."""
        request = replace(request, since=self._since)
        answer = await self._sync.respond(request)
        if request.since is None or request.full_state or not answer.body.is_empty:
            await self._confirm()  # waiting may have been long
            self._expect(answer.token)
            if faults.plan is not None:
                await faults.plan.reach("stream.send")
            update = frames.update(self._sync.encode(request, answer.body))
            del answer  # the frame is all that is kept while the client takes its time
            await self._socket.send(update)
        else:
            self._since = answer.token
        return await self._host.advance(replace(request, full_state=False))

    def _expect(self, token: SyncToken) -> None:
        """An update has gone out: nothing more until it is acknowledged."""
        self._unacknowledged = token
        self._likely_ack = frames.ack(str(token))


class _Pace:
    """A token bucket for one socket, kept as the moment at which it will be full again."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._full_at = 0.0

    def take(self) -> None:
        """Raises CloseSocket if the bucket is empty."""
        now = self._clock.monotonic()
        self._full_at = max(self._full_at, now) + 1 / self._rate.per_second
        if self._full_at - now > self._rate.burst / self._rate.per_second:
            raise CloseSocket(CloseCode.RATE, f"More than {self._rate.per_second:g} frames a second")


def _stopping() -> CloseSocket:
    return CloseSocket(CloseCode.GOING_AWAY, "The server stops")


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
