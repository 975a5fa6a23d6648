"""The server under attack with all that stands around it: proxies before and behind it, its PostgreSQL, its restarts.

Clients know one address, which stays when the server moves. Whoever breaks the server brings it back through here, so
that every restart is timed and none goes by unseen.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from homeserver import faults
from tests.support.client import Client
from tests.support.faultproxy import FaultProxy
from tests.support.postgres import PostgresCluster
from tests.support.server import Server, ServerFailed

START_ATTEMPTS = 6
# A client over one socket sends more than a person does.
ENVIRONMENT = {"HROMADA_STREAM_FRAMES": "10000/10000"}


@dataclass
class Target:
    """A server, where to reach it, and what can be done to it."""

    server: Server
    front: FaultProxy | None = None
    cluster: PostgresCluster | None = None
    back: FaultProxy | None = None
    fault_words: str = ""
    """Fault points of every start, but for the seed, which each start gets anew."""
    starts: int = 0
    restart_times: list[float] = field(default_factory=list)
    """Seconds from launching to ready, after the first start."""
    expects_death: bool = False

    @property
    def url(self) -> str:
        """Where clients go."""
        return self.server.url if self.front is None else f"http://127.0.0.1:{self.front.port}"

    def reach(self, client: Client) -> Client:
        """`client` at the present address."""
        client.base_url = self.url
        return client

    def check(self) -> None:
        """The server runs, unless somebody is just killing it. Raises ServerFailed."""
        if not self.expects_death:
            self.server.assert_alive()

    async def start(self, *words: str) -> None:
        """Start the server with the run's fault points and `words`. One that dies of them at once is started again.

        Raises ServerFailed.
        """
        for attempt in range(START_ATTEMPTS):
            self.starts += 1
            wanted = [self.fault_words and f"seed={self.starts} {self.fault_words}", *(words if attempt == 0 else ())]
            value = " ".join(word for word in wanted if word)
            self.server.reconfigure(environment={**ENVIRONMENT, **({faults.VARIABLE: value} if value else {})})
            began = time.monotonic()
            try:
                await asyncio.to_thread(self.server.start)
            except ServerFailed:
                if attempt == START_ATTEMPTS - 1 or not value:
                    raise
                continue
            self.restart_times.append(time.monotonic() - began)
            if self.front is not None:
                self.front.target_port = urlsplit(self.server.url).port or 0
            return

    async def kill(self) -> None:
        """kill -9, and start again."""
        self.server.kill()
        await self.start()

    async def restart(self) -> None:
        """SIGTERM, and start again."""
        await asyncio.to_thread(self.server.stop)
        await self.start()

    async def die_at(self, point: str, visit: int, patience: float) -> bool:
        """Start anew as a server that dies at a fault point; wait for that and bring it back. Whether it died."""
        self.expects_death = True
        try:
            await asyncio.to_thread(self.server.stop)
            await self.start(f"crash={point}:{visit}")
            deadline = time.monotonic() + patience
            while self.server.is_running and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            died = not self.server.is_running
            await self.kill()
        finally:
            self.expects_death = False
        return died
