"""Every `spec:` reference in code and design records names a section that exists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT, modules
from tests.architecture.specification import PROSE_ENDPOINTS, anchors, operations, references


def prose() -> Iterator[tuple[str, str]]:
    """Place and text of every line that may hold a reference."""
    for module in modules():
        for line, text in module.prose():
            yield f"{module.name}:{line}", text
    for folder in ("docs/adr", "docs/subsystems"):
        for page in sorted((ROOT / folder).glob("*.md")):
            for line, text in enumerate(page.read_text().splitlines(), start=1):
                yield f"{folder}/{page.name}:{line}", text


def test_references_resolve() -> None:
    known = anchors()
    cited = ((place, text, name) for place, text in prose() for name in references(text))
    found = [f"{place} {name or text.strip()!r}" for place, text, name in cited if name not in known]
    assert not found, "unknown references (see docs/spec/anchors.txt):\n" + "\n".join(found)


def test_generated_lists_agree() -> None:
    known = anchors()
    assert not [operation.reference for operation in operations() if operation.reference not in known]
    assert not [reference for reference in PROSE_ENDPOINTS.values() if reference not in known]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# spec: rooms/v10#authorisation-rules 4.3.1", ["rooms/v10#authorisation-rules"]),
        ("Authorise it.  spec: rooms/v1#a, rooms/v12#b-1.", ["rooms/v1#a", "rooms/v12#b-1"]),
        ("spec: rooms/v12", ["rooms/v12"]),
        ("spec: §3", [""]),
        ("a `spec:` reference", []),
        ("def load(spec: str)", ["str"]),
        ("nothing", []),
    ],
)
def test_reading_references(text: str, expected: list[str]) -> None:
    assert references(text) == expected
