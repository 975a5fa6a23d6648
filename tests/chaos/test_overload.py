"""More than a server can take: herds, slow clients, a big room, an unfair client. Others are served meanwhile.

reliability: O1 to O4. `--overload full` runs the sizes of the promise, the default a few seconds of each. Nothing here
looks at a clock: what must not happen is counted, by the clients and in the server's own measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
import psutil
import pytest

from tests.chaos.herd import Listener, Member, Poller
from tests.support import seeding
from tests.support.client import Client, eventually, part
from tests.support.fixtures import StartServer
from tests.support.server import Server

pytestmark = pytest.mark.timeout(900)

MEBIBYTE = 1024 * 1024
BIG = "x" * 60_000


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether to run the full sizes."""
    return bool(request.config.getoption("--overload") == "full")


@pytest.fixture(autouse=True)
def many_files() -> None:
    """Each connection is a file of this process, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections without any limit, also in time."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        yield session


async def measures(client: Client) -> dict[str, float]:
    """The server's own measures."""
    text = (await client.request("GET", "/metrics")).raw.decode()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def blocked_for(values: dict[str, float], seconds: str) -> float:
    """How often the event loop was found blocked for longer."""
    name = "hromada_loop_blocked_seconds"
    return values[f"{name}_count"] - values[f'{name}_bucket{{le="{seconds}"}}']


# --- O1 ---


@dataclass
class Speaker:
    """Whom a room of the herd listens to."""

    client: Client
    room: str

    async def say(self, text: str) -> None:
        """Send to the room, again with the same transaction when told to come later."""
        path = f"/rooms/{part(self.room)}/send/m.room.message/{text}"
        while (reply := await self.client.request("PUT", path, {"msgtype": "m.text", "body": text})).status != 200:
            await asyncio.sleep(reply.error(503, "M_UNKNOWN")["retry_after_ms"] / 1000)


async def herd(server: Server, http: aiohttp.ClientSession, size: int) -> tuple[list[Speaker], list[Member]]:
    """As many pollers and as many listeners, in rooms of 50; also who speaks in each of the rooms."""
    speakers = []
    for number in range(max(1, size // 50)):
        client = await Client(http, server.url).register(f"speaker{number}")
        speakers.append(Speaker(client, await client.create_room(preset="public_chat", name="room")))
    server.stop()
    async with seeding.services(server) as core:
        people = await seeding.make_accounts(core, [f"user{number}" for number in range(size)], http)
        for number, speaker in enumerate(speakers):
            await seeding.join(core, speaker.room, people[number :: len(speakers)])
        others = [await seeding.log_in_again(core, client) for client in people]
        since = f"s{core.log.position}"
    server.start()
    for speaker in speakers:
        speaker.client.base_url = server.url
    chance = random.Random(1)
    members: list[Member] = [Poller(client, server, since, chance) for client in people]
    return speakers, members + [Listener(client, server, since, chance) for client in others]


async def everybody_has(members: list[Member], texts: list[str]) -> None:
    async def all_have() -> bool:
        return all(member.seen == texts for member in members)

    await eventually(all_have, timeout=300)


@pytest.mark.parametrize("graceful", [True, False])
async def test_everybody_comes_back_at_once(
    start_server: StartServer, http: aiohttp.ClientSession, full: bool, graceful: bool
) -> None:
    size = 2_000 if full else 50
    server = start_server()
    speakers, members = await herd(server, http, size)
    tasks = [asyncio.create_task(member.run()) for member in members]
    try:
        await all_held(speakers[0].client, 2 * size, tasks)
        await asyncio.gather(*(speaker.say("one") for speaker in speakers))
        await everybody_has(members, ["one"])
        for member in members:
            member.turned_away.clear()
        await asyncio.to_thread(server.stop if graceful else server.kill)
        await asyncio.to_thread(server.start)
        for speaker in speakers:
            speaker.client.base_url = server.url
        await asyncio.gather(*(speaker.say("two") for speaker in speakers))
        await everybody_has(members, ["one", "two"])
        await all_held(speakers[0].client, 2 * size, tasks)
        memory = psutil.Process(server.pid).memory_info().rss
        report(members, memory, await measures(speakers[0].client))
        assert memory < (150 + 2 * size * 0.1) * MEBIBYTE  # 20 KB a poll and 64 KB a socket, and what a peak leaves
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    waits = [wait for member in members for wait in member.retry_after]
    assert all(1000 <= wait <= 5000 for wait in waits)
    assert "Traceback" not in server.log_tail(100_000)


async def all_held(client: Client, count: int, tasks: list[asyncio.Task[None]]) -> None:
    """Wait until the server holds so many polls and sockets."""

    async def held() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return (await measures(client))["hromada_http_held"] == count

    await eventually(held, timeout=300)


def report(members: list[Member], memory: int, values: dict[str, float]) -> None:
    turned_away = sum((member.turned_away for member in members), start=members[0].turned_away.__class__())
    print(f"{len(members)} clients, {memory // MEBIBYTE} MiB, turned away: {dict(turned_away)}")
    late = {bound: int(blocked_for(values, bound)) for bound in ("0.1", "0.25", "0.5", "1.0")}
    print(f"event loop blocked for longer than: {late} of {int(values['hromada_loop_blocked_seconds_count'])}")


async def test_more_than_may_be_held(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    """Whoever is too many is sent away, and told to come again at different times; the others stay."""
    server = start_server(environment={"HROMADA_LIMITS_LONG_POLLS": "20"})
    speakers, members = await herd(server, http, 50)
    tasks = [asyncio.create_task(member.run()) for member in members]

    async def turned_away() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return sum(len(member.retry_after) for member in members) > 60

    await eventually(turned_away)
    waits = [wait for member in members for wait in member.retry_after]
    assert all(1000 <= wait <= 5000 for wait in waits)
    assert len(set(waits)) > 20
    assert (await measures(speakers[0].client))["hromada_http_held"] <= 20
    assert await speakers[0].client.send(speakers[0].room, "still served")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- O2 ---


class Worker:
    """A client that goes on working while others misbehave."""

    def __init__(self, client: Client, room: str) -> None:
        self.client, self.room, self.done = client, room, 0

    async def run(self) -> None:
        """Send, and read what was sent, until cancelled. Everything must succeed."""
        since = (await self.client.sync())["next_batch"]
        while True:
            event = await self.client.send(self.room, f"{self.done}")
            answer = await self.client.sync(since=since, timeout=10_000)
            since = answer["next_batch"]
            (found,) = answer["rooms"]["join"][self.room]["timeline"]["events"]
            assert found["event_id"] == event
            self.done += 1
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def working(client: Client, count: int = 3) -> AsyncIterator[list[Worker]]:
    """Others at work; they have done something by the end, and nothing of it failed."""
    workers = []
    for number in range(count):
        other = await client.anonymous().register(f"worker{number}")
        workers.append(Worker(other, await other.create_room()))
    tasks = [asyncio.create_task(worker.run()) for worker in workers]

    async def go_on() -> None:
        done = [worker.done for worker in workers]

        async def went_on() -> bool:
            for task in tasks:
                if task.done():
                    task.result()
            return all(worker.done > before for worker, before in zip(workers, done, strict=True))

        await eventually(went_on)

    await go_on()
    yield workers
    await go_on()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def drip(url: str, first: bytes, slowly: bytes) -> bytes:
    """Send a byte now and then until the server ends the connection; what it said."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def send() -> None:
        writer.write(first)
        for number in range(len(slowly)):
            writer.write(slowly[number : number + 1])
            await writer.drain()
            await asyncio.sleep(0.2)

    sending = asyncio.create_task(send())
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.transport.abort()


async def test_clients_that_drip(start_server: StartServer, http: aiohttp.ClientSession, full: bool) -> None:
    size = 500 if full else 20
    bounds = {"HROMADA_LIMITS_HEAD_SECONDS": "2", "HROMADA_LIMITS_BODY_SECONDS": "2"}
    server = start_server(environment=bounds)
    alice = await Client(http, server.url).register("alice")
    line = "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\n"
    head, body = line.encode(), f"{line}Content-Length: 1000\r\n\r\n".encode()
    async with working(alice):
        heads = [drip(server.url, b"", head * 20) for _ in range(size)]
        second = f"GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n\r\n{line}".encode()
        heads += [drip(server.url, second, b"X: y" * 20)]
        answers = await asyncio.gather(*heads, *(drip(server.url, body, b" " * 1000) for _ in range(size)))
    assert answers[:size] == [b""] * size
    assert answers[size].startswith(b"HTTP/1.1 200")
    assert answers[size].count(b"HTTP/1.1") == 1
    for answer in answers[size + 1 :]:
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"errcode"' in answer

    async def nothing_left() -> bool:
        return (await measures(alice))["hromada_http_in_flight"] == 1  # the question itself

    await eventually(nothing_left)
    assert "Traceback" not in server.log_tail(100_000)


async def test_bodies_that_nobody_reads(start_server: StartServer, http: aiohttp.ClientSession, full: bool) -> None:
    """Refused before they are read, they are not read, and the connection ends."""
    size = 500 if full else 20
    server = start_server()
    alice = await Client(http, server.url).register("alice")
    head = f"PUT /_matrix/client/v3/rooms/!x:y/send/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: {200 * MEBIBYTE}\r\n"
    request = f"{head}Authorization: Bearer {alice.token}\r\n\r\n".encode()
    before = psutil.Process(server.pid).memory_info().rss
    async with working(alice):
        answers = await asyncio.gather(*(flood(server.url, request) for _ in range(size)))
    assert all(answer.startswith(b"HTTP/1.1 413") or not answer for answer in answers)
    assert sum(map(bool, answers)) > 0

    async def all_gone() -> bool:
        process = psutil.Process(server.pid)
        ours = await asyncio.to_thread(process.net_connections)
        return sum(c.status == "ESTABLISHED" for c in ours) <= 10

    await eventually(all_gone)
    assert psutil.Process(server.pid).memory_info().rss - before < size * MEBIBYTE
    assert "Traceback" not in server.log_tail(100_000)


async def flood(url: str, request: bytes) -> bytes:
    """Send a request and then as much of its body as is taken; what was answered, if a reset did not overtake it."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = bytearray()

    async def read() -> None:
        while piece := await reader.read(4096):
            received.extend(piece)

    reading = asyncio.create_task(read())
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        for _ in range(200):
            writer.write(bytes(64 * 1024))
            await writer.drain()
    await asyncio.gather(reading, return_exceptions=True)
    writer.transport.abort()
    return bytes(received)


def deaf(host: str, port: int) -> socket.socket:
    """A connection for which even the kernel takes little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, port))
    return client


async def test_answers_that_nobody_reads(start_server: StartServer, http: aiohttp.ClientSession, full: bool) -> None:
    size = 200 if full else 20
    server = start_server(environment={"HROMADA_LIMITS_ANSWER_SECONDS": "1"})
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room()
    for number in range(6):
        await alice.send(room, {"msgtype": "m.text", "body": f"{number} {BIG}"})
    path = f"/_matrix/client/v3/rooms/{part(room)}/messages?dir=b&limit=10"
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode()
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    async with working(alice):
        silent = [deaf(host, int(port)) for _ in range(size)]
        mine = {client.getsockname()[1] for client in silent}
        for client in silent:
            client.sendall(request)

        async def all_cut() -> bool:
            theirs = await asyncio.to_thread(psutil.Process(server.pid).net_connections)
            return not any(c.raddr and c.raddr.port in mine and c.status == "ESTABLISHED" for c in theirs)

        await eventually(all_cut, timeout=120)
    for client in silent:
        client.close()
    assert "Traceback" not in server.log_tail(100_000)


# --- O3 ---


async def test_a_big_room(start_server: StartServer, http: aiohttp.ClientSession, full: bool) -> None:
    """People join while others send, and somebody opens the room on a new device: nobody holds up the server."""
    size, joining = (3_000, 200) if full else (200, 20)
    server = start_server()
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room(preset="public_chat", name="big")
    server.stop()
    async with seeding.services(server) as core:
        inside = await seeding.make_accounts(core, [f"user{number}" for number in range(size)], http)
        await seeding.join(core, room, inside)
        outside = await seeding.make_accounts(core, [f"late{number}" for number in range(joining)], http)
    server.start()
    for client in (alice, *inside, *outside):
        client.base_url = server.url
    await alice.sync()
    before = await measures(alice)
    senders = inside[:4]
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 20}}}
    sends: list[Callable[[], Awaitable[object]]] = [partial(c.send, room, "hello") for c in senders * joining]
    joins: list[Callable[[], Awaitable[object]]] = [partial(c.join, room) for c in outside]
    opens: list[Callable[[], Awaitable[object]]] = [partial(c.sync, filter=lazy) for c in inside[-10:]]
    await asyncio.gather(*(one_after_another(what) for what in (sends, joins, opens)))
    after = await measures(alice)
    late = {bound: blocked_for(after, bound) - blocked_for(before, bound) for bound in ("0.1", "0.25", "0.5")}
    print(f"{size} members, {len(sends)} sends, {joining} joins: blocked for longer than {late}")
    assert late["0.25"] == 0
    members = await alice.ok("GET", f"/rooms/{part(room)}/joined_members")
    assert len(members["joined"]) == 1 + size + joining


async def one_after_another(what: list[Callable[[], Awaitable[object]]]) -> None:
    for action in what:
        await action()


# --- O4 ---


# Of ten events, as many as come unless more are asked for, all can be the bot's first ones.
LONG = {"room": {"timeline": {"limit": 100}}}


async def test_an_unfair_client(start_server: StartServer, http: aiohttp.ClientSession, full: bool) -> None:
    """A bot that sends without pause is told to slow down; the others, in the same room too, do not notice."""
    size = 5_000 if full else 500
    server = start_server(rate_limits="on")
    alice = await Client(http, server.url).register("alice")
    room = await alice.create_room(preset="public_chat")
    server.stop()
    async with seeding.services(server) as core:
        bot, *others = await seeding.make_accounts(core, ["bot", "bob", "carol", "dora"], http)
        await seeding.join(core, room, [bot, *others])
    server.start()
    for client in (alice, bot, *others):
        client.base_url = server.url
    path = f"/rooms/{part(room)}/send/m.room.message/t"
    turns = iter(range(size))

    async def spam() -> list[int]:
        statuses = []
        for number in turns:
            reply = await bot.request("PUT", f"{path}{number}", {"msgtype": "m.text", "body": "spam"})
            statuses.append(reply.status)
            if reply.status != 200:
                assert reply.error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] > 0
                assert int(reply.headers["Retry-After"]) >= 1
        return statuses

    async def talk(client: Client) -> None:
        since = (await client.sync())["next_batch"]
        for number in range(10):
            event = await client.send(room, f"{client.user_id} {number}")
            found: set[str] = set()
            while event not in found:
                answer = await client.sync(since=since, timeout=10_000, filter=LONG)
                since = answer["next_batch"]
                rooms = answer.get("rooms", {}).get("join", {})
                found = {e["event_id"] for r in rooms.values() for e in r["timeline"]["events"]}

    spamming = [asyncio.create_task(spam()) for _ in range(20)]
    await asyncio.gather(*map(talk, others))
    statuses = [status for task in spamming for status in await task]
    print(f"the bot: {statuses.count(200)} sent, {statuses.count(429)} refused")
    assert statuses.count(429) > 0.8 * size
    assert statuses.count(200) >= 20  # its burst
    history = [e["content"]["body"] for e in await alice.history(room) if e["type"] == "m.room.message"]
    assert history.count("spam") == statuses.count(200)
    assert sum(text != "spam" for text in history) == 10 * len(others)
