"""What tests and benchmarks import from each other is there: mypy does not read them, and a tier of tests that is not
run before a commit would be the first to tell.
"""

from __future__ import annotations

import ast

from tests.architecture.source import ROOT, modules

_OWN = ("tests", "benchmarks")


def _names(body: list[ast.stmt]) -> set[str]:
    """What a module's top level binds, in branches as well."""
    found: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name.partition(".")[0] for alias in names}
            case _:
                found |= {
                    one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
                }
                for inner in ("body", "orelse", "finalbody"):
                    found |= _names(getattr(node, inner, []))
    return found


def test_what_tests_import_from_each_other_is_there() -> None:
    paths = {str(module.path.relative_to(ROOT).with_suffix("")).replace("/", "."): module for module in modules(*_OWN)}
    paths = {name.removesuffix(".__init__"): module for name, module in paths.items()}
    offered = {name: _names(module.tree.body) for name, module in paths.items()}
    missing = [
        f"{module.name}:{node.lineno} {node.module}.{alias.name}"
        for module in paths.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in _OWN
        for alias in node.names
        if f"{node.module}.{alias.name}" not in offered
        and (node.module not in offered or alias.name not in offered[node.module])
    ]
    assert not missing, f"imported from where it is not: {missing}"
    assert len(offered) > 300, "the search for modules has found them"
