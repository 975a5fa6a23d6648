"""`python -m benchmarks.appservices`: what it costs a homeserver to push events to an application service on loopback.

Both servers are measured in one run. `live`: the CPU of sending messages into a room of the service's, less that of as
many into a room like it that is none of its business; the difference is small beside both, so it is the median of
rounds. `backlog`: the service holds its answer while messages are sent, and then takes all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import MappingProxyType
from urllib.parse import quote

from aiohttp import web

from benchmarks import synapse
from benchmarks.databases import KINDS, database_of
from benchmarks.http import HttpClient
from benchmarks.matrix import CLIENT, Account, Matrix
from benchmarks.measure import SETTLE_S, each
from benchmarks.servers import HOST, SERVER_NAME, SHARED_SECRET, Homeserver, Hromada, Synapse, _free_port
from benchmarks.world import say

EVENTS = 3_000
"""Waiting for a service that takes none."""
ROUNDS = 24
STEP = 125
"""Messages of a round, into each of the two rooms."""
AT_ONCE = 4
PATIENCE_S = 300.0
BOT = f"@_bench_bot:{SERVER_NAME}"
AS_TOKEN = "as-token-of-the-benchmark-only"


class Service:
    """Takes transactions and counts the messages in them, each once."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.seen: set[str] = set()
        self.transactions = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json(loads=json.loads)
        await self.gate.wait()
        self.transactions += 1
        self.seen |= {event["event_id"] for event in body["events"] if event["type"] == "m.room.message"}
        return web.json_response({})

    async def start(self) -> web.AppRunner:
        """Listen on loopback."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_put("/_matrix/app/v1/transactions/{txn}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.port).start()
        return runner

    async def has(self, count: int) -> None:
        """Wait for so many messages.  Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.seen) < count:
                await asyncio.sleep(0.01)

    def registration(self, folder: Path) -> Path:
        """Its registration file."""
        file = folder / "registration.yaml"
        users = [{"exclusive": True, "regex": "@_bench_.*"}]
        file.write_text(
            json.dumps(
                {
                    "id": "bench",
                    "url": f"http://{HOST}:{self.port}",
                    "as_token": AS_TOKEN,
                    "hs_token": "hs-token-of-the-benchmark-only",
                    "sender_localpart": "_bench_bot",
                    "rate_limited": False,
                    "namespaces": {"users": users, "rooms": [], "aliases": []},
                }
            )
        )
        return file


def _server(name: str, folder: Path, database: object, registration: Path) -> Homeserver:
    if name == "hromada":

        class WithService(Hromada):
            environment = MappingProxyType({**Hromada.environment, "HROMADA_APPSERVICES_FILES": str(registration)})

        return WithService(folder, database)  # type: ignore[arg-type] # one of the two

    class SynapseWithService(Synapse):
        def command(self, *, preparing: bool) -> list[str]:
            settings = synapse.Settings(HOST, self.port, SERVER_NAME, SHARED_SECRET, (str(registration),))
            return synapse.command(self.folder / "data", settings, self.database, preparing=preparing)

    return SynapseWithService(folder, database)  # type: ignore[arg-type] # one of the two


async def measure(name: str, kind: str) -> dict[str, float]:
    """CPU milliseconds for each event pushed, of the server and its database."""
    with tempfile.TemporaryDirectory(prefix="hromada-bench-", ignore_cleanup_errors=True) as text:
        folder = Path(text)
        folder.chmod(0o755)
        with database_of(kind, folder) as database:
            service = Service()
            runner = await service.start()
            server = _server(name, folder / name, database, service.registration(folder))
            try:
                await server.start(preparing=True)
                async with HttpClient(HOST, server.port) as http:
                    return await _measure(server, Matrix(http, SHARED_SECRET), service)
            finally:
                service.gate.set()
                server.stop()
                await runner.cleanup()


async def _measure(server: Homeserver, matrix: Matrix, service: Service) -> dict[str, float]:
    anna = await matrix.register_by_secret("anna")
    bot = Account("_bench_bot", BOT, AS_TOKEN, "")
    theirs, other = await matrix.create_room(anna, "theirs"), await matrix.create_room(anna, "other")
    await matrix.call("POST", f"{CLIENT}/rooms/{quote(theirs)}/join?user_id={quote(BOT)}", bot, {})
    # A second member, so that the rooms are alike but for whose it is.
    await matrix.join(await matrix.register_by_secret("bert"), other)

    async def send(room: str, count: int) -> None:
        await each(range(count), lambda number: matrix.send(anna, room, f"message {number}"), AT_ONCE)

    async def spent(room: str, count: int) -> float:
        before = server.cost()
        await send(room, count)
        await service.has(expected)
        await asyncio.sleep(SETTLE_S)
        after = server.cost() - before
        return after.server + after.database

    expected = 50
    await send(other, 50)
    await spent(theirs, 50)
    sent, live = [], []
    for number in range(ROUNDS):  # in turns, and each first as often as the other
        cost = {}
        for room in (other, theirs) if number % 2 else (theirs, other):
            expected += STEP * (room == theirs)
            cost[room] = await spent(room, STEP) * 1000 / STEP
        sent.append(cost[other])
        live.append(cost[theirs] - cost[other])
    service.gate.clear()
    await send(theirs, EVENTS + 1)
    await asyncio.sleep(2.0)
    before, transactions = server.cost(), service.transactions
    service.gate.set()
    await service.has(expected + EVENTS + 1)
    await asyncio.sleep(SETTLE_S)
    backlog = server.cost() - before
    return {
        "send": median(sent),
        "live": median(live),
        "backlog": (backlog.server + backlog.database) * 1000 / EVENTS,
        "transactions": service.transactions - transactions,
    }


def main(arguments: Sequence[str]) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.appservices")
    parser.add_argument("--server", choices=("hromada", "synapse", "both"), default="both")
    parser.add_argument("--database", choices=KINDS, default="postgres")
    options = parser.parse_args(arguments)
    found = {}
    for name in ("hromada", "synapse") if options.server == "both" else (options.server,):
        say(f"{name} on {options.database}")
        found[name] = asyncio.run(measure(name, options.database))
        texts = (f"{key} {value:.3f}" for key, value in found[name].items())
        print(f"{name}: CPU ms for each event: {', '.join(texts)}", flush=True)
    if len(found) > 1:
        for key in ("live", "backlog"):
            print(f"{key}: 1/{found['synapse'][key] / found['hromada'][key]:.1f} of Synapse's", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
