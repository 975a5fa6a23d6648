"""A real Chromium for tests: one headless process per worker process, a fresh context with its own cookies per test.

The browser is the system's, found on the path; nothing is downloaded. It is started by us and stopped by its pid, so
it outlives the event loops of single tests, each of which connects to it anew.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.support.fixtures import unavailable

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_TIMEOUT_S = 120.0
# How long tests wait for what a page shows: on a busy machine that takes its time.
PATIENCE_MS = 90_000
# Sandboxing needs rights that containers seldom give; the pages are our own. No name but those of loopback resolves;
# pages of `plain.test`, which is loopback too, are no secure context.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages beside the one that was opened last are people, too: they are not to be slowed down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-hang-monitor",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP plain.test 127.0.0.1, MAP * ~NOTFOUND, "
    "EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE *.localhost",
    "--remote-debugging-port=0",
)


class Chromium:
    """The process; `endpoint` is where its DevTools listen."""

    def __init__(self, program: str, more: Sequence[str] = (), preferences: Mapping[str, object] | None = None) -> None:
        """`more` arguments, and a profile that has `preferences`."""
        self.program = program
        self._profile = Path(tempfile.mkdtemp(prefix="hromada-chromium-"))
        if preferences:
            (self._profile / "Default").mkdir()
            (self._profile / "Default" / "Preferences").write_text(json.dumps(preferences))
        self._log = (self._profile / "browser.log").open("wb")
        self._command = [program, *ARGUMENTS, *more, f"--user-data-dir={self._profile}", "about:blank"]
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self.endpoint = self._wait()

    def restart(self) -> None:
        """Start the browser again with its profile once `Browser.close` has ended it: a signal loses its cookies."""
        self._process.wait(START_TIMEOUT_S)
        (self._profile / "DevToolsActivePort").unlink(missing_ok=True)
        self._start()

    def _wait(self) -> str:
        """Chromium writes the port it took into its profile."""
        file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                return f"http://127.0.0.1:{lines[0]}"
            time.sleep(0.05)
        tail = (self._profile / "browser.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise AssertionError(f"Chromium does not start:\n{tail}")

    def stop(self) -> None:
        """End the browser and delete its profile."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._profile, ignore_errors=True)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for this worker process."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        unavailable("no Chromium: install the package chromium")
        raise AssertionError
    browser = Chromium(program)
    yield browser
    browser.stop()


@pytest.fixture
async def browser_context(chromium: Chromium) -> AsyncIterator[BrowserContext]:
    """A fresh context: no cookies, no storage, no service workers of other tests."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - slow, and most runs need no browser

    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium.endpoint)
        context = await browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
        yield context
        await context.close()
        await browser.close()  # the connection; the process goes on


@pytest.fixture
async def page(browser_context: BrowserContext) -> Page:
    """A blank page in a fresh context."""
    return await browser_context.new_page()


@asynccontextmanager
async def static_site(files: Mapping[str, tuple[str, str]]) -> AsyncIterator[str]:
    """Another origin that serves these files (path → type and text); its address."""

    async def answer(request: web.Request) -> web.Response:
        found = files.get(request.path)
        if found is None:
            return web.Response(status=404)
        return web.Response(text=found[1], content_type=found[0])

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()
