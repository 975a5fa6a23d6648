"""The built web client for the tests that need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import unavailable

WEB = Path(__file__).resolve().parents[2] / "embed" / "web"
SOURCES = ("client", "core", "look", "ui")
BUILD_TIMEOUT_S = 600


def newest_source() -> float:
    """When a source of the build was last changed."""
    files = [WEB / "build.mjs", WEB / "package-lock.json"]
    files += [file for folder in SOURCES for file in (WEB / folder).rglob("*") if file.is_file()]
    return max(file.stat().st_mtime for file in files)


@pytest.fixture(scope="session")
def web_build() -> Path:
    """embed/web/dist, built anew if a source is newer."""
    manifest = WEB / "dist" / "manifest.json"
    if not manifest.exists() or manifest.stat().st_mtime < newest_source():
        command = [sys.executable, str(WEB / "build.py"), "build"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S)
        if done.returncode != 0:
            unavailable(f"the web client was not built: {done.stderr[-2000:]}")
    return manifest.parent
