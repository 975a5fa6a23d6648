"""Ports for programs that cannot be told to take any: free, and not of those that the kernel gives to connections.

Between our look and the program's start, or while it is down between a kill and its next start, the kernel would give
such a port to whatever else goes on here.
"""

from __future__ import annotations

import contextlib
import random
import socket

PORTS = range(15_000, 32_000)
_chance = random.SystemRandom()


def free_port() -> int:
    """One that nobody listens at now."""
    for _ in range(1_000):
        port = _chance.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")
