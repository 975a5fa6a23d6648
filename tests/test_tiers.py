"""`make test` and `make test-all`: what belongs to which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def collected(tier: str, *folders: str) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tier",
        tier,
        *folders,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in {0, 5}, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_a_contributor_runs_one_real_client_and_nothing_that_breaks_things() -> None:
    folders = ("tests/interop", "tests/chaos", "tests/storage/test_reports.py")
    mine, every = collected("contributor", *folders), collected("all", *folders)
    assert set(mine) < set(every)
    assert {line.partition("[")[0] for line in mine if "storage" not in line} == {
        "tests/interop/test_nio.py::test_a_conversation"
    }
    assert [line for line in mine if "storage" in line] == [line for line in every if "storage" in line] != []
