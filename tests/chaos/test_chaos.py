"""Everything at once: writers, readers and faults, and the ten rules over what the clients saw.

`--chaos-seeds N` runs N seeds on each database, from `--chaos-seed` on; `--chaos-faults` sets how many faults a run
has. A failure names its seed and the file with its history. See docs/subsystems/chaos.md.
"""

from __future__ import annotations

import random
import re

import aiohttp
import pytest

from tests.chaos import nemeses
from tests.chaos.conftest import MakeTarget
from tests.chaos.crowd import Crowd, saved_on_failure

pytestmark = pytest.mark.timeout(900)

WRITES_BETWEEN_FAULTS = 40
FAULT_WORDS = "rate=0.01 sleep=0.03"
INJECTED = "homeserver.faults.InjectedFault"


async def test_the_rules_hold_whatever_breaks(
    make_target: MakeTarget,
    http: aiohttp.ClientSession,
    database: str,
    chaos_seed: int,
    request: pytest.FixtureRequest,
) -> None:
    chance = random.Random(chaos_seed)
    target = make_target(database)
    crowd = await Crowd.gather(target, http, chaos_seed)
    target.fault_words = FAULT_WORDS
    await target.restart()
    choice = nemeses.ALWAYS + (nemeses.POSTGRES if database == "postgres" else ())
    async with saved_on_failure(crowd):
        crowd.start()
        for _ in range(int(request.config.getoption("--chaos-faults"))):
            await crowd.progress(chance.randint(1, WRITES_BETWEEN_FAULTS))
            nemesis = chance.choice(choice)
            crowd.history.broke(nemesis.__name__)
            await nemesis(target, chance)
            await crowd.progress(3)
        await crowd.stop()
        violations = await crowd.verdict_after_restart()
        assert not violations
        assert not unexpected(target.server.log.read_text())
        await crowd.check_sessions()
    slowest = max(target.restart_times)
    print(
        f"\nchaos {database} seed {chaos_seed}: {crowd.acknowledged} writes acknowledged, "
        f"{len(crowd.history.of('sync'))} syncs, {len(target.restart_times)} starts (slowest {slowest:.2f} s), "
        f"failures {dict(crowd.failures)}, faults {[name for _, name in crowd.history.faults]}"
    )


def unexpected(log: str) -> list[str]:
    """Errors in a server's log that are neither injected nor a database that is away."""
    errors = {line for line in re.findall(r"^\w[\w.]*(?:Error|Exception|Fault|Violation)\b.*", log, re.MULTILINE)}
    return sorted(line[:300] for line in errors if not line.startswith(INJECTED))
