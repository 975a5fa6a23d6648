"""Options and fixtures of the whole test suite."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.support.fixtures", "tests.support.store", "tests.support.browser"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    group = parser.getgroup("hromada")
    group.addoption("--crash-kills", type=int, default=4, help="how often each crash test kills the server")
    group.addoption("--disconnects", type=int, default=400, help="how many clients go away in the middle of something")
    group.addoption("--crash-seed", type=int, default=1, help="seed of the moments and choices of the crash tests")
    group.addoption("--chaos-seeds", type=int, default=1, help="how many seeds of the chaos runs on each database")
    group.addoption("--chaos-seed", type=int, default=1, help="the first of them")
    group.addoption("--chaos-faults", type=int, default=6, help="how many faults a chaos run has")
    group.addoption("--overload", choices=("small", "full"), default="small", help="size of the overload tests")
    group.addoption("--soak-minutes", type=float, default=0.25, help="how long the soak test loads its server")
