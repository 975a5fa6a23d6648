"""A throwaway MariaDB for tests: one server in a temporary folder, any number of databases in it.

Listens on loopback only, with a binary log of whole rows as change capture needs it, and is stopped by its pid.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_TIMEOUT_S = 60.0
USER = "hromada"
PASSWORD = "for tests only"
SETTINGS = (
    "--bind-address=127.0.0.1",
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--log-bin=bin",
    "--server-id=1",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--skip-name-resolve",
    "--performance-schema=OFF",
)


class MariaDbUnavailable(Exception):
    """No MariaDB on this machine, or it does not start."""


class MariaDb:
    """One running server."""

    def __init__(self, *settings: str) -> None:
        """`settings` come behind the usual ones."""
        self._settings = settings
        self._binaries = {name: _found(name) for name in ("mariadbd", "mariadb-install-db", "mariadb")}
        self.root = Path(tempfile.mkdtemp(prefix="hromada-mariadb-"))
        self.log = self.root / "mariadb.log"
        self._socket = self.root / "socket"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Start, initialising it first, and wait until it answers. Raises MariaDbUnavailable."""
        data = self.root / "data"
        user = "root" if os.geteuid() == 0 else ""
        own = [f"--user={user}"] if user else []
        if not data.exists():
            command = [self._binaries["mariadb-install-db"], "--no-defaults", f"--datadir={data}", *own]
            command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
            # Temporary tables have the same names in every such process.
            environment = {**os.environ, "TMPDIR": str(self.root)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode != 0:
                raise MariaDbUnavailable(f"mariadb-install-db failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        self.port = self.port or _free_port()
        command = [self._binaries["mariadbd"], "--no-defaults", f"--datadir={data}", f"--socket={self._socket}", *own]
        command += [f"--port={self.port}", f"--pid-file={self.root / 'pid'}", f"--tmpdir={self.root}"]
        command += [*SETTINGS, *self._settings]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.root
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(RuntimeError):
                self.sql(f"CREATE USER IF NOT EXISTS {USER} IDENTIFIED BY '{PASSWORD}'")
                self.sql(f"GRANT ALL ON *.* TO {USER}")
                return
            time.sleep(0.1)
        self.kill()
        raise MariaDbUnavailable(f"MariaDB does not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Stop it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def destroy(self) -> None:
        """Stop and delete everything."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def make_database(self) -> str:
        """A new, empty database; its URL."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"mysql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def sql(self, statements: str, database: str = "mysql") -> str:
        """Run statements as the superuser and return their output, without headings."""
        command = [self._binaries["mariadb"], "--no-defaults", f"--socket={self._socket}", "--user=root", "-N", "-B"]
        command += ["--default-character-set=utf8mb4", database]
        done = subprocess.run(command, input=statements, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{statements[:200]}: {done.stderr.strip()}")
        return done.stdout.strip()


def _found(name: str) -> str:
    where = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if where is None:
        raise MariaDbUnavailable(f"no MariaDB: there is no {name}; install mariadb-server")
    return where


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_mariadb(*settings: str) -> Iterator[MariaDb]:
    """A server that is there inside the block. Raises MariaDbUnavailable."""
    server = MariaDb(*settings)
    try:
        server.start()
        yield server
    finally:
        server.destroy()
