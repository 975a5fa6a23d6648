"""The Matrix client-server API as the scenarios use it, on any homeserver.

spec: client-server-api
"""

from __future__ import annotations

import hmac
import itertools
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from benchmarks.http import HttpClient, Response

PASSWORD = "correct horse battery staple"
CLIENT = "/_matrix/client/v3"
SHARED_SECRET_PATH = "/_synapse/admin/v1/register"


class RequestFailed(Exception):
    """The server answered with something other than 200."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user, and an access token of a device."""

    name: str
    user_id: str
    token: str
    device_id: str


class Matrix:
    """Requests that must succeed, for any number of accounts."""

    def __init__(self, http: HttpClient, shared_secret: str) -> None:
        self._http = http
        self._secret = shared_secret.encode()
        self._transactions = itertools.count(1)

    # ---- accounts ----

    async def register_by_secret(self, name: str) -> Account:
        """Register as an operator's tool does: without user-interactive authentication."""
        nonce = (await self.call("GET", SHARED_SECRET_PATH))["nonce"]
        text = b"\0".join([nonce.encode(), name.encode(), PASSWORD.encode(), b"notadmin"])
        mac = hmac.new(self._secret, text, "sha1").hexdigest()
        body = {"nonce": nonce, "username": name, "password": PASSWORD, "mac": mac, "admin": False}
        return _account(name, await self.call("POST", SHARED_SECRET_PATH, body=body))

    async def register(self, name: str) -> Account:
        """Register as a client does, with the stage `m.login.dummy`."""
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        return _account(name, await self.call("POST", f"{CLIENT}/register", body=body))

    async def login(self, name: str) -> Account:
        """Log in with the password, to a new device."""
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        return _account(name, await self.call("POST", f"{CLIENT}/login", body=body))

    # ---- rooms ----

    async def create_room(self, account: Account, name: str) -> str:
        """A public room; its id."""
        body = {"preset": "public_chat", "name": name, "topic": f"What there is to say about {name}"}
        return str((await self.call("POST", f"{CLIENT}/createRoom", account, body))["room_id"])

    async def join(self, account: Account, room: str) -> None:
        """Join a room by its id."""
        await self.call("POST", f"{CLIENT}/rooms/{quote(room)}/join", account, {})

    async def send(self, account: Account, room: str, text: str) -> str:
        """Send a message; its event id."""
        path = f"{CLIENT}/rooms/{quote(room)}/send/m.room.message/t{next(self._transactions)}"
        return str((await self.call("PUT", path, account, {"msgtype": "m.text", "body": text}))["event_id"])

    async def members(self, account: Account, room: str) -> bytes:
        """The members of a room, as sent."""
        return (await self.raw("GET", f"{CLIENT}/rooms/{quote(room)}/members", account)).body

    async def joined_members(self, account: Account, room: str) -> bytes:
        """The joined members of a room and their profiles, as sent."""
        return (await self.raw("GET", f"{CLIENT}/rooms/{quote(room)}/joined_members", account)).body

    async def receipt(self, account: Account, room: str, event_id: str) -> None:
        """Say that everything up to an event has been read."""
        await self.call("POST", f"{CLIENT}/rooms/{quote(room)}/receipt/m.read/{quote(event_id)}", account, {})

    async def typing(self, account: Account, room: str, *, typing: bool) -> None:
        """Say that one types, for half a minute, or has stopped."""
        body = {"typing": typing} | ({"timeout": 30_000} if typing else {})
        await self.call("PUT", f"{CLIENT}/rooms/{quote(room)}/typing/{quote(account.user_id)}", account, body)

    async def messages(self, account: Account, room: str, before: str | None, limit: int) -> dict[str, Any]:
        """A page of history, newest first, from `before` or from the end."""
        query = {"dir": "b", "limit": str(limit)} | ({"from": before} if before is not None else {})
        return await self.call("GET", f"{CLIENT}/rooms/{quote(room)}/messages?{urlencode(query)}", account)

    # ---- sync ----

    async def sync(
        self, account: Account, since: str | None = None, timeout_ms: int = 0, filter_: object = None
    ) -> bytes:
        """One `/sync`, as sent. It leaves presence alone: no scenario is about it."""
        query = {"timeout": str(timeout_ms), "set_presence": "offline"}
        query |= {"since": since} if since is not None else {}
        query |= {"filter": orjson.dumps(filter_).decode()} if filter_ is not None else {}
        return (await self.raw("GET", f"{CLIENT}/sync?{urlencode(query)}", account)).body

    # ---- any ----

    async def call(self, method: str, path: str, account: Account | None = None, body: object = None) -> dict[str, Any]:
        """One request and its JSON answer.  Raises RequestFailed."""
        answer: dict[str, Any] = orjson.loads((await self.raw(method, path, account, body)).body)
        return answer

    async def raw(self, method: str, path: str, account: Account | None = None, body: object = None) -> Response:
        """One request and its answer as sent.  Raises RequestFailed."""
        response = await self._http.request(method, path, token=account.token if account else None, body=body)
        if response.status != 200:
            raise RequestFailed(f"{method} {path.partition('?')[0]}: {response.status} {response.body[:300]!r}")
        return response


def _account(name: str, answer: dict[str, Any]) -> Account:
    return Account(name, str(answer["user_id"]), str(answer["access_token"]), str(answer["device_id"]))
