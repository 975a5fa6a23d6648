"""A throwaway MariaDB for tests: one server in a temporary folder, any number of databases in it.

Listens on loopback only, with a binary log of whole rows as change capture needs it, and is stopped by its pid.
With MYSQL_URL (docs/bridges/mysql.md) it is a server that is there already, but for tests that end or configure theirs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

import pytest

from tests.support.ports import free_port

START_TIMEOUT_S = 120.0
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


class MariaDb(Protocol):
    """A running server."""

    port: int

    def make_database(self) -> str:
        """A new, empty database; its URL."""
        ...

    def sql(self, statements: str, database: str = "mysql") -> str:
        """Run statements as the superuser and return their output, without headings. Raises RuntimeError."""
        ...

    def kill(self) -> None:
        """kill -9. Skips the test if the server is somebody else's."""
        ...

    def start(self) -> None:
        """Start it. Raises MariaDbUnavailable."""
        ...


class OwnMariaDb:
    """A server of our own."""

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
        self.port = self.port or free_port()
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
        return _run(self._binaries["mariadb"], [f"--socket={self._socket}", "--user=root"], statements, database)


class OutsideMariaDb:
    """That of MYSQL_URL: left as it is, but for databases of our own."""

    def __init__(self, url: str) -> None:
        """Raises MariaDbUnavailable."""
        parts = urlsplit(url)
        if parts.hostname not in ("127.0.0.1", "localhost") or parts.username != USER:
            # Tests put a proxy before it that speaks to this machine only, and grant to that user.
            raise MariaDbUnavailable(f"MYSQL_URL must be mysql://{USER}:PASSWORD@127.0.0.1:PORT/")
        self.port = parts.port or 3306
        self._password = unquote(parts.password or "")
        self._client = _found("mariadb")
        self._made: list[str] = []

    def start(self) -> None:
        """Nothing to do."""

    def kill(self) -> None:
        """Not that one."""
        pytest.skip("the server of MYSQL_URL is not killed")

    def destroy(self) -> None:
        """Drop our databases."""
        self.sql("".join(f"DROP DATABASE IF EXISTS {name};" for name in self._made))

    def make_database(self) -> str:
        """A new, empty database; its URL."""
        self._made.append(f"hromada_test_{os.getpid()}_{len(self._made)}")
        self.sql(f"CREATE DATABASE {self._made[-1]}")
        return f"mysql://{USER}:{quote(self._password, safe='')}@127.0.0.1:{self.port}/{self._made[-1]}"

    def sql(self, statements: str, database: str = "mysql") -> str:
        """Run statements as the user of MYSQL_URL and return their output, without headings."""
        where = ["--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}", f"--user={USER}"]
        return _run(self._client, where, statements, database, MYSQL_PWD=self._password)


def _run(client: str, where: list[str], statements: str, database: str, **environment: str) -> str:
    command = [client, "--no-defaults", *where, "-N", "-B", "--default-character-set=utf8mb4", database]
    done = subprocess.run(
        command, input=statements, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if done.returncode != 0:
        raise RuntimeError(f"{statements[:200]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _found(name: str) -> str:
    where = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if where is None:
        raise MariaDbUnavailable(f"no MariaDB: there is no {name}; install mariadb-server")
    return where


@contextlib.contextmanager
def running_mariadb(*settings: str, own: bool = False) -> Iterator[MariaDb]:
    """A server that is there inside the block; our own for who ends it or has settings. Raises MariaDbUnavailable."""
    outside = "" if own or settings else os.environ.get("MYSQL_URL", "")
    server = OutsideMariaDb(outside) if outside else OwnMariaDb(*settings)
    try:
        server.start()
        yield server
    finally:
        server.destroy()
