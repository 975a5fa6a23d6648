"""Counts that are taken between a commit and the moment at which the log knows of it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from homeserver.ports.store import Transaction
from homeserver.services.following import LogFollower
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.push.unread import UnreadCounts
from homeserver.storage.unit import Database
from tests.services.push.test_unread_walk import HIGHLIGHT, Walk, counting, of
from tests.services.rooms.conftest import ALICE, BOB, running_world


@pytest.mark.parametrize("own_rules", [False, True])
async def test_what_the_log_does_not_know_of_yet_is_counted_once(store: Database, *, own_rules: bool) -> None:
    # The log of this process is behind, as it is for a moment after each commit, and for longer in another process.
    async with running_world(store) as world:
        room = await world.create(ALICE, BOB)
        if own_rules:
            walk = Walk(world, random.Random(1), [room])
            await walk.set_rule(BOB, "content", "cheese", {"pattern": "cheese", "actions": HIGHLIGHT})
        log = Log(world.log.position)
        follower = LogFollower(store, log)
        behind = UnreadCounts(store, log, IgnoredUsers(store, log))
        await world.say(room, "first", ALICE)
        assert (await of(behind, world, BOB, [room]))[room].total.notify == 1
        await follower.catch_up()
        assert (await of(behind, world, BOB, [room]))[room].total.notify == 1
        assert behind.peek(BOB, room) is not None
        await world.say(room, "second", ALICE)
        await follower.catch_up()
        known = behind.peek(BOB, room)
        assert known is not None and known == (await of(counting(world), world, BOB, [room]))[room]
        assert known.total.notify == 2


async def test_rules_that_change_while_the_old_ones_are_read_are_not_kept(store: Database) -> None:
    async with running_world(store) as world:
        room = await world.create(ALICE, BOB)
        walk = Walk(world, random.Random(1), [room])
        counts = counting(world)

        async def read_and_lose(*asked: Any) -> bytes | None:
            async with store.read() as tx:
                found = await tx.account_data.get(*asked)
            await walk.set_rule(BOB, "content", "cheese", {"pattern": "cheese", "actions": HIGHLIGHT})
            return found

        slow = cast(Transaction, SimpleNamespace(account_data=SimpleNamespace(get=read_and_lose)))
        assert await counts.matcher(slow, BOB) is None
        async with store.read() as tx:
            assert await counts.matcher(tx, BOB) is not None
