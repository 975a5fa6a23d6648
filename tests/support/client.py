"""A small Matrix client for tests: it sends exactly what it is told and hides nothing of the answer."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from yarl import URL

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
# Answers to hostile input must be small: an error never echoes a megabyte back.
ERROR_BYTES = 16 * 1024
LARGE_BYTES = 512 * 1024

Json = dict[str, Any]


def part(text: str) -> str:
    """`text` as one path segment, everything percent-encoded."""
    return quote(text, safe="")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer. `body` is the parsed JSON, or None if the answer is not JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]
    raw: bytes

    @property
    def errcode(self) -> str:
        """The Matrix error code, or an empty string."""
        return str(self.body.get("errcode", "")) if isinstance(self.body, dict) else ""

    def ok(self) -> Any:
        """The body of a 200."""
        assert self.status == 200, self
        return self.body

    def error(self, status: int | tuple[int, ...], *errcodes: str) -> Json:
        """The body of an error of one of these statuses and codes, well-formed and small."""
        statuses = (status,) if isinstance(status, int) else status
        assert self.status in statuses, self
        assert isinstance(self.body, dict), self
        assert isinstance(self.body.get("errcode"), str), self
        assert isinstance(self.body.get("error"), str), self
        assert not errcodes or self.errcode in errcodes, self
        assert len(self.raw) < ERROR_BYTES, f"an error of {len(self.raw)} bytes"
        return self.body

    def __str__(self) -> str:
        return f"{self.status} {self.raw[:600]!r}"


class Client:
    """A user's device (or, without a token, anybody)."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.base_url = base_url
        self.token: str | None = None
        self.user_id = ""
        self.device_id = ""
        self.refresh_token: str | None = None
        self._txn_ids = itertools.count(1)

    # ---- requests ----

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """One request. `path` goes out as it is written (below `/_matrix/client/v3` unless it starts with `/_` or
        `/.`); `body` is sent as JSON, `data` as given; `token` replaces the client's own (None: none)."""
        sent = dict(headers or {})
        token = self.token if token == "" else token
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        # As a file: aiohttp warns of bytes by the megabyte, which the server is to refuse, not the client.
        payload = io.BytesIO(data) if isinstance(data, bytes) and len(data) > LARGE_BYTES else data
        async with self.session.request(method, self.address(path, params), data=payload, headers=sent) as response:
            raw = await response.read()
            return Reply(response.status, _parsed(raw), response.headers, raw)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of a request that must succeed."""
        reply = await self.request(method, path, body, **more)
        assert reply.status == 200, f"{method} {path}: {reply}"
        return reply.body

    def address(self, path: str, params: Mapping[str, Any] | None = None) -> URL:
        """The absolute address of `path`, not normalised."""
        full = path if path.startswith(("/_", "/.")) or path in {"", "/", "/health", "/metrics"} else V3 + path
        pairs = {key: _parameter(value) for key, value in (params or {}).items() if value is not None}
        return URL(self.base_url + full + (f"?{urlencode(pairs)}" if pairs else ""), encoded=True)

    async def raw(self, request: bytes, timeout: float = 10.0) -> bytes:
        """Send these bytes to the server's socket; everything it answers until it closes or falls silent."""
        address = urlsplit(self.base_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request)
            await writer.drain()
            return await _read_response(reader, timeout)
        finally:
            writer.close()

    # ---- accounts ----

    async def register(self, localpart: str, password: str = PASSWORD, **more: Any) -> Client:
        """Register with whatever simple stages the server asks for, and log in as the new user."""
        body = {"username": localpart, "password": password, **more}
        reply = await self.request("POST", "/register", body, token=None)
        if reply.status == 401:
            auth = {"type": "m.login.dummy", "session": reply.body["session"]}
            reply = await self.request("POST", "/register", {**body, "auth": auth}, token=None)
        return self.adopt(reply.ok())

    async def login(self, user: str, password: str = PASSWORD, **more: Any) -> Client:
        """Log in with a password."""
        identifier = {"type": "m.id.user", "user": user}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, **more}
        return self.adopt(await self.ok("POST", "/login", body, token=None))

    def adopt(self, session: Json) -> Client:
        """Take over the credentials of an answer to register or login."""
        self.user_id = session["user_id"]
        self.token = session.get("access_token")
        self.device_id = session.get("device_id", "")
        self.refresh_token = session.get("refresh_token")
        return self

    def anonymous(self) -> Client:
        """Another client of the same server, nobody yet."""
        return Client(self.session, self.base_url)

    async def another_device(self, password: str = PASSWORD, **more: Any) -> Client:
        """A second session of the same user."""
        return await self.anonymous().login(self.user_id, password, **more)

    # ---- rooms ----

    async def create_room(self, **options: Any) -> str:
        """Create a room; its id."""
        return str((await self.ok("POST", "/createRoom", options))["room_id"])

    async def shared_room(self, *others: Client, **options: Any) -> str:
        """A public room with everybody in it."""
        room = await self.create_room(**{"preset": "public_chat", **options})
        for other in others:
            await other.join(room)
        return room

    async def join(self, room: str) -> str:
        """Join a room by its id or alias; its id."""
        return str((await self.ok("POST", f"/join/{part(room)}", {}))["room_id"])

    async def send(self, room: str, body: Any, event_type: str = "m.room.message", txn: str | None = None) -> str:
        """Send a message (`body` is its text, or the whole content); the event id."""
        content = {"msgtype": "m.text", "body": body} if isinstance(body, str) else body
        txn = txn or f"txn{next(self._txn_ids)}"
        path = f"/rooms/{part(room)}/send/{part(event_type)}/{part(txn)}"
        return str((await self.ok("PUT", path, content))["event_id"])

    async def set_state(self, room: str, event_type: str, content: Json, state_key: str = "") -> str:
        """Send a state event; its id."""
        path = f"/rooms/{part(room)}/state/{part(event_type)}/{part(state_key)}"
        return str((await self.ok("PUT", path, content))["event_id"])

    async def state(self, room: str, event_type: str, state_key: str = "") -> Any:
        """The content of one state event."""
        return await self.ok("GET", f"/rooms/{part(room)}/state/{part(event_type)}/{part(state_key)}")

    async def full_state(self, room: str) -> list[Json]:
        """All current state events of a room."""
        events: list[Json] = await self.ok("GET", f"/rooms/{part(room)}/state")
        return events

    async def redact(self, room: str, event: str, **content: Any) -> str:
        """Redact an event; the redaction's id."""
        path = f"/rooms/{part(room)}/redact/{part(event)}/txn{next(self._txn_ids)}"
        return str((await self.ok("PUT", path, content))["event_id"])

    async def event(self, room: str, event: str) -> Json:
        """One event of a room."""
        found: Json = await self.ok("GET", f"/rooms/{part(room)}/event/{part(event)}")
        return found

    async def member(self, room: str, action: str, user: str | None = None, **more: Any) -> Reply:
        """invite, kick, ban, unban (`user`), or leave, join, forget."""
        body = {**more, **({"user_id": user} if user else {})}
        return await self.request("POST", f"/rooms/{part(room)}/{action}", body)

    # ---- reading ----

    async def sync(self, since: str | None = None, **params: Any) -> Json:
        """One /sync, not waiting unless `timeout` says so. A filter may be a dict."""
        answer: Json = await self.ok("GET", "/sync", params={"timeout": 0, "since": since, **params})
        return answer

    async def messages(self, room: str, direction: str = "b", **params: Any) -> Json:
        """One page of history."""
        path = f"/rooms/{part(room)}/messages"
        page: Json = await self.ok("GET", path, params={"dir": direction, **params})
        return page

    async def history(self, room: str, direction: str = "b", *, limit: int = 50, **params: Any) -> list[Json]:
        """All of a room's history that this user may see, page by page."""
        events: list[Json] = []
        token: str | None = None
        while True:
            page = await self.messages(room, direction, **{"limit": limit, "from": token, **params})
            events += page["chunk"]
            if (token := page.get("end")) is None:
                return events
            assert len(events) < 100_000, "the walk through the history does not end"


def rooms(sync: Json, section: str) -> Json:
    """The rooms of one section (join, invite, knock, leave) of a /sync answer, which may leave out empty parts."""
    found: Json = sync.get("rooms", {}).get(section, {})
    return found


def timeline(room: Json) -> list[Json]:
    """The timeline events of one room of a /sync answer."""
    events: list[Json] = room.get("timeline", {}).get("events", [])
    return events


async def eventually(condition: Callable[[], Awaitable[bool]], timeout: float = 90.0) -> None:
    """Wait until something that the server does in its own time has happened."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"did not happen within {timeout:.0f} s"
        await asyncio.sleep(0.05)


async def becomes(ask: Callable[[], Awaitable[Any]], wanted: Any, timeout: float = 90.0) -> None:
    """Ask until this is the answer; the last one that was not is what the failure says."""
    deadline = asyncio.get_running_loop().time() + timeout
    while (found := await ask()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"{found!r}, and not {wanted!r}"
        await asyncio.sleep(0.05)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


async def _read_response(reader: asyncio.StreamReader, timeout: float) -> bytes:
    """Read until the peer closes, a whole response with a length has come, or nothing comes for `timeout` seconds."""
    received = b""
    while not _is_complete(received):
        try:
            chunk = await asyncio.wait_for(reader.read(65536), timeout)
        except (TimeoutError, ConnectionError):
            break
        if not chunk:
            break
        received += chunk
    return received


def _is_complete(response: bytes) -> bool:
    head, separator, body = response.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return len(body) >= int(value)
    return head.split(b" ")[1:2] == [b"204"] or body.endswith(b"0\r\n\r\n")
