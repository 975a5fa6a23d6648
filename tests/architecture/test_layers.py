"""Who imports whom (docs/adr/0001-packages-and-layers.md)."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator

import pytest

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
