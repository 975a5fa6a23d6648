"""One HTTP request as handlers see it: address, headers, query, bounded body.

Owns the reading of the body. Parses no JSON and knows no route.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.arriving import ArrivingBody
from homeserver.web.plain import Caller

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class ClientDisconnected(Exception):
    """The client went away before its request was complete. There is nobody to answer."""


class UnreadBody(MatrixError):
    """An error that leaves a body unread, so that the connection cannot be used again."""


class Request:
    """What a handler gets when its signature asks for `request: Request`."""

    __slots__ = (
        "_arriving", "_ended", "_receive", "body_limit", "body_timeout", "by_cookie", "caller", "client_ip", "headers",
        "id", "method", "query", "query_tokens", "raw_path", "route",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - the transport's values, all of them needed
        self,
        *,
        method: str,
        raw_path: bytes,
        headers: dict[str, str],
        query: dict[str, list[str]],
        client_ip: str,
        request_id: str,
        receive: Receive,
        caller: Caller | None = None,
        arriving: ArrivingBody | None = None,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.headers = headers
        """Names in lower case. Of a repeated header the last value counts."""
        self.query = query
        self.client_ip = client_ip
        self.id = request_id
        self.route = ""
        """The path template that matched."""
        self.body_limit = 0
        self.body_timeout = 60.0
        self.query_tokens = False
        """Whether the server takes access tokens in the query string."""
        self.by_cookie = False
        """Whether a cookie said who makes the request, not a token."""
        self.caller = caller
        """Known only of a request whose body came with it (`web.plain`)."""
        self._arriving = arriving
        self._receive = receive
        self._ended = False

    @property
    def has_unread_body(self) -> bool:
        """Whether a body was announced of which not all has been read: its sender may still be at it."""
        if self.caller is not None or self._ended:
            return False
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    @property
    def user_agent(self) -> str:
        """The `User-Agent` header, cut to what a device row keeps."""
        return self.headers.get("user-agent", "")[:512]

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive; the sender is slowed down to the reader's pace.

        Raises MatrixError: TOO_LARGE beyond the route's limit, UNKNOWN with 408 if a piece takes too long;
        ClientDisconnected if the client goes away.
        """
        self._refuse_announced_size()
        size = 0
        while True:
            message = await self._next_message()
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > self.body_limit:
                raise too_large(self.body_limit)
            if piece:
                yield piece
            if not message.get("more_body", False):
                self._ended = True
                return

    @property
    def reads_into(self) -> bool:
        """Whether `read_into` can be used: the body has a length, and comes while it is read."""
        return self._arriving is not None

    async def read_into(self, memory: memoryview) -> int:
        """Read the body into memory until it is full or the body ends; how many bytes. Not beside `stream`.

        Raises as `stream`.
        """
        assert self._arriving is not None  # noqa: S101 - asked for by `reads_into`
        self._refuse_announced_size()
        try:
            count = await self._arriving.read_into(memory, self.body_timeout)
        except TimeoutError:
            raise body_too_slow() from None
        self._ended = not self._arriving.is_unread
        if count < len(memory) and not self._ended:
            raise ClientDisconnected
        return count

    async def read(self) -> bytes:
        """The whole body. Raises as `stream`; the time limit is for the body as a whole."""
        self._refuse_announced_size()
        if self.caller is not None:
            return self.caller.body
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(self.body_timeout):
                async for piece in self.stream():
                    pieces.append(piece)
        except TimeoutError:
            raise body_too_slow() from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def disconnected(self) -> None:
        """Return when the client has gone away. Only after the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next_message(self) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self.body_timeout):
                message = await self._receive()
        except TimeoutError:
            raise body_too_slow() from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        return message

    def _refuse_announced_size(self) -> None:
        announced = self.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > self.body_limit:
            raise too_large(self.body_limit)


def too_large(limit: int) -> UnreadBody:
    """The error for a body beyond `limit` bytes."""
    return UnreadBody(ErrCode.TOO_LARGE, f"The request body is larger than {limit} bytes")


def body_too_slow() -> UnreadBody:
    """The error for a body that does not arrive in time."""
    return UnreadBody(ErrCode.UNKNOWN, "The request body did not arrive in time", status=408)


async def while_connected(request: Request, handling: Coroutine[Any, Any, Any]) -> Any:
    """Run a handler that may wait long, but no longer than its client is there.

    Only such handlers are ever cancelled: everything else runs to its end once its body has come.
    """
    if request.caller is not None:
        result = await request.caller.attend(handling)
        if request.caller.is_gone():
            raise ClientDisconnected
        return result
    handler = asyncio.create_task(handling)
    gone = asyncio.create_task(request.disconnected())
    try:
        await asyncio.wait((handler, gone), return_when=asyncio.FIRST_COMPLETED)
        if handler.done():
            return handler.result()
        raise ClientDisconnected
    finally:
        gone.cancel()
        if not handler.done():
            handler.cancel()
            with suppress(asyncio.CancelledError):
                await handler
