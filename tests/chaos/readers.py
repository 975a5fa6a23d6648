"""Readers: devices that follow everything over `/sync` or over the stream, and note down what they were given.

A response counts when it is kept: one that is cut off is asked for again from the token before. Where a timeline is
limited, the reader walks back from `prev_batch` to what it knows, as a client that wants everything would.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.chaos.history import History, Json
from tests.chaos.target import Target
from tests.chaos.writers import CUT_OFF, NOTE, REQUEST_S, RETRY_S, Refused, discard, open_stream, receive
from tests.support.client import Client, part, rooms, timeline

FILL_PAGE = 20
LONG_POLL_MS = 1000
QUIET_S = 5.0


def summary(event: Json) -> Json:
    """What the checker needs of an event."""
    content = event["content"]
    short = {"id": event["event_id"], "type": event["type"], "sender": event["sender"]}
    if "state_key" in event:
        short["state_key"] = event["state_key"]
    key = content.get("key") or content.get("reason") or content.get("body")
    if isinstance(key, str):
        short["key"] = key
    if event["type"] == "m.room.message" and not content:
        short["pruned"] = True
    return short


def registers(answer: Json, user_id: str) -> Json:
    """The replaced values of a response: the user's account data and everybody's receipts."""
    found: Json = {
        f"account_data|{data['type']}": data["content"]["value"]
        for data in answer.get("account_data", {}).get("events", ())
        if data["type"].startswith("chaos.")
    }
    for room, joined in rooms(answer, "join").items():
        for ephemeral in joined.get("ephemeral", {}).get("events", ()):
            if ephemeral["type"] == "m.receipt":
                for event_id, by_type in ephemeral["content"].items():
                    for user in by_type.get("m.read", ()):
                        found[f"receipt|{room}|{user}"] = event_id
    return found


def notes(answer: Json) -> list[str]:
    """The messages to this device, by their keys."""
    events = answer.get("to_device", {}).get("events", ())
    return [event["content"]["key"] for event in events if event["type"] == NOTE]


async def fetch(target: Target, client: Client, path: str, **params: Any) -> Any:
    """The body of a GET that succeeds in the end, however often it fails before. Raises Refused."""
    while True:
        try:
            async with asyncio.timeout(REQUEST_S):
                reply = await target.reach(client).request("GET", path, params=params)
        except CUT_OFF:
            reply = None
        if reply is not None and reply.status == 200:
            return reply.body
        if reply is not None and reply.status < 500:
            raise Refused(str(reply))
        await asyncio.sleep(RETRY_S)


@dataclass
class Reader:
    """A device that follows its rooms; this one over `/sync`."""

    name: str
    client: Client
    target: Target
    history: History
    limit: int = 1000
    since: str | None = None
    known: dict[str, set[str]] = field(default_factory=dict)
    stopped: bool = False

    @property
    def filter(self) -> Json:
        return {"room": {"timeline": {"limit": self.limit}}}

    async def run(self) -> None:
        """Follow until told to stop."""
        while not self.stopped:
            if await self.step(LONG_POLL_MS) is None:
                await asyncio.sleep(RETRY_S)

    async def step(self, timeout: int = 0) -> int | None:
        """One /sync: of how many rooms and messages it told; None if it failed. Raises Refused."""
        began = time.monotonic()
        params = {"timeout": timeout, "since": self.since, "filter": self.filter}
        try:
            async with asyncio.timeout(REQUEST_S):
                reply = await self.target.reach(self.client).request("GET", "/sync", params=params)
        except CUT_OFF:
            return None
        if reply.status != 200:
            if reply.status < 500:
                self._refused(str(reply))
            return None
        await self.keep(reply.body, began)
        return len(rooms(reply.body, "join")) + len(notes(reply.body))

    async def drain(self) -> None:
        """Take what is left, and two empty responses behind it."""
        empty = 0
        while empty < 2:
            told = await self.step()
            empty = empty + 1 if told == 0 else 0
            if told is None:
                await asyncio.sleep(RETRY_S)

    async def keep(self, answer: Json, began: float) -> None:
        """Note down a response, with what its limited timelines left out."""
        parts = {room: await self._part(room, joined) for room, joined in rooms(answer, "join").items()}
        operation = self.history.begin(self.name, "sync", since=self.since)
        operation.start = began
        self.since = answer["next_batch"]
        result = {
            "next": self.since,
            "position": int(self.since.removeprefix("s").partition("_")[0]),
            "rooms": parts,
            "registers": registers(answer, self.client.user_id),
            "user": self.client.user_id,
            "notes": notes(answer),
        }
        self.history.finish(operation, result)
        # Only now: who is stopped half-way has kept nothing.
        for room, told in parts.items():
            mine = self.known.setdefault(room, set())
            mine.update(event["id"] for event in (*told.get("filled", ()), *told["events"]))

    async def _part(self, room: str, joined: Json) -> Json:
        events = [summary(event) for event in timeline(joined)]
        part_of_room: Json = {"events": events, "unread": joined.get("unread_notifications")}
        part_of_room["state"] = [summary(event) for event in joined.get("state", {}).get("events", ())]
        if joined.get("timeline", {}).get("limited"):
            part_of_room["limited"] = True
            if room in self.known:
                part_of_room["filled"] = await self._fill(room, joined["timeline"]["prev_batch"])
        return part_of_room

    async def _fill(self, room: str, token: str | None) -> list[Json]:
        """Walk back from `prev_batch` to the first event that is known."""
        found: list[Json] = []
        path = f"/rooms/{part(room)}/messages"
        while token is not None:
            page = await fetch(self.target, self.client, path, **{"dir": "b", "from": token, "limit": FILL_PAGE})
            for event in page["chunk"]:
                if event["event_id"] in self.known[room]:
                    return found[::-1]
                found.append(summary(event))
            token = page.get("end")
        return found[::-1]

    def _refused(self, what: str) -> None:
        operation = self.history.begin(self.name, "refused", since=self.since)
        self.history.finish(operation, what)
        raise Refused(f"{self.name}: since {self.since}: {what}")


@dataclass
class StreamReader(Reader):
    """A device that follows its rooms over the stream. `step` and `drain` go on over `/sync` with the same tokens."""

    async def run(self) -> None:
        """Follow until told to stop."""
        while not self.stopped:
            try:
                await self._follow()
            except CUT_OFF:
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        async with asyncio.timeout(REQUEST_S):
            socket = await open_stream(self.target.reach(self.client))
        try:
            began = time.monotonic()
            start = {"op": "start", "filter": self.filter, **({"since": self.since} if self.since else {})}
            await socket.send_str(json.dumps(start))
            while not self.stopped:
                frame = await self._frame(socket)
                if frame["op"] == "error":
                    self._refused(str(frame))
                if frame["op"] == "sync":
                    await self.keep(frame["body"], began)
                    began = time.monotonic()
                    await socket.send_str(json.dumps({"op": "ack", "pos": self.since}))
        finally:
            await discard(socket)

    async def _frame(self, socket: aiohttp.ClientWebSocketResponse) -> Json:
        """The next frame, asking for a sign of life when none comes. Raises CUT_OFF."""
        waiting = asyncio.ensure_future(receive(socket))
        try:
            for patience in (QUIET_S, REQUEST_S):
                done, _ = await asyncio.wait([waiting], timeout=patience)
                if done:
                    return waiting.result()
                await socket.send_str(json.dumps({"op": "ping"}))
            raise TimeoutError
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
