"""mautrix-python, on which bridges stand, as an application service: in both directions, over restarts."""
# It encrypts in test_mautrix_crypto.

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from mautrix.appservice import AppService
from mautrix.types import Event, EventType, MessageEvent, RoomCreatePreset, UserID

from tests.support.appservice import AS_TOKEN, HS_TOKEN, registration
from tests.support.client import Client, part
from tests.support.fixtures import StartServer, fresh
from tests.support.ports import free_port
from tests.support.server import Server

# mautrix 0.21 calls aiohttp in old ways.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Bridge:
    """A bridge on mautrix: it remembers what it is told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[str] = []
        self.ephemeral: list[str] = []
        self.asked: list[str] = []
        self.service: AppService

    @asynccontextmanager
    async def running(self, server: Server) -> AsyncIterator[AppService]:
        service = AppService(
            server.url, server.name, AS_TOKEN, HS_TOKEN, "_db_bot", "db", ephemeral_events=True, query_user=self.query
        )
        service.matrix_event_handler(self.hear)
        await service.start("127.0.0.1", self.port)
        self.service = service
        try:
            yield service
        finally:
            await service.stop()

    async def query(self, user_id: str) -> dict[str, str] | None:
        self.asked.append(user_id)
        if user_id.startswith("@_db_nobody"):
            return None
        await self.service.intent.user(UserID(user_id)).ensure_registered()
        return {"made": user_id}  # mautrix takes an empty answer for none

    async def hear(self, event: Event) -> None:
        if isinstance(event, MessageEvent):
            self.heard.append(event.content.body)
        elif event.type.is_ephemeral:
            self.ephemeral.append(str(event.type))

    async def until_heard(self, text: str) -> None:
        async with asyncio.timeout(120):
            while text not in self.heard:
                await asyncio.sleep(0.02)


@pytest.fixture
def bridge() -> Bridge:
    return Bridge(free_port())


async def test_a_bridge(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, database: str, bridge: Bridge
) -> None:
    file = tmp_path / "mautrix.yaml"
    url = f"http://127.0.0.1:{bridge.port}"
    file.write_text(json.dumps(registration(url, **{"de.sorunome.msc2409.push_ephemeral": True})))
    environment = {"HROMADA_APPSERVICES_FILES": str(file), "HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS": "1"}
    server = start_server(database, environment=environment)
    alice = await Client(http, server.url).register(fresh("alice"))
    ghost_id = UserID(f"@_db_one:{server.name}")
    async with bridge.running(server) as service:
        assert await service.ping_self("meow") >= 0
        bot = service.intent
        await bot.ensure_registered()
        assert (await bot.whoami()).user_id == bot.mxid
        room = await bot.create_room(preset=RoomCreatePreset.PRIVATE, invitees=[UserID(alice.user_id)], name="Bridged")
        ghost = bot.user(ghost_id)
        await ghost.ensure_joined(room)
        await ghost.set_displayname("Ghost")
        await alice.ok("POST", f"/rooms/{part(room)}/join", {})
        sent = await ghost.send_text(room, "from the other side")
        assert (await alice.event(room, sent))["sender"] == ghost_id
        await alice.send(room, "hello")
        await bridge.until_heard("hello")
        await alice.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(sent)}", {})
        await alice.ok("PUT", f"/rooms/{part(room)}/typing/{part(alice.user_id)}", {"typing": True, "timeout": 60000})
        async with asyncio.timeout(120):
            while not {str(EventType.RECEIPT), str(EventType.TYPING)} <= set(bridge.ephemeral):
                await asyncio.sleep(0.02)
        # People of the other side are made when somebody looks for them.
        made = f"@_db_made:{server.name}"
        await alice.ok("GET", f"/profile/{part(made)}")
        (await alice.request("GET", f"/profile/{part(f'@_db_nobody:{server.name}')}")).error(404, "M_NOT_FOUND")
        assert made in bridge.asked
        server.kill()
        server.start()
        alice.base_url = server.url
    await alice.send(room, "while the bridge is away")
    async with bridge.running(server) as service:
        await bridge.until_heard("while the bridge is away")
        await service.intent.user(ghost_id).send_text(room, "back again")
        await alice.send(room, "good")
        await bridge.until_heard("good")
        assert bridge.heard.count("hello") == 1
        said = [text for text in bridge.heard if text in ("hello", "while the bridge is away", "good")]
        assert said == ["hello", "while the bridge is away", "good"]
