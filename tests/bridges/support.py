"""A bridge as a process, and what people in its rooms read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.client import Client, part
from tests.support.server import ROOT

PATIENCE_S = 120.0


class Bridge:
    """`hromada bridges run` as a process."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.file = folder / "bridges.toml"
        self._log = folder / "bridge.log"
        self.environment = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **environment}
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("as_token", "hs_token"):
            (folder / name).write_text(f"the-{name}\n")

    def call(self, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One action that ends by itself."""
        command = [sys.executable, "-m", "homeserver", "bridges", action, str(self.file), *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=200
        )

    def ok(self, action: str, *arguments: str) -> str:
        """The output of an action that has to go well."""
        done = self.call(action, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, fault: str = "", arguments: tuple[str, ...] = ()) -> None:
        """Run; with a fault of `bridges.faults`, or with more arguments."""
        environment = {**self.environment, "HROMADA_BRIDGES_FAULT": fault} if fault else self.environment
        command = [sys.executable, "-m", "homeserver", "bridges", "run", str(self.file), *arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def faulted(self) -> bool:
        """Whether the fault that it was started with has come: it is dead, or stopped."""
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def go_on(self) -> None:
        """Go on where it was stopped."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.terminate()
        status, self._process = self._process.wait(120), None
        return status

    def log(self) -> str:
        """What it said."""
        return self._log.read_text() if self._log.exists() else ""


async def find_room(client: Client, alias: str) -> str | None:
    """The room of an alias, joined; None as long as there is none, or the client may not."""
    name = part(f"#{alias}:hromada.test")
    found = await client.request("GET", f"/directory/room/{name}")
    if found.status != 200:
        return None
    joined = await client.request("POST", f"/join/{part(found.body['room_id'])}", {})
    return str(found.body["room_id"]) if joined.status == 200 else None


async def messages(client: Client, alias: str) -> list[dict[str, Any]]:
    """What somebody reads in a room, oldest first; nothing before there is one."""
    room = await find_room(client, alias)
    if room is None:
        return []
    history = await client.history(room, "b")
    return [event for event in reversed(history) if event["type"] == "m.room.message"]


async def told(client: Client, alias: str) -> list[str]:
    """The texts of `messages`."""
    return [event["content"].get("body", "") for event in await messages(client, alias)]


async def answers(client: Client, room: str, event_id: str) -> list[str]:
    """Reactions to an event, and texts of notices in its thread."""
    found = []
    for event in reversed(await client.history(room, "b")):
        relation = event["content"].get("m.relates_to", {})
        if relation.get("event_id") == event_id:
            found.append(relation.get("key") or event["content"]["body"])
    return found


def registration(bridge: Bridge, folder: Path) -> str:
    """The registration file, written."""
    file = folder / "registration.yaml"
    text = bridge.ok("registration")
    assert json.loads(text)["id"] == "db"
    file.write_text(text)
    return str(file)
