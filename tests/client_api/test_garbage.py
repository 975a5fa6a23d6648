"""What has been served leaves nothing for the cyclic garbage collector.

Whatever refers to itself is freed only when the collector looks, which it does less often the more memory there is; an
error that its own traceback keeps alive keeps the request and all its frames with it. Served in this process, so that
the collector can be asked.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import CoroutineType, FrameType, TracebackType
from typing import Any

import aiohttp
import pytest

import homeserver
from homeserver import boot
from homeserver.cli import _loop_factory
from homeserver.config.load import load
from homeserver.serve import listen, serve, url_of
from homeserver.web import connection
from tests.support.client import Client, part
from tests.support.stream import RawSocket, connected, streaming

OURS = (str(Path(homeserver.__file__).parent), str(Path(homeserver.__file__).parents[1] / "client_api"))
SERVING = ("homeserver.", "client_api.", "hypercorn.")
TIMES = 5
PAUSE_S = 0.2
"""Within this the server ends its side of what a client has left."""

Action = Callable[[Client, str], Awaitable[None]]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """A whole server on SQLite, in this process; gives its address."""
    given = {"server.data_dir": str(folder), "server.name": "hromada.test", "registration.mode": "open"}
    server = await boot.build(load(None, {}, {**given, "rate_limits.enabled": "off"}), ["client"])
    listener = listen("127.0.0.1:0")
    address = url_of(listener)
    ready = asyncio.Event()
    task = asyncio.create_task(serve(server, listener, lambda _: ready.set()))
    await ready.wait()
    try:
        yield address
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await task


def is_ours(thing: Any) -> bool:
    """Whether it was made by serving, and not by the client in the same process."""
    kind = type(thing).__module__
    if kind.startswith(SERVING):
        return True
    if isinstance(thing, TracebackType):
        thing = thing.tb_frame
    if isinstance(thing, FrameType):
        return thing.f_code.co_filename.startswith(OURS)
    if isinstance(thing, CoroutineType):
        return thing.cr_code.co_filename.startswith(OURS)
    return inspect.isfunction(thing) and thing.__module__.startswith(SERVING)


def name_of(thing: Any) -> str:
    if isinstance(thing, TracebackType):
        return f"traceback in {thing.tb_frame.f_code.co_qualname}"
    if isinstance(thing, FrameType):
        return f"frame of {thing.f_code.co_qualname}"
    return getattr(thing, "__qualname__", None) or type(thing).__qualname__


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """What of ours only the collector frees, by name."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(name_of(thing) for thing in gc.garbage if is_ours(thing))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


async def refused(alice: Client, room: str) -> None:
    (await alice.request("GET", f"/rooms/{part(room)}/event/$nothing")).error(404)
    (await alice.request("GET", "/account/whoami", token="nonsense")).error(401)
    (await alice.request("GET", "/no/such/path")).error(404)
    (await alice.request("PUT", f"/rooms/{part(room)}/send/m.room.message/1", {"n": 1.5})).error(400)


async def served(alice: Client, room: str) -> None:
    since = (await alice.sync())["next_batch"]
    await alice.send(room, "hello")
    await alice.sync(since=since)
    await alice.messages(room, limit=10)
    await alice.ok("POST", f"/rooms/{part(room)}/read_markers", {})


async def waited(alice: Client, room: str) -> None:
    since = (await alice.sync())["next_batch"]
    await alice.sync(since=since, timeout=50)
    poll = asyncio.create_task(alice.sync(since=since, timeout=5000))
    await asyncio.sleep(0.05)
    await alice.send(room, "hello")
    await poll


async def hung_up(alice: Client, room: str) -> None:
    since = (await alice.sync())["next_batch"]
    poll = asyncio.create_task(alice.sync(since=since, timeout=5000))
    await asyncio.sleep(0.05)
    poll.cancel()
    with suppress(asyncio.CancelledError):
        await poll


async def connected_anew(alice: Client, room: str) -> None:
    async with aiohttp.ClientSession() as session:
        other = Client(session, alice.base_url)
        other.token = alice.token
        await other.sync()


async def in_pieces(alice: Client, room: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"body":'
        yield b'"x"}'

    address = f"{alice.base_url}/_matrix/client/v3/rooms/{part(room)}/send/m.room.message/{os.urandom(8).hex()}"
    headers = {"authorization": f"Bearer {alice.token}"}
    async with aiohttp.ClientSession() as session, session.put(address, data=pieces(), headers=headers) as answer:
        assert answer.status == 200


async def streamed(alice: Client, room: str) -> None:
    since = (await alice.sync())["next_batch"]
    async with streaming(alice, since=since) as stream:
        await alice.send(room, "hello")
        await stream.update()
        await stream.call("GET", "/account/whoami")


async def stream_cut(alice: Client, room: str) -> None:
    async with RawSocket(alice.base_url) as raw:
        await raw.text({"op": "auth", "access_token": alice.token})
        await raw.frame()


async def stream_refused(alice: Client, room: str) -> None:
    async with connected(alice) as stream:
        await stream.send(op="auth", access_token="nonsense")
        await stream.receive("error")
        assert await stream.closed() == 4001


ACTIONS = [refused, served, waited, hung_up, connected_anew, in_pieces, streamed, stream_cut, stream_refused]


async def left_by(action: Action, folder: Path) -> Counter[str]:
    """What of ours an action leaves."""
    async with serving(folder) as url, aiohttp.ClientSession() as http:
        alice = await Client(http, url).register("alice")
        room = await alice.create_room()
        await action(alice, room)  # what is made once is no garbage
        await asyncio.sleep(PAUSE_S)
        with garbage() as found:
            for _ in range(TIMES):
                await action(alice, room)
            await asyncio.sleep(PAUSE_S)
        return found


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_nothing_is_left(action: Action, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LINGER_SECONDS", PAUSE_S / 4)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        found = runner.run(left_by(action, tmp_path))
    assert not found, str(found)
