"""matrix-js-sdk with its real crypto stack: encrypted rooms over `/sync` and over the WebSocket."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.support.client import Json
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer, fresh
from tests.support.server import Server

TIMEOUT_S = 360
MESSAGES = 20
STORM = 500
# After so many messages every connection is cut, or the server is killed.
CUTS = (30, 80, 120, 160, 210, 260, 310, 360, 420, 470)
KILLS = (180, 390)


@pytest.mark.parametrize("transport", ["poll", "socket"])
@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
async def test_an_encrypted_conversation(server: Server, node_modules: Path, tmp_path: Path, transport: str) -> None:
    arguments = (server.url, fresh("secret-a"), fresh("secret-b"), transport, str(MESSAGES))
    assert await _results("encrypted.mjs", tmp_path, node_modules, *arguments) == {
        "transport": transport,
        "bootstrapped": True,
        "heard": [True, True],
        "sasMatched": True,
        "second": ["for both"],
        "afterLogout": True,
        "plaintext": 0,
        "encrypted": MESSAGES + 3,
    }


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
async def test_a_recovery_key_opens_the_history(server: Server, node_modules: Path, tmp_path: Path) -> None:
    arguments = (server.url, fresh("backup-a"), fresh("backup-b"), str(MESSAGES))
    assert await _results("backup.mjs", tmp_path, node_modules, *arguments) == {
        "before": {"read": [], "unread": MESSAGES + 1},
        "restored": [2, 2],
        "history": True,
        "unread": 1,  # sent while the user had no device
        "again": True,
    }


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
async def test_an_invitation_brings_the_history(server: Server, node_modules: Path, tmp_path: Path) -> None:
    """Source: MSC4268, which needs of a server media and messages to devices."""
    arguments = (server.url, fresh("history-a"), fresh("history-b"), "5")
    assert await _results("history.mjs", tmp_path, node_modules, *arguments) == {"history": 0}


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S + 60)
async def test_every_device_reads_what_it_should_in_a_storm(
    database: str, start_server: StartServer, node_modules: Path, tmp_path: Path
) -> None:
    server = start_server(database)
    folder = tmp_path / "js"
    folder.mkdir()
    with FaultProxy.running(_port(server)) as proxy:
        arguments = (f"http://127.0.0.1:{proxy.port}", fresh("storm-a"), fresh("storm-b"), str(STORM))
        process = await run_script("storm.mjs", folder, node_modules, *arguments)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                results = await _disturb(process, server, proxy)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    sockets = results.pop("sockets")
    assert len(sockets) == 4
    assert min(sockets) > len(CUTS), f"the connections were not cut: {sockets}"
    mine = {"all": True, "read": STORM, "unread": 0}
    assert results == {
        "sent": STORM,
        "alice": mine,
        "second": mine,
        "bob": mine,
        "unsigned": {"all": False, "read": 0, "unread": STORM},
    }


async def _results(script: str, folder: Path, node_modules: Path, *arguments: str) -> Json:
    """Run a script to its end; the JSON it printed."""
    process = await run_script(script, folder, node_modules, *arguments)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out + err).decode(errors="replace")[-4000:]
    # The SDK writes there, too.
    (found,) = [json.loads(line) for line in out.decode().splitlines() if line.startswith('{"')]
    return dict(found)


async def _disturb(process: asyncio.subprocess.Process, server: Server, proxy: FaultProxy) -> Json:
    """Break what is to be broken at its time; the script's results."""
    chance = random.Random(12)
    assert process.stdout is not None
    assert process.stderr is not None
    # Read beside the rest: the SDK complains of each cut, and a full pipe would stop it.
    complaints = asyncio.create_task(process.stderr.read())
    results: Json = {}
    async for line in process.stdout:
        if line.startswith(b'{"sent"'):
            results = json.loads(line)
        number = int(line.removeprefix(b"sent ")) if line.startswith(b"sent ") else 0
        if number in CUTS:
            await asyncio.sleep(chance.uniform(0, 0.03))
            proxy.cut()
        elif number in KILLS:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            proxy.target_port = _port(server)
    errors = (await complaints).decode(errors="replace")
    assert await process.wait() == 0, errors[-4000:]
    return results


def _port(server: Server) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port
