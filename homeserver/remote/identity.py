"""A login provider over HTTP: the contract of the REST password providers of other homeservers.

`POST {url}` with `{"user": {"id": "@alice:example.org", "password": "…"}}` answers `{"auth": {"success": true,
"mxid": "@alice:example.org", "profile": {"display_name": "Alice"}}}`. It judges logins, and can be asked nothing else:
who was disabled there stays logged in here until they log out.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import orjson

from homeserver.ports.identity import Judgement, LoginProvider, ProviderUnavailable, SitePerson, Verdict
from homeserver.ports.outbound import OutboundError, OutboundRequest, OutboundSource

_PATH = "/_matrix-internal/identity/v1/check_credentials"
_LARGEST_ANSWER = 65_536


class RestProvider(LoginProvider):
    """Implements `ports.identity.LoginProvider`."""

    def __init__(  # what a provider is, and how it is reached
        self,
        name: str,
        title: str,
        password_url: str,
        url: str,
        server_name: str,
        outbound: OutboundSource,
        *,
        seconds: float,
    ) -> None:
        """`url` may leave out the path, which is always the same."""
        self.name = name
        self.title = title
        self.password_url = password_url
        self._url = url if url.endswith(_PATH) else url.rstrip("/") + _PATH
        self._server_name = server_name
        self._outbound = outbound
        self._seconds = seconds

    async def judge(self, login: str, key: str | None, password: str) -> Judgement:
        user_id = f"@{key or login.lower()}:{self._server_name}"
        auth = await self._ask({"user": {"id": user_id, "password": password}})
        if auth.get("success") is not True:
            return Judgement(Verdict.UNKNOWN)  # the contract does not say whether the name or the password is wrong
        mxid = auth.get("mxid", user_id)
        localpart, _, server = mxid[1:].partition(":") if isinstance(mxid, str) else ("", "", "")
        if server != self._server_name or not localpart:
            raise ProviderUnavailable("its answer names somebody of another server")
        profile = auth.get("profile")
        displayname = profile.get("display_name") if isinstance(profile, dict) else None
        displayname = displayname[:256] if isinstance(displayname, str) and displayname else None
        stamp = hashlib.sha256((displayname or "").encode("utf-8", "replace")).hexdigest()[:32]
        person = SitePerson(localpart, localpart, (login,), displayname, stamp=stamp)
        return Judgement(Verdict.RIGHT, person)

    async def pretend(self, password: str) -> None:
        """Its own answer takes as long for everybody, or should."""

    async def people(self, keys: Collection[str]) -> Mapping[str, SitePerson] | None:
        return None  # it cannot be asked

    def everybody(self, page: int) -> AsyncIterator[Sequence[SitePerson]] | None:
        return None  # it cannot be asked

    async def examine(self) -> str:
        await self._ask({"user": {"id": f"@:{self._server_name}", "password": ""}})
        return "answers"

    async def close(self) -> None:
        """Nothing of its own."""

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        request = OutboundRequest(
            self._url,
            "POST",
            headers,
            orjson.dumps(body),
            max_bytes=_LARGEST_ANSWER,
            seconds=self._seconds,
            redirects=0,
            is_trusted=True,
        )
        try:
            async with (await self._outbound()).request(request) as answer:
                status, data = answer.status, await answer.read()
        except OutboundError as error:
            raise ProviderUnavailable(str(error)) from None
        try:
            found = orjson.loads(data) if status == 200 else None
        except orjson.JSONDecodeError:
            found = None
        auth = found.get("auth") if isinstance(found, dict) else None
        if not isinstance(auth, dict):
            raise ProviderUnavailable(f"it answers {status}, and no auth")
        return auth
