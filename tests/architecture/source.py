"""The repository's own source, parsed: which modules there are, and what their comments and docstrings say."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("homeserver", "client_api", "federation", "media_repo", "bridges", "embed")
ROLE_PACKAGES = PACKAGES[1:]
OTHER_SOURCE = ("tests", "benchmarks", "docs")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        """The path below the repository's root, for messages."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        """The file's text."""
        return self.path.read_text()

    @cached_property
    def lines(self) -> list[str]:
        """The file's lines."""
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, self.name)

    def functions(self) -> Iterator[Function]:
        """Every function of the file, nested ones included."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def prose(self) -> Iterator[tuple[int, str]]:
        """Each line of comments and docstrings with its number."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
        for node in ast.walk(self.tree):
            if isinstance(node, Documented) and (docstring := ast.get_docstring(node, clean=False)):
                first = node.body[0].lineno
                yield from enumerate(docstring.splitlines(), start=first)

    def is_excused(self, line: int) -> bool:
        """Whether the line above the 1-based `line` gives a reason for length: `# long: <reason>`."""
        return line >= 2 and self.lines[line - 2].strip().startswith("# long: ")

    @property
    def head(self) -> list[str]:
        """The lines before the first statement that is not the docstring."""
        body = self.tree.body[1:] if ast.get_docstring(self.tree) else self.tree.body
        return self.lines[: body[0].lineno - 1] if body else self.lines


def modules(*folders: str) -> list[Module]:
    """The Python files below `folders` of the repository, sorted; without any, all that belong to the project."""
    found: list[Module] = []
    for folder in folders or (*PACKAGES, *OTHER_SOURCE):
        paths = (ROOT / folder).rglob("*.py")
        found.extend(Module(p) for p in sorted(paths) if not {"node_modules", ".venv"} & set(p.parts))
    return found
