"""The frames of the streaming protocol, as docs/websocket.md describes them.

Reads what clients send and writes what they get; knows nothing of sessions.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from homeserver.core import strictjson
from homeserver.core.errors import MatrixError
from homeserver.ports.requester import Requester
from homeserver.ports.socket import CloseCode, CloseSocket

PONG = b'{"op":"pong"}'


class Frame(msgspec.Struct, frozen=True, tag_field="op"):
    """A frame of the client. Members this server does not know are ignored."""


class Auth(Frame, frozen=True, tag="auth"):
    """Who the client is; again, with a fresh token, before the old one expires."""

    access_token: str


class Start(Frame, frozen=True, tag="start"):
    """From where on, and how, to stream: the parameters of `/sync`."""

    since: str | None = None
    filter: str | dict[str, Any] | None = None
    full_state: bool = False
    set_presence: Literal["offline", "online", "unavailable"] = "online"
    use_state_after: bool = False


class Ack(Frame, frozen=True, tag="ack"):
    """The client has kept the update that led to `pos`."""

    pos: str


class Req(Frame, frozen=True, tag="req"):
    """A call of the Client-Server API. `path` is path and query, percent-encoded as in HTTP."""

    id: str | int
    method: str
    path: str
    body: dict[str, Any] | None = None


class Ping(Frame, frozen=True, tag="ping"):
    """A sign of life."""


AnyFrame = Auth | Start | Ack | Req | Ping


def parse(data: bytes) -> AnyFrame:
    """The client's frame. Raises CloseSocket(BAD_FRAME)."""
    try:
        frame: AnyFrame = msgspec.convert(strictjson.parse_object(data), AnyFrame)
    except (MatrixError, msgspec.ValidationError) as error:
        raise CloseSocket(CloseCode.BAD_FRAME, str(error)) from None
    return frame


def ready(who: Requester, heartbeat_ms: int) -> bytes:
    """The token was accepted."""
    frame = {"op": "ready", "heartbeat_ms": heartbeat_ms, "user_id": who.user_id, "device_id": who.device_id}
    return orjson.dumps(frame)


def update(body: bytes) -> bytes:
    """An update: `body` is what `/sync` would have answered."""
    return b'{"op":"sync","body":' + body + b"}"


def ack(pos: str) -> bytes:
    """An `Ack` as most clients write it: without spaces."""
    return b'{"op":"ack","pos":"' + pos.encode() + b'"}'


def result(request_id: str | int, status: int, body: bytes) -> bytes:
    """The answer to a `Req`."""
    return orjson.dumps({"op": "res", "id": request_id, "status": status, "body": orjson.Fragment(body)})


def failure(error: MatrixError) -> bytes:
    """Why a token or a start was refused."""
    return orjson.dumps({"op": "error", **error.body()})
