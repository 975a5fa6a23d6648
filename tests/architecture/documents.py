"""The generated pages of `docs/generated`: `python -m tests.architecture.documents` (or `make docs`) writes them.

`coverage.md` shows where each operation of the specification is served, `routes.md` every route row, `config.md` every
setting as `hromada config-doc` prints it, `bridges.md` those of `bridges.toml`. `test_documents.py` fails when a page
no longer matches the code.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby

from bridges import reference as bridges_reference
from tests.architecture.routes import handler_name, role_routes
from tests.architecture.source import PACKAGES, ROOT, modules
from tests.architecture.specification import DOCUMENTS, Operation, operations, references

FOLDER = ROOT / "docs/generated"
NOTICE = "<!-- Made by `make docs`; do not edit. -->"
TAG = re.compile(r"\b(?P<tag>NOTSPEC|COMPAT\([^)]+\)|TODO\(spec\)):\s*(?P<text>.+)")
TITLES = {
    "client-server": "Client-Server API",
    "server-server": "Server-Server API",
    "application-service": "Application Service API",
}


def served() -> dict[tuple[str, str], str]:
    """(method, path) → the handler that answers."""
    rows = [route for _, route in role_routes()]
    return {(row.method, path): handler_name(row) for row in rows for path in (row.path, *row.also)}


def cited() -> dict[str, list[str]]:
    """Reference → the modules whose comments or docstrings cite it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules(*PACKAGES):
        dotted = module.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for _, text in module.prose():
            for reference in references(text):
                found[reference].add(dotted)
    return {reference: sorted(where) for reference, where in found.items()}


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows)]


def places() -> Callable[[Operation], str]:
    """A function that tells where an operation is served, or `""`.

    The Application Service API is the one in which the homeserver calls: there, a module that cites the operation.
    """
    handlers, citations = served(), cited()

    def place(operation: Operation) -> str:
        if operation.api == "application-service":
            return ", ".join(citations.get(operation.reference, []))
        return handlers.get((operation.method, operation.path), "")

    return place


def cells(operation: Operation, place: str) -> tuple[str, ...]:
    """The operation as a row of the coverage table."""
    name = operation.operation_id + (" (deprecated)" if "deprecated" in operation.flags else "")
    return operation.method, f"`{operation.path}`", name, place or "missing"


def coverage() -> str:
    """Every operation of the specification, and where it is served."""
    place = places()
    every = operations()
    summary: list[tuple[str, ...]] = []
    details: list[str] = []
    for api, rows in ((api, [o for o in every if o.api == api]) for api in DOCUMENTS):
        present = [operation for operation in rows if place(operation)]
        summary.append((TITLES[api], str(len(present)), str(len(rows))))
        details += ["", f"## {TITLES[api]}", ""]
        if api == "application-service":
            details += ["Here the homeserver is the caller; a module is named when it cites the operation.", ""]
        rows.sort(key=lambda operation: (operation.path, operation.method, operation.operation_id))
        details += table(("method", "path", "operation", "where"), [cells(row, place(row)) for row in rows])
    head = ["# Coverage of the specification", "", NOTICE, "", *table(("API", "served", "operations"), summary)]
    return "\n".join([*head, *details, "", *deviations(), ""])


def deviations() -> list[str]:
    """What the code itself says about the specification: deviations, workarounds, gaps."""
    rows = [
        (found["tag"], found["text"].rstrip("\"' "), f"`{module.name}`")
        for module in modules(*PACKAGES)
        for _, text in module.prose()
        if (found := TAG.search(text))
    ]
    body = table(("tag", "what", "where"), sorted(rows)) if rows else ["None."]
    return ["## Deviations, workarounds and gaps", "", *body]


def routes() -> str:
    """Every route row, by role, with its other names below it."""
    lines = ["# Routes", "", NOTICE]
    for package, pairs in groupby(role_routes(), key=lambda pair: pair[0]):
        listed = []
        for _, row in pairs:
            paths = "<br>".join(f"`{path}`" for path in (row.path, *row.also))
            listed.append((row.method, paths, handler_name(row), row.auth.value, row.limit or ""))
        lines += ["", f"## {package}", "", *table(("method", "path", "handler", "caller", "rate limit"), listed)]
    return "\n".join([*lines, ""])


def config() -> str:
    """Every setting, as the command line documents it."""
    command = [sys.executable, "-m", "homeserver", "config-doc"]
    page = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    return f"{NOTICE}\n\n{page}"


def bridges() -> str:
    """Every setting of `bridges.toml`."""
    return f"{NOTICE}\n\n{bridges_reference.reference()}"


def pages() -> dict[str, Callable[[], str]]:
    """File name → the function that renders it, for every page that the code can render."""
    found: dict[str, Callable[[], str]] = {"coverage.md": coverage, "routes.md": routes, "bridges.md": bridges}
    if (ROOT / "homeserver/__main__.py").exists():
        found["config.md"] = config
    return found


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, render in pages().items():
        (FOLDER / name).write_text(render())
        sys.stdout.write(f"docs/generated/{name}\n")


if __name__ == "__main__":
    main()
