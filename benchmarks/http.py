"""A small HTTP/1.1 client: kept-alive connections, one request at a time on each, bodies as bytes.

It owns nothing but sockets. It is small because the load generator shares the machine with the server it measures.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType

import orjson

REQUEST_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Response:
    """Status and body of an answer."""

    status: int
    body: bytes


class ConnectionLost(Exception):
    """The server closed the connection before it answered."""


class HttpClient:
    """Any number of requests at a time to one server, on as many connections as that takes."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._idle: list[_Connection] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        timeout: float = REQUEST_TIMEOUT_S,
    ) -> Response:
        """Send one request; its answer, whatever the status.  Raises ConnectionLost, OSError, TimeoutError."""
        message = self._encode(method, path, token, body)
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._exchange(connection, message, timeout)
            except ConnectionLost:
                # A kept connection may have been closed while it was idle; a new one has no such excuse.
                if connection.has_received:
                    raise
        loop = asyncio.get_running_loop()
        _, fresh = await loop.create_connection(_Connection, *self._address)
        return await self._exchange(fresh, message, timeout)

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _exchange(self, connection: _Connection, message: bytes, timeout: float) -> Response:
        try:
            response = await asyncio.wait_for(connection.exchange(message), timeout)
        except BaseException:
            connection.close()
            raise
        if connection.keeps_alive:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def _encode(self, method: str, path: str, token: str | None, body: object) -> bytes:
        host, port = self._address
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Accept: application/json"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        payload = b"" if body is None else orjson.dumps(body)
        if body is not None or method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        return "\r\n".join([*lines, "", ""]).encode() + payload


class _Connection(asyncio.Protocol):
    """One socket, at most one request on its way."""

    def __init__(self) -> None:
        self.keeps_alive = True
        self.has_received = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Response] | None = None
        self._parser = _Parser()

    async def exchange(self, message: bytes) -> Response:
        """Write a request and wait for the answer.  Raises ConnectionLost."""
        self.has_received = False
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionLost("closed while idle")
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = _Parser()
        transport.write(message)
        return await self._waiting

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.has_received = True
        response = self._parser.feed(data)
        if response is not None and self._waiting is not None:
            self.keeps_alive = self._parser.keeps_alive
            self._answer(response)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionLost(str(error or "closed by the server")))

    def _answer(self, response: Response) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(response)
        self._waiting = None


class _Parser:
    """Puts one response together from what arrives, with Content-Length or chunked."""

    def __init__(self) -> None:
        self.keeps_alive = True
        self._data = bytearray()
        self._status = 0
        self._length: int | None = None
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> Response | None:
        """Take bytes in; the response once it is complete."""
        self._data += data
        if self._status == 0 and not self._head():
            return None
        if self._length is not None:
            if len(self._data) < self._length:
                return None
            return Response(self._status, bytes(self._data[: self._length]))
        return self._chunked()

    def _head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._data[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        del self._data[: end + 4]
        self._status = int(first.split(" ", 2)[1])
        self.keeps_alive = headers.get("connection", "keep-alive").lower() != "close"
        if headers.get("transfer-encoding", "").lower() != "chunked":
            self._length = int(headers.get("content-length", "0"))
        return True

    def _chunked(self) -> Response | None:
        while (end := self._data.find(b"\r\n")) >= 0:
            size = int(bytes(self._data[:end]).partition(b";")[0], 16)
            if len(self._data) < end + 2 + size + 2:
                return None
            self._chunks.append(bytes(self._data[end + 2 : end + 2 + size]))
            del self._data[: end + 2 + size + 2]
            if size == 0:
                return Response(self._status, b"".join(self._chunks))
        return None
