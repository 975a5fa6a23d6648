"""Writers: each is one device that changes one room and its own data, and repeats what was not answered.

A message or redaction is repeated with its transaction id until it is acknowledged, or given up for unknown; state,
account data and receipts are repeated until they are acknowledged. Sometimes an acknowledged send is sent again, to
see whether the answer stays the same.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from tests.chaos.history import History, Json, Operation
from tests.chaos.target import Target
from tests.support.client import Client, part
from tests.support.stream import PATH

RETRY_S = 0.05
# Longer than anything is held, so that it ends what will never be answered and nothing else.
REQUEST_S = 8.0
REPEAT = 0.1
GIVE_UP = 0.2
STATE_TYPE = "chaos.state"
KINDS = ("send", "state", "redact", "data", "receipt", "to_device")
WEIGHTS = (70, 10, 8, 6, 6, 12)
NOTE = "chaos.note"
"""The type of messages to devices."""
CUT_OFF = (aiohttp.ClientError, OSError, TimeoutError)


class Refused(AssertionError):
    """The server says that a client did something wrong, which it did not."""


class Caller(Protocol):
    """A way to call the API."""

    async def call(self, method: str, path: str, body: Json) -> tuple[int, Any]:
        """Status and body. Raises CUT_OFF."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass
class HttpCaller:
    """Calls over HTTP."""

    client: Client
    target: Target

    async def call(self, method: str, path: str, body: Json) -> tuple[int, Any]:
        async with asyncio.timeout(REQUEST_S):
            reply = await self.target.reach(self.client).request(method, path, body)
        return reply.status, reply.body

    async def close(self) -> None:
        pass


@dataclass
class StreamCaller:
    """Calls over a socket of the streaming protocol, one at a time, opened again when it breaks."""

    client: Client
    target: Target
    socket: aiohttp.ClientWebSocketResponse | None = None
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def call(self, method: str, path: str, body: Json) -> tuple[int, Any]:
        number = next(self.numbers)
        request = {"op": "req", "id": number, "method": method, "path": f"/_matrix/client/v3{path}", "body": body}
        try:
            async with asyncio.timeout(REQUEST_S):
                if self.socket is None or self.socket.closed:
                    self.socket = await self._open()
                await self.socket.send_str(json.dumps(request))
                while True:
                    frame = await receive(self.socket)
                    if frame["op"] == "res" and frame["id"] == number:
                        return frame["status"], frame["body"]
        except CUT_OFF:
            await self.close()
            raise

    async def close(self) -> None:
        if self.socket is not None:
            socket, self.socket = self.socket, None
            await discard(socket)

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        return await open_stream(self.target.reach(self.client))


async def open_stream(client: Client) -> aiohttp.ClientWebSocketResponse:
    """An authenticated socket. Raises CUT_OFF."""
    socket = await client.session.ws_connect(client.base_url + PATH, protocols=["m.json"], max_msg_size=0)
    try:
        await socket.send_str(json.dumps({"op": "auth", "access_token": client.token}))
        frame = await receive(socket)
        assert frame["op"] == "ready", frame
    except BaseException:
        await discard(socket)
        raise
    return socket


async def discard(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close a socket without waiting for a server that may be dead."""
    try:
        async with asyncio.timeout(0.1):
            await socket.close()
    except CUT_OFF:
        pass


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Json:
    """The next frame. Raises ConnectionError when the socket ends, AssertionError if the server blames us."""
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        code = socket.close_code
        if code in {4000, 4001, 4029}:
            raise Refused(f"the socket was closed with {code}: {message.extra}")
        raise ConnectionError(f"the socket ended with {code}")
    frame: Json = json.loads(message.data)
    return frame


@dataclass
class Writer:
    """One device that writes to one room."""

    name: str
    client: Client
    room: str
    caller: Caller
    history: History
    random: random.Random
    failures: Counter[int] = field(default_factory=Counter)
    acked: list[tuple[str, str]] = field(default_factory=list)
    """Messages: key and event id."""
    acknowledged: int = 0
    stopped: bool = False
    redacted: set[str] = field(default_factory=set)
    devices: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Readers by name, with user and device: who is sent messages to devices."""

    async def run(self) -> None:
        """Write until told to stop; what is under way is finished first."""
        for number in itertools.count():
            if self.stopped:
                await self.caller.close()
                return
            await self._write(number)

    async def _write(self, number: int) -> None:
        key = f"{self.name}/{number}"
        kind = self.random.choices(KINDS, WEIGHTS)[0]
        if kind == "redact" and self._redactable():
            await self._redact(key)
        elif kind == "receipt" and self.acked:
            event = self.acked[-1][1]
            path = f"/rooms/{part(self.room)}/receipt/m.read/{part(event)}"
            await self._put(("POST", path, {}), f"receipt|{self.room}|{self.client.user_id}", event)
        elif kind == "to_device" and self.devices:
            await self._to_devices(key)
        elif kind == "data":
            path = f"/user/{part(self.client.user_id)}/account_data/chaos.{self.name}"
            await self._put(("PUT", path, {"value": number}), f"account_data|chaos.{self.name}", number)
        elif kind == "state":
            path = f"/rooms/{part(self.room)}/state/{STATE_TYPE}/{part(self.name)}"
            await self._event("state", ("PUT", path, {"key": key}), key)
        else:
            await self._send(key)

    async def _send(self, key: str) -> None:
        path = f"/rooms/{part(self.room)}/send/m.room.message/{part(key)}"
        request = ("PUT", path, {"msgtype": "m.text", "body": key})
        operation = await self._event("send", request, key)
        if not operation.acked:
            return
        self.acked.append((key, operation.result))
        if self.random.random() < REPEAT:
            await self._event("send", request, key)

    def _redactable(self) -> list[str]:
        # Not the newest: receipts go to it.
        return [event for _, event in self.acked[:-1] if event not in self.redacted]

    async def _redact(self, key: str) -> None:
        event = self.random.choice(self._redactable())
        self.redacted.add(event)
        path = f"/rooms/{part(self.room)}/redact/{part(event)}/{part(key)}"
        await self._event("redact", ("PUT", path, {"reason": key}), key, redacts=event)

    async def _to_devices(self, key: str) -> None:
        names = self.random.sample(sorted(self.devices), self.random.randint(1, len(self.devices)))
        messages: Json = {}
        for user, device in (self.devices[name] for name in names):
            messages.setdefault(user, {})[device] = {"key": key}
        operation = self.history.begin(self.name, "to_device", key=key, readers=names)
        request = ("PUT", f"/sendToDevice/{NOTE}/{part(key)}", {"messages": messages})
        if await self._until_done(operation, request, may_give_up=True) is not None:
            self.history.finish(operation, key)
            self.acknowledged += 1

    async def _event(self, kind: str, request: tuple[str, str, Json], key: str, **asked: str) -> Operation:
        operation = self.history.begin(self.name, kind, room=self.room, key=key, **asked)
        body = await self._until_done(operation, request, may_give_up=kind != "state")
        if body is not None:
            self.history.finish(operation, body["event_id"])
            self.acknowledged += 1
        return operation

    async def _put(self, request: tuple[str, str, Json], register: str, value: str | int) -> None:
        operation = self.history.begin(self.name, "put", register=register, value=value)
        await self._until_done(operation, request, may_give_up=False)
        self.history.finish(operation, value)

    async def _until_done(
        self, operation: Operation, request: tuple[str, str, Json], *, may_give_up: bool
    ) -> Json | None:
        """The answer; None if the outcome is left unknown. Raises Refused."""
        operation.attempts = 0
        while True:
            operation.attempts += 1
            try:
                status, body = await self.caller.call(*request)
            except CUT_OFF:
                status, body = 0, None
            if status == 200:
                answer: Json = body
                return answer
            self.failures[status] += 1
            if status and status < 500:
                raise Refused(f"{self.name}: {request}: {status} {body}")
            if may_give_up and self.random.random() < GIVE_UP:
                return None
            await asyncio.sleep(RETRY_S)
