"""A throwaway server that speaks MongoDB's protocol (nx-27017, on SQLite), or the one that MONGO_URL names."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.ports import free_port

START_TIMEOUT_S = 120.0


class MongoUnavailable(Exception):
    """No such server on this machine, or it does not start."""


class Mongo:
    """One running server. That of MONGO_URL is left as it is, but for databases of our own."""

    def __init__(self) -> None:
        self.outside = os.environ.get("MONGO_URL", "")
        self._program = shutil.which("nx-27017") or str(Path(sys.executable).parent / "nx-27017")
        if not self.outside and not Path(self._program).exists():
            raise MongoUnavailable("no nx-27017: pip install nx-27017, or set MONGO_URL")
        self.root = Path(tempfile.mkdtemp(prefix="hromada-mongo-"))
        self.log = self.root / "log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Start, and wait until it listens. Raises MongoUnavailable."""
        if self.outside:
            return
        self.port = self.port or free_port()
        (self.root / "data").mkdir(exist_ok=True)
        command = [self._program, "--data-dir", str(self.root / "data"), "-p", str(self.port)]
        command += ["--pid-file", str(self.root / "pid"), "--log-file", str(self.root / "own.log")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.root
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        self.kill()
        raise MongoUnavailable(f"nx-27017 does not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """kill -9; a server of somebody else lives on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def destroy(self) -> None:
        """Stop and delete everything."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self) -> str:
        """The URL of a new database."""
        name = f"hromada_test_{os.getpid()}_{next(self._numbers)}"
        if not self.outside:
            return f"mongodb://127.0.0.1:{self.port}/{name}"
        parts = urlsplit(self.outside)
        return parts._replace(path=f"/{name}").geturl()


@contextlib.contextmanager
def running_mongo() -> Iterator[Mongo]:
    """A server that is there inside the block. Raises MongoUnavailable."""
    server = Mongo()
    try:
        server.start()
        yield server
    finally:
        server.destroy()
