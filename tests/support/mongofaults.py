"""What a MongoDB says that nx-27017 never does: between it and a client, some commands are answered from here.

Only what is named is answered so, once each; everything else is forwarded, both ways, as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import bson

_MESSAGE = 2013
"""OP_MSG. Older operations are used for greetings only."""
_HEADER = struct.Struct("<iiii")
_FIRST_SECTION = 16 + 4 + 1
"""Behind the header, the flags, and the kind of the section."""
Answer = Callable[[dict[str, Any]], dict[str, Any]]
HISTORY_LOST = {
    "ok": 0.0,
    "code": 286,
    "codeName": "ChangeStreamHistoryLost",
    "errmsg": "Resume of change stream was not possible, as the resume point may no longer be in the oplog.",
}


class MongoFaults:
    """Such a proxy, in the loop of the test."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._waiting: dict[str, list[Answer]] = {}
        self.answered = 0
        """How many commands were answered from here."""

    def answer(self, command: str, answer: Answer | dict[str, Any]) -> None:
        """Answer the next command of a name with a document, or with what a function makes of it."""
        function = answer if callable(answer) else lambda _command: answer
        self._waiting.setdefault(command, []).append(function)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[MongoFaults]:
        """Running for the length of the block."""
        tasks = set[asyncio.Task[None]]()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._link(reader, writer)
            writer.transport.abort()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        back = asyncio.create_task(_pump(far_reader, writer))
        try:
            while True:
                header = await reader.readexactly(_HEADER.size)
                size, request, _, operation = _HEADER.unpack(header)
                whole = header + await reader.readexactly(size - _HEADER.size)
                if operation == _MESSAGE and (reply := self._reply(whole, request)) is not None:
                    writer.write(reply)
                else:
                    far_writer.write(whole)
        finally:
            back.cancel()
            far_writer.transport.abort()

    def _reply(self, message: bytes, request: int) -> bytes | None:
        (length,) = struct.unpack_from("<i", message, _FIRST_SECTION)
        command = bson.decode(message[_FIRST_SECTION : _FIRST_SECTION + length])
        waiting = self._waiting.get(next(iter(command)))
        if not waiting:
            return None
        self.answered += 1
        body = bytes(5) + bson.encode(waiting.pop(0)(command))
        return _HEADER.pack(_HEADER.size + len(body), 0, request, _MESSAGE) + body


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.transport.abort()
