"""The pages and files of the web client over HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest

from embed.assets import Assets
from embed.deps import EmbedServices, WebInfo
from embed.pages import Pages
from embed.web_client import get_page
from homeserver.web.request import Request
from tests.support.server import Server


async def test_the_page_loads_only_what_the_server_has(server: Server, web_build: Path) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        async with session.get("/") as answer:
            page = await answer.text()
            assert answer.status == 200
            assert answer.content_type == "text/html"
            assert answer.headers["Cache-Control"] == "no-cache"
            assert "script-src 'self' 'wasm-unsafe-eval'" in answer.headers["Content-Security-Policy"]
        files = set(re.findall(r'(?:href|src)="(/[^"]+)"', page))
        assert any("boot." in file for file in files)
        assert any("style." in file for file in files)
        for file in files:
            async with session.get(file) as answer:
                assert answer.status == 200, file
                assert answer.headers["X-Content-Type-Options"] == "nosniff", file
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page)
        assert not re.search(r'(?:href|src)="(?:https?:)?//', page)


async def test_a_server_without_the_front_end_says_so(tmp_path: Path) -> None:
    info = WebInfo("hromada.test", "0", "open", False, None)
    services = EmbedServices(info, Assets(tmp_path), Pages(), None, None, is_secure=False)  # type: ignore[arg-type] # its pages need none
    request = Request(
        method="GET", raw_path=b"/", headers={}, query={}, client_ip="", request_id="", receive=_nothing
    )  # fmt: skip
    answer = await get_page(services, request=request)
    assert answer.status == 503
    assert isinstance(answer.body, bytes)
    assert b"make web" in answer.body
    assert b"hromada.test" in answer.body


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def test_the_configuration_is_public_and_says_little(server: Server) -> None:
    async with aiohttp.ClientSession(server.url) as session, session.get("/_hromada/web/config") as answer:
        config = await answer.json()
    assert config["server_name"] == server.name
    assert config["registration"] == "open"
    assert set(config) == {"server_name", "version", "registration", "mail", "build", "push_key"}
    assert config["mail"] is False


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets/../manifest.json", "/assets/%2e%2e%2fmanifest.json", "/assets/nothing.js"]
)
async def test_files_beside_the_build_are_not_served(server: Server, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(server.url + path) as answer:
            assert answer.status == 404
