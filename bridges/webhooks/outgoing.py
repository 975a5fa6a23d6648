"""What is said in rooms, sent to sites: signed, in order, tried for a day, and put aside then.

An endpoint sees each event under the same `webhook-id` however often it is sent, so that it can tell. Addresses are
checked when the connection is made; nothing private is asked unless the configuration names its network, and
redirects are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

import structlog

from bridges import metrics
from bridges.config import Config, seconds
from bridges.render import BadTemplate, Template
from bridges.state import State
from bridges.webhooks.settings import Endpoint, address_of, endpoints
from bridges.webhooks.signatures import signed_headers
from homeserver.ports.outbound import OutboundError, OutboundRequest
from homeserver.remote.addresses import AddressRules
from homeserver.remote.client import OutboundClient

WAITS_S = (5, 30, 120, 600, 3_600, 21_600, 86_400)
"""At least, between attempts. The last one alone is a day: nothing is given up sooner after it was first tried."""
_LONGEST_RETRY_AFTER_S = 86_400
_IDLE_S = 5.0
_ALL = 2**62
_KEEP_DONE_MS = 14 * 24 * 3600 * 1000
SCHEMA = """
CREATE TABLE IF NOT EXISTS outgoing (id INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL,
    message TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0, not_before_ms INTEGER NOT NULL, error TEXT, UNIQUE (endpoint, message));
CREATE INDEX IF NOT EXISTS outgoing_open ON outgoing (endpoint, id) WHERE state = 'waiting';
"""
"""What endpoints need of the state."""
_log = structlog.get_logger(__name__)


class Endpoints:
    """All endpoints of a bridge."""

    def __init__(
        self, config: Config, state: State, notify: Callable[[str, str], None], now: Callable[[], float] = time.time
    ) -> None:
        """`notify` tells operators of an endpoint that is given up. Raises ConfigError."""
        self._state, self._notify, self._now = state, notify, now
        self._endpoints = endpoints(config)
        self._secrets = {name: endpoint.secret.read() for name, endpoint in self._endpoints.items()}
        self._news = {name: asyncio.Event() for name in self._endpoints}
        state.define(SCHEMA)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Store an event for the endpoints that want it. Events may be told again: each is stored once."""
        room_id, event_id = event.get("room_id"), event.get("event_id")
        if not self._endpoints or not isinstance(room_id, str) or not isinstance(event_id, str):
            return
        room = self._state.room_by_id(room_id)
        mapping = "" if room is None else room.lane.partition(":")[0]
        names = {mapping, "" if room is None else room.lane.removeprefix("hook:")}
        for name, endpoint in self._endpoints.items():
            if event.get("type") not in endpoint.types or (endpoint.mappings and not names & set(endpoint.mappings)):
                continue
            self._keep(name, endpoint, event, {"room_id": room_id, "mapping": mapping}, event_id)

    def _keep(
        self, name: str, endpoint: Endpoint, event: Mapping[str, Any], room: dict[str, str], event_id: str
    ) -> None:
        body: dict[str, Any] = {"type": event.get("type"), "room": room, "event": event}
        if endpoint.text:
            try:
                body["text"] = Template(endpoint.text).render({"event": event, "room": room})
            except BadTemplate as error:
                body["text_error"] = str(error)
        message = "msg_" + hashlib.sha256(f"{name} {event_id}".encode()).hexdigest()[:32]
        with self._state.transaction(durable=True) as db:
            db.execute(
                "INSERT INTO outgoing (endpoint, message, body, not_before_ms) VALUES (?, ?, ?, 0) "
                "ON CONFLICT DO NOTHING",
                (name, message, json.dumps(body, ensure_ascii=False)),
            )
            # What is too much is put aside from the front: the newest is worth most to somebody who was long away.
            db.execute(
                "UPDATE outgoing SET state = 'dead', error = 'the queue is full' WHERE id IN (SELECT id FROM outgoing "
                "WHERE endpoint = ? AND state = 'waiting' ORDER BY id DESC LIMIT ? OFFSET ?)",
                (name, _ALL, endpoint.max_queue),
            )
        self._news[name].set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, endpoint in self._endpoints.items():
                tasks.create_task(self._work(name, endpoint))

    async def _work(self, name: str, endpoint: Endpoint) -> None:
        rules = AddressRules([ip_network(text) for text in endpoint.allow])
        client = OutboundClient(rules, user_agent="Hromada-Webhooks/1")
        try:
            while True:
                self._news[name].clear()
                wait_s = await self._step(name, endpoint, client)
                if wait_s:
                    try:
                        async with asyncio.timeout(min(wait_s, _IDLE_S)):
                            await self._news[name].wait()
                    except TimeoutError:
                        pass
        finally:
            await client.close()

    async def _step(self, name: str, endpoint: Endpoint, client: OutboundClient) -> float:
        """Send the oldest that waits; how long until there may be something to do, in seconds."""
        now_ms = int(self._now() * 1000)
        with self._state.transaction() as db:
            row = db.execute(
                "SELECT id, message, body, attempts, not_before_ms FROM outgoing "
                "WHERE endpoint = ? AND state = 'waiting' ORDER BY id LIMIT 1",
                (name,),
            ).fetchone()
        if row is None or "paused" in self._state.progress(notes_of(name)):
            return _IDLE_S
        id_, message, body, attempts, not_before_ms = row
        if not_before_ms > now_ms:
            return float(not_before_ms - now_ms) / 1000
        status, error, after_s = await self._send(name, endpoint, client, message, body.encode())
        if status is not None and 200 <= status < 300:
            result = "done"
            self._settle(id_, "done", attempts + 1, now_ms, "")
        elif status == 410:
            result = "gone"
            # First that nothing more is sent: what ends the process in between must not have another event sent.
            self._state.note(notes_of(name), paused="it answered 410")
            self._settle(id_, "dead", attempts + 1, now_ms, error)
            again = f"hromada bridges resume --endpoint {name}"
            self._notify(f"endpoint.{name}", f"answered 410: it wants no more. `{again}` begins anew.")
        elif attempts >= len(WAITS_S):
            result = "dead"
            self._settle(id_, "dead", attempts + 1, now_ms, error)
            self._notify(f"endpoint.{name}", f"did not take an event for a day: {error}. It was put aside.")
        else:
            result = "postponed"
            wait_s = max(after_s, WAITS_S[attempts] * random.uniform(1, 1.1))  # noqa: S311 - to spread retries
            _log.warning("webhook_postponed", endpoint=name, error=error, again_in=round(wait_s))
            self._settle(id_, "waiting", attempts + 1, now_ms + int(wait_s * 1000), error)
        metrics.ENDPOINTS.labels(name, result).inc()
        return 0

    def _settle(self, id_: int, state: str, attempts: int, at_ms: int, error: str) -> None:
        with self._state.transaction() as db:
            db.execute(
                "UPDATE outgoing SET state = ?, attempts = ?, not_before_ms = ?, error = ? WHERE id = ?",
                (state, attempts, at_ms, error or None, id_),
            )
            db.execute("DELETE FROM outgoing WHERE state = 'done' AND not_before_ms < ?", (at_ms - _KEEP_DONE_MS,))

    async def _send(
        self, name: str, endpoint: Endpoint, client: OutboundClient, message: str, body: bytes
    ) -> tuple[int | None, str, float]:
        """Status (None: no answer), what went wrong, and the seconds that the receiver asks us to wait."""
        headers = {
            "Content-Type": "application/json",
            **signed_headers(self._secrets[name], message, int(self._now()), body),
        }
        wanted = OutboundRequest(
            address_of(endpoint),
            "POST",
            headers,
            body,
            max_bytes=65_536,
            seconds=seconds(endpoint.timeout),
            redirects=0,
        )
        try:
            async with client.request(wanted) as answer:
                after = answer.headers.get("Retry-After", "")
                after_s = min(int(after), _LONGEST_RETRY_AFTER_S) if after.isdecimal() and len(after) < 9 else 0
                return answer.status, f"it answered {answer.status}", after_s
        except OutboundError as error:
            return None, str(error), 0


def notes_of(name: str) -> str:
    """What the state calls an endpoint among those that note something about themselves, such as `paused`."""
    return f"endpoint.{name}"  # names of mappings have no dot


def troubles(state: State) -> list[tuple[int, str, str]]:
    """What could not be sent: number, endpoint, reason."""
    state.define(SCHEMA)
    with state.transaction() as db:
        return db.execute(
            "SELECT id, endpoint, coalesce(error, '') FROM outgoing WHERE state = 'dead' ORDER BY id LIMIT 1000"
        ).fetchall()
