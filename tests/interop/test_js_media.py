"""matrix-js-sdk sends an encrypted file; another client reads it, and the server has seen ciphertext only."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.support.fixtures import StartServer, fresh

TIMEOUT_S = 240


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S + 60)
async def test_encrypted_attachment(start_server: StartServer, node_modules: Path, tmp_path: Path) -> None:
    server = start_server()
    folder = tmp_path / "js"
    folder.mkdir()
    names = (fresh("att-a"), fresh("att-b"))
    process = await run_script("attachment.mjs", folder, node_modules, server.url, *names)
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, (out + err).decode(errors="replace")[-4000:]
    found = json.loads(next(line for line in out.decode().splitlines() if line.startswith("{")))
    assert found["same"] is True
    assert found["url"].startswith(f"{server.url}/_matrix/client/v1/media/download/")
    assert found["type"] == "application/octet-stream"
    assert found["disposition"].startswith("attachment")
    assert found["limit"] == 52_428_800
    kept = [path for path in (server.data_dir / "media" / "content").rglob("*") if path.is_file()]
    assert len(kept) == 1
    assert b"sentence that the server" not in kept[0].read_bytes()
