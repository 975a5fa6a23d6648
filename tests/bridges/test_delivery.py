"""A homeserver that is busy, cuts answers off after it has stored, refuses a message, or a whole room."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridges.config import load
from bridges.deliver import Sender
from bridges.doubt import MARK, marked
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
        self.history: list[dict[str, Any]] = []
        """What was said, newest first."""
        self.pages = 0
        self.deaf = False
        """No answer comes, whatever it has stored."""

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Every message is answered otherwise the first time."""
        room, txn = request.match_info["room"], request.match_info["txn"]
        content = await request.json()
        body = str(content["body"])
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
            event = {"event_id": f"${txn}", "sender": request.query["user_id"], "content": content}
            self.history.insert(0, event)
        if self.deaf or (body == "cut" and self.asked[txn] < 2):
            assert request.transport is not None
            request.transport.close()
        if body == "strange" and self.asked[txn] < 2:
            return web.json_response({"event": 1})
        return web.json_response({"event_id": self.known[txn]})

    async def messages(self, request: web.Request) -> web.Response:
        """Two of them, behind where one is, of those who are asked for."""
        self.pages += 1
        senders = json.loads(request.query["filter"])["senders"]
        at = int(request.query.get("from", "0"))
        chunk = [event for event in self.history[at : at + 2] if event["sender"] in senders]
        return web.json_response({"chunk": chunk} | ({"end": str(at + 2)} if at + 2 < len(self.history) else {}))

    async def anything(self, _request: web.Request) -> web.Response:
        """Devices and the like."""
        return web.json_response({})


@pytest.fixture
async def moody() -> AsyncIterator[tuple[Moody, str]]:
    """It, and its address."""
    server = Moody()
    app = web.Application()
    app.router.add_put("/_matrix/client/v3/rooms/{room}/send/{type}/{txn}", server.send)
    app.router.add_get("/_matrix/client/v3/rooms/{room}/messages", server.messages)
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
    assert server.pages == 0, "nobody looks for what the homeserver remembers"
    state.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """With one room, in which something was said by the bridge."""
    opened = State(tmp_path / "state.db")
    opened.store("rows", Stored(rooms={"open": RoomRow("open", "_db_open", "", "")}))
    opened.made_room("open", "!open")
    yield opened
    opened.close()


@asynccontextmanager
async def sending(folder: Path, state: State, address: str) -> AsyncIterator[None]:
    bridge = Bridge(folder)
    bridge.file.write_text(CONFIG.format(folder=folder))
    async with Homeserver(address, "token", "DEVICE") as homeserver:
        task = asyncio.create_task(Sender(load(bridge.file), state, homeserver).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("ticks", range(4))
async def test_it_ends_while_there_are_news(tmp_path: Path, moody: tuple[Moody, str], state: State, ticks: int) -> None:
    bridge = Bridge(tmp_path)
    bridge.file.write_text(CONFIG.format(folder=tmp_path))
    async with Homeserver(moody[1], "token", "DEVICE") as homeserver:
        sender = Sender(load(bridge.file), state, homeserver)
        task = asyncio.create_task(sender.run())
        for _ in range(10):
            await asyncio.sleep(0)
        sender.wake()
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=60)
        task.cancel()
        assert done


def long_ago() -> int:
    """Longer than homeservers remember."""
    return int((time.time() - 25 * 3600) * 1000)


async def test_what_was_sent_a_day_ago_and_not_answered_is_not_said_twice(
    tmp_path: Path, moody: tuple[Moody, str], state: State
) -> None:
    server, address = moody
    state.enqueue(message("open", body) for body in ("a", "b", "c"))
    server.deaf = True

    async def was_tried() -> bool:
        return any(delivery.tried_ms for delivery in state.heads("open", 9))

    async with sending(tmp_path, state, address):
        await eventually(was_tried)
    server.deaf = False
    server.known.clear()  # it has forgotten
    with state.transaction() as db:
        db.execute("UPDATE tried SET at_ms = ?", (long_ago(),))
    async with sending(tmp_path, state, address):
        await eventually(lambda: _is_empty(state, 0))
    assert server.events == {"!open": ["a", "b", "c"]}
    assert server.pages == 1, "one was in doubt, and is there"
    with state.transaction() as db:
        assert db.execute("SELECT count(*) FROM tried").fetchone()[0] == 0
        first = db.execute("SELECT event_id FROM delivery WHERE txn = 'open-a'").fetchone()
    assert first == ("$open-a",)


async def test_what_was_under_way_when_the_bridge_ended_for_a_day(
    tmp_path: Path, moody: tuple[Moody, str], state: State
) -> None:
    """Two messages that it had no time to note; it begins, is ended at once, and begins again."""
    server, address = moody
    state.enqueue([message("open", "before")])
    async with sending(tmp_path, state, address):
        await eventually(lambda: _is_empty(state, 0))
    state.enqueue(message("open", body) for body in ("a", "b", "c", "d"))
    for body in ("a", "b"):
        one = message("open", body)
        server.history.insert(0, {"event_id": f"$of-{body}", "sender": BOT, "content": marked(one)})
        server.events["!open"].append(body)
    others = [{"event_id": f"$x{n}", "sender": "@olena:hromada.test", "content": {MARK: 5}} for n in range(5)]
    server.history[:0] = others
    server.known.clear()
    state.note("sender.", alive_ms=str(long_ago()))
    for _ in range(2):
        async with sending(tmp_path, state, address):
            pass
    state.note("sender.", alive_ms=str(int(time.time() * 1000)))  # as it does when it has begun
    assert state.progress("sender.")["doubtful_to"]
    async with sending(tmp_path, state, address):
        await eventually(lambda: _is_empty(state, 0))
    assert server.events == {"!open": ["before", "a", "b", "c", "d"]}
    # Behind five others' events in three pages a and b, each looked for; c not, and no page behind what came before.
    assert server.pages <= 3 + 4 + 4
    pages = server.pages
    state.enqueue([message("open", "e")])
    async with sending(tmp_path, state, address):
        await eventually(lambda: _is_empty(state, 0))
    assert "doubtful_to" not in state.progress("sender.")
    assert server.pages == pages


async def test_a_look_ends_where_it_is_certain(tmp_path: Path, moody: tuple[Moody, str], state: State) -> None:
    server, address = moody
    server.history = [{"event_id": f"$old{n}", "sender": BOT, "content": {"body": "?"}} for n in range(100)]
    state.enqueue([message("open", "before")])
    async with sending(tmp_path, state, address):
        await eventually(lambda: _is_empty(state, 0))
    state.enqueue([message("open", "a")])
    state.note("sender.", alive_ms=str(long_ago()))
    async with sending(tmp_path, state, address):
        await eventually(lambda: _is_empty(state, 0))
    assert server.events == {"!open": ["before", "a"]}
    assert server.pages == 1


def message(lane: str, body: str) -> Delivery:
    """A message to a room."""
    content = {"msgtype": "m.text", "body": body}
    return Delivery(f"{lane}-{body}", "rows", lane, "m.room.message", BOT, content)


async def _is_empty(state: State, parked: int) -> bool:
    return state.waiting() == parked
