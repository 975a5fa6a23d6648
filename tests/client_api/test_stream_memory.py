"""What a socket costs whose client stops reading: a bounded number of bytes, then its end. reliability: S4

Measured over many sockets at once, as growth of the server's resident memory by socket. They also guard
`homeserver/web/hypercorn_bounds.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import psutil
import pytest

from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.server import Server
from tests.support.stream import RawSocket, frame_of, streaming

pytestmark = pytest.mark.all_only

KIBIBYTE = 1024
SOCKETS = 100
BUFFERED = 256 * KIBIBYTE
READ_AHEAD = 768 * KIBIBYTE
"""What is read of a flood before the kernel has to keep it: reads of 256 KiB, and the frames between the layers."""
MESSAGE = 20_000
"""Bytes of one message; an update holds ten of them, an answer to `limit=5` five."""


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server of one's own, whose memory can be watched."""
    return start_server(
        environment={
            "HROMADA_STREAM_SEND_SECONDS": "3",
            "HROMADA_STREAM_SOCKETS_PER_USER": str(2 * SOCKETS),
            # All sockets are one user's, whose calls would be refused beyond a share, and answers be small.
            "HROMADA_LIMITS_REQUESTS_PER_USER": "100000",
        }
    )


@pytest.fixture
async def alice(server: Server, http: aiohttp.ClientSession) -> AsyncIterator[Client]:
    """Its user; afterwards the server must be well."""
    client = await Client(http, server.url).register("alice")
    yield client
    server.assert_alive()
    assert await client.ok("GET", "/account/whoami")
    assert "Traceback" not in server.log_tail(1000)


async def say(client: Client, room: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await client.send(room, {"msgtype": "m.text", "body": f"{number} ".ljust(MESSAGE, "x")})


async def deaf(stack: AsyncExitStack, client: Client) -> RawSocket:
    """A socket that says who it is and then reads no more."""
    raw = await stack.enter_async_context(RawSocket(client.base_url))
    await raw.text({"op": "auth", "access_token": client.token})
    assert json.loads((await raw.frame())[1])["op"] == "ready"
    return raw


async def measure(client: Client, name: str) -> int:
    """One of the server's own measures."""
    text = (await client.request("GET", "/metrics")).raw.decode()
    return next((int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(name + " ")), 0)


async def peak_until_closed(server: Server, client: Client, count: int) -> int:
    """The largest resident memory until the server has closed so many sockets for being too slow."""
    process = psutil.Process(server.pid)
    peak = 0
    async with asyncio.timeout(180):
        while await measure(client, 'hromada_socket_closes_total{code="4008"}') < count:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(0.05)
    return max(peak, process.memory_info().rss)


async def test_clients_that_never_read(server: Server, alice: Client) -> None:
    room = await alice.create_room()
    since = (await alice.sync())["next_batch"]
    await say(alice, room, 20)
    path = f"/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=5"
    async with streaming(alice, since=since) as reading:  # who reads, and lets the server fill its caches
        update = len(json.dumps(await reading.update()))
        for number in range(20):
            await reading.send(op="req", id=number, method="GET", path=path)
        for _ in range(20):
            await reading.receive("res")
    async with AsyncExitStack() as stack:
        sockets = [await deaf(stack, alice) for _ in range(SOCKETS)]
        before = psutil.Process(server.pid).memory_info().rss
        for raw in sockets:
            await raw.text({"op": "start", "since": since})
            for number in range(50):
                await raw.text({"op": "req", "id": number, "method": "GET", "path": path})
        peak = await peak_until_closed(server, alice, SOCKETS)
        # What the kernel took may still be read; then the connection ends.
        await asyncio.gather(*(raw.ended() for raw in sockets))
    growth = (peak - before) / SOCKETS
    print(f"{growth / KIBIBYTE:.0f} KiB a socket, an update being {update / KIBIBYTE:.0f} KiB")
    assert growth < BUFFERED + update


async def test_clients_that_flood_and_never_read(server: Server, alice: Client) -> None:
    room = await alice.create_room()
    await say(alice, room, 5)
    path = f"/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=5"
    ask = [{"op": "req", "id": number, "method": "GET", "path": path} for number in range(20)]
    stuffing = frame_of(0x81, json.dumps({"op": "ping", "stuffing": "x" * 65_000}).encode())
    async with AsyncExitStack() as stack:
        sockets = [await deaf(stack, alice) for _ in range(SOCKETS)]
        before = psutil.Process(server.pid).memory_info().rss
        for raw in sockets:
            for frame in ask:
                await raw.text(frame)
            raw.writer.write(stuffing * 100)
        peak = await peak_until_closed(server, alice, SOCKETS)
    growth = (peak - before) / SOCKETS
    print(f"{growth / KIBIBYTE:.0f} KiB a socket")
    assert growth < BUFFERED + READ_AHEAD


async def test_a_slow_reader_resumes_without_loss(server: Server, alice: Client) -> None:
    room = await alice.create_room()
    since: str = (await alice.sync())["next_batch"]
    async with AsyncExitStack() as stack:
        raw = await deaf(stack, alice)
        await say(alice, room, 50)
        await raw.text({"op": "start", "since": since, "filter": {"room": {"timeline": {"limit": 100}}}})
        await say(alice, room, 10, first=50)
        await peak_until_closed(server, alice, 1)
    async with streaming(alice, since=since, filter={"room": {"timeline": {"limit": 100}}}) as stream:
        seen: list[str] = []
        while len(seen) < 60:
            joined = (await stream.update())["rooms"]["join"][room]
            assert not joined["timeline"]["limited"]
            seen += [event["content"]["body"].strip("x ") for event in joined["timeline"]["events"]]
    assert seen == [str(number) for number in range(60)]


async def test_answers_too_large_for_a_socket(alice: Client) -> None:
    room = await alice.create_room()
    await say(alice, room, 15)
    async with streaming(alice) as stream:
        answer = await stream.call("GET", f"/rooms/{room}/messages?dir=b&limit=15")
        assert (answer["status"], answer["body"]["errcode"]) == (413, "M_TOO_LARGE")
        # And many that are not, asked for at once, all come: those that had no room were made again.
        path = f"/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=5"
        for number in range(30):
            await stream.send(op="req", id=number, method="GET", path=path)
        answers = [await stream.receive("res") for _ in range(30)]
        assert sorted(answer["id"] for answer in answers) == list(range(30))
        assert all(len(answer["body"]["chunk"]) == 5 for answer in answers)
