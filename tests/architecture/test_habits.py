"""Habits of the code that a reader counts on: size, docstrings, typing markers, no stray output."""

from __future__ import annotations

import ast

from tests.architecture.source import PACKAGES, ROOT, modules

FILE_LINES = 500
FUNCTION_LINES = 60


def test_no_file_is_long() -> None:
    found = [
        f"{module.name} has {len(module.lines)}"
        for module in modules()
        if len(module.lines) > FILE_LINES and not any(line.startswith("# long: ") for line in module.head)
    ]
    assert not found, f"over {FILE_LINES} lines without `# long: <reason>` at the head: {found}"


def test_no_function_is_long() -> None:
    found = []
    for module in modules():
        for function in module.functions():
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            first = min((d.lineno for d in function.decorator_list), default=function.lineno)
            if length > FUNCTION_LINES and not module.is_excused(first):
                found.append(f"{module.name}:{function.lineno} {function.name} has {length}")
    assert not found, f"over {FUNCTION_LINES} lines without `# long: <reason>` above: {found}"


def test_every_module_says_what_it_owns() -> None:
    found = [module.name for module in modules(*PACKAGES) if not ast.get_docstring(module.tree)]
    assert not found, f"without a docstring: {found}"


def test_packages_are_typed() -> None:
    missing = [package for package in PACKAGES if not (ROOT / package / "py.typed").exists()]
    assert not missing, f"without py.typed: {missing}"


def test_nothing_prints() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules(*PACKAGES)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found, f"`print` in {found}; log through structlog, or write to `sys.stdout` in the command line"
