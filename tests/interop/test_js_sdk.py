"""matrix-js-sdk, the library of Element Web and Cinny, holds a conversation of two users in Node."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.interop.javascript import INSTALL_TIMEOUT_S, SOURCE, run_script
from tests.support.fixtures import fresh
from tests.support.server import Server

CONVERSATION_TIMEOUT_S = 300


@pytest.mark.timeout(INSTALL_TIMEOUT_S + CONVERSATION_TIMEOUT_S + 60)
async def test_a_conversation(server: Server, node_modules: Path, tmp_path: Path) -> None:
    assert json.loads((node_modules / "matrix-js-sdk" / "package.json").read_text())["version"] == "43.0.0"
    names = (fresh("js-a"), fresh("js-b"))
    process = await run_script("conversation.mjs", tmp_path, node_modules, server.url, *names)
    try:
        out, err = await asyncio.wait_for(process.communicate(), CONVERSATION_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, (out + err).decode(errors="replace")[-4000:]
    results = json.loads(out.decode().strip().splitlines()[-1])
    assert results["invitedTo"] == "Conversation"
    assert (results["received"], results["edited"], results["reaction"]) == ("helo", "hello", "👍")
    assert results["redacted"] is True
    assert results["paged"] == [f"message {number}" for number in range(500)]
    assert results["loggedOut"] == "M_UNKNOWN_TOKEN"


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert lock["packages"]["node_modules/matrix-js-sdk"]["version"] == "43.0.0"
