"""Plain requests: those that came whole over HTTP/1.1 and ask for nothing special, read and answered the short way.

Nearly every request is one. What is anything else, and all that is wrong, is left to Hypercorn and h11, so what is read
here must be read by h11 in the same way, and need not be much. Why: docs/adr/0006-plain-requests.md.  RFC 9112
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from homeserver.web.arriving import ARRIVING, ArrivingBody
from homeserver.web.leaving import ZERO_COPY

PLAIN = "chat.hromada.plain"
"""ASGI extension of the requests served here: their `Caller`."""

T = TypeVar("T")
Fields = list[tuple[bytes, bytes]]
Write = Callable[[tuple[bytes, ...]], Awaitable[None]]
WriteFile = Callable[[tuple[bytes, ...], int, int, int], Awaitable[None]]

MAX_HEAD = 16 * 1024

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
# All repetition is possessive: no head takes longer than its length.
_HEAD = re.compile(rb"(GET|PUT|POST|DELETE|OPTIONS) (/[!-~]*+) HTTP/1\.1\r\n((?:" + _TOKEN + rb":[\t -~]*+\r\n)*+)\r\n")
_FIELD = re.compile(rb"([^:\r\n]++):([^\r]*+)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,15}")
# What an answer's fields may be made of: none of them can end early and go on as something else.
_SAFE_FIELDS = re.compile(rb"(?:" + _TOKEN + rb": [^\x00\r\n]*+\r\n)*+")

_SPECIAL = frozenset(
    (b"connection", b"content-length", b"expect", b"host", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_BODILESS = frozenset((204, 304))


class UnfitAnswer(RuntimeError):
    """The application sent what is no answer."""


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request, read."""

    method: str
    target: bytes
    fields: Fields
    """Names in lower case, values without the blanks around them."""
    body: bytes
    missing: int = 0
    """Bytes of the body that have not come yet."""


def read(data: bytes) -> PlainRequest | None:
    """The one request that `data` is, or None if it is not plain: incomplete, more than one, or unusual in any way."""
    request = read_begun(data)
    return request if request is not None and not request.missing else None


def read_begun(data: bytes) -> PlainRequest | None:
    """The same, also if a part of the body is still to come."""
    head = _HEAD.match(data)
    if head is None or head.end() > MAX_HEAD:
        return None
    fields = [(name.lower(), value.strip(b" \t")) for name, value in _FIELD.findall(data, *head.span(3))]
    hosts, length = 0, None
    for name, value in fields:
        if name not in _SPECIAL:
            continue
        if name == b"host":
            hosts += 1
        elif name == b"content-length" and length is None and _LENGTH.fullmatch(value):
            length = int(value)
        elif name != b"connection" or value.lower() != b"keep-alive":
            return None
    missing = (length or 0) - (len(data) - head.end())
    if hosts != 1 or missing < 0:
        return None
    return PlainRequest(head[1].decode(), head[2], fields, data[head.end() :], missing)


class Caller:
    """Who waits for the answer: the whole body, and whether anybody still waits."""

    __slots__ = ("_gone", "_on_leaving", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._gone = False
        self._on_leaving: Callable[[], object] | None = None

    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self._gone

    def leave(self) -> None:
        """The connection has ended. It may end twice, half and then whole; the second time changes nothing."""
        if self._gone:
            return
        self._gone = True
        if self._on_leaving is not None:
            self._on_leaving()

    async def has_left(self) -> None:
        """Return when the connection has ended. For one at a time, and not beside `attend`."""
        if not self.is_gone():
            left = asyncio.Event()
            self._on_leaving = left.set
            await left.wait()

    async def attend(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` returns, or None if the connection ended before: `work` is cancelled then.

        The work is done in the task that asks for it: a long poll has one task, that of its connection.
        """
        task = asyncio.current_task()
        if self.is_gone() or task is None:
            work.close()
            return None
        self._on_leaving = task.cancel
        try:
            return await work
        except asyncio.CancelledError:
            if not self.is_gone() or task.cancelling() > 1:  # somebody else wants this task to end
                raise
            return None
        finally:
            self._on_leaving = None
            if self.is_gone():
                task.uncancel()


class Exchange:
    """One plain request and its answer, as ASGI sees them."""

    def __init__(
        self,
        request: PlainRequest,
        write: Write,
        common_fields: Callable[[], Fields],
        write_file: WriteFile | None = None,
    ) -> None:
        """`write` sends pieces at the client's pace and within its time, `write_file` also a part of a file behind them
        (descriptor, offset, count) where that can be done; `common_fields` are those of every answer.
        """
        self.caller = Caller(request.body)
        self.started = False
        """Whether anything of the answer has been sent."""
        self.complete = False
        """Whether all of it has."""
        self.closes = False
        """Whether it says that the connection ends with it."""
        self._request = request
        self._write = write
        self._write_file = write_file
        self._common_fields = common_fields
        self._body_taken = False
        self._head: dict[str, Any] | None = None
        self._chunked = False
        self._missing = 0

    @property
    def is_owed(self) -> bool:
        """Whether a part of the body has not come yet."""
        return False

    def scope(self, peer: tuple[Any, Any], scheme: str) -> dict[str, Any]:
        """The ASGI scope; `peer` are the addresses of client and server."""
        path, _, query = self._request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._request.fields,
            "client": peer[0],
            "server": peer[1],
            "state": {},
            "extensions": {PLAIN: self.caller} if self._write_file is None else {PLAIN: self.caller, ZERO_COPY: {}},
        }

    async def receive(self) -> Mapping[str, Any]:
        """ASGI `receive`."""
        if not self._body_taken:
            self._body_taken = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self.caller.has_left()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        """ASGI `send`. Raises UnfitAnswer. The head goes out with the first of the body, in one piece."""
        if message["type"] == "http.response.start" and self._head is None:
            self._head = dict(message)
            return
        if message["type"] == ZERO_COPY:
            await self._send_file(message)
            return
        if message["type"] != "http.response.body" or self._head is None or self.complete:
            raise UnfitAnswer(f"{message['type']} is out of place")
        body: bytes = message.get("body", b"")
        last = not message.get("more_body", False)
        pieces: tuple[bytes, ...] = () if self.started else (self._begin(self._head, len(body) if last else None),)
        if self._head["status"] not in _BODILESS:
            pieces += self._framed(body, last)
        self.started, self.complete = True, last
        if pieces:
            await self._write(pieces)

    async def _send_file(self, message: Mapping[str, Any]) -> None:
        """A part of a file, as a part of a body whose length was announced."""
        if self._head is None or self.complete or self._write_file is None:
            raise UnfitAnswer("a file is out of place")
        count: int = message["count"]
        last = not message.get("more_body", False)
        pieces = () if self.started else (self._begin(self._head, None),)
        self.started = True
        if self._chunked or self._head["status"] in _BODILESS or count <= 0:
            raise UnfitAnswer("a file must be a part of a body with a length")
        self._framed_length(count, last)
        await self._write_file(pieces, message["file"], message["offset"], count)
        self.complete = last

    async def fail(self) -> None:
        """Answer for an application that has not."""
        self._head = {"status": 500, "headers": [(b"connection", b"close")]}
        await self.send({"type": "http.response.body"})

    def _begin(self, head: Mapping[str, Any], whole: int | None) -> bytes:
        """The answer's head; `whole` is the length of the body if all of it is there."""
        status: int = head["status"]
        fields = [*head["headers"], *self._common_fields()]
        length: int | None = None
        for name, value in fields:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.closes = True
        if self.is_owed and not self.closes:
            self.closes = True
            fields.append((b"connection", b"close"))
        if length is None and status not in _BODILESS:
            if whole is None:
                self._chunked = True
                fields.append((b"transfer-encoding", b"chunked"))
            else:
                length = whole
                fields.append((b"content-length", b"%d" % whole))
        self._missing = length or 0
        lines = b"".join([b"%b: %b\r\n" % item for item in fields])
        if _SAFE_FIELDS.fullmatch(lines) is None or lines.count(b"\n") != len(fields):
            raise UnfitAnswer("a header field that would be read as something else")
        return b"HTTP/1.1 %d \r\n%b\r\n" % (status, lines)

    def _framed(self, body: bytes, last: bool) -> tuple[bytes, ...]:
        if self._chunked:
            end = (b"0\r\n\r\n",) if last else ()
            return (b"%x\r\n" % len(body), body, b"\r\n", *end) if body else end
        self._framed_length(len(body), last)
        return (body,) if body else ()

    def _framed_length(self, length: int, last: bool) -> None:
        self._missing -= length
        if self._missing < 0 or (last and self._missing):
            raise UnfitAnswer("the body has not the length that was announced")


class LongExchange(Exchange):
    """A request whose body comes while it is answered."""

    def __init__(
        self, request: PlainRequest, body: ArrivingBody, write: Write, common_fields: Callable[[], Fields]
    ) -> None:
        super().__init__(request, write, common_fields)
        self._arriving = body

    @property
    def is_owed(self) -> bool:
        """Whether a part of the body has not come yet."""
        return self._arriving.missing > 0

    def scope(self, peer: tuple[Any, Any], scheme: str) -> dict[str, Any]:
        """As the base class; the application knows of no caller whose body is there."""
        return {**super().scope(peer, scheme), "extensions": {ARRIVING: self._arriving}}

    async def receive(self) -> Mapping[str, Any]:
        """ASGI `receive`."""
        if self._arriving.is_unread:
            piece = await self._arriving.next()
            if piece:
                return {"type": "http.request", "body": piece, "more_body": self._arriving.is_unread}
        else:
            await self.caller.has_left()
        return {"type": "http.disconnect"}
