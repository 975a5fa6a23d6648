"""A client for ASGI applications that sends a path exactly as given.

Framework test clients unquote the path before they build `raw_path` and so hide percent-encoding faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True)
class Answer:
    """A finished answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class AsgiClient:
    """Sends requests into `app`."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], *, token: str | None = None, peer: str = "127.0.0.1"
    ) -> None:
        self._app = app
        self.token = token
        self.peer = peer

    async def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | Iterable[bytes] = b"",
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        disconnect: asyncio.Event | None = None,
    ) -> Answer:
        """`target` is path and query as they go over the wire. `disconnect` cuts the connection when it is set.

        A body given as an iterable is sent in those pieces, without Content-Length.
        """
        pieces = [orjson.dumps(json)] if json is not None else [body] if isinstance(body, bytes) else list(body)
        sent_headers = {name.lower(): value for name, value in (headers or {}).items()}
        if self.token is not None:
            sent_headers.setdefault("authorization", f"Bearer {self.token}")
        if json is not None or isinstance(body, bytes):
            sent_headers.setdefault("content-length", str(len(pieces[0])))
        messages: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        receive = _receiver(pieces, disconnect or asyncio.Event())
        await self._app(self._scope(method, target, sent_headers), receive, send)
        return _answer(messages)

    def _scope(self, method: str, target: str, headers: dict[str, str]) -> dict[str, Any]:
        path, _, query = target.partition("?")
        return {
            "type": "http",
            "method": method,
            "raw_path": path.encode("latin-1"),
            "path": path,
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": (self.peer, 50000),
            "server": ("127.0.0.1", 8008),
            "scheme": "http",
            "http_version": "1.1",
        }


def _receiver(pieces: list[bytes], disconnect: asyncio.Event) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def messages() -> AsyncIterator[dict[str, Any]]:
        for piece in pieces[:-1]:
            yield {"type": "http.request", "body": piece, "more_body": True}
        yield {"type": "http.request", "body": pieces[-1] if pieces else b"", "more_body": False}
        await disconnect.wait()
        yield {"type": "http.disconnect"}

    iterator = messages()

    async def receive() -> dict[str, Any]:
        return await anext(iterator)

    return receive


def _answer(messages: list[dict[str, Any]]) -> Answer:
    if not messages:
        return Answer(0, {}, b"")
    start = messages[0]
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(m.get("body", b"") for m in messages[1:]))
