"""Every promise of docs/security.md names tests that exist."""

from __future__ import annotations

import re

from tests.architecture.source import ROOT


def test_every_promise_has_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| Promise ")]
    assert promises
    for row in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row.rpartition(" | ")[2])
        assert named, row
        for file, name in named:
            text = (ROOT / file).read_text()
            assert f"def {name}(" in text if name else "def test_" in text, (file, name)
