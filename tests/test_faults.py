"""Fault points: off unless the variable says so, repeatable by seed, and each of them somewhere in the code."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from homeserver import faults
from tests.architecture.source import PACKAGES, ROOT, modules
from tests.support.fixtures import StartServer
from tests.support.server import ServerFailed

CODE = [module for module in modules(*PACKAGES) if module.name != "homeserver/faults.py"]
POINT = re.compile(r'faults\.plan\.(?:reach|touch)\("([a-z_.]+)"\)')


@pytest.fixture
def switched_off() -> Iterator[None]:
    yield
    faults.plan = None


def test_without_the_variable_there_is_no_plan() -> None:
    assert faults.switch_on({"HROMADA_FAULTS": "rate=1"}) is None
    assert faults.plan is None


def test_the_variable_switches_on(switched_off: None) -> None:
    plan = faults.switch_on({faults.VARIABLE: "seed=3 rate=0.5 only=sync.*,commit.taken crash=commit.publish:7"})
    assert plan is faults.plan
    assert plan == faults.FaultPlan(3, 0.5, only=("sync.*", "commit.taken"), crash=("commit.publish", 7))


@pytest.mark.parametrize(
    "text", ["", "on", "rate=2", "rate=x", "only=nowhere", "crash=nowhere:1", "crash=sync.store:x", "control=none"]
)
def test_a_variable_that_says_nothing_useful_is_refused(text: str) -> None:
    with pytest.raises(faults.BadFaults, match=faults.VARIABLE):
        faults.parse(text)


async def _outcomes(plan: faults.FaultPlan, point: str) -> list[str]:
    outcomes = []
    for _ in range(200):
        try:
            await asyncio.create_task(plan.reach(point))
        except asyncio.CancelledError:
            outcomes.append("cancelled")
        except faults.InjectedFault:
            outcomes.append("raised")
        else:
            outcomes.append("passed")
    return outcomes


async def test_a_seed_gives_the_same_faults_again() -> None:
    first = await _outcomes(faults.FaultPlan(5, 0.5, sleep=0.0), "request.handled")
    assert first == await _outcomes(faults.FaultPlan(5, 0.5, sleep=0.0), "request.handled")
    assert first != await _outcomes(faults.FaultPlan(6, 0.5, sleep=0.0), "request.handled")
    assert set(Counter(first)) == {"passed", "raised", "cancelled"}
    assert set(await _outcomes(faults.FaultPlan(5, 1.0, only=("sync.*",)), "request.handled")) == {"passed"}


async def test_a_point_does_only_what_it_may() -> None:
    assert set(await _outcomes(faults.FaultPlan(5, 1.0, sleep=0.0), "commit.publish")) == {"passed"}
    with pytest.raises(KeyError):
        faults.FaultPlan().touch("nowhere")


def test_every_point_is_reached_from_one_place() -> None:
    found = Counter(name for module in CODE for name in POINT.findall(module.text))
    assert found == dict.fromkeys(faults.POINTS, 1)


def test_a_point_costs_one_attribute_test() -> None:
    """Every call stands directly under the test, so that nothing is evaluated for it where there is no plan."""
    for module in CODE:
        for number, line in enumerate(module.lines):
            if "faults.plan." in line and not module.name.startswith("homeserver/boot"):
                assert module.lines[number - 1].strip() == "if faults.plan is not None:", f"{module.name}:{number + 1}"


def test_every_point_is_documented() -> None:
    page = (ROOT / "docs" / "subsystems" / "chaos.md").read_text()
    missing = [point for point in faults.POINTS if f"`{point}`" not in page]
    assert not missing


def test_a_server_with_faults_says_so_loudly(start_server: StartServer) -> None:
    server = start_server(environment={faults.VARIABLE: "seed=1"})
    assert "fault_injection_is_on" in server.log_tail()
    server.stop()
    server.reconfigure(environment={})
    server.log.unlink()
    server.start()
    assert "fault_injection" not in server.log_tail()


def test_a_server_does_not_start_with_faults_it_does_not_know(start_server: StartServer) -> None:
    with pytest.raises(ServerFailed, match="status 2"):
        start_server(environment={faults.VARIABLE: "loss=1"})
