"""Synapse as a throwaway process, for what is to run on other homeservers too. It is installed from PyPI once."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks import synapse
from benchmarks.databases import Sqlite
from tests.support.ports import free_port
from tests.support.server import SERVER_NAME, SHARED_SECRET

START_TIMEOUT_S = 120.0


class SynapseUnavailable(Exception):
    """It is not installed on this machine, and nobody asked for it to be."""


class Synapse:
    """One process on an SQLite file in `folder`, with application services. It keeps its port."""

    def __init__(self, folder: Path) -> None:
        """Raises SynapseUnavailable, but in continuous integration, which installs it."""
        if not synapse.is_installed() and os.environ.get("CI") != "true":
            raise SynapseUnavailable("Synapse is not installed; `python -m benchmarks --quick` does so")
        synapse.install()
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "synapse.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *registrations: str) -> None:
        """Start with the application services of these files, and wait until it answers."""
        settings = synapse.Settings("127.0.0.1", self.port, SERVER_NAME, SHARED_SECRET, registrations)
        database = Sqlite(self._folder / "synapse.db")
        command = synapse.command(self._folder / "synapse", settings, database, preparing=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_matrix/client/versions", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.kill()
        raise AssertionError(f"Synapse does not answer:\n{self.log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
