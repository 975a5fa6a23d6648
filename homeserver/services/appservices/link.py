"""Requests to one application service: its address, its token, and the paths of older specifications.

spec: application-service-api#homeserver--gt-application-service-api
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

import orjson

from homeserver.ports.clock import Clock
from homeserver.ports.outbound import AnswerTooLarge, OutboundRequest, OutboundSource
from homeserver.services.appservices.registration import Registration

V1 = "/_matrix/app/v1"
_UNSTABLE = "/_matrix/app/unstable"
_ANSWER_BYTES = 1024 * 1024
_LEGACY_FOR_S = 3_600.0
"""So long a service that knows the old paths only is asked by them; then it may have been updated."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service answered."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it did what it was asked for."""
        return 200 <= self.status < 300

    def json(self) -> object:
        """The body; None if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Link:
    """Sends requests to one application service that has a URL."""

    def __init__(self, service: Registration, outbound: OutboundSource, clock: Clock) -> None:
        if service.url is None:
            raise ValueError("The application service has no URL")
        self.service = service
        self._url = service.url.rstrip("/")
        self._outbound = outbound
        self._clock = clock
        self._knows_v1 = False
        self._legacy_until = 0.0

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        query: dict[str, str] | None = None,
        seconds: float,
        has_legacy: bool = True,
    ) -> ServiceAnswer:
        """Send a request to `/_matrix/app/v1` + `path`. Raises OutboundError.

        Where the service does not know the path, the one of older specifications is asked, and remembered for an
        hour. A service that has answered by the new paths once means its 404.
        spec: application-service-api#legacy-routes
        """
        if has_legacy and self._clock.monotonic() < self._legacy_until:
            answer = await self._send(method, _legacy(path), body, query, seconds, is_legacy=True)
            if not _is_unknown(answer):
                return answer
        answer = await self._send(method, V1 + path, body, query, seconds)
        if not _is_unknown(answer):
            self._knows_v1 = self._knows_v1 or answer.is_success
            self._legacy_until = 0.0
            return answer
        if not has_legacy or self._knows_v1:
            return answer
        older = await self._send(method, _legacy(path), body, query, seconds, is_legacy=True)
        if older.is_success:
            self._legacy_until = self._clock.monotonic() + _LEGACY_FOR_S
        return older

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        query: dict[str, str] | None,
        seconds: float,
        *,
        is_legacy: bool = False,
    ) -> ServiceAnswer:
        token = self.service.hs_token
        # COMPAT(old bridges): those that know the old paths only know the token in the query only.
        pairs = {**(query or {}), **({"access_token": token} if is_legacy else {})}
        headers = {"Authorization": f"Bearer {token}"}
        if body:
            headers["Content-Type"] = "application/json"
        request = OutboundRequest(
            url=self._url + path + (f"?{urlencode(pairs)}" if pairs else ""),
            method=method,
            headers=headers,
            body=body,
            max_bytes=_ANSWER_BYTES,
            seconds=seconds,
            redirects=0,
            is_trusted=True,
        )
        async with (await self._outbound()).request(request) as answer:
            try:
                return ServiceAnswer(answer.status, await answer.read())
            except AnswerTooLarge:
                return ServiceAnswer(answer.status, b"")


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def _legacy(path: str) -> str:
    return _UNSTABLE + path if path.startswith("/thirdparty/") else path


def _is_unknown(answer: ServiceAnswer) -> bool:
    """Whether the service does not know the path: an answer of its own says more than that there is nothing."""
    if answer.status == 405:
        return True
    if answer.status != 404:
        return False
    parsed = answer.json()
    errcode = parsed.get("errcode") if isinstance(parsed, dict) else None
    return not isinstance(errcode, str) or errcode == "M_UNRECOGNIZED"
