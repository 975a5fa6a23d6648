"""What process trees have spent: CPU seconds, also of children that have ended, and memory."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process tree, in bytes: resident, and what no other process shares."""

    resident: int
    unique: int


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all of its descendants so far.

    A descendant that has ended counts with the parent that reaped it, so nothing is counted twice or lost.
    """
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += _own_seconds(process.pid, times.user + times.system) + times.children_user + times.children_system
    return total


def _own_seconds(pid: int, rough: float) -> float:
    """The process's own time, to the nanosecond where the system tells; `rough` is counted in ticks of 10 ms."""
    if sys.platform != "linux":
        return rough
    try:
        # As clock_getcpuclockid(3) makes it: the complement of the pid, and 2 for the scheduler's clock of a process.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return rough


def memory(pid: int) -> Memory:
    """The memory of a process and all of its descendants now."""
    resident = unique = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            sizes = process.memory_full_info()
            resident += sizes.rss
            unique += sizes.uss
    return Memory(resident, unique)


def resident(pid: int) -> int:
    """The resident memory of a process and all of its descendants now, in bytes. Quick, for looking often."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _tree(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        yield root
        yield from root.children(recursive=True)
