"""The results as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped]

from benchmarks.measure import Measurement
from benchmarks.targets import TARGETS, Target, verdict

BEGIN = "<!-- results: written by `make bench`, do not edit -->"
END = "<!-- end of results -->"


@dataclass(frozen=True)
class Run:
    """What one server did on one database."""

    server: str
    database: str
    results: Mapping[str, Measurement]


def machine() -> str:
    """The shape of this machine, without its name."""
    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, Python {platform.python_version()}"


def markdown(runs: Sequence[Run], command: str, scale: str) -> str:
    """All tables of a run of the benchmark."""
    parts = [f"`{command}` ({scale}), on {machine()}.", ""]
    for database in dict.fromkeys(run.database for run in runs):
        by_server = {run.server: run.results for run in runs if run.database == database}
        parts += [f"### {database}", "", *_table(by_server), ""]
    return "\n".join(parts)


def to_json(runs: Sequence[Run], command: str) -> bytes:
    """All figures."""
    listed = [
        {
            "server": run.server,
            "database": run.database,
            "results": {name: measured.to_json() for name, measured in run.results.items()},
        }
        for run in runs
    ]
    document = {"command": command, "machine": machine(), "runs": listed}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def write_into(page: Path, tables: str) -> None:
    """Replace the results in a page, or make the page if there is none."""
    marked = f"{BEGIN}\n\n{tables}\n{END}"
    if not page.exists():
        page.write_text(f"# Performance\n\n{marked}\n")
        return
    before, begin, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{marked}{after}" if begin else f"{before.rstrip()}\n\n{marked}\n")


def _table(by_server: Mapping[str, Mapping[str, Measurement]]) -> list[str]:
    lines = [
        "| scenario | Hromada | Synapse | ratio | at most | aim | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    ours, theirs = by_server.get("hromada", {}), by_server.get("synapse", {})
    for target in TARGETS:
        our_value = target.value(ours[target.scenario]) if target.scenario in ours else None
        their_value = target.value(theirs[target.their_scenario]) if target.their_scenario in theirs else None
        # What they do in another scenario is of interest only beside ours.
        if our_value is not None or (their_value is not None and target.against is None):
            lines.append(_row(target, our_value, their_value))
    return lines


def _row(target: Target, ours: float | None, theirs: float | None) -> str:
    ratio = f"{_ratio(ours / theirs)}" if ours and theirs else "-"
    judged = verdict(target, ours, theirs) if ours is not None else ""
    cells = [
        target.title,
        _value(ours, target.unit),
        _value(theirs, target.unit),
        ratio,
        _bound(target, target.most),
        _bound(target, target.aim),
        judged,
    ]
    return f"| {' | '.join(cells)} |"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio >= 1 else f"1/{1 / ratio:.1f}"


def _bound(target: Target, bound: float | None) -> str:
    if bound is None:
        return ""
    return _value(bound, target.unit) if target.absolute else _ratio(bound)
