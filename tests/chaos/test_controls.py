"""Negative controls: servers that are wrong in a known way, and the checker must say so.

A harness that has never failed shows nothing. Each control loses what the promises forbid to lose, and each of them
is the real server with the real load; only the last fault is arranged.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import aiohttp
import pytest

from tests.chaos.checker import check
from tests.chaos.conftest import MakeTarget
from tests.chaos.crowd import Crowd, saved_on_failure
from tests.support.fixtures import unavailable
from tests.support.postgres import PostgresCluster, PostgresUnavailable, running_cluster

pytestmark = pytest.mark.timeout(900)

# Chance decides what is lost; it may be what nobody has an acknowledgement of yet. Each attempt has a crowd of its own:
# the tokens of the one before may be of a time that the server has lost.
ATTEMPTS = 5


def rules(violations: list[str]) -> set[str]:
    return {violation.partition(":")[0] for violation in violations}


async def lost(crowd: Crowd) -> set[str]:
    """The broken rules of a crowd whose tokens the server may not know any more."""
    crowd.history.final = await crowd.final()
    return {violation.rule for violation in check(crowd.history)}


async def test_tokens_that_run_ahead_of_commits_lose_events(
    make_target: MakeTarget, http: aiohttp.ClientSession, database: str
) -> None:
    """The naive `max(id)`: readers pass positions that are taken and not committed."""
    target = make_target(database)
    found: set[str] = set()
    for attempt in range(ATTEMPTS):
        target.fault_words = ""
        await target.restart()
        crowd = await Crowd.gather(target, http, attempt)
        # A commit that takes a moment is all it needs; mostly.
        target.fault_words = "control=positions-ahead only=commit.publish rate=0.3 sleep=0.02"
        await target.restart()
        async with saved_on_failure(crowd):
            crowd.start()
            await crowd.progress(60)
            await crowd.stop()
            found |= rules(await crowd.verdict())
        if found >= {"R3", "R7"}:
            break
    assert found >= {"R3", "R7"}


async def test_an_acknowledgement_before_the_commit_loses_events(
    make_target: MakeTarget, http: aiohttp.ClientSession
) -> None:
    target = make_target("sqlite")
    chance = random.Random(1)
    found: set[str] = set()
    for attempt in range(ATTEMPTS):
        target.fault_words = ""
        await target.restart()
        crowd = await Crowd.gather(target, http, attempt)
        async with saved_on_failure(crowd):
            target.fault_words = "control=early-acknowledgement"
            await target.restart()
            crowd.start()
            await crowd.progress(chance.randint(10, 40))
            target.server.kill()
            await crowd.abandon()
            target.fault_words = ""
            await target.start()
            found |= await lost(crowd)
        if "R1" in found:
            break
    assert "R1" in found


LAZY = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "wal_buffers": "64MB"}


@pytest.fixture
def lazy_cluster() -> Iterator[PostgresCluster]:
    """A cluster that writes its log seldom where it is not waited for."""
    try:
        with running_cluster(LAZY) as cluster:
            yield cluster
    except PostgresUnavailable as reason:
        unavailable(str(reason))


async def test_a_database_that_does_not_wait_for_its_disk_loses_events(
    make_target: MakeTarget, http: aiohttp.ClientSession, lazy_cluster: PostgresCluster
) -> None:
    """`synchronous_commit=off`, set behind the back of a server that would refuse to start with it."""
    target = make_target("postgres", lazy_cluster)
    name = (target.server.options.database_url or "").rsplit("/", 1)[-1]
    chance = random.Random(1)
    found: set[str] = set()
    for attempt in range(ATTEMPTS):
        crowd = await Crowd.gather(target, http, attempt)
        async with saved_on_failure(crowd):
            lazy_cluster.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
            lazy_cluster.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            crowd.start()
            await crowd.progress(chance.randint(20, 60))
            lazy_cluster.kill()
            await crowd.abandon()
            target.server.kill()
            lazy_cluster.start()
            lazy_cluster.sql(f"ALTER DATABASE {name} RESET synchronous_commit")
            await target.start()
            found |= await lost(crowd)
        if "R1" in found:
            break
    assert "R1" in found
