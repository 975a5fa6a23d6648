"""One WebSocket over ASGI, with every buffer bounded by bytes or by time.

Receiving is pull only: a frame is taken from the server's short queue when the session asks for it, so a client that
floods is slowed by TCP and never buffered here. Sending waits for the client, but not for long: one that never reads
is given up. Knows nothing of what the frames say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from homeserver.core.errors import MatrixError
from homeserver.ports.socket import CloseCode, CloseSocket, SocketClosed
from homeserver.web.response import encode

Send = Callable[[dict[str, Any]], Awaitable[None]]

SLOWEST_BYTES_PER_SECOND = 64 * 1024
"""A large frame (a first sync) gets as much more time as a link of this speed needs."""

_NOW_BYTES = 64 * 1024
"""A larger frame is sent with the client's pace in view."""

TEXT = "chat.hromada.text"
"""ASGI extension of the sockets served here: `websocket.send` takes UTF-8 under this name. As `str`, which ASGI asks
for otherwise, a large update with one emoji in it would take four times its size, and be copied twice more."""

_FAREWELL_SECONDS = 2.0
_REASON_BYTES = 123  # RFC 6455 5.5: a close frame holds 125 bytes, two of them the code


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """The bounds of one socket."""

    frame_bytes: int = 64 * 1024
    send_seconds: float = 10.0
    origins: frozenset[str] = frozenset()
    """Origins of the pages that may open sockets. Empty: all, as for the rest of the API (see docs/websocket.md)."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What the handler of a WebSocket route gets: the open socket, and a way to call the other routes."""

    socket: WebSocket
    call: Callable[[str, str, str, bytes], Awaitable[tuple[int, bytes]]]
    """`call(token, method, path and query, body)` serves a JSON endpoint: status and JSON. Raises nothing."""
    identified: Callable[[], None] = lambda: None
    """To be called once it is known whose socket it is: until then an address may have few."""


@dataclass(slots=True)
class Direct:
    """A way between the application and the connection past ASGI, for what is sent and received most often.

    It goes along with the acceptance of the handshake; a server that knows nothing of it leaves `write` empty, and
    all goes through ASGI. See docs/adr/0004-direct-frames.md.
    """

    write: Callable[[bytes], bool] | None = None
    """Set by the server: send a text now, if nothing stands in its way."""
    heard: Callable[[bytes], bool] | None = None
    """Set by the application: offered each text that came whole; True if it dealt with it."""


class WebSocket:
    """Implements `ports.socket.Socket` over an ASGI connection whose handshake is still open."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Send,
        settings: SocketSettings,
        extensions: Mapping[str, Any],
    ) -> None:
        self._receive = receive
        self._send = send
        self._settings = settings
        self._direct = Direct()
        self._takes_bytes = TEXT in extensions
        self._gone = False

    async def accept(self, subprotocol: str) -> None:
        """Complete the handshake."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "direct": self._direct})

    async def refuse(self, error: MatrixError) -> None:
        """Answer the handshake with an HTTP error instead."""
        body = encode(error.body())
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body, "more_body": False})

    async def receive(self) -> bytes:
        """See `ports.socket.Socket`."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._gone = True
            raise SocketClosed
        text: str | None = message.get("text")
        if text is None:
            raise CloseSocket(CloseCode.UNSUPPORTED, "Frames are text")
        frame = text.encode()
        if len(frame) > self._settings.frame_bytes:
            raise CloseSocket(CloseCode.TOO_LARGE, f"A frame may have {self._settings.frame_bytes} bytes")
        return frame

    async def send(self, frame: bytes) -> None:
        """See `ports.socket.Socket`."""
        if self._gone:
            raise SocketClosed
        try:
            async with asyncio.timeout(self._settings.send_seconds + len(frame) / SLOWEST_BYTES_PER_SECOND):
                text = {TEXT: frame} if self._takes_bytes else {"text": frame.decode()}
                await self._send({"type": "websocket.send", **text})
        except TimeoutError:
            raise CloseSocket(CloseCode.TOO_SLOW, "The client does not read") from None

    def send_now(self, frame: bytes) -> bool:
        """See `ports.socket.Socket`."""
        write = self._direct.write
        return write is not None and not self._gone and len(frame) <= _NOW_BYTES and write(frame)

    def overhear(self, heard: Callable[[bytes], bool]) -> None:
        """See `ports.socket.Socket`."""
        self._direct.heard = heard

    async def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye, and give the client a moment to hear it.

        What it still sends is thrown away meanwhile: a connection that is closed with unread bytes is reset, and a
        reset may overtake the close frame.
        """
        if self._gone:
            return
        self._gone = True
        self._direct.heard = None
        cut = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._send({"type": "websocket.close", "code": int(code), "reason": cut})
                while (await self._receive())["type"] != "websocket.disconnect":
                    pass
