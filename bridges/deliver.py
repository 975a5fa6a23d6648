"""From stored deliveries to the homeserver: in order in each room, several rooms at a time, until it is certain.

A delivery keeps its transaction id for ever, so one whose answer was lost is made once all the same.
spec: client-server-api#transaction-identifiers
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import structlog

from bridges.config import AppService
from bridges.matrix import Homeserver, MatrixFailure, TryAgain, part
from bridges.state import Delivery, State

_LONGEST_WAIT_S = 60.0
_KEEP_DONE_MS = 14 * 24 * 3600 * 1000
_NO_WRITER = 100
_log = structlog.get_logger(__name__)


class Sender:
    """Makes deliveries. `run` ends when it is cancelled."""

    def __init__(self, service: AppService, state: State, homeserver: Homeserver) -> None:
        self._service = service
        self._state = state
        self._homeserver = homeserver
        self._bot = f"@{service.bot}:{service.server_name}"
        self._busy: set[str] = set()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There may be something to deliver."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        pruned = 0.0
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                for lane in self._state.lanes(self._busy, self._service.lanes - len(self._busy)):
                    self._busy.add(lane)
                    tasks.create_task(self._work(lane))
                if time.monotonic() - pruned > 3600:
                    pruned = time.monotonic()
                    self._state.prune(int(time.time() * 1000) - _KEEP_DONE_MS)
                await self._news.wait()

    async def _work(self, lane: str) -> None:
        try:
            while (delivery := self._state.head(lane)) is not None:
                await self._deliver(delivery)
        finally:
            self._busy.discard(lane)
            self._news.set()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            event_id = await self._make(delivery)
        except TryAgain as trouble:
            wait = trouble.after if trouble.after is not None else min(0.25 * 2 ** min(delivery.attempts, 10), 1e9)
            wait = min(wait, _LONGEST_WAIT_S) * random.uniform(0.8, 1.2)  # noqa: S311 - to spread retries
            _log.warning("delivery_postponed", lane=delivery.lane, error=str(trouble), again_in=round(wait, 2))
            self._state.settle(delivery, "waiting", error=str(trouble))
            await asyncio.sleep(wait)
        except MatrixFailure as failure:
            # What is wrong with one message is no reason to keep the next; what is wrong with the room is.
            verdict = "parked" if failure.status in (401, 403, 404) or delivery.kind == "room" else "dead"
            _log.error("delivery_failed", lane=delivery.lane, verdict=verdict, error=str(failure))
            self._state.settle(delivery, verdict, error=str(failure))
        else:
            self._state.settle(delivery, "done", event_id=event_id)

    async def _make(self, delivery: Delivery) -> str | None:
        if delivery.kind == "room":
            await self._make_room(delivery)
            return None
        room = self._state.room(delivery.lane)
        if room is None or room.room_id is None:
            raise MatrixFailure(404, "M_NOT_FOUND", "The room of this row was not made")
        if delivery.kind in ("open", "archive"):
            await self._set_archived(room.room_id, delivery.kind == "archive")
            return None
        if delivery.kind.startswith("state:"):
            path = f"/rooms/{part(room.room_id)}/state/{part(delivery.kind.removeprefix('state:'))}/"
            return str((await self._homeserver.call("PUT", path, delivery.content))["event_id"])
        return await self._send(delivery, room.room_id)

    async def _send(self, delivery: Delivery, room_id: str) -> str:
        path = f"/rooms/{part(room_id)}/send/{part(delivery.kind)}/{part(delivery.txn)}"
        query: dict[str, Any] = {} if delivery.ts is None else {"ts": delivery.ts}
        for attempt in (1, 2):
            await self._join(delivery.lane, room_id, delivery.sender)
            try:
                answer = await self._homeserver.call(
                    "PUT", path, delivery.content, user=delivery.sender, device=True, **query
                )
                return str(answer["event_id"])
            except MatrixFailure as failure:
                if attempt == 2 or failure.status != 403:
                    raise
                self._state.set_member(delivery.lane, delivery.sender, False)  # somebody removed it
        raise AssertionError("unreachable")

    async def _make_room(self, delivery: Delivery) -> None:
        room = self._state.room(delivery.lane)
        if room is None or room.room_id is not None:
            return
        await self._ready(self._bot)
        alias = f"#{room.alias}:{self._service.server_name}"
        body = {
            "room_alias_name": room.alias,
            "preset": "private_chat",
            "name": delivery.content["name"],
            "topic": delivery.content["topic"],
            "invite": delivery.content["invite"],
            "creation_content": {"m.federate": delivery.content["federate"]},
        }
        try:
            room_id = (await self._homeserver.call("POST", "/createRoom", body))["room_id"]
        except MatrixFailure as failure:
            # The answer to an earlier request was lost: the alias, which is ours alone, leads to the room it made.
            if failure.errcode not in ("M_ROOM_IN_USE", "M_ALIAS_IN_USE"):
                raise
            room_id = (await self._homeserver.call("GET", f"/directory/room/{part(alias)}"))["room_id"]
        self._state.made_room(delivery.lane, str(room_id))

    async def _set_archived(self, room_id: str, archived: bool) -> None:
        path = f"/rooms/{part(room_id)}/state/m.room.power_levels/"
        levels = await self._homeserver.call("GET", path)
        wanted = _NO_WRITER if archived else 0
        if levels.get("events_default", 0) != wanted:
            await self._homeserver.call("PUT", path, {**levels, "events_default": wanted})

    async def _ready(self, user_id: str) -> None:
        """The user is registered and has the bridge's device."""
        if self._state.has_ghost(user_id):
            return
        if user_id != self._bot:
            body = {
                "type": "m.login.application_service",
                "username": user_id[1:].partition(":")[0],
                "inhibit_login": True,
            }
            try:
                await self._homeserver.call("POST", "/register", body)
            except MatrixFailure as failure:
                if failure.errcode != "M_USER_IN_USE":
                    raise
        device = {"display_name": "Bridge"}
        await self._homeserver.call("PUT", f"/devices/{part(self._service.device_id)}", device, user=user_id)
        self._state.made_ghost(user_id)

    async def _join(self, lane: str, room_id: str, user_id: str) -> None:
        await self._ready(user_id)
        if user_id == self._bot or self._state.is_member(lane, user_id):
            return
        try:
            await self._homeserver.call("POST", f"/rooms/{part(room_id)}/invite", {"user_id": user_id})
        except MatrixFailure as failure:
            if failure.status != 403:  # it is in the room already, or the next request says why it is not
                raise
        await self._homeserver.call("POST", f"/join/{part(room_id)}", {}, user=user_id)
        self._state.set_member(lane, user_id, True)
