"""matrix-js-sdk with its real crypto stack: encrypted rooms over `/sync` and over the WebSocket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.support.fixtures import fresh
from tests.support.server import Server

TIMEOUT_S = 240
MESSAGES = 20


@pytest.mark.parametrize("transport", ["poll", "socket"])
@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
async def test_an_encrypted_conversation(server: Server, node_modules: Path, tmp_path: Path, transport: str) -> None:
    arguments = (server.url, fresh("secret-a"), fresh("secret-b"), transport, str(MESSAGES))
    process = await run_script("encrypted.mjs", tmp_path, node_modules, *arguments)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out + err).decode(errors="replace")[-4000:]
    # The SDK writes there, too.
    (results,) = [json.loads(line) for line in out.decode().splitlines() if line.startswith('{"transport"')]
    assert results == {
        "transport": transport,
        "bootstrapped": True,
        "heard": [True, True],
        "sasMatched": True,
        "second": ["for both"],
        "afterLogout": True,
        "plaintext": 0,
        "encrypted": MESSAGES + 3,
    }
