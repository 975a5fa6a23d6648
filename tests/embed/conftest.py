"""The built web client for the tests that need it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Chromium
from tests.support.fixtures import unavailable

if TYPE_CHECKING:
    from playwright.async_api import Browser

WEB = Path(__file__).resolve().parents[2] / "embed" / "web"
SOURCES = ("client", "core", "frame", "loader", "look", "ui")
BUILD_TIMEOUT_S = 600


def newest_source() -> float:
    """When a source of the build was last changed."""
    files = [WEB / "build.mjs", WEB / "package-lock.json"]
    files += [file for folder in SOURCES for file in (WEB / folder).rglob("*") if file.is_file()]
    return max(file.stat().st_mtime for file in files)


@pytest.fixture(scope="session")
def web_build() -> Path:
    """embed/web/dist, built anew if a source is newer; by one worker process while the others wait."""
    manifest = WEB / "dist" / "manifest.json"
    with (Path(tempfile.gettempdir()) / "hromada-web-build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not manifest.exists() or manifest.stat().st_mtime < newest_source():
            command = [sys.executable, str(WEB / "build.py"), "build"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S)
            if done.returncode != 0:
                unavailable(f"the web client was not built: {done.stderr[-2000:]}")
    return manifest.parent


@pytest.fixture
async def browser(chromium: Chromium, web_build: Path) -> AsyncIterator[Browser]:
    """The shared browser, connected to for one test."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - slow, and most runs need no browser

    async with async_playwright() as playwright:
        connected = await playwright.chromium.connect_over_cdp(chromium.endpoint)
        yield connected
        for context in connected.contexts:
            await context.close()
        await connected.close()
