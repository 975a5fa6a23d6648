"""mautrix-python's end-to-bridge encryption, on which bridges stand, with matrix-nio: over restarts on both sides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nio  # type: ignore[import-untyped] # it has no types
import pytest
from mautrix.appservice import AppService, IntentAPI
from mautrix.appservice.state_store import FileASStateStore
from mautrix.appservice.state_store.asyncpg import PgASStateStore
from mautrix.types import (
    EncryptionKeyAlgorithm,
    Event,
    EventType,
    KeyID,
    MessageType,
    RoomCreatePreset,
    RoomID,
    TextMessageEventContent,
    UserID,
)
from mautrix.util.async_db import Database

from tests.interop.test_nio import good
from tests.interop.test_nio_crypto import Device
from tests.support.appservice import AS_TOKEN, HS_TOKEN, registration
from tests.support.client import PASSWORD
from tests.support.fixtures import StartServer, fresh, unavailable
from tests.support.ports import free_port
from tests.support.server import Server

# mautrix 0.21 calls aiohttp in old ways; of nio see test_nio_crypto.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

KEYS = 50
"""One-time keys that mautrix keeps on the server."""
CONFIG: dict[str, Any] = {
    "homeserver.http_retry_count": None,
    "bridge.encryption.verification_levels": {"send": "unverified", "share": "unverified", "receive": "unverified"},
    "bridge.encryption.allow_key_sharing": True,
    "bridge.encryption.appservice": True,
    "bridge.encryption.msc4190": True,
    "bridge.encryption.self_sign": True,
    "bridge.encryption.delete_keys": None,
    "bridge.encryption.rotation.disable_device_change_key_rotation": False,
}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await holds():
            await asyncio.sleep(0.02)


class Member:
    """A user of the bridge with a device of its own, whose keys are in a database of its own."""

    def __init__(self, service: AppService, user_id: UserID, file: Path, heard: list[str]) -> None:
        from mautrix.bridge.e2ee import EncryptionManager  # noqa: PLC0415 - it is not there without python-olm

        self.user_id = user_id
        self.heard = heard
        self.failed: list[Exception] = []
        self.ready = asyncio.Event()
        """mautrix listens before it has read its keys and would lose what comes in between."""
        self.intent: IntentAPI
        self._database = Database.create(f"sqlite:///{file}", upgrade_table=PgASStateStore.upgrade_table)
        self.rooms = PgASStateStore(self._database)
        # What of a bridge the manager looks at; it thinks that each of them is the bot.
        bridge = SimpleNamespace(
            loop=None,
            name="db",
            az=SimpleNamespace(bot_mxid=user_id, as_token=AS_TOKEN, state_store=self.rooms),
            config=CONFIG,
            state_store=self.rooms,
            get_portal=self._portal,
        )
        self.keys = EncryptionManager(bridge, service.server, "@_db_", f":{service.domain}", f"sqlite:///{file}")

    @staticmethod
    async def _portal(_room: str) -> object:
        return SimpleNamespace(encrypted=True)

    @asynccontextmanager
    async def running(self, service: AppService) -> AsyncIterator[None]:
        await self._database.start()
        # The manager joins this table of bridges.
        await self._database.execute("CREATE TABLE IF NOT EXISTS portal (mxid TEXT PRIMARY KEY, encrypted BOOLEAN)")
        self.intent = service.intent.user(self.user_id) if self.user_id != service.bot_mxid else service.intent
        await self.intent.ensure_registered()
        await self.keys.start()
        self.ready.set()
        try:
            yield
        finally:
            await self.keys.stop()
            await self.keys.client.api.session.close()
            await self._database.stop()

    async def bridges(self, room: RoomID) -> None:
        await self._database.execute("INSERT INTO portal (mxid, encrypted) VALUES ($1, true)", room)

    async def hear(self, event: Event) -> None:
        await self.ready.wait()
        try:
            if event.type.is_state:
                await self.rooms.update_state(event)
            if event.type == EventType.ROOM_MEMBER:
                await self.keys.handle_member_event(event)
            elif event.type == EventType.ROOM_ENCRYPTED and not event.sender.startswith("@_db_"):
                self.heard.append((await self.keys.decrypt(event)).content.body)
        except Exception as error:
            self.failed.append(error)

    async def check_devices(self) -> None:
        """It is the one device of the first day, and it is signed by the user's key of today."""
        client = self.keys.client
        known = await client.query_keys([self.user_id])
        devices = known.device_keys[self.user_id]
        assert set(devices) == {client.device_id}
        # mautrix makes other keys at each start: it does not keep that it signed them.
        signer = KeyID.ed25519(known.self_signing_keys[self.user_id].first_ed25519_key)
        assert signer in devices[client.device_id].signatures[self.user_id]

    async def say(self, room: RoomID, text: str) -> None:
        content = TextMessageEventContent(msgtype=MessageType.TEXT, body=text)
        await self.intent.send_message_event(room, *await self.keys.encrypt(room, EventType.ROOM_MESSAGE, content))


class Bridge:
    """A bridge on mautrix whose bot and whose ghost have devices."""

    def __init__(self, server: Server, port: int, folder: Path) -> None:
        self.server = server
        self.port = port
        self.folder = folder
        self.names = [UserID(f"@{localpart}:{server.name}") for localpart in ("_db_bot", "_db_ghost")]
        self.heard: dict[str, list[str]] = {name: [] for name in self.names}
        self.members: list[Member]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        service = AppService(
            *(self.server.url, self.server.name, AS_TOKEN, HS_TOKEN, "_db_bot", "db"),
            state_store=FileASStateStore(str(self.folder / "state.json"), binary=False),
            ephemeral_events=True,
            encryption_events=True,
        )
        self.members = [
            Member(service, name, self.folder / f"{number}.db", self.heard[name])
            for number, name in enumerate(self.names)
        ]
        service.to_device_handler = self._each("handle_as_to_device_event")
        service.device_list_handler = self._each("handle_as_device_lists")
        service.otk_handler = self._each("handle_as_otk_counts")
        for member in self.members:
            service.matrix_event_handler(member.hear)
        async with AsyncExitStack() as stack:
            await service.start("127.0.0.1", self.port)
            for member in self.members:
                await stack.enter_async_context(member.running(service))
            stack.push_async_callback(service.stop)
            yield

    def _each(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def handle(what: Any) -> None:
            for member in self.members:
                await member.ready.wait()
                await getattr(member.keys.crypto, name)(what)

        return handle

    async def make_room(self, invited: str) -> RoomID:
        """An encrypted room of the bot and the ghost."""
        bot, ghost = (member.intent for member in self.members)
        encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        room = await bot.create_room(
            preset=RoomCreatePreset.PRIVATE,
            invitees=[UserID(invited), ghost.mxid],
            initial_state=[encryption],
        )
        for member in self.members:
            await member.bridges(room)
        await ghost.ensure_joined(room)
        return room

    async def until_heard(self, text: str) -> None:
        """Until all of them have heard it."""

        async def holds() -> bool:
            failed = [error for member in self.members for error in member.failed]
            assert not failed
            return all(text in heard for heard in self.heard.values())

        await until(holds)

    async def until_stocked(self) -> None:
        """Until all of them were told that keys were claimed and have uploaded new ones."""

        async def holds() -> bool:
            counts = [await member.keys.client.upload_keys() for member in self.members]
            return all(count[EncryptionKeyAlgorithm.SIGNED_CURVE25519] == KEYS for count in counts)

        await until(holds)

    async def until_known(self, *devices: Device) -> None:
        """Until all of them were told of the user's devices."""
        user = UserID(devices[0].user_id)
        wanted = {device.client.device_id for device in devices}

        async def holds() -> bool:
            known = [await member.keys.crypto_store.get_devices(user) for member in self.members]
            return all(set(devices or ()) == wanted for devices in known)

        await until(holds)


async def test_a_bridge_encrypts(start_server: StartServer, tmp_path: Path, database: str) -> None:
    if find_spec("olm") is None:
        unavailable("mautrix does not encrypt without python-olm")
    port = free_port()
    told = {"de.sorunome.msc2409.push_ephemeral": True, "org.matrix.msc3202": True, "io.element.msc4190": True}
    file = tmp_path / "mautrix.yaml"
    file.write_text(json.dumps(registration(f"http://127.0.0.1:{port}", **told)))
    environment = {"HROMADA_APPSERVICES_FILES": str(file), "HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS": "1"}
    server = start_server(database, environment=environment, listen=f"127.0.0.1:{free_port()}")
    bridge = Bridge(server, port, tmp_path)
    alice = await registered(server, tmp_path / "alice")
    second = Device(server, alice.user_id, tmp_path / "second")
    try:
        async with bridge.running():
            room = await bridge.make_room(alice.user_id)
            good(await alice.client.join(room))
            while room not in alice.client.rooms or not alice.client.rooms[room].encrypted:
                await alice.look()
            await converse(bridge, room, "first", alice, alice)
            await bridge.until_stocked()
            server.kill()
            server.start()
            await alice.restart()
            await converse(bridge, room, "after the server's end", alice, alice)
        alice.client.invalidate_outbound_session(room)
        await alice.say(room, "while the bridge is away")
        async with bridge.running():
            await bridge.until_heard("while the bridge is away")
            await converse(bridge, room, "again", alice, alice)
            await second.log_in()
            await bridge.until_known(alice, second)
            await converse(bridge, room, "from another device", second, alice, second)
            for member in bridge.members:
                await member.check_devices()
    finally:
        for device in (alice, second):
            if device.client is not None:
                await device.client.close()
    assert alice.unreadable == 0
    said = ["first", "after the server's end", "while the bridge is away", "again", "from another device"]
    assert bridge.heard == {member: said for member in bridge.names}


async def registered(server: Server, folder: Path) -> Device:
    """A new user with one device."""
    localpart = fresh("mautrix-crypto")
    device = Device(server, f"@{localpart}:{server.name}", folder)
    registering = nio.AsyncClient(server.url, device.user_id)
    good(await registering.register(localpart, PASSWORD))
    good(await registering.logout())
    await registering.close()
    await device.log_in()
    return device


async def converse(bridge: Bridge, room: str, text: str, speaker: Device, *listeners: Device) -> None:
    """Everybody of the bridge hears `text` in a new session of the room and answers it."""
    speaker.client.invalidate_outbound_session(room)
    await speaker.say(room, text)
    await bridge.until_heard(text)
    for member in bridge.members:
        await member.say(room, f"{text}, says {member.user_id}")
        for listener in listeners:
            await listener.until_heard(f"{text}, says {member.user_id}")
