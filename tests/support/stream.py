"""A client of the streaming protocol for tests (docs/websocket.md), and a raw one that breaks its rules."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.support.client import Client

PATH = "/_matrix/client/unstable/chat.hromada/stream"
PATIENCE_S = 60.0

Json = dict[str, Any]


class Stream:
    """One open socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, **frame: Any) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def receive(self, op: str) -> Json:
        """The next frame, which must be of this kind."""
        message = await self.socket.receive(PATIENCE_S)
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
        frame: Json = json.loads(message.data)
        assert frame["op"] == op, frame
        return frame

    async def update(self) -> Json:
        """The body of the next update, acknowledged."""
        body: Json = (await self.receive("sync"))["body"]
        await self.ack(body)
        return body

    async def ack(self, body: Json) -> None:
        await self.send(op="ack", pos=body["next_batch"])

    async def call(self, method: str, path: str, body: Any = None) -> Json:
        """A request over the socket; its answer must be the next frame."""
        await self.send(op="req", id=1, method=method, path=f"/_matrix/client/v3{path}", body=body)
        return await self.receive("res")

    async def closed(self) -> int:
        """The close code, after whatever frames still come."""
        while True:
            message = await self.socket.receive(PATIENCE_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                assert self.socket.close_code is not None, message
                return self.socket.close_code


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[Stream]:
    """A socket on which nothing was said."""
    address = client.base_url + PATH
    async with client.session.ws_connect(address, protocols=["m.json"], max_msg_size=0, autoping=True) as socket:
        yield Stream(socket)


@asynccontextmanager
async def streaming(client: Client, **start: Any) -> AsyncIterator[Stream]:
    """A socket that is authenticated and, with `since` (or anything else of `start`), streams."""
    async with connected(client) as stream:
        await stream.send(op="auth", access_token=client.token)
        await stream.receive("ready")
        if start:
            await stream.send(op="start", **start)
        yield stream


class RawSocket:
    """A WebSocket client that sends bytes as they are told, and reads only when told."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> RawSocket:
        host, port = self._address.hostname, self._address.port
        self.reader, self.writer = await asyncio.open_connection(host, port, limit=4096)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: m.json\r\n"
        self.writer.write(f"{head}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode())
        self.answer = await self.reader.readuntil(b"\r\n\r\n")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def text(self, frame: Json) -> None:
        await self.write(frame_of(0x81, json.dumps(frame).encode()))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame of the server: opcode and payload. Raises IncompleteReadError if the connection ends."""
        async with asyncio.timeout(PATIENCE_S):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """The code of the close frame, after whatever frames still come."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")

    async def ended(self) -> None:
        """Read until the server has ended the connection."""
        async with asyncio.timeout(2 * PATIENCE_S):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass


def frame_of(first: int, payload: bytes) -> bytes:
    """A masked frame whose first byte is `first` (0x81: the whole of a text); the mask is zero."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65_536:
        head = bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + bytes(4) + payload
