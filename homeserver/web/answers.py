"""Answers: what handlers return and errors say, as HTTP, and how it is sent at the client's pace."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, cast

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.web.cors import Headers
from homeserver.web.leaving import ZERO_COPY
from homeserver.web.request import Receive
from homeserver.web.response import JSON_TYPE, FileBody, Json, Response, encode

Scope = MutableMapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_BODILESS = frozenset((204, 304))
_LINGER_S = 2.0
_LINGER_BYTES = 8 * 1024 * 1024
_MAX_FRAME_JSON = 16 * 2**20
"""Of a streamed answer over a socket."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out for a request."""

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    lingers: bool = False
    """The client may still be sending: it must be let to, or it never reads the answer."""


def answer_of(result: Any) -> Answer:
    """What a handler returned, as it is sent."""
    if isinstance(result, Response):
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in result.headers]
        return Answer(result.status, headers, result.body)
    status, data = json_of(result)
    return Answer(status, [_JSON], data)


def json_of(result: Any) -> tuple[int, bytes]:
    """Status and JSON of what a handler returned."""
    if isinstance(result, Json):
        return result.status, result.data
    return 200, b"{}" if result is None else encode(result)


async def in_one_piece(answer: Response) -> Json:
    """A streamed list as one piece: a frame has no parts."""
    if JSON_TYPE not in answer.headers or isinstance(answer.body, bytes):
        raise MatrixError(ErrCode.UNRECOGNIZED, "Use HTTP for this: the answer is no JSON", status=400)
    pieces: list[bytes] = []
    size = 0
    async with aclosing(cast(AsyncGenerator[bytes, None], answer.body)) as body:
        async for piece in body:
            pieces.append(piece)
            size += len(piece)
            if size > _MAX_FRAME_JSON:
                raise MatrixError(ErrCode.TOO_LARGE, "Use HTTP for this: the answer is too large for a frame")
    return Json(b"".join(pieces), answer.status)


def error_json(error: MatrixError) -> tuple[int, bytes]:
    """Status and JSON of an error."""
    return error.status, encode(error.body())


def error_answer(error: MatrixError, *, lingers: bool) -> Answer:
    """`Retry-After` goes out in whole seconds, beside `retry_after_ms`.  spec: client-server-api#rate-limiting"""
    headers = [_JSON]
    milliseconds = error.extra.get("retry_after_ms")
    if milliseconds is not None:
        headers.append((b"retry-after", str(math.ceil(milliseconds / 1000)).encode()))
        headers.append((b"access-control-expose-headers", b"Retry-After"))  # or pages of other origins cannot read it
    if lingers:
        headers.append((b"connection", b"close"))
    return Answer(error.status, headers, encode(error.body()), lingers=lingers)


async def send_answer(send: Send, receive: Receive, answer: Answer, cors: Headers, *, files: bool = False) -> None:
    """Send it at the pace of the client, whose leaving ends it; `cors` go with the other headers.

    `files` says whether the connection sends files by itself.
    """
    headers = answer.headers + cors
    if not isinstance(answer.body, bytes):
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await _stream(send, receive, _messages(answer.body, files), answer.body)
        return
    # The answer to HEAD says the length of what it leaves out.
    if answer.status not in _BODILESS and not any(name == b"content-length" for name, _ in answer.headers):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": answer.lingers})
    if answer.lingers:
        await _let_finish(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _let_finish(receive: Receive) -> None:
    """Throw away what still comes of a refused body, within bounds.

    Closing a connection on which unread bytes arrive resets it, and a reset takes the answer from the client that has
    not read it yet.  RFC 9112, section 9.6
    """
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while size < _LINGER_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):  # the end, or a disconnect
                    return


async def _messages(body: AsyncIterator[bytes], files: bool) -> AsyncIterator[dict[str, Any]]:
    if files and isinstance(body, FileBody) and body.descriptor is not None:
        async for offset, count in body.spans():
            yield {"type": ZERO_COPY, "file": body.descriptor, "offset": offset, "count": count, "more_body": True}
    else:
        async for piece in body:
            yield {"type": "http.response.body", "body": piece, "more_body": True}


async def _stream(
    send: Send, receive: Receive, messages: AsyncIterator[dict[str, Any]], body: AsyncIterator[bytes]
) -> None:
    """Send the messages as they come; stop at once, and close the body, when the client goes away."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we run in one
    left = False

    def leave(_: object) -> None:
        nonlocal left
        left = True
        task.cancel()

    gone = asyncio.create_task(_disconnect(receive))
    gone.add_done_callback(leave)
    try:
        async for message in messages:
            await send(message)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.CancelledError:
        if not left or task.uncancel():  # the server itself wants this to end
            raise
    finally:
        gone.remove_done_callback(leave)
        gone.cancel()
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
