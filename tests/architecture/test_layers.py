"""Who imports whom (docs/adr/0001-packages-and-layers.md)."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.roles import PACKAGES as PACKAGES_OF_ROLES
from homeserver.roles import Role
from tests.architecture.source import PACKAGES, ROOT, Module, modules

ROLE_TARGET = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)*(:\w+)?")
TYPING_MAY_IMPORT = ("homeserver.ports", "homeserver.core")


def test_import_contracts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cli = pytest.importorskip("importlinter.cli", reason="the contracts need the `lint` extra")
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_no_relative_imports() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not found, f"relative imports: {found}"


def typing_only_imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and name of each module imported under `if TYPE_CHECKING:`."""
    for block in ast.walk(module.tree):
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test):
            for node in (inner for statement in block.body for inner in ast.walk(statement)):
                if isinstance(node, ast.ImportFrom):
                    yield node.lineno, node.module or ""
                elif isinstance(node, ast.Import):
                    yield from ((node.lineno, alias.name) for alias in node.names)


def test_type_checking_imports_come_from_ports_and_core() -> None:
    found = [
        f"{module.name}:{line} imports {name}"
        for module in modules(*PACKAGES)
        for line, name in typing_only_imports(module)
        if name.split(".")[0] in PACKAGES and not name.startswith(TYPING_MAY_IMPORT)
    ]
    assert not found, f"`TYPE_CHECKING` hides a dependency: {found}"


def test_role_strings_resolve() -> None:
    """The role table names role packages as strings, so no importer would notice a wrong one."""
    table = ROOT / "homeserver/roles.py"
    if not table.exists():
        pytest.skip("no role table yet")
    strings = {node.value for node in ast.walk(Module(table).tree) if isinstance(node, ast.Constant)}
    for target in sorted(s for s in strings if isinstance(s, str) and ROLE_TARGET.fullmatch(s)):
        name, _, attribute = target.partition(":")
        module = importlib.import_module(name)
        assert not attribute or hasattr(module, attribute), f"{target} in homeserver/roles.py does not exist"


@pytest.mark.parametrize("role", sorted(PACKAGES_OF_ROLES))
def test_a_process_imports_the_roles_that_it_runs_and_no_other(role: Role, tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from homeserver.boot import build
from homeserver.config.load import load
async def run():
    server = await build(load(None, {{"HROMADA_SERVER_DATA_DIR": {str(tmp_path)!r}}}, {{}}), [{role!r}])
    await server.close()
asyncio.run(run())
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & {set(PACKAGES)!r}))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    others = {package.partition(".")[0] for package in PACKAGES_OF_ROLES.values()}
    assert set(ran.stdout.split()) & others == {PACKAGES_OF_ROLES[role].partition(".")[0]}


def test_the_start_imports_no_progress_bars() -> None:
    """`rich` draws them for a few commands; structlog would import it everywhere."""
    script = """
import sys
from homeserver.__main__ import main
sys.argv = ["hromada", "routes"]
main()
import homeserver.boot
print("rich" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_a_plain_bridge_imports_no_login() -> None:
    """Passwords are the business of a bridge that maps a users table."""
    script = "import sys, bridges.cli, bridges.service\nprint('bridges.users' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
