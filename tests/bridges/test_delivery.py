"""A homeserver that is busy, cuts answers off after it has stored, refuses a message, or a whole room."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridges.config import load
from bridges.deliver import Sender
from bridges.matrix import Homeserver
from bridges.state import Delivery, RoomRow, State, Stored
from tests.bridges.support import Bridge
from tests.support.client import eventually

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
"""
BOT = "@_db_bot:hromada.test"


class Moody:
    """Stores events by transaction id, and answers as it likes."""

    def __init__(self) -> None:
        self.events: dict[str, list[str]] = {}
        self.known: dict[str, str] = {}
        self.asked: Counter[str] = Counter()

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Every message is answered otherwise the first time."""
        room, txn = request.match_info["room"], request.match_info["txn"]
        body = str((await request.json())["body"])
        self.asked[txn] += 1
        if body == "busy" and self.asked[txn] < 3:
            return web.json_response({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 5}, status=429)
        if body == "large":
            return web.json_response({"errcode": "M_TOO_LARGE", "error": "too large"}, status=413)
        if room == "!closed":
            return web.json_response({"errcode": "M_FORBIDDEN", "error": "not here"}, status=403)
        if txn not in self.known:
            self.known[txn] = f"${txn}"
            self.events.setdefault(room, []).append(body)
        if body == "cut" and self.asked[txn] < 2:
            assert request.transport is not None
            request.transport.close()
        if body == "strange" and self.asked[txn] < 2:
            return web.json_response({"event": 1})
        return web.json_response({"event_id": self.known[txn]})

    async def anything(self, _request: web.Request) -> web.Response:
        """Devices and the like."""
        return web.json_response({})


@pytest.fixture
async def moody() -> AsyncIterator[tuple[Moody, str]]:
    """It, and its address."""
    server = Moody()
    app = web.Application()
    app.router.add_put("/_matrix/client/v3/rooms/{room}/send/{type}/{txn}", server.send)
    app.router.add_route("*", "/{rest:.*}", server.anything)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield server, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_every_message_comes_once_and_in_order_whatever_the_answers(
    tmp_path: Path, moody: tuple[Moody, str]
) -> None:
    server, address = moody
    bridge = Bridge(tmp_path)
    bridge.file.write_text(CONFIG.format(folder=tmp_path))
    state = State(tmp_path / "state.db")
    rooms = {name: RoomRow(name, f"_db_{name}", "", "") for name in ("open", "closed")}
    state.store("rows", Stored(rooms=rooms))
    for name in rooms:
        state.made_room(name, f"!{name}")
    bodies = ["first", "busy", "cut", "large", "strange", "last"]
    state.enqueue(message("open", body) for body in bodies)
    state.enqueue(message("closed", body) for body in ("a", "b"))
    failed: list[Any] = []
    async with Homeserver(address, "token", "DEVICE") as homeserver:
        sender = Sender(load(bridge.file), state, homeserver)
        sender.failed = lambda delivery, error: failed.append((delivery.lane, error))
        task = asyncio.create_task(sender.run())
        await eventually(lambda: _is_empty(state, 2))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert server.events == {"!open": [body for body in bodies if body != "large"]}
    assert [(row[1], row[3]) for row in state.troubles()] == [("dead", "open"), ("parked", "closed")]
    assert sorted(lane for lane, _ in failed) == ["closed", "open"]
    state.close()


def message(lane: str, body: str) -> Delivery:
    """A message to a room."""
    content = {"msgtype": "m.text", "body": body}
    return Delivery(f"{lane}-{body}", "rows", lane, "m.room.message", BOT, content)


async def _is_empty(state: State, parked: int) -> bool:
    return state.waiting() == parked
