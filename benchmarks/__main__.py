"""`python -m benchmarks`: measures homeservers side by side and writes down the figures."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import paired, report
from benchmarks.databases import KINDS, database_of
from benchmarks.http import HttpClient
from benchmarks.matrix import Matrix
from benchmarks.measure import Measurement
from benchmarks.report import Run
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import HOST, SERVERS, SHARED_SECRET
from benchmarks.world import FULL, QUICK, Scale, World, say


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status."""
    options = _parser().parse_args(arguments)
    servers = list(SERVERS) if options.server == "both" else [options.server]
    databases = _databases(options.database, quick=options.quick)
    scenarios = options.scenario or list(SCENARIOS)
    scale = QUICK if options.quick else FULL
    command = _command(options)
    if options.against is not None:
        with paired.tree_of(options.against) as before:
            for database in databases:
                pairs = asyncio.run(paired.measure_pair(before, database, scenarios, scale, options.rounds))
                print(f"### {database}, against {options.against}\n\n{paired.table(pairs)}\n")
        return 0
    runs = []
    for database in databases:
        for server in servers:
            say(f"{server} on {database}")
            results = asyncio.run(measure(server, database, scenarios, scale))
            runs.append(Run(server, database, results))
    tables = report.markdown(runs, command, "small rooms, short runs" if options.quick else "full size")
    print(tables)
    if options.output is not None:
        report.write_into(options.output, tables)
    if options.json is not None:
        options.json.write_bytes(report.to_json(runs, command))
    return 0


async def measure(server: str, database: str, names: Sequence[str], scale: Scale) -> dict[str, Measurement]:
    """Run scenarios on one server with a database of its own; the measurements by name."""
    streams = SERVERS[server].streams
    chosen = {
        name: scenario for name, scenario in SCENARIOS.items() if name in names and (streams or not scenario.streams)
    }
    results: dict[str, Measurement] = {}
    with _folder() as folder, database_of(database, folder) as store:
        homeserver = SERVERS[server](folder / server, store)
        try:
            await homeserver.start(preparing=True)
            async with HttpClient(HOST, homeserver.port) as http:
                world = World(homeserver, Matrix(http, SHARED_SECRET), scale)
                await world.prepare(need for scenario in chosen.values() for need in scenario.needs)
                homeserver.stop()
                await homeserver.start()
                for name, scenario in chosen.items():
                    say(f"  {name}")
                    measured = await scenario.run(world)
                    results |= {measurement.scenario: measurement for measurement in measured}
        finally:
            homeserver.stop()
    return results


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder whose files the owner of a throwaway database may reach."""
    folder = Path(tempfile.mkdtemp(prefix="hromada-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(options: argparse.Namespace) -> str:
    """What repeats this run; where its results were written is nobody's business."""
    parts = ["python -m benchmarks", "--server", options.server, "--database", options.database]
    parts += ["--quick"] if options.quick else []
    return " ".join([*parts, *(f"--scenario {name}" for name in options.scenario or ())])


def _databases(chosen: str, *, quick: bool) -> list[str]:
    if chosen == "both":
        return [KINDS[0]] if quick else list(KINDS)
    return [chosen]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--server", choices=[*SERVERS, "both"], default="both")
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both", help="with --quick, both is postgres")
    parser.add_argument("--scenario", choices=list(SCENARIOS), action="append", help="only this (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="small rooms and short runs: some minutes")
    parser.add_argument("--against", metavar="COMMIT", help="this project in turns with itself as of a commit")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each scenario, with --against")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables into this page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return parser


if __name__ == "__main__":
    # Servers and databases run in sessions of their own: leave through the blocks that stop them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
