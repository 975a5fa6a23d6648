"""The homeserver as the bridge sees it: the public Client-Server API, with the token of an application service.

spec: application-service-api#client-server-api-extensions
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

V3 = "/_matrix/client/v3"
_LARGEST_ANSWER = 4 * 1024 * 1024


class MatrixFailure(Exception):
    """The homeserver refused; asking again gives the same answer."""

    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode


class TryAgain(Exception):
    """The homeserver did not answer, or is busy: the same request is to be made again."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after
        """Seconds to wait, where the homeserver said so."""


def part(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")


class Homeserver:
    """Makes requests as the bridge's users. Use as an asynchronous context manager."""

    def __init__(self, base_url: str, token: str, device_id: str) -> None:
        self._base = base_url.rstrip("/")
        self._token = token
        self._device_id = device_id
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Homeserver:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=60), headers={"Authorization": f"Bearer {self._token}"}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        device: bool = False,
        **query: Any,
    ) -> dict[str, Any]:
        """One request under /_matrix/client/v3, as `user`. Raises MatrixFailure, TryAgain.

        With `device` the bridge's device is named: on every homeserver that makes transaction ids outlive a restart.
        """
        if user is not None:
            query["user_id"] = user
        if device:
            query["device_id"] = query["org.matrix.msc3202.device_id"] = self._device_id
        url = URL(self._base + V3 + path + (f"?{urlencode(query)}" if query else ""), encoded=True)
        try:
            async with self._session.request(method, url, json=body, allow_redirects=False) as answer:
                data = await answer.content.read(_LARGEST_ANSWER)
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TryAgain(f"{type(error).__name__}: {error}") from error
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise TryAgain(f"the answer {status} is no JSON object")
        if status in (200, 201):  # a device that was not there before
            return parsed
        errcode, message = str(parsed.get("errcode", "")), str(parsed.get("error", ""))
        if status == 429:
            after = parsed.get("retry_after_ms")
            raise TryAgain(f"429 {message}", after / 1000 if isinstance(after, int) else None)
        # An unknown token is a matter of configuration: no message is given up for it.
        if status >= 500 or errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"):
            raise TryAgain(f"{status} {errcode}: {message}")
        raise MatrixFailure(status, errcode, message)
