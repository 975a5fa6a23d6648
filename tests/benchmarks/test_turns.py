"""Scenarios that are run in turns use no more than their share of what was prepared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from benchmarks import measure
from benchmarks.measure import Cost
from benchmarks.scenarios import rooms
from benchmarks.world import IN_TURN, QUICK, World


class Idle:
    """A server and a client of it that take everything and do nothing."""

    async def start(self) -> None:
        """Started."""

    def stop(self) -> None:
        """Stopped."""

    def cost(self) -> Cost:
        """Nothing."""
        return Cost(0, 0)

    async def join(self, _visitor: object, _room: str) -> None:
        """Joined."""

    async def sync(self, _account: object) -> None:
        """Synced."""


async def test_joins_leave_visitors_for_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SETTLE_S", 0)
    monkeypatch.setattr(rooms, "REST_S", 0)
    idle = cast("Any", Idle())
    world = World(idle, idle, replace(QUICK, repeats=12), turns=3)
    world.senders = [idle] * 12
    world.visitors = [idle] * ((12 + IN_TURN) * world.turns)
    for _ in range(world.turns):
        (joined,) = await rooms.join(world)
        (cold,) = await rooms.join_cold(world)
        (in_turn,) = await rooms.join_one_by_one(world)
        assert (joined.operations, cold.operations, in_turn.operations) == (2, rooms.STARTS, IN_TURN)
    assert not world.visitors
