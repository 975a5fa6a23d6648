"""Options and fixtures of the whole test suite."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = [f"tests.support.{name}" for name in ("fixtures", "store", "templates", "browser", "gcs")]


ROOT = Path(__file__).parent
ALL_ONLY = ("benchmarks", "bridges", "chaos", "embed", "interop", "simulation")
"""Folders whose tests are for `make test-all`, but for those marked `contributor`: they start many processes, break
things or take long.
"""

LINTED = ("architecture",)
"""Folders that `make lint` runs, and no tier once more."""


def pytest_configure(config: pytest.Config) -> None:
    """Markers of our own."""
    config.addinivalue_line("markers", "contributor: belongs to `make test` although its folder does not")
    config.addinivalue_line("markers", "all_only: belongs to `make test-all` only, although its folder does not")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the other tier."""
    tier = config.getoption("--tier")
    if tier == "all":
        return
    chosen = [
        item for item in items if _folder(item) not in LINTED and _is_for_contributors(item) is (tier == "contributor")
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, Any, Any]:
    """No test finds another one's mask for new files: commands that run in this process set it, for good."""
    mask = os.umask(0o022)
    os.umask(mask)
    try:
        return (yield)
    finally:
        os.umask(mask)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).parts[0]


def _is_for_contributors(item: pytest.Item) -> bool:
    if _folder(item) in ALL_ONLY:
        return item.get_closest_marker("contributor") is not None
    return item.get_closest_marker("all_only") is None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    group = parser.getgroup("hromada")
    group.addoption(
        "--tier", choices=("contributor", "rest", "all"), default="all", help="what `make test` runs, the rest, or all"
    )
    group.addoption("--crash-kills", type=int, default=4, help="how often each crash test kills the server")
    group.addoption("--disconnects", type=int, default=400, help="how many clients go away in the middle of something")
    group.addoption("--crash-seed", type=int, default=1, help="seed of the moments and choices of the crash tests")
    group.addoption("--chaos-seeds", type=int, default=1, help="how many seeds of the chaos runs on each database")
    group.addoption("--chaos-seed", type=int, default=1, help="the first of them")
    group.addoption("--chaos-faults", type=int, default=6, help="how many faults a chaos run has")
    group.addoption("--simulation-seeds", type=int, default=500, help="seeds of the simulation, over all room versions")
    group.addoption("--simulation-seed", type=int, default=1, help="the first of them")
    group.addoption("--overload", choices=("small", "full"), default="small", help="size of the overload tests")
    group.addoption("--all-passwords", action="store_true", help="check every password vector: minutes of work")
    group.addoption("--soak-minutes", type=float, default=0.25, help="how long the soak test loads its server")
