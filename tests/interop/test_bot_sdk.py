"""The SDK on which matrix-hookshot and most bots in JavaScript stand, as an application service that bridges webhooks.

Hookshot itself is in no registry of packages, but built from its repository. `bot/hook.cjs` does with the same SDK what
it does for a generic webhook. Without encryption: that of the SDK is a binary that is fetched from elsewhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.interop import javascript
from tests.support.appservice import registration
from tests.support.client import Client, becomes, eventually
from tests.support.fixtures import StartServer
from tests.support.ports import free_port
from tests.support.server import Server

SOURCE = Path(__file__).parent / "bot"
PATIENCE_S = 120.0


class Hookshot:
    """The bridge as a process."""

    def __init__(self, folder: Path) -> None:
        self.hooks = free_port()
        more = {"de.sorunome.msc2409.push_ephemeral": True}
        self.registration = registration(f"http://127.0.0.1:{free_port()}", **more)
        self._log = folder / "hookshot.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, server: Server) -> None:
        """Run it."""
        node = javascript.find_node()
        assert node is not None
        settings = {"homeserver": server.url, "serverName": server.name, "hooks": self.hooks}
        command = [str(node[0]), "hook.cjs", json.dumps({**settings, "registration": self.registration})]
        modules = javascript.install(SOURCE)
        folder = self._log.parent
        (folder / "hook.cjs").write_bytes((SOURCE / "hook.cjs").read_bytes())
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to(modules)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def said(self, word: str) -> int:
        """How often it said something."""
        return self.log().count(f'["{word}"')

    def log(self) -> str:
        """All that it said."""
        return self._log.read_text() if self._log.exists() else ""


@pytest.fixture
def hookshot(tmp_path: Path) -> Iterator[Hookshot]:
    bridge = Hookshot(tmp_path)
    yield bridge
    bridge.kill()


async def until(hookshot: Hookshot, condition: Any) -> None:
    """Wait; what the bridge said, if it is in vain."""
    try:
        await eventually(condition, PATIENCE_S)
    except AssertionError:
        raise AssertionError(hookshot.log()[-4000:]) from None


async def spoken(client: Client, room: str) -> list[tuple[str, str]]:
    """Who said what; of an answer, without what it answers."""
    events = [event for event in reversed(await client.history(room, "b")) if event["type"] == "m.room.message"]
    return [(event["sender"], event["content"]["body"].rpartition("\n")[2]) for event in events]


async def posted(http: aiohttp.ClientSession, hookshot: Hookshot, name: str, text: str) -> int:
    """The status that a site gets from a webhook."""
    url = f"http://127.0.0.1:{hookshot.hooks}/webhook/{name}"
    async with http.post(url, data=json.dumps({"text": text})) as answer:
        return answer.status


@pytest.mark.timeout(javascript.INSTALL_TIMEOUT_S + 200)
async def test_webhooks_as_hookshot_bridges_them(
    start_server: StartServer, tmp_path: Path, http: aiohttp.ClientSession, hookshot: Hookshot
) -> None:
    file = tmp_path / "hookshot.yaml"
    file.write_text(json.dumps(hookshot.registration))
    environment = {"HROMADA_APPSERVICES_FILES": str(file), "HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS": "1"}
    server = start_server(environment=environment)
    bot, ghost = f"@_db_bot:{server.name}", f"@_db_webhook_site:{server.name}"
    hookshot.start(server)

    async def ready() -> bool:
        return hookshot.said("ready") == 1

    await until(hookshot, ready)
    anna = await Client(http, server.url).register("anna")
    made = await anna.ok("POST", "/createRoom", {"invite": [bot], "preset": "trusted_private_chat"})
    room = made["room_id"]
    said, post = partial(spoken, anna, room), partial(posted, http, hookshot)

    async def joined() -> bool:
        return bot in (await anna.ok("GET", f"/rooms/{room}/joined_members"))["joined"]

    await until(hookshot, joined)
    await anna.send(room, {"msgtype": "m.text", "body": "!hookshot webhook site"})
    first = [(anna.user_id, "!hookshot webhook site"), (bot, "connected site")]

    async def connected() -> bool:
        return await said() == first

    await until(hookshot, connected)
    assert [await post("nowhere", "lost"), await post("site", "deployed")] == [404, 200]
    await becomes(said, [*first, (ghost, "deployed")])
    profile = (await anna.ok("GET", f"/rooms/{room}/joined_members"))["joined"][ghost]
    assert profile["display_name"] == "site (webhook)"
    await anna.ok("PUT", f"/rooms/{room}/typing/{anna.user_id}", {"typing": True, "timeout": 30_000})

    async def heard() -> bool:
        return hookshot.said("ephemeral") > 0

    await until(hookshot, heard)
    # What is said while it is dead reaches it, and it knows its connections from the room.
    hookshot.kill()
    await anna.send(room, {"msgtype": "m.text", "body": "!hookshot webhook other"})
    hookshot.start(server)

    async def connected_again() -> bool:
        return (bot, "connected other") in await said()

    await until(hookshot, connected_again)

    async def ready_again() -> bool:
        return hookshot.said("ready") == 2

    await until(hookshot, ready_again)
    assert [await post("site", "again"), await post("other", "too")] == [200, 200]

    async def told() -> list[str]:
        return [text for sender, text in await said() if sender not in (anna.user_id, bot)]

    await becomes(told, ["deployed", "again", "too"])
