"""The one way by which this server asks others over HTTP: previews, pushers, webhooks, federation.

Whoever decides where a request goes (a user's link, a server's name) must not reach what only this machine may:
addresses are checked when the connection is made, on the address itself, at every redirect.
(reliability: SSRF list, F12)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


class OutboundError(Exception):
    """There is no answer: the name has no address, nobody listens, the time is over, or it is no HTTP."""


class OutboundTimeout(OutboundError):
    """The time is over."""


class AddressRefused(OutboundError):
    """The address, scheme or port is one that requests must not go to."""


class AnswerTooLarge(OutboundError):
    """The answer is larger than was asked for."""


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One request. Sizes in bytes, times in seconds."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    max_bytes: int = 1024 * 1024
    """Of the answer, unpacked."""
    seconds: float = 30.0
    """For everything: name, connection, redirects, the last byte."""
    redirects: int = 5
    """How many are followed; each is checked as the first address was."""
    is_trusted: bool = False
    """The operator's own configuration names this address: it may be a private one."""


class OutboundAnswer(Protocol):
    """An answer whose head has come."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def url(self) -> str:
        """The address that answered, after redirects."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; names do not mind capitals."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises AnswerTooLarge, OutboundError."""
        ...

    async def read(self) -> bytes:
        """The whole body. Raises AnswerTooLarge, OutboundError."""
        ...


class Outbound(Protocol):
    """Sends requests to others."""

    def request(self, request: OutboundRequest) -> AbstractAsyncContextManager[OutboundAnswer]:
        """Send a request; the connection ends with the block. Raises AddressRefused, OutboundError."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


OutboundSource: TypeAlias = Callable[[], Awaitable[Outbound]]
"""Gives the one client of the process, which is made when somebody first asks."""
