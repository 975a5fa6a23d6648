"""matrix-nio with encryption (vodozemac) talks with matrix-js-sdk (the Rust stack in WebAssembly) in one room."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nio  # type: ignore[import-untyped]
import pytest

from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.interop.test_nio import good
from tests.support.client import PASSWORD
from tests.support.fixtures import fresh
from tests.support.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

TIMEOUT_S = 300
MESSAGES = 16
SECOND_DEVICE_AT = 4
RESTART_AT = 8
SECOND_DEVICE_LEAVES_AT = 12


@dataclass
class Device:
    """A device with a store of keys on disk, which reads what is said in encrypted rooms."""

    server: Server
    user_id: str
    folder: Path
    heard: list[str] = field(default_factory=list)
    unreadable: int = 0
    client: Any = None

    async def log_in(self) -> None:
        """Become a new device."""
        self._make("")
        good(await self.client.login(PASSWORD))
        await self._begin()

    async def restart(self) -> None:
        """The program ends and begins again with what it had stored."""
        session = self.client.user_id, self.client.device_id, self.client.access_token
        await self.client.close()
        self._make(session[1])
        self.client.restore_login(*session)
        await self._begin()

    def _make(self, device_id: str) -> None:
        self.folder.mkdir(exist_ok=True)
        config = nio.AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0, store_sync_tokens=True)
        self.client = nio.AsyncClient(self.server.url, self.user_id, device_id, str(self.folder), config)
        self.client.add_event_callback(self._hear, nio.RoomMessageText)
        self.client.add_event_callback(self._fail, nio.MegolmEvent)

    async def _begin(self) -> None:
        if self.client.should_upload_keys:
            good(await self.client.keys_upload())
        await self.look(full_state=True)

    async def _hear(self, _room: Any, event: Any) -> None:
        assert event.decrypted, "said in the clear"
        if event.sender != self.client.user_id:
            self.heard.append(event.body)

    async def _fail(self, _room: Any, _event: Any) -> None:
        self.unreadable += 1

    async def look(self, **more: Any) -> None:
        """One sync, and what the SDK's own loop does after it."""
        good(await self.client.sync(timeout=1_000, **more))
        if self.client.should_upload_keys:
            good(await self.client.keys_upload())
        if self.client.should_query_keys:
            good(await self.client.keys_query())
        if self.client.should_claim_keys:
            good(await self.client.keys_claim(self.client.get_users_for_key_claiming()))
        await self.client.send_to_device_messages()

    async def until_heard(self, body: str) -> None:
        """Sync until it has been said."""
        while body not in self.heard:
            await self.look()

    async def say(self, room: str, body: str) -> None:
        """Say something to everybody's devices."""
        content = {"msgtype": "m.text", "body": body}
        good(await self.client.room_send(room, "m.room.message", content, ignore_unverified_devices=True))


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
async def test_another_crypto_stack(server: Server, node_modules: Path, tmp_path: Path) -> None:
    localpart = fresh("nio-crypto")
    bob = Device(server, f"@{localpart}:{server.name}", tmp_path / "bob")
    second = Device(server, bob.user_id, tmp_path / "second")
    registering = nio.AsyncClient(server.url, bob.user_id)
    good(await registering.register(localpart, PASSWORD))
    good(await registering.logout())
    await registering.close()
    await bob.log_in()
    (folder := tmp_path / "js").mkdir()
    process = await run_script(
        "mixed.mjs", folder, node_modules, server.url, fresh("js-crypto"), bob.user_id, f"{MESSAGES}"
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            results = await _converse(process, bob, second)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for device in (bob, second):
            if device.client is not None:
                await device.client.close()
    said = [f"js {number}" for number in range(MESSAGES)]
    assert bob.heard == said and bob.unreadable == 0
    assert second.heard == said[SECOND_DEVICE_AT:SECOND_DEVICE_LEAVES_AT], "nothing of before it came or after it went"
    answers = ["ready", *(f"other {number}" for number in range(MESSAGES)), "bye"]
    assert results == {"read": answers, "devices": [bob.client.device_id], "encrypted": len(said) + len(answers)}


async def _converse(process: asyncio.subprocess.Process, bob: Device, second: Device) -> dict[str, Any]:
    """Answer what the script says; its results."""
    assert process.stdout is not None and process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    room = ""
    async for line in process.stdout:
        if line.startswith(b"room "):
            room = line.decode().split()[1]
            break
    good(await bob.client.join(room))
    while room not in bob.client.rooms or not bob.client.rooms[room].encrypted:
        await bob.look()
    await bob.say(room, "ready")
    for number in range(MESSAGES):
        await bob.until_heard(f"js {number}")
        if SECOND_DEVICE_AT <= number < SECOND_DEVICE_LEAVES_AT:
            await second.until_heard(f"js {number}")
        if number == SECOND_DEVICE_AT - 1:
            await second.log_in()
        elif number == RESTART_AT - 1:
            await bob.restart()
        elif number == SECOND_DEVICE_LEAVES_AT - 1:
            good(await second.client.logout())
        await bob.say(room, f"other {number}")
    await bob.say(room, "bye")
    # One line of JSON; the SDK writes there, too.
    found = [json.loads(line) async for line in process.stdout if line.startswith(b'{"')]
    errors = (await complaints).decode(errors="replace")
    assert await process.wait() == 0, errors[-4000:]
    (results,) = found
    return dict(results)
