"""docs/subsystems/known-faults.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "subsystems" / "known-faults.md"


def test_every_named_test_exists() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| Report")]
    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`([a-z0-9_/]*\.py)?(?:::(\w+))?`", row)
        assert any(file for file, _ in named), row
        last = ""
        for file, name in named:
            last = file or last
            text = (TESTS / last).read_text()
            assert not name or f"def {name}(" in text, (last, name)
