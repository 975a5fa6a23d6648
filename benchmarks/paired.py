"""Two states of this project beside each other: both run at once, and each scenario is run on them in turns.

Processor time that an operation takes depends on what else the machine does: a run after another one, on a machine that
has become busier, shows differences that are not there. In turns, both suffer alike, and the ratio remains.
"""

from __future__ import annotations

import compileall
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.databases import database_of
from benchmarks.http import HttpClient
from benchmarks.matrix import Matrix
from benchmarks.measure import Measurement
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import HOST, ROOT, SHARED_SECRET, Hromada
from benchmarks.world import Scale, World, say

Pair = tuple[list[Measurement], list[Measurement]]
"""The rounds of one measurement: before, and now."""


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A checkout of a commit, for the length of the block.  Raises CalledProcessError if there is no such commit."""
    with tempfile.TemporaryDirectory(prefix="hromada-bench-tree-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


async def measure_pair(before: Path, database: str, names: Sequence[str], scale: Scale, rounds: int) -> dict[str, Pair]:
    """Run scenarios in turns on the project in `before` and on this one, each on a database of its own."""
    chosen = {name: scenario for name, scenario in SCENARIOS.items() if name in names}
    results: dict[str, Pair] = defaultdict(lambda: ([], []))
    async with AsyncExitStack() as open_now:
        stack = open_now.enter_context(ExitStack())
        worlds: list[World] = []
        for tree in (before, ROOT):
            compileall.compile_dir(tree, maxlevels=6, quiet=2)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hromada-bench-")))
            homeserver = Hromada(folder, stack.enter_context(database_of(database, folder)), tree)
            if "media" not in names:
                homeserver.environment = {}  # an older state may not know the setting
            stack.callback(homeserver.stop)
            await homeserver.start(preparing=True)
            http = await open_now.enter_async_context(HttpClient(HOST, homeserver.port))
            world = World(homeserver, Matrix(http, SHARED_SECRET), scale, rounds)
            await world.prepare(need for scenario in chosen.values() for need in scenario.needs)
            homeserver.stop()
            await homeserver.start()
            worlds.append(world)
        for name, scenario in chosen.items():
            say(f"  {name}")
            for number in range(rounds):
                # Who comes first takes turns too.
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    for measured in await scenario.run(worlds[which]):
                        results[measured.scenario][which].append(measured)
    return results


def table(pairs: dict[str, Pair]) -> str:
    """What an operation cost before and now (the sum of the rounds), and memory where that was measured."""
    lines = ["| scenario | before | now | ratio |", "|---|---:|---:|---:|"]
    for name, (before, now) in pairs.items():
        first, second = _sum(before), _sum(now)
        if first.cpu_ms and second.cpu_ms:
            ratio = f"{second.cpu_ms / first.cpu_ms:.2f}"
            lines.append(f"| {name} | {first.cpu_ms:.3f} ms CPU | {second.cpu_ms:.3f} ms CPU | {ratio} |")
        for key in ("rss_mib", "database_bytes_per_message"):
            old, new = first.extra.get(key), second.extra.get(key)
            if old and new:
                lines.append(f"| … {key.replace('_', ' ')} | {old:.1f} | {new:.1f} | {new / old:.2f} |")
    return "\n".join(lines)


def _sum(rounds: Sequence[Measurement]) -> Measurement:
    return replace(
        rounds[-1],
        operations=sum(one.operations for one in rounds),
        wall_s=sum(one.wall_s for one in rounds),
        server_cpu_s=sum(one.server_cpu_s for one in rounds),
        database_cpu_s=sum(one.database_cpu_s for one in rounds),
    )
