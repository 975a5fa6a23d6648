"""The server under test as a throwaway process: started, stopped, killed and restarted by pid.

Knows only the command line and the `ready` line, so that every test that uses it is a black-box test.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_NAME = "hromada.test"
SHARED_SECRET = "a shared secret for the tests only"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 120.0


class ServerFailed(AssertionError):
    """The server did not start, or died; carries the end of its log."""


@dataclass(frozen=True)
class ServerOptions:
    """Command-line options of `hromada run`."""

    server_name: str = SERVER_NAME
    registration: str = "open"
    shared_secret: str | None = SHARED_SECRET
    rate_limits: str = "off"
    database_url: str | None = None
    log_level: str = "info"
    listen: str = "127.0.0.1:0"
    environment: dict[str, str] = field(default_factory=dict)

    def arguments(self, data_dir: Path) -> list[str]:
        """The command line after `hromada`."""
        arguments = ["run", "--data-dir", str(data_dir), "--server-name", self.server_name]
        arguments += ["--listen", self.listen, "--registration", self.registration]
        if self.shared_secret is not None:
            arguments += ["--registration-shared-secret", self.shared_secret]
        arguments += ["--rate-limits", self.rate_limits, "--log-level", self.log_level]
        if self.database_url is not None:
            arguments += ["--database-url", self.database_url]
        return arguments


class Server:
    """One server process and its data folder."""

    def __init__(self, data_dir: Path, options: ServerOptions | None = None) -> None:
        self.data_dir = data_dir
        self.options = options or ServerOptions()
        self.url = ""
        data_dir.mkdir(parents=True, exist_ok=True)
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._stdout = data_dir.parent / f"{data_dir.name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The server name: the part of its identifiers behind the colon."""
        return self.options.server_name

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """SIGSTOP: the process holds everything and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def begin_with(self, database: Path) -> None:
        """Copy the SQLite file that it shall find at its first start."""
        copied = self.data_dir / "hromada.db"
        shutil.copyfile(database, copied)
        copied.chmod(0o600)  # as a server makes it, whatever the umask of the tests

    def start(self) -> None:
        """Start and wait for `ready http://HOST:PORT`.  Raises ServerFailed with the log's tail."""
        self.launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if (url := self._ready_url()) is not None:
                self.url = url
                return
            self.assert_alive()
            time.sleep(0.02)
        self.kill()
        raise ServerFailed(f"not ready after {START_TIMEOUT_S:.0f} s:\n{self.log_tail()}")

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert self._process is None, "the server is already running"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HROMADA_")}
        command = [sys.executable, "-m", "homeserver", *self.options.arguments(self.data_dir)]
        with self._stdout.open("wb") as out, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                cwd=ROOT,
                env={**environment, **self.options.environment},
                start_new_session=True,
            )

    def wait(self, timeout: float = START_TIMEOUT_S) -> int:
        """Wait until the process ends by itself and return its exit status."""
        assert self._process is not None
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"still running after {timeout:.0f} s:\n{self.log_tail()}") from None
        self._process = None
        return status

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL if that does not end it. Returns the exit status, or None if it was not running."""
        process = self._process
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"did not stop within {STOP_TIMEOUT_S:.0f} s:\n{self.log_tail()}") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop (if it runs) and start again with the same data; the URL may change."""
        self.stop()
        self.start()

    def reconfigure(self, **changes: object) -> None:
        """Change options for the next start."""
        self.options = replace(self.options, **changes)  # type: ignore[arg-type]

    def assert_alive(self) -> None:
        """Raises ServerFailed if the process has ended."""
        if self._process is None or (status := self._process.poll()) is None:
            return
        self._process = None
        raise ServerFailed(f"the server exited with status {status}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        """The end of what the server wrote to standard output and to its log."""
        text = self._stdout.read_text(errors="replace") + self.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _ready_url(self) -> str | None:
        for line in self._stdout.read_text(errors="replace").splitlines(keepends=True):
            if line.startswith("ready ") and line.endswith("\n"):
                return line.removeprefix("ready ").strip().rstrip("/")
        return None


@contextmanager
def running_pair(folder: Path, options: ServerOptions) -> Iterator[tuple[Server, Server]]:
    """Two processes of one server, with the same keys, on the database that `options` name."""
    one, two = Server(folder / "one", options), Server(folder / "two", options)
    try:
        one.start()
        for key in one.data_dir.glob("*.key*"):
            shutil.copy2(key, two.data_dir / key.name)
        two.start()
        yield one, two
    finally:
        one.stop()
        two.stop()
