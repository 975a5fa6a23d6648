"""matrix-js-sdk syncs over the WebSocket through `embed/web/core/ws.mjs`; connections and the server are killed."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.support.client import Client
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer, fresh
from tests.support.server import Server

MESSAGES = 500
# After so many messages: ten times every connection is cut, once the server is killed and once stopped.
CUTS = (40, 80, 120, 160, 240, 280, 320, 400, 440, 480)
KILL, STOP = 200, 360
TIMEOUT_S = 300
SYNC = b"/v3/sync"
HANDSHAKE = b"GET /_matrix/client/unstable/chat.hromada/stream HTTP/1.1"


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S + 60)
async def test_nothing_is_lost_or_doubled(
    database: str, start_server: StartServer, node_modules: Path, tmp_path: Path
) -> None:
    server = start_server(database)
    folder = tmp_path / "js"
    folder.mkdir()
    with FaultProxy.running(_port(server), watch=(SYNC, HANDSHAKE)) as proxy:
        arguments = (f"http://127.0.0.1:{proxy.port}", fresh("ws-a"), fresh("ws-b"), str(MESSAGES))
        process = await run_script("streaming.mjs", folder, node_modules, *arguments)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                results = await _disturb(process, server, proxy)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    for name, first in (("alice", 0), ("bob", 10)):
        theirs = [f"message {number}" for number in range(MESSAGES) if number // 10 % 2 == first // 10]
        other = results["bob" if name == "alice" else "alice"]
        assert other["heard"] == theirs + (["message end"] if name == "alice" else [])
        assert other["timeline"] == [f"message {number}" for number in range(MESSAGES)] + ["message end"]
        assert len(set(other["told"])) == len(other["told"]), "an update came twice"
        assert other["unsent"] == 0
        assert (other["polls"], other["stats"]["polls"]) == (0, 0)
        assert other["failed"] == 0, "the SDK was told that the connection was away"
        assert other["stats"]["sockets"] >= 2 + len(CUTS) + 2, "the connections were not cut"
    assert proxy.seen[SYNC] == 0
    assert proxy.seen[HANDSHAKE] >= 2 * (2 + len(CUTS) + 2)


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
async def test_the_edges_of_the_adapter(server: Server, anonymous: Client, node_modules: Path, tmp_path: Path) -> None:
    user = await anonymous.register(fresh("edges"), refresh_token=True)
    tokens = (user.token or "", user.refresh_token or "")
    process = await run_script("adapter.mjs", tmp_path, node_modules, server.url, *tokens)
    async with asyncio.timeout(TIMEOUT_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode(errors="replace")[-4000:]
    results = json.loads(out.decode().strip().splitlines()[-1])
    assert "next_batch" in results["first"]
    assert results["nothing"] == results["refreshed"] == results["again"] == results["expected"]
    assert "account_data" in results["aside"]
    assert (results["versions"], results["polls"]) == (200, 1)
    assert results["sockets"] == 0
    assert (results["aborted"], results["closed"]) == ("AbortError", "closed")
    assert results["badSince"] == "M_INVALID_PARAM"
    assert results["badToken"] == [401, "M_UNKNOWN_TOKEN"]
    assert results["statuses"] == ["connecting", "streaming", "closed"]
    assert results["polled"][0] == 200
    assert results["pollingStats"] == ["polling", 1, 2]
    assert results["stillPolling"] == [2, 2]
    assert results["oneMore"] == 200
    assert results["oneMoreStats"] == ["polling", 1, 1]


async def _disturb(
    process: asyncio.subprocess.Process, server: Server, proxy: FaultProxy
) -> dict[str, dict[str, object]]:
    """Break what is to be broken at its time; the script's results."""
    chance = random.Random(7)
    assert process.stdout is not None
    assert process.stderr is not None
    # Read beside the rest: a full pipe would stop it.
    complaints = asyncio.create_task(process.stderr.read())
    results: dict[str, dict[str, object]] = {}
    async for line in process.stdout:  # the SDK writes there, too
        if line.startswith(b'{"alice"'):
            results = json.loads(line)
        number = int(line.removeprefix(b"heard ")) if line.startswith(b"heard ") else 0
        if number in CUTS:
            await asyncio.sleep(chance.uniform(0, 0.03))
            proxy.cut()
        elif number in {KILL, STOP}:
            await asyncio.to_thread(server.kill if number == KILL else server.stop)
            await asyncio.to_thread(server.start)
            proxy.target_port = _port(server)
    errors = (await complaints).decode(errors="replace")
    assert await process.wait() == 0, errors[-4000:]
    return results


def _port(server: Server) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port
