"""An application service on loopback: it remembers what it is told and asked, and answers as the test wants.

`RunningService` lives in the test's process; `KilledService` is a process of its own that can be killed with -9.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.ports import free_port
from tests.support.server import ROOT

AS_TOKEN = "as-token-of-the-test"
HS_TOKEN = "hs-token-of-the-test"
BOT = "@_db_bot:hromada.test"


def registration(url: str | None, **more: Any) -> dict[str, Any]:
    """A registration of a service with users `_db_…`."""
    return {
        "id": "db",
        "url": url,
        "as_token": AS_TOKEN,
        "hs_token": HS_TOKEN,
        "sender_localpart": "_db_bot",
        "rate_limited": False,
        "namespaces": {"users": [{"exclusive": True, "regex": "@_db_.*"}]},
        **more,
    }


class Received:
    """What a service was sent: ids and bodies of transactions, in order, repeated ones too."""

    def __init__(self) -> None:
        self.transactions: list[tuple[str, bytes]] = []

    def events(self) -> list[dict[str, Any]]:
        """The events of all transactions, each transaction once."""
        return [event for body in self.bodies() for event in body["events"]]

    def bodies(self) -> list[dict[str, Any]]:
        """All transactions, each once."""
        return [json.loads(body) for body in dict(self.transactions).values()]

    def messages(self) -> list[str]:
        """The texts of messages."""
        return [event["content"]["body"] for event in self.events() if event["type"] == "m.room.message"]

    def check(self) -> None:
        """A repeated transaction has identical bytes, and no event is in two transactions."""
        first: dict[str, bytes] = {}
        for txn_id, body in self.transactions:
            assert first.setdefault(txn_id, body) == body, f"transaction {txn_id} was altered"
        ids = [event["event_id"] for event in self.events()]
        assert len(ids) == len(set(ids)), "an event came in two transactions"


class RunningService(Received):
    """A service in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.status = 200
        self.delay_s = 0.0
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        """Everything else than transactions: method, path as it came, query."""
        self.attempts = 0
        self.answers: dict[str, Any] = {}
        """JSON by path prefix; what is not there is M_NOT_FOUND."""
        self.on_query: Callable[[str], Any] | None = None
        self.legacy_only = False
        self.prefix = ""
        """Where it lives on its host."""
        self.unknown_status = 404
        self.unknown = 0
        """Requests to paths that it does not know."""
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        """Listen."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Go away, with all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until(self, wanted: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until `wanted()` holds."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(wanted)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        is_legacy = not path.startswith(f"{self.prefix}/_matrix/app/v1/")
        if is_legacy != self.legacy_only or not path.startswith(self.prefix):
            self.unknown += 1
            return web.Response(status=self.unknown_status, text="no such page")
        token = request.query.get("access_token") if is_legacy else None
        if HS_TOKEN not in (token, request.headers.get("Authorization", "").removeprefix("Bearer ")):
            return web.json_response({"errcode": "M_FORBIDDEN"}, status=403)
        if "/transactions/" not in path:
            self.asked.append((request.method, path, dict(request.query)))
            return await self._other(path)
        self.attempts += 1
        body = await request.read()
        async with self._changed:
            self._changed.notify_all()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.status == 200:
            self.transactions.append((path.rpartition("/")[2], body))
        return web.json_response({}, status=self.status)

    async def _other(self, path: str) -> web.StreamResponse:
        if self.status != 200:
            return web.json_response({"errcode": "M_UNKNOWN"}, status=self.status)
        if path.endswith("/ping"):
            return web.json_response({})
        if self.on_query is not None and await self.on_query(path):
            return web.json_response({})
        for prefix, answer in self.answers.items():
            if path.endswith(prefix):
                return web.json_response(answer)
        return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)


@asynccontextmanager
async def running_service() -> AsyncIterator[RunningService]:
    """A service that listens."""
    service = RunningService()
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


class KilledService(Received):
    """A service that writes what it is sent into a file before it answers, in a process that is killed now and then."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._file = folder / "received.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = [sys.executable, "-m", "tests.support.appservice", str(self.port), str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def read(self) -> None:
        """Take in what the file says. A line that was cut off was not answered."""
        lines = self._file.read_bytes().split(b"\n")[:-1] if self._file.exists() else []
        self.transactions = []
        for line in lines:
            try:
                txn_id, body = json.loads(line)
            except ValueError:
                continue  # killed while it wrote
            self.transactions.append((txn_id, body.encode()))

    async def until(self, wanted: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until `wanted()` holds of what was received."""
        end = time.monotonic() + seconds
        while True:
            self.read()
            if wanted():
                return
            assert time.monotonic() < end, f"still not there: {len(self.transactions)} transactions"
            await asyncio.sleep(0.05)


async def _serve(port: int, file: str) -> None:
    with open(file, "ab", buffering=0) as log:

        async def put(request: web.Request) -> web.StreamResponse:
            body = (await request.read()).decode()
            log.write(b"\n" + json.dumps([request.match_info["txn_id"], body]).encode() + b"\n")
            return web.json_response({})

        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_put("/_matrix/app/v1/transactions/{txn_id}", put)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
