"""The server is killed during uploads to a key backup: each upload is there whole or not at all, and counted."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client
from tests.support.fixtures import StartServer

PER_UPLOAD = 1_500  # more than the server works on at a time
ROOM = "!room:hromada.test"


def _keys(upload: int) -> dict[str, Any]:
    key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": False, "session_data": {"c": "x" * 40}}
    return {"rooms": {ROOM: {"sessions": {f"{upload}-{number}": key for number in range(PER_UPLOAD)}}}}


@pytest.mark.timeout(900)
async def test_kill_during_uploads(
    start_server: StartServer, http: aiohttp.ClientSession, database: str, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(int(request.config.getoption("--crash-seed")))
    server = start_server(database)
    alice = await Client(http, server.url).register("alice")
    body = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {}}
    version = {"version": (await alice.ok("POST", "/room_keys/version", body))["version"]}
    acknowledged: set[int] = set()
    uploads = iter(range(1_000))
    etag = 0

    async def upload() -> None:
        nonlocal etag
        while True:
            number = next(uploads)
            answer = await alice.ok("PUT", "/room_keys/keys", _keys(number), params=version)
            acknowledged.add(number)
            etag = max(etag, int(answer["etag"]))

    for _ in range(int(request.config.getoption("--crash-kills"))):
        before = len(acknowledged)
        tasks = [asyncio.create_task(upload()) for _ in range(3)]
        while len(acknowledged) < before + 2 and not any(task.done() for task in tasks):
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.uniform(0, 0.05))
        server.kill()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes), outcomes
        await asyncio.to_thread(server.start)
        alice.base_url = server.url
        found: dict[int, int] = {}
        for session in (await alice.ok("GET", "/room_keys/keys", params=version))["rooms"][ROOM]["sessions"]:
            found[int(session.split("-")[0])] = found.get(int(session.split("-")[0]), 0) + 1
        assert acknowledged <= found.keys(), "what was acknowledged is there"
        assert set(found.values()) == {PER_UPLOAD}, "no upload is there in part"
        about = await alice.ok("GET", "/room_keys/version")
        assert about["count"] == PER_UPLOAD * len(found) and int(about["etag"]) == len(found) >= etag
