"""The mapping of tickets, from a document to a room and back, on a server that speaks MongoDB's protocol."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect

from tests.bridges.support import PATIENCE_S, Bridge, answers, find_room, messages, registration, told
from tests.support.client import Client, eventually
from tests.support.fixtures import unavailable
from tests.support.mongo import Mongo, MongoUnavailable, running_mongo
from tests.support.ports import free_port
from tests.support.server import ROOT, Server, ServerOptions

EXAMPLE = ROOT / "examples/bridges/tickets.toml"


@dataclass
class World:
    """All of it."""

    server: Server
    bridge: Bridge
    mongo: Mongo
    tickets: Any

    async def until(self, get: Callable[[], Awaitable[Any]], expected: Any) -> None:
        """Wait for something that is to become so."""

        async def holds() -> bool:
            return bool(await get() == expected)

        try:
            await eventually(holds, PATIENCE_S)
        except AssertionError:
            assert await get() == expected, self.bridge.log()[-6000:]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A homeserver, a bridge with the example as it is written, and a helpdesk with a ticket from before."""
    try:
        with running_mongo() as mongo:
            client: Any = AsyncMongoClient(url := mongo.url())
            tickets = client.get_default_database()["support_tickets"]
            await tickets.insert_one(ticket(1, messages=[said("m0", "ann", "It was broken before")]))
            world = _world(tmp_path, mongo, url, tickets)
            try:
                world.server.start()
                world.bridge.start()
                yield world
            finally:
                world.bridge.kill()
                world.server.stop()
                if mongo.outside:
                    await client.drop_database(tickets.database.name)
                await client.close()
    except MongoUnavailable as reason:
        unavailable(str(reason))


def _world(folder: Path, mongo: Mongo, url: str, tickets: Any) -> World:
    bridge, port = Bridge(folder, HELPDESK_URL=url, BRIDGE_STATE_URL=f"sqlite:///{folder}/state.db"), free_port()
    text = EXAMPLE.read_text()
    for old, new in (
        ("http://127.0.0.1:8008", f"http://127.0.0.1:{port}"),
        ("127.0.0.1:29400", f"127.0.0.1:{free_port()}"),
        ("example.org", "hromada.test"),
        ("/run/secrets/", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    bridge.file.write_text(text)
    environment = {"HROMADA_APPSERVICES_FILES": registration(bridge, folder)}
    server = Server(folder / "data", ServerOptions(listen=f"127.0.0.1:{port}", environment=environment))
    return World(server, bridge, mongo, tickets)


def ticket(number: int, **more: Any) -> dict[str, Any]:
    """A document as the helpdesk makes it."""
    own = {"_id": ObjectId(f"{number:024x}"), "subject": f"Ticket {number}", "status": "open", "author_id": "ann"}
    return own | {"messages": [], "rev": 1, "updated_at": datetime.now(UTC)} | more


def said(element: str, who: str, text: str) -> dict[str, Any]:
    """A message in a ticket."""
    return {"id": element, "author_id": who, "text": text}


def alias(number: int) -> str:
    """The alias of a ticket's room."""
    return f"_db_tickets_{number:024x}"


@pytest.mark.timeout(900)
async def test_tickets_as_they_are_written_in_the_example(world: World, http: aiohttp.ClientSession) -> None:
    support = await Client(http, world.server.url).register("support")
    await eventually(lambda: _begun(world.bridge), PATIENCE_S)
    first = said("m1", "ann", "It is *broken*")
    await world.tickets.insert_one(ticket(2, messages=[first]))
    await world.until(lambda: told(support, alias(2)), ["It is *broken*"])
    assert (await messages(support, alias(2)))[0]["sender"] == "@_db_helpdesk_ann:hromada.test"
    room = await find_room(support, alias(2))
    assert room is not None
    assert await support.state(room, "m.room.name") == {"name": "Ticket 2"}
    # Each element once, and not what came out of a room.
    own = said("m3", "support", "from the room") | {"mx_event_id": "$1"}
    elements = [first, said("m2", "bob", "Here too"), own]
    change = {"subject": "Two are broken", "messages": elements, "rev": 2, "updated_at": datetime.now(UTC)}
    await world.tickets.update_one({"_id": ObjectId(f"{2:024x}")}, {"$set": change})
    await world.until(lambda: told(support, alias(2)), ["It is *broken*", "Here too"])
    await world.until(lambda: support.state(room, "m.room.name"), {"name": "Two are broken"})
    await _from_before_and_over_restarts(world, support)
    await _what_people_write(world, support, room)


async def _from_before_and_over_restarts(world: World, support: Client) -> None:
    """A ticket from before tells what is new in it; nothing is lost while the bridge is dead, or the database was."""
    world.bridge.kill()
    more = [said("m0", "ann", "It was broken before"), said("m1", "ann", "And is")]
    where = {"_id": ObjectId(f"{1:024x}")}
    await world.tickets.update_one(where, {"$set": {"messages": more, "updated_at": datetime.now(UTC)}})
    if not world.mongo.outside:
        world.mongo.kill()
        world.mongo.start()
        await eventually(lambda: _answers(world.tickets), PATIENCE_S)
    world.bridge.start()
    await world.until(lambda: told(support, alias(1)), ["And is"])
    more.append(said("m2", "bob", "Still"))
    await world.tickets.update_one(where, {"$set": {"messages": more, "updated_at": datetime.now(UTC)}})
    await world.until(lambda: told(support, alias(1)), ["And is", "Still"])


async def _answers(tickets: Any) -> bool:
    """Whether the helpdesk's own connections, which died with the server, are there again."""
    try:
        await tickets.find_one({})
    except AutoReconnect:
        return False
    return True


async def _what_people_write(world: World, support: Client, room: str) -> None:
    where = {"_id": ObjectId(f"{2:024x}")}
    close = await support.send(room, {"msgtype": "m.text", "body": "!close"})
    await world.until(lambda: answers(support, room, close), ["✅"])
    assert (await world.tickets.find_one(where))["status"] == "closed"
    await world.tickets.update_one(where, {"$set": {"status": "spam", "updated_at": datetime.now(UTC)}})
    again = await support.send(room, {"msgtype": "m.text", "body": "!close"})
    await world.until(lambda: answers(support, room, again), ["The row is not as it has to be for that"])
    stranger = await support.send(room, {"msgtype": "m.text", "body": "who am I?"})
    reason = "Your account does not belong to a user of the database"
    await world.until(lambda: answers(support, room, stranger), [reason])


async def _begun(bridge: Bridge) -> bool:
    return re.search(r"scan_ends .*mapping=tickets\b", bridge.log()) is not None
