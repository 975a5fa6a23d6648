"""What sites send: looked at, stored once, and only then acknowledged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import structlog
from quart import Quart, request

from bridges import metrics
from bridges.config import Config, per_second, seconds
from bridges.mapper import transaction_id
from bridges.matrix import Homeserver, MatrixFailure, TryAgain, part
from bridges.render import BadTemplate, Template
from bridges.state import Delivery, RoomRow, State, Stored
from bridges.webhooks.settings import Hook, hooks
from bridges.webhooks.signatures import STYLES, Received, is_authentic, message_id

_DEPTH = 32
_KEEP_SEEN_MS = 30 * 24 * 3600 * 1000
SCHEMA = """CREATE TABLE IF NOT EXISTS hook_seen (hook TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (hook, id)) WITHOUT ROWID;"""
"""What hooks need of the state."""
_log = structlog.get_logger(__name__)

Answer = tuple[dict[str, Any], int]


class BadBody(Exception):
    """What was sent is nothing that templates can read."""


def parse_body(data: bytes, content_type: str) -> Any:
    """JSON, or the fields of a form. Raises BadBody."""
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        try:
            fields = parse_qs(data.decode(), max_num_fields=1000)
        except (ValueError, UnicodeDecodeError):
            raise BadBody("it is no form") from None
        return {name: values[0] for name, values in fields.items()}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise BadBody("it is no JSON") from None
    if _depth(body) > _DEPTH:
        raise BadBody(f"it is nested deeper than {_DEPTH}")
    return body


def _depth(value: Any) -> int:
    """How deep, counted without recursion."""
    depth, layer = 0, [value]
    while layer and depth <= _DEPTH:
        depth += 1
        inside: list[Any] = []
        for one in layer:
            if isinstance(one, dict):
                inside += one.values()
            elif isinstance(one, list):
                inside += one
        layer = inside
    return depth


class _Gate:
    """So many a second on average, and twice that at once."""

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, max(1.0, 2 * rate)
        self._left, self._at = self._most, time.monotonic()

    def passes(self) -> bool:
        """Whether one more may pass now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Hooks:
    """All hooks of a bridge."""

    def __init__(self, config: Config, state: State, stored: Callable[[], None], now: Callable[[], float] = time.time):
        """`stored` is called when there is something to deliver. Raises ConfigError."""
        self._service = config.appservice
        self._state, self._stored, self._now = state, stored, now
        self._bot = f"@{self._service.bot}:{self._service.server_name}"
        self._hooks = hooks(config)
        self._secrets = {
            name: [secret.read() for secret in (hook.secret, hook.old_secret) if secret is not None]
            for name, hook in self._hooks.items()
        }
        self._gates = {name: _Gate(per_second(hook.rate)) for name, hook in self._hooks.items()}
        state.define(SCHEMA)
        with state.transaction() as db:
            db.execute("DELETE FROM hook_seen WHERE at_ms < ?", (int(now() * 1000) - _KEEP_SEEN_MS,))

    async def open(self, homeserver: Homeserver) -> None:
        """Make the rooms of hooks that have their own, and join the others."""
        for name, hook in self._hooks.items():
            lane = f"hook:{name}"
            known = self._state.room(lane)
            if not hook.room and known is None:
                title = hook.name or name
                content = {"invite": list(hook.invite), "federate": False, "name": title, "topic": "", "space": ""}
                made = Delivery(transaction_id(self._service.id, lane), lane, lane, "room", self._bot, content)
                row = RoomRow(lane, f"{self._service.prefix}hook_{name}", title, "")
                self._state.store(lane, Stored([made], {lane: row}))
            if hook.room and (known is None or known.room_id is None):
                await self._join(homeserver, lane, hook.room)

    async def _join(self, homeserver: Homeserver, lane: str, room: str) -> None:
        """The bot joins a room of somebody else; if it may not, the hook's messages wait, and say why."""
        self._state.store(lane, Stored(rooms={lane: RoomRow(lane, room, "", "")}))
        try:
            joined = await homeserver.call("POST", f"/join/{part(room)}", {})
        except (MatrixFailure, TryAgain) as error:
            _log.warning("hook_without_room", lane=lane, room=room, error=str(error))
            return
        self._state.made_room(lane, str(joined["room_id"]))

    def takes(self, name: str, size: int) -> bool:
        """Whether a body of so many bytes is to be read."""
        hook = self._hooks.get(name)
        if hook is not None and size > hook.max_bytes:
            metrics.HOOKS.labels(name, "too_large").inc()
        return size <= (0 if hook is None else hook.max_bytes)

    def receive(self, name: str, headers: Mapping[str, str], data: bytes) -> Answer:
        """The answer to a request: 202 when it is stored, or was before."""
        hook = self._hooks.get(name)
        if hook is None:  # not counted: anybody could make as many names as they like
            return {"error": "there is no such hook"}, 404
        result, answer = self._judged(name, hook, headers, data)
        metrics.HOOKS.labels(name, result).inc()
        return answer

    def _judged(self, name: str, hook: Hook, headers: Mapping[str, str], data: bytes) -> tuple[str, Answer]:
        if not self._gates[name].passes():
            return "limited", ({"error": "too many requests"}, 429)
        if len(data) > hook.max_bytes:
            return "too_large", ({"error": f"more than {hook.max_bytes} bytes"}, 413)
        small = {key.lower(): value for key, value in headers.items()}
        received = Received(small, data, self._now(), seconds(hook.window))
        if not is_authentic(hook.style, received, self._secrets[name]):
            _log.warning("hook_signature_wrong", hook=name)
            return "forged", ({"error": "the signature is not right, or too old"}, 401)
        try:
            body = parse_body(data, small.get("content-type", ""))
        except BadBody as error:
            return "bad", ({"error": str(error)}, 400)
        event = small.get(STYLES[hook.style].type_header, "") if STYLES[hook.style].type_header else ""
        content = self._content(name, hook, body, event)
        is_new = self._keep(name, message_id(hook.style, received)[:255], content)
        if is_new:
            self._stored()
        failed = "error" in content
        if is_new and failed:
            metrics.DELIVERIES.labels("dead").inc()
        return "repeated" if not is_new else "not_rendered" if failed else "stored", ({"stored": is_new}, 202)

    def _content(self, name: str, hook: Hook, body: Any, event: str) -> dict[str, Any]:
        """The message; what cannot be rendered is stored as failed, with the reason."""
        values = {"body": body, "event": event, "hook": name}
        try:
            content: dict[str, Any] = {"msgtype": hook.msgtype, "body": Template(hook.text).render(values)}
            if hook.html:
                html = Template(hook.html, html=True).render(values)
                content |= {"format": "org.matrix.custom.html", "formatted_body": html}
        except BadTemplate as error:
            return {"error": str(error)}
        return content | {"m.mentions": {}}

    def _keep(self, name: str, id_: str, content: dict[str, Any]) -> bool:
        """Store it, unless it was stored before; whether it is new."""
        lane, at = f"hook:{name}", int(self._now() * 1000)
        state = "dead" if "error" in content else "waiting"
        # Nothing to say is said by an empty text: templates choose so which events are told.
        if state == "waiting" and not content["body"].strip():
            state = "done"
        txn = transaction_id(self._service.id, lane, id_)
        with self._state.transaction(durable=True) as db:
            if (
                db.execute("INSERT INTO hook_seen VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (name, id_, at)).rowcount
                != 1
            ):
                return False
            db.execute(
                "INSERT INTO delivery (txn, mapping, lane, kind, sender, content, state, error, done_ms) "
                "VALUES (?, ?, ?, 'm.room.message', ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (txn, lane, lane, self._bot, json.dumps(content), state, content.get("error"), at),
            )
        return True


def serve_hooks(app: Quart, received: Hooks) -> None:
    """Add the route to the application of the bridge."""

    @app.post("/hook/<name>")
    async def hook(name: str) -> Answer | tuple[dict[str, Any], int, dict[str, str]]:
        """One request of a site. What says that it is too large is not read."""
        if not received.takes(name, request.content_length or 0):
            return {"error": "too large"}, 413
        data = await request.get_data()
        body = data.encode() if isinstance(data, str) else data
        answer, status = received.receive(name, dict(request.headers.items()), body)
        return (answer, status, {"Retry-After": "1"}) if status == 429 else (answer, status)
