"""The outbound HTTP client: `ports.outbound` on aiohttp.

Names are resolved here, each address is checked, and the connection goes to the address that was checked: a name that
means something else a moment later changes nothing. Redirects are followed here too, one by one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from homeserver.ports.outbound import (
    AddressRefused,
    AnswerTooLarge,
    Outbound,
    OutboundAnswer,
    OutboundError,
    OutboundRequest,
    OutboundTimeout,
)
from homeserver.remote.addresses import AddressRules

_PIECE = 64 * 1024
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_KEEP_METHOD = frozenset((307, 308))
_LONGEST_URL = 8 * 1024
_CONNECTIONS = 200
_CONNECTIONS_OF_HOST = 10
# What belongs to the first address is not for another one.
_PERSONAL = frozenset(("authorization", "cookie", "proxy-authorization"))


class OutboundClient(Outbound):
    """Implements `ports.outbound.Outbound`. One for the process; made on first use, since it needs a running loop."""

    def __init__(self, rules: AddressRules, *, user_agent: str, ports: frozenset[int] | None = None) -> None:
        """`ports`: the only ones that requests go to, trusted ones aside; None is any."""
        self._rules = rules
        self._user_agent = user_agent
        self._ports = ports
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    @asynccontextmanager
    async def request(self, request: OutboundRequest) -> AsyncIterator[_Answer]:
        answer: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(request.seconds):
                answer = await self._final(request)
                yield _Answer(answer, request.max_bytes)
        except TimeoutError:
            raise OutboundTimeout(f"{_shown(request.url)} took too long") from None
        finally:
            if answer is not None:
                answer.close()  # what is left of the body is not read

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def _final(self, request: OutboundRequest) -> aiohttp.ClientResponse:
        """The answer after all redirects."""
        for _ in range(request.redirects + 1):
            answer = await self._one(request)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None or request.redirects == 0:
                return answer
            answer.close()
            request = _redirected(request, str(answer.url), target, answer.status)
        raise OutboundError(f"{_shown(request.url)}: too many redirects")

    async def _one(self, request: OutboundRequest) -> aiohttp.ClientResponse:
        url = self._checked(request)
        session = self._session(request.is_trusted)
        try:
            return await session.request(
                request.method,
                url,
                headers={"User-Agent": self._user_agent, **request.headers},
                data=request.body or None,
                allow_redirects=False,
            )
        except AddressRefused:
            raise
        except (aiohttp.ClientError, OSError, ssl.CertificateError, ValueError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, AddressRefused):
                raise cause from None
            raise OutboundError(f"{_shown(request.url)}: {type(error).__name__}") from error

    def _checked(self, request: OutboundRequest) -> URL:
        """The address as it is connected to. Raises AddressRefused."""
        if len(request.url) > _LONGEST_URL:
            raise AddressRefused("The address is too long")
        try:
            url = URL(request.url)
            host, port = url.raw_host, url.port
        except ValueError:
            raise AddressRefused("This is no address") from None
        if url.scheme not in ("http", "https") or not host or port is None:
            raise AddressRefused("Only http and https addresses are asked")
        if url.user is not None or url.password is not None:
            raise AddressRefused("Addresses with a password are not asked")
        if not request.is_trusted:
            if self._ports is not None and port not in self._ports:
                raise AddressRefused(f"Port {port} is not asked")
            if _looks_numeric(host) and not self._rules.permits(host):
                raise AddressRefused(f"{host} is not asked")
        return url

    def _session(self, is_trusted: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(is_trusted)
        if session is None:
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(None if is_trusted else self._rules),
                limit=_CONNECTIONS,
                limit_per_host=_CONNECTIONS_OF_HOST,
                use_dns_cache=False,
                enable_cleanup_closed=False,
            )
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=20),
                auto_decompress=True,
                trust_env=False,
                max_line_size=8_190,
                max_field_size=8_190,
            )
            self._sessions[is_trusted] = session
        return session


class _CheckedResolver(AbstractResolver):
    """Resolves names, and gives the addresses that may be asked: the connection goes to these, not to the name."""

    def __init__(self, rules: AddressRules | None) -> None:
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises AddressRefused if none of them may be asked, OSError if there is none."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        good: list[ResolveResult] = []
        for kind, _, proto, _, sockaddr in found:
            address = str(sockaddr[0])
            if self._rules is None or self._rules.permits(address):
                good.append(
                    ResolveResult(
                        hostname=host, host=address, port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
                    )
                )
        if not good:
            raise AddressRefused(f"{host} is not asked")
        return good

    async def close(self) -> None:
        """Nothing to let go of."""


class _Answer(OutboundAnswer):
    """Implements `ports.outbound.OutboundAnswer`."""

    def __init__(self, answer: aiohttp.ClientResponse, max_bytes: int) -> None:
        self._answer = answer
        self._max_bytes = max_bytes

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def url(self) -> str:
        return str(self._answer.url)

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        announced = self._answer.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced[:20]) > self._max_bytes:
            raise AnswerTooLarge(f"{_shown(self.url)} is larger than {self._max_bytes:,} bytes")
        size = 0
        try:
            async for piece in self._answer.content.iter_chunked(_PIECE):
                size += len(piece)
                if size > self._max_bytes:
                    raise AnswerTooLarge(f"{_shown(self.url)} is larger than {self._max_bytes:,} bytes")
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise OutboundError(f"{_shown(self.url)}: {type(error).__name__}") from error

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


def _redirected(request: OutboundRequest, url: str, target: str, status: int) -> OutboundRequest:
    try:
        base = URL(url)
        there = base.join(URL(target)).with_fragment(None)
        is_elsewhere = there.origin() != base.origin() if there.is_absolute() and there.host else True
    except ValueError:
        raise OutboundError(f"{_shown(url)} leads nowhere") from None
    headers = {
        name: value for name, value in request.headers.items() if not (is_elsewhere and name.lower() in _PERSONAL)
    }
    # Whom the operator trusts is trusted, but not with whom they send us to.
    is_trusted = request.is_trusted and not is_elsewhere
    if status in _KEEP_METHOD or request.method in ("GET", "HEAD"):
        return replace(request, url=str(there), headers=headers, is_trusted=is_trusted)
    return replace(request, url=str(there), headers=headers, method="GET", body=b"", is_trusted=is_trusted)


def _looks_numeric(host: str) -> bool:
    """Whether a host is an address, which no resolver is asked for; odd spellings (0x7f.1, 2130706433) included."""
    if ":" in host:
        return True
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdecimal() or last.lower().startswith("0x")


def _shown(url: str) -> str:
    """An address for messages: without its query, which may hold secrets."""
    return url.partition("?")[0][:200]
