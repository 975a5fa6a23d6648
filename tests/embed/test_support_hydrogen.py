"""A stock web client of others answers a support chat: Hydrogen as its package on npm has it.

The package ships Hydrogen's own application (view models, views, style), which its page mounts; nothing here is ours
but the lines that do so (`tests/interop/js/hydrogen.mjs`). Cinny's package on npm (`cinny`, 4.5.1 alone) comes without
its folder `src` and without anything built: it cannot be used.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.embed.support_chat import Agent, host, new_site, page_with
from tests.embed.test_support_host import visitor
from tests.interop import javascript
from tests.interop.javascript import INSTALL_TIMEOUT_S
from tests.support.browser import PATIENCE_MS
from tests.support.client import PASSWORD
from tests.support.fixtures import MakeUser, unavailable
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

FORM = {"fields": [{"name": "name"}, {"name": "message", "required": True}]}
TIMEOUT_S = 240
PAGE = """<!doctype html><html lang="en"><title>Hydrogen</title>
<link rel="stylesheet" href="/assets/theme-element-light.css">
<body class="hydrogen"><script type="module" src="/app.js"></script></body></html>"""


def bundled(folder: Path) -> dict[str, Path]:
    """Hydrogen's files, by the paths at which it asks for them."""
    modules = javascript.install()
    node = javascript.find_node()
    esbuild = ROOT / "embed" / "web" / "node_modules" / "esbuild" / "bin" / "esbuild"
    if node is None or not esbuild.exists():
        unavailable("nothing to bundle Hydrogen with: `make web`")
        raise AssertionError
    (folder / "node_modules").symlink_to(modules)
    (folder / "hydrogen.mjs").write_bytes((javascript.SOURCE / "hydrogen.mjs").read_bytes())
    command = [str(node[0]), str(esbuild), "hydrogen.mjs", "--bundle", "--format=esm", "--outfile=app.js"]
    command += ["--external:fs", "--external:path", "--external:crypto", "--log-level=warning"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    hydrogen, olm = modules / "hydrogen-view-sdk", modules / "@matrix-org" / "olm"
    files = {f"/{name}": olm / name for name in ("olm.js", "olm.wasm", "olm_legacy.js")}
    files |= {f"/assets/{file.name}": file for file in (hydrogen / "asset-build" / "assets").iterdir()}
    main = hydrogen / "asset-build" / "assets" / "main.js"
    return {**files, "/app.js": folder / "app.js", "/main.js": main, "/sw.js": hydrogen / "lib-build" / "sw.js"}


@asynccontextmanager
async def serving(files: dict[str, Path]) -> AsyncIterator[str]:
    """Hydrogen's origin."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(text=PAGE, content_type="text/html")
        file = files.get(request.path)
        return web.Response(status=404) if file is None else web.FileResponse(file)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://hydrogen.localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def signed_in(page: Page, origin: str, server: Server, name: str) -> None:
    """Use Hydrogen's own page to sign in."""

    async def unknown(route: Route) -> None:
        await route.fulfill(status=404)

    # The server's name has no address on this machine: the client is to take the one that is typed.
    await page.route("**/.well-known/**", unknown)
    await page.goto(f"{origin}/?homeserver={server.url}")
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log In").click()
    await page.locator(".RoomList").wait_for()


@pytest.mark.timeout(INSTALL_TIMEOUT_S + TIMEOUT_S)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_staff_answers_with_hydrogen(
    browser: Browser, server: Server, make_user: MakeUser, tmp_path: Path, web_build: Path
) -> None:
    files = await asyncio.to_thread(bundled, tmp_path)
    agent = Agent(await make_user("agent"))
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [agent.client.user_id], form=FORM)
        return {"/": ("text/html", page_with(server, site))}

    async with serving(files) as hydrogen, host(pages) as origin:
        desk = await agent.join_desk()
        context = await browser.new_context(locale="en")
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        await signed_in(page, hydrogen, server, agent.client.user_id[1:].split(":")[0])
        await page.get_by_role("link", name="desk").click()
        ada = await visitor(browser)
        await ada.page.goto(f"{origin}/")
        await ada.begin("is it blue?")
        # The card comes to the desk, and who joins the case from it talks with the visitor.
        await page.locator(".Timeline").get_by_text("is it blue?").first.wait_for()
        room = await agent.enter(await agent.card(desk, "is it blue?"))
        await page.locator(f".RoomList a[href*='{room}']").click()
        await page.locator(".Timeline").get_by_text("is it blue?").first.wait_for()
        await page.locator(".MessageComposer textarea").fill("as the sky")
        await page.keyboard.press("Enter")
        await ada.sees("as the sky")
        await ada.say("I take it")
        await page.locator(".Timeline").get_by_text("I take it").wait_for()
        assert ada.faults == []
