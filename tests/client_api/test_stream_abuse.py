"""The WebSocket against clients that break its rules: each costs a bounded number of bytes and closed as documented.

Cases S1 to S5 of abuse. They also guard `homeserver/web/hypercorn_bounds.py`.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator

import aiohttp
import psutil
import pytest

from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.stream import RawSocket, connected, frame_of, streaming

pytestmark = pytest.mark.all_only

MEBIBYTE = 1024 * 1024


@pytest.fixture
async def alice(start_server: StartServer, http: aiohttp.ClientSession) -> AsyncIterator[Client]:
    """A user of a server of their own, whose memory can be watched."""
    server = start_server(
        environment={"HROMADA_STREAM_SEND_SECONDS": "1", "HROMADA_STREAM_SOCKETS_PER_USER": "3"},
    )
    client = await Client(http, server.url).register("alice")
    yield client
    server.assert_alive()
    assert await client.ok("GET", "/account/whoami")
    assert "Traceback" not in server.log_tail(1000)


@pytest.fixture
def server(alice: Client, start_server: StartServer) -> psutil.Process:
    """The process of that server."""
    (process,) = (
        child
        for child in psutil.Process().children()
        if any(c.laddr.port == int(alice.base_url.rpartition(":")[2]) for c in child.net_connections() if c.laddr)
    )
    return process


async def authenticated(raw: RawSocket, client: Client) -> None:
    await raw.text({"op": "auth", "access_token": client.token})
    assert json.loads((await raw.frame())[1])["op"] == "ready"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (frame_of(0x81, b"\xff\xfe"), 1007),
        (frame_of(0x81, b"{" * 65_537), 1009),
        (frame_of(0x82, b"{}"), 1003),  # binary
        (frame_of(0xC1, zlib.compress(bytes(MEBIBYTE))), 1002),  # compressed, which was not agreed on
        (frame_of(0x80, b"continuation of nothing"), 1002),
        (frame_of(0x81, b"no JSON"), 4000),
        (frame_of(0x81, b'{"op":"sing"}'), 4000),
        (frame_of(0x81, b'{"op":"ack","pos":"s1"}'), 4000),
        (frame_of(0x81, b'{"op":"req","id":1}'), 4000),
        (
            frame_of(0x81, b'{"op":"req","id":1,"method":"GET","path":"/","body":' + b"[" * 200 + b"]" * 200 + b"}"),
            4000,
        ),
        (frame_of(0x81, b'{"op":"req","id":"\\ud800","method":"GET","path":"/"}'), 4000),
    ],
)
async def test_bad_frames(alice: Client, frame: bytes, code: int) -> None:
    async with RawSocket(alice.base_url) as raw:
        assert b"permessage-deflate" not in raw.answer
        await authenticated(raw, alice)
        await raw.write(frame)
        assert await raw.close_code() == code
        await raw.ended()


async def test_bad_frames_before_authentication(alice: Client) -> None:
    for frame, code in ((frame_of(0x81, b"{"), 4000), (frame_of(0x81, b" " * 70_000), 1009)):
        async with RawSocket(alice.base_url) as raw:
            await raw.write(frame)
            assert await raw.close_code() == code


async def test_endless_fragments(alice: Client, server: psutil.Process) -> None:
    before = server.memory_info().rss
    async with RawSocket(alice.base_url) as raw:
        await authenticated(raw, alice)
        with pytest.raises(ConnectionError):
            await raw.write(frame_of(0x01, b"x" * 1000))
            for _ in range(64 * 16):  # 64 MiB, if nobody minds
                await raw.write(frame_of(0x00, b"x" * 65_536))
            await raw.ended()
            raise ConnectionError
    assert server.memory_info().rss - before < 32 * MEBIBYTE


async def test_half_a_frame(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    quick = start_server(environment={"HROMADA_STREAM_HEARTBEAT_SECONDS": "1", "HROMADA_STREAM_AUTH_SECONDS": "1"})
    client = await Client(http, quick.url).register("alice")
    half = frame_of(0x81, b'{"op":"ping"}')[:9]
    async with RawSocket(quick.url) as silent, RawSocket(quick.url) as raw:
        await authenticated(raw, client)
        await raw.write(half)
        await silent.write(half)
        assert await silent.close_code() == 4008
        assert await raw.close_code() == 4008


@pytest.mark.parametrize("frame", [{"op": "ping"}, {"op": "req", "id": 1, "method": "GET", "path": "/x"}])
async def test_flood(alice: Client, server: psutil.Process, frame: dict[str, object]) -> None:
    before = server.memory_info().rss
    async with RawSocket(alice.base_url) as raw:
        await authenticated(raw, alice)
        burst = frame_of(0x81, json.dumps(frame).encode()) * 1000

        async def flood() -> None:
            for _ in range(1000):
                await raw.write(burst)

        flooding = asyncio.create_task(flood())
        assert await raw.close_code() == 4029
        await raw.ended()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
    assert server.memory_info().rss - before < 32 * MEBIBYTE


async def test_flood_of_control_pings(alice: Client) -> None:
    async with RawSocket(alice.base_url) as raw:
        await authenticated(raw, alice)
        await raw.write(frame_of(0x89, b"x") * 1000)
        assert await raw.close_code() == 1008
        await raw.ended()


async def test_too_many_sockets_of_a_user(alice: Client) -> None:
    async with streaming(alice), streaming(alice), streaming(alice):
        async with connected(alice) as fourth:
            await fourth.send(op="auth", access_token=alice.token)
            assert await fourth.closed() == 4008
    async with streaming(alice):
        pass


async def test_wrong_acknowledgements(alice: Client) -> None:
    await alice.create_room()
    for position in ("s0", "s99999", ""):
        async with streaming(alice, full_state=False) as stream:
            await stream.receive("sync")
            await stream.send(op="ack", pos=position)
            assert await stream.closed() == 4000


async def test_a_second_start(alice: Client) -> None:
    async with streaming(alice, full_state=False) as stream:
        await stream.update()
        await stream.send(op="start")
        assert await stream.closed() == 4000
