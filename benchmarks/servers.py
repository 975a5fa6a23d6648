"""The servers that are measured, as processes: started on a database, asked what they spend, stopped by their pid."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks import processes, synapse
from benchmarks.databases import Postgres, Sqlite
from benchmarks.http import ConnectionLost, HttpClient
from benchmarks.measure import Cost

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
SERVER_NAME = "bench.test"
SHARED_SECRET = "a shared secret for the benchmark only"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
POLL_S = 0.005
_NOT_PASSED_ON = ("HROMADA_", "SYNAPSE_", "PYTHONDONTWRITEBYTECODE")
"""Variables that would configure the server, or have it compile its sources at each start."""


class ServerFailed(Exception):
    """The server did not start, or died; carries the end of its log."""


class Homeserver(ABC):
    """One homeserver process on one database. It keeps its port and its data over restarts."""

    name: str
    environment: Mapping[str, str] = MappingProxyType({})
    """What it is told by variables."""
    streams = False
    """Whether it can send `/sync` over a WebSocket (docs/websocket.md)."""

    def __init__(self, folder: Path, database: Postgres | Sqlite, root: Path = ROOT) -> None:
        """`root` is the checkout whose code runs."""
        self.root = root
        self.folder = folder
        self.database = database
        self.port = _free_port()
        self._log = folder / f"{self.name}.out"
        self._process: subprocess.Popen[bytes] | None = None
        self._spent_before = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def command(self, *, preparing: bool) -> list[str]:
        """The command line. While `preparing`, password hashes may be cheap: nobody logs in with them later."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    async def start(self, *, preparing: bool = False) -> float:
        """Start, and return the seconds until the first answer.  Raises ServerFailed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_NOT_PASSED_ON)}
        command = self.command(preparing=preparing)
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env={**environment, **self.environment},
                start_new_session=True,
            )
        async with HttpClient(HOST, self.port) as http:
            while time.perf_counter() - began < START_TIMEOUT_S:
                if self._process.poll() is not None:
                    break
                try:
                    if (await http.request("GET", "/_matrix/client/versions")).status == 200:
                        return time.perf_counter() - began
                except (OSError, ConnectionLost):
                    pass
                await asyncio.sleep(POLL_S)
        self.stop()
        raise ServerFailed(f"{self.name} does not answer:\n{self.log_tail()}")

    def stop(self) -> None:
        """Stop the server as an operator does; kill it if it does not end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def cost(self) -> Cost:
        """CPU time of the running server and of its database."""
        return Cost(processes.cpu_seconds(self.pid), self.database.cpu_seconds())

    def database_bytes(self) -> int:
        """Bytes the database takes now."""
        return self.database.bytes()

    def memory(self) -> processes.Memory:
        """Memory of the server alone."""
        return processes.memory(self.pid)

    def log_tail(self, lines: int = 30) -> str:
        """The end of what the server wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


class Hromada(Homeserver):
    """Ours, with the flags that every script uses and everything else at its default."""

    name = "hromada"
    environment = MappingProxyType({"HROMADA_MEDIA_MAX_UPLOAD_BYTES": str(2 * 1024 * 1024 * 1024)})
    streams = True

    def command(self, *, preparing: bool) -> list[str]:
        """The command line of `hromada run`; it has no cheaper password hash to offer."""
        url = self.database.url if isinstance(self.database, Postgres) else f"sqlite:///{self.database.path}"
        options = {
            "--data-dir": str(self.folder / "data"),
            "--server-name": SERVER_NAME,
            "--listen": f"{HOST}:{self.port}",
            "--database-url": url,
            "--registration": "open",
            "--registration-shared-secret": SHARED_SECRET,
            "--rate-limits": "off",
        }
        return [sys.executable, "-m", "homeserver", "run", *(part for pair in options.items() for part in pair)]


class Synapse(Homeserver):
    """Synapse with the configuration it generates itself, rate limits off."""

    name = "synapse"

    def command(self, *, preparing: bool) -> list[str]:
        """The command line, its configuration written anew."""
        settings = synapse.Settings(HOST, self.port, SERVER_NAME, SHARED_SECRET)
        return synapse.command(self.folder / "data", settings, self.database, preparing=preparing)


SERVERS: dict[str, type[Homeserver]] = {"hromada": Hromada, "synapse": Synapse}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
