"""What application services are told: everything of theirs, once, in order, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.appservice import AS_TOKEN, BOT, KilledService, RunningService, registration, running_service
from tests.support.client import Client, part
from tests.support.fixtures import StartServer, fresh
from tests.support.server import Server

pytestmark = pytest.mark.all_only


@pytest.fixture
async def service() -> AsyncIterator[RunningService]:
    async with running_service() as running:
        yield running


class Place:
    """A server with one service, its bot and a person."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.bot = self.client()
        self.bot.token, self.bot.user_id = AS_TOKEN, BOT
        self.alice = self.client()

    def client(self) -> Client:
        return Client(self.http, self.server.url)

    async def person(self, name: str) -> Client:
        return await self.client().register(fresh(name))

    async def ghost(self, name: str) -> str:
        body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
        return str((await self.bot.ok("POST", "/register", body))["user_id"])

    async def as_ghost(self, user_id: str, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return await self.bot.ok(method, path, body, params={"user_id": user_id, **more})

    def again(self, *clients: Client) -> None:
        """The server has been restarted and may listen elsewhere."""
        for client in (self.bot, self.alice, *clients):
            client.base_url = self.server.url


async def place(
    start_server: StartServer, folder: Path, http: aiohttp.ClientSession, database: str, *registrations: dict[str, Any]
) -> Place:
    files = []
    for number, one in enumerate(registrations):
        file = folder / f"service{number}.yaml"
        file.write_text(json.dumps(one))
        files.append(str(file))
    environment = {"HROMADA_APPSERVICES_FILES": ",".join(files), "HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS": "1"}
    here = Place(start_server(database, environment=environment), http)
    here.alice = await here.person("alice")
    return here


async def test_is_told_of_what_concerns_it(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str, service: RunningService
) -> None:
    spaces = {
        "users": [{"exclusive": True, "regex": "@_db_.*"}],
        "aliases": [{"exclusive": True, "regex": "#_db_.*"}],
    }
    here = await place(start_server, tmp_path, http, database, registration(service.url, namespaces=spaces))
    alice = here.alice
    secret = await alice.create_room(name="not for it")
    await alice.send(secret, "not for it")
    room = await alice.create_room(preset="public_chat", name="Shop")
    await alice.send(room, "before")
    ghost = await here.ghost("_db_one")
    await alice.ok("POST", f"/rooms/{part(room)}/invite", {"user_id": ghost})
    await service.until(lambda: len(service.events()) == 1)
    invite = service.events()[0]
    assert (invite["type"], invite["state_key"], invite["content"]["membership"]) == ("m.room.member", ghost, "invite")
    assert invite["room_id"] == room
    assert invite["sender"] == alice.user_id
    assert invite["unsigned"]["age"] >= 0
    stripped = {item["type"]: item for item in invite["unsigned"]["invite_room_state"]}
    assert stripped["m.room.name"]["content"] == {"name": "Shop"}
    await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/join", {})
    sent = await alice.send(room, "hello")
    await alice.ok("PUT", f"/rooms/{part(room)}/state/m.room.topic/", {"topic": "one"})
    await alice.ok("PUT", f"/rooms/{part(room)}/state/m.room.topic/", {"topic": "two"})
    await service.until(lambda: len(service.events()) == 5)
    join, hello, _, topic = service.events()[1:]
    assert join["unsigned"]["prev_content"]["membership"] == "invite"
    assert hello["event_id"] == sent
    assert topic["unsigned"]["prev_content"] == {"topic": "one"}
    # The last one of its users leaves: it is told of that, and of nothing after.
    await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/leave", {})
    await alice.send(room, "among us")
    # An alias makes the room interesting at once, and its end uninteresting.
    taken = await alice.request("PUT", f"/directory/room/{part('#_db_shop:hromada.test')}", {"room_id": room})
    taken.error(400, "M_EXCLUSIVE")
    (await alice.request("POST", "/createRoom", {"room_alias_name": "_db_x"})).error(400, "M_EXCLUSIVE")
    await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/join", {})
    alias = f"/directory/room/{part('#_db_shop:hromada.test')}"
    await here.as_ghost(ghost, "PUT", alias, {"room_id": room})
    await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/leave", {})
    await alice.send(room, "by alias")
    await service.until(lambda: "by alias" in service.messages())
    await here.as_ghost(ghost, "DELETE", alias)
    await alice.send(room, "among us again")
    own = await here.bot.create_room(name="end", preset="public_chat", room_alias_name="_db_end")
    await service.until(lambda: any(event["room_id"] == own for event in service.events()))
    assert service.messages() == ["hello", "by alias"]
    assert secret not in {event["room_id"] for event in service.events()}
    service.check()


async def test_a_service_that_is_away_holds_up_nobody(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str, service: RunningService
) -> None:
    async with running_service() as dead:
        names = {"users": [{"exclusive": True, "regex": "@_x_.*"}], "rooms": [{"exclusive": False, "regex": "!.*"}]}
        other = registration(dead.url, id="x", as_token="x-as", hs_token=registration(None)["hs_token"])
        other |= {"sender_localpart": "_x_bot", "namespaces": names}
        here = await place(start_server, tmp_path, http, database, registration(service.url), other)
        alice = here.alice
        dead.status = 500
        room = await here.bot.create_room(preset="public_chat")
        await alice.ok("POST", f"/rooms/{part(room)}/join", {})
        for number in range(250):
            await alice.send(room, f"{number}")
        await service.until(lambda: len(service.messages()) == 250)
        attempts = dead.attempts
        await dead.until(lambda: dead.attempts >= attempts + 2)
        metrics = (await alice.session.get(f"{here.server.url}/metrics")).text()
        text = await metrics
        behind = next(line for line in text.splitlines() if line.startswith('hromada_appservice_behind{id="x"}'))
        assert float(behind.split()[1]) > 200
        dead.status = 200
        await dead.until(lambda: len(dead.messages()) == 250)
        assert dead.messages() == service.messages() == [f"{number}" for number in range(250)]
        assert all(len(body["events"]) <= 100 for body in dead.bodies())
        assert len(dead.bodies()) < 10, "events that waited are sent together"
        dead.check()
        service.check()


async def test_waiting_ends_when_the_service_is_heard_of(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, service: RunningService
) -> None:
    here = await place(start_server, tmp_path, http, "sqlite", registration(service.url))
    here.server.options.environment["HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS"] = "3600"
    here.server.restart()
    here.again()
    room = await here.bot.create_room()
    await service.until(lambda: bool(service.events()))
    service.status = 503
    await here.bot.send(room, "late")
    attempts = service.attempts
    await service.until(lambda: service.attempts >= attempts + 5)  # the next one would be 16 s later
    service.status = 200
    pinged = await here.bot.ok("POST", "/_matrix/client/v1/appservice/db/ping", {"transaction_id": "meow"})
    assert pinged["duration_ms"] >= 0
    await service.until(lambda: service.messages() == ["late"], seconds=14)
    assert ("POST", "/_matrix/app/v1/ping", {}) in service.asked


@pytest.mark.all_only
@pytest.mark.parametrize("victim", ["service", "server"])
async def test_killed_again_and_again(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str, victim: str
) -> None:
    service = KilledService(tmp_path)
    service.start()
    chance = random.Random(victim + database)
    try:
        here = await place(start_server, tmp_path, http, database, registration(service.url))
        alice = here.alice
        room = await here.bot.create_room(preset="public_chat")
        await alice.ok("POST", f"/rooms/{part(room)}/join", {})
        sent = 0
        for _ in range(6):
            for _ in range(40):
                content = {"msgtype": "m.text", "body": f"{sent}"}
                await alice.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/t{sent}", content)
                sent += 1
            await asyncio.sleep(chance.random() * 0.1)
            if victim == "service":
                service.kill()
                await alice.send(room, f"while it was away {sent}")
                service.start()
            else:
                here.server.kill()
                here.server.start()
                here.again()
                await alice.send(room, f"after a restart {sent}")
        await service.until(lambda: len(set(service.messages())) >= sent + 6)
        service.check()
        numbers = [body for body in service.messages() if body.isdecimal()]
        assert numbers == [f"{number}" for number in range(sent)]
        assert len(service.messages()) == sent + 6
    finally:
        service.kill()


async def test_a_transaction_is_never_altered(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str, service: RunningService
) -> None:
    here = await place(start_server, tmp_path, http, database, registration(service.url))
    alice = here.alice
    room = await here.bot.create_room(preset="public_chat")
    await alice.ok("POST", f"/rooms/{part(room)}/join", {})
    await service.until(lambda: any(e.get("state_key") == alice.user_id for e in service.events()))
    service.transactions.clear()
    service.delay_s = 30  # it takes the transaction, and the answer is lost
    event = await alice.send(room, "said")
    attempts = service.attempts
    await service.until(lambda: service.attempts == attempts + 1)
    await alice.ok("PUT", f"/rooms/{part(room)}/redact/{part(event)}/r1", {})
    await service.stop()
    here.server.kill()
    service.delay_s = 0
    await service.start()
    here.server.start()
    here.again()
    await service.until(lambda: len(service.events()) == 2)
    said, redaction = service.events()
    assert said["content"]["body"] == "said", "as it was when it was sent first"
    assert redaction["type"] == "m.room.redaction"
    epochs = {txn_id.partition("-")[0] for txn_id, _ in service.transactions}
    assert len(epochs) == 2, "ids of another process are other ids"
    # Nothing is sent again after another restart.
    count = len(service.bodies())
    here.server.restart()
    here.again()
    await alice.send(room, "new")
    await service.until(lambda: "new" in service.messages())
    assert len(service.bodies()) == count + 1
    service.check()


async def test_old_paths(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, service: RunningService
) -> None:
    service.legacy_only = True
    here = await place(start_server, tmp_path, http, "sqlite", registration(service.url + "/"))
    await here.bot.create_room(name="old")
    await service.until(lambda: any(event["type"] == "m.room.name" for event in service.events()))
    service.check()


@pytest.mark.parametrize("log", ["kept", "pruned"])
async def test_far_behind_it_is_told_what_it_would_have_been_told(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, log: str, service: RunningService
) -> None:
    """Its users come and go while it is away, the server restarts, and what the log says besides events may be gone."""
    here = await place(start_server, tmp_path, http, "sqlite", registration(service.url, receive_ephemeral=True))
    alice = here.alice
    ghost = await here.ghost("_db_one")
    await here.as_ghost(ghost, "PUT", "/devices/D", {})
    await here.bot.create_room()
    await service.until(lambda: bool(service.events()))
    await service.stop()
    service.transactions.clear()
    room = await alice.create_room(preset="public_chat")
    before = await alice.create_room(preset="public_chat")
    await alice.send(before, "never theirs")
    for turn in range(3):
        await alice.send(room, f"without them {turn}")
        await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/join", {})
        for number in range(60):
            await alice.send(room, f"{turn}-{number}")
        await alice.ok("PUT", f"/sendToDevice/x.test/{turn}", {"messages": {ghost: {"D": {"turn": turn}}}})
        await here.as_ghost(ghost, "POST", f"/rooms/{part(room)}/leave", {})
    await alice.send(room, "without them at last")
    here.server.kill()
    if log == "pruned":
        with closing(sqlite3.connect(here.server.data_dir / "hromada.db")) as database, database:
            database.execute("DELETE FROM log_entries")
    await service.start()
    here.server.start()
    here.again()
    last = await here.bot.create_room(name="last")
    await service.until(lambda: any(event["room_id"] == last for event in service.events()))
    theirs = [f"{turn}-{number}" for turn in range(3) for number in range(60)]
    assert [body for body in service.messages() if body != "never theirs"] == theirs
    assert "never theirs" not in service.messages()
    moves = [event["content"]["membership"] for event in service.events() if event.get("state_key") == ghost]
    assert moves == ["join", "leave"] * 3
    turns = [item["content"]["turn"] for body in service.bodies() for item in body.get("to_device", ())]
    assert turns == [0, 1, 2]
    service.check()
