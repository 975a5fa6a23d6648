"""What is not used goes back to the system, also from between what is."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

HOLES = """
import asyncio
import psutil
from homeserver.system import keep_returning_memory, return_unused_memory

MIB = 1024 * 1024
process = psutil.Process()
return_unused_memory()
small = [bytearray(16 * 1024) for _ in range(4096)]
full = process.memory_info().rss
del small[::2]
kept = process.memory_info().rss


async def main():
    task = asyncio.create_task(keep_returning_memory())
    while process.memory_info().rss > kept - 16 * MIB:
        await asyncio.sleep(0.01)
    task.cancel()


asyncio.run(asyncio.wait_for(main(), 30))
assert len(small) == 2048 and full - kept < 8 * MIB, (full, kept)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library gives memory back by itself")
def test_holes_go_back_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", HOLES], check=True, timeout=60)


LARGE_TEXTS = """
import resource
import orjson
from homeserver.system import return_unused_memory

return_unused_memory()
text = orjson.dumps([{"content": "x" * 500} for _ in range(1_000)])


def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        orjson.loads(text)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults(20)
pages = len(text) // resource.getpagesize()
found = faults(20)
assert found < 20 * pages // 2, (found, pages)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has thresholds of its own")
def test_memory_for_a_large_text_does_not_come_from_the_system_each_time() -> None:
    subprocess.run([sys.executable, "-c", LARGE_TEXTS], check=True, timeout=60)
