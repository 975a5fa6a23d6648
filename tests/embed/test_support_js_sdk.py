"""matrix-js-sdk, the library of Element Web and Cinny, is all that an agent of a support chat needs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.embed.support_chat import Frame, new_site
from tests.interop import javascript
from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.support.client import eventually, part
from tests.support.fixtures import fresh
from tests.support.server import Server

TIMEOUT_S = 240


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S + 60)
@pytest.mark.usefixtures("web_build")
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("mode", "way"), [("broadcast", "asked"), ("least_open", "invited")])
async def test_an_agent_answers(
    server: Server, http: aiohttp.ClientSession, tmp_path: Path, mode: str, way: str
) -> None:
    name, modules = fresh("agent"), await asyncio.to_thread(javascript.install)
    process = await run_script("agent.mjs", tmp_path, modules, server.url, name, way)
    try:
        assert process.stdout is not None
        line = b"the library's own notes come first"
        while line.strip() != b"ready":
            line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT_S)
            assert line, (await process.communicate())[1].decode(errors="replace")[-4000:]
        site = await asyncio.to_thread(new_site, server, ["https://shop.example"], [name], routing={"mode": mode})
        visitor = Frame(http, server, site)
        await visitor.begin(answers={"name": "Ada"})
        await visitor.say("is it blue?")
        path = f"/rooms/{part(visitor.room)}/messages"

        async def answered() -> bool:
            chunk = (await visitor.client.ok("GET", path, params={"dir": "b", "limit": "10"}))["chunk"]
            return any(event["content"].get("body") == "You asked: is it blue?" for event in chunk)

        await eventually(answered, TIMEOUT_S)
        await visitor.say("thank you")
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out + err).decode(errors="replace")[-4000:]
    told = json.loads(next(line for line in out.decode().splitlines() if line.startswith("{")))
    assert told == {"asked": "is it blue?", "room": "#1 Ada · /mugs"}
