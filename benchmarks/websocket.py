"""A small WebSocket client: text frames out, text messages handed to a callback, no task and no future per message.

It owns nothing but sockets. As with `http.py`, what it spends is taken from the server it measures, so it does only
what RFC 6455 asks of a client of our own server: messages in one piece, no extensions, a mask of zeros.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable

OnText = Callable[["WebSocket", bytes], None]

_TEXT = 1
_CLOSE = 8
_FINAL = 0x80
_MASKED = 0x80


class SocketFailed(Exception):
    """The handshake was refused, or the server ended the connection."""


class WebSocket(asyncio.Protocol):
    """One connection. Every text message goes to `on_text`, with the socket to answer on."""

    def __init__(self, on_text: OnText) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with SocketFailed when the server ends the connection; cancelled when we do."""
        self._on_text = on_text
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._data = b""
        self._transport: asyncio.Transport | None = None

    async def open(self, host: str, port: int, path: str, subprotocol: str) -> None:
        """Shake hands on a connection just made.  Raises SocketFailed."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Protocol: {subprotocol}"]
        assert self._transport is not None
        self._transport.write("\r\n".join([*lines, "", ""]).encode())
        await self._opened

    def send(self, text: bytes) -> None:
        """Send one text message."""
        if self._transport is not None:
            self._transport.write(_head(_TEXT, len(text)) + text)

    def close(self) -> None:
        """End the connection without a goodbye."""
        self.closed.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        if not self._opened.done():
            self._shake()
        while self._opened.done() and (message := self._next()) is not None:
            opcode, payload = message
            if opcode == _TEXT:
                self._on_text(self, payload)
            elif opcode == _CLOSE:
                self._fail(f"closed with {int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(str(error or "closed by the server"))

    def _shake(self) -> None:
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if found and not head.startswith(b"HTTP/1.1 101 "):
            self._fail(head.decode("latin-1").partition("\r\n")[0])
        elif found:
            self._data = rest
            self._opened.set_result(None)

    def _next(self) -> tuple[int, bytes] | None:
        """Take one whole frame off what has arrived."""
        data = self._data
        if len(data) < 2:
            return None
        length, start = data[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start or len(data) < start + length:
            return None
        self._data = data[start + length :]
        return data[0] & 0x0F, data[start : start + length]

    def _fail(self, reason: str) -> None:
        future = self.closed if self._opened.done() else self._opened
        if not future.done():
            future.set_exception(SocketFailed(reason))


async def connect(host: str, port: int, path: str, subprotocol: str, on_text: OnText) -> WebSocket:
    """An open WebSocket.  Raises SocketFailed, OSError."""
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: WebSocket(on_text), host, port)
    await socket.open(host, port, path, subprotocol)
    return socket


def _head(opcode: int, length: int) -> bytes:
    """The head of a whole, masked frame, the mask of zeros included."""
    if length < 126:
        sized = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 65_536:
        sized = bytes((_FINAL | opcode, _MASKED | 126)) + length.to_bytes(2, "big")
    else:
        sized = bytes((_FINAL | opcode, _MASKED | 127)) + length.to_bytes(8, "big")
    return sized + bytes(4)
