"""Faults of the machine under a server: a disk that fills up, and one that fails to keep what was written.

Needs root and Linux, and strace for the latter; without them the tests are skipped (but not in CI).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.fixtures import unavailable

ATTACH_S = 60.0
SYNCS = "fsync,fdatasync"


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """`folder` as a disk of that size."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "hromada-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        unavailable("cannot mount a tmpfs here")
    try:
        yield folder
    finally:
        # Lazily: a program that is still ending may have a file open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filler:
    """A file that takes all the space there is."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "filler"

    def fill(self) -> None:
        """Take the space that is left, to the last byte."""
        with self._file.open("ab", buffering=0) as file:
            for size in (1024 * 1024, 64 * 1024, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self) -> None:
        """Give it back."""
        self._file.unlink()


@contextlib.contextmanager
def failing_syncs(pid: int, log: Path, when: str) -> Iterator[None]:
    """Let those fsync and fdatasync of a process fail that `when` names (strace's: `3` the third, `3+` from it on)."""
    strace = shutil.which("strace")
    if strace is None or sys.platform != "linux":
        unavailable("no strace here")
        return
    inject = f"inject={SYNCS}:error=EIO:when={when}"
    command = [strace, "-f", "-p", str(pid), "-o", str(log), "-e", f"trace={SYNCS}", "-e", inject]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_traced(pid, process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_traced(pid: int, strace: subprocess.Popen[bytes]) -> None:
    """Until every thread has strace for a tracer."""
    deadline = time.monotonic() + ATTACH_S
    while time.monotonic() < deadline:
        if strace.poll() == 0:
            return  # so quickly has the process ended
        if strace.poll() is not None:
            unavailable("strace may not attach to a process here")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            threads = [Path(f"/proc/{pid}/task/{task}/status").read_text() for task in os.listdir(f"/proc/{pid}/task")]
            # The process may even have ended of it: a zombie has no threads that do anything.
            if all(f"TracerPid:\t{strace.pid}\n" in status or "State:\tZ" in status for status in threads):
                return
        time.sleep(0.02)
    raise AssertionError("strace does not attach")
