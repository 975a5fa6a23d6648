"""A server that speaks as much of MongoDB's protocol as a change stream needs, and answers as a test tells it.

For what no server from PyPI does: histories that are lost, collections that end, connections that are cut.
spec of the protocol: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bson

_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013


class Cut(Exception):
    """The connection is to end instead of an answer."""


class WireDouble:
    """A primary of a replica set. `script` has the answers to the next questions of change streams, in order."""

    def __init__(self) -> None:
        self.host, self.port = "127.0.0.1", 0
        self.script: list[dict[str, Any] | Cut] = []
        self.asked: list[dict[str, Any]] = []
        """The questions of change streams: aggregate and getMore."""
        self.documents: list[dict[str, Any]] = []
        """What every `find` finds."""
        self._token = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """For the driver."""
        return f"mongodb://{self.host}:{self.port}/test?replicaSet=rs"

    def events(self, *events: dict[str, Any]) -> None:
        """The next question is answered with these, each with a token of its own."""
        for event in events:
            self._token += 1
            event["_id"] = {"_data": f"token {self._token}"}
        self.script.append(self._batch(list(events)))

    def fails(self, code: int, *labels: str) -> None:
        """The next question is refused."""
        self.script.append(
            {"ok": 0, "code": code, "codeName": "X", "errmsg": f"error {code}", "errorLabels": [*labels]}
        )

    def _batch(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        last = {"_data": f"token {self._token}"}
        return {"ok": 1, "cursor": {"id": 7, "ns": "test.c", "events": events, "postBatchResumeToken": last}}

    async def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name in ("aggregate", "getMore"):
            self.asked.append(command)
            if not self.script:
                await asyncio.sleep(min(command.get("maxTimeMS", 0), 50) / 1000)
            found = self.script.pop(0) if self.script else self._batch([])
            if isinstance(found, Cut):
                raise found
            if found["ok"]:
                cursor = found["cursor"]
                cursor["firstBatch" if name == "aggregate" else "nextBatch"] = cursor.pop("events")
            return found
        if name == "find":
            return {"ok": 1, "cursor": {"id": 0, "ns": "test.c", "firstBatch": self.documents}}
        if name.lower() in ("hello", "ismaster"):
            return {
                **{"ok": 1, "helloOk": True, "ismaster": True, "isWritablePrimary": True, "setName": "rs"},
                **{"hosts": [f"{self.host}:{self.port}"], "me": f"{self.host}:{self.port}", "setVersion": 1},
                **{"minWireVersion": 0, "maxWireVersion": 21, "logicalSessionTimeoutMinutes": 30},
                **{"maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000},
            }
        return {"ok": 1}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, Cut):
            while True:
                length, request, _, code = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if code == _OP_QUERY:
                    start = body.index(b"\0", 4) + 9
                    answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(await self._answer(_first(body[start:])))
                    code = _OP_REPLY
                else:
                    answer = struct.pack("<iB", 0, 0) + bson.encode(await self._answer(_message(body)))
                writer.write(struct.pack("<iiii", 16 + len(answer), 0, request, code) + answer)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[WireDouble]:
        """Listen, with or without encryption."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in list(self._writers):
                writer.close()
            await asyncio.sleep(0)


def _message(body: bytes) -> dict[str, Any]:
    """The command of an OP_MSG, with the lists of documents that follow it."""
    command, rest = _first(body[5:]), body[5:]
    rest = rest[struct.unpack_from("<i", rest)[0] :]
    while len(rest) > 5 and rest[0] == 1:
        size = struct.unpack_from("<i", rest, 1)[0]
        name, _, documents = rest[5 : 1 + size].partition(b"\0")
        command[name.decode()] = bson.decode_all(documents)
        rest = rest[1 + size :]
    return command


def _first(data: bytes) -> dict[str, Any]:
    return dict(bson.decode(data[: struct.unpack_from("<i", data)[0]]))
