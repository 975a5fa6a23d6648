"""Two server processes on one database, with nothing between them but that: what one commits, the other tells."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import aiohttp
import pytest

from homeserver.ports.socket import CloseCode
from tests.api.test_keys import ALGORITHM, claim, publish, upload
from tests.api.test_to_device import send
from tests.support.client import Client, Reply, eventually, part, rooms, timeline
from tests.support.postgres import PostgresCluster
from tests.support.server import Server, ServerOptions, running_pair
from tests.support.stream import streaming

pytestmark = pytest.mark.all_only

MESSAGES = 24
FILTER = {"room": {"timeline": {"limit": 100}}}
LONG_MS = 60_000

Pair = tuple[Server, Server]
Orders = dict[str, list[str]]
"""Message texts by room, in the order in which a reader was told of them."""


@pytest.fixture(scope="module")
def pair(postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two processes with the same keys on one PostgreSQL."""
    options = ServerOptions(database_url=postgres_cluster.make_database())
    with running_pair(tmp_path_factory.mktemp("pair"), options) as servers:
        yield servers


def at(server: Server, client: Client) -> Client:
    """The same device, asking the other process."""
    other = Client(client.session, server.url)
    other.user_id, other.device_id, other.token = client.user_id, client.device_id, client.token
    return other


class Reader:
    """Reads until it has been told of so many messages; asks the processes in turns."""

    def __init__(self, *places: Client) -> None:
        self.places = itertools.cycle(places)
        self.told: Orders = {}

    async def run(self, since: str, wanted: int) -> Orders:
        while sum(map(len, self.told.values())) < wanted:
            body = await next(self.places).sync(since, timeout=LONG_MS, filter=FILTER)
            since = body["next_batch"]
            take(self.told, body)
        return self.told


def take(told: Orders, body: dict[str, object]) -> None:
    """Note the messages of a response."""
    for room_id, room in rooms(body, "join").items():
        assert not room["timeline"]["limited"]
        texts = [event["content"]["body"] for event in timeline(room) if event["type"] == "m.room.message"]
        told.setdefault(room_id, []).extend(texts)


async def listened(client: Client, since: str, wanted: int) -> Orders:
    """What somebody is told over a WebSocket."""
    told: Orders = {}
    async with streaming(client, since=since, filter=FILTER) as stream:
        while sum(map(len, told.values())) < wanted:
            take(told, await stream.update())
    return told


async def two_users(pair: Pair, http: aiohttp.ClientSession, name: str) -> tuple[Client, Client]:
    """A user of each process."""
    alice = await Client(http, pair[0].url).register(f"{name}-alice")
    return alice, await Client(http, pair[1].url).register(f"{name}-bob")


async def write(client: Client, room_ids: list[str], name: str) -> None:
    """Messages to the rooms in turns, some at the same time."""
    texts = iter(f"{name} {number}" for number in range(MESSAGES))
    while several := list(itertools.islice(texts, 2 * len(room_ids))):
        places = zip(several, itertools.cycle(room_ids), strict=False)
        await asyncio.gather(*(client.send(room_id, text, txn=text) for text, room_id in places))


async def test_readers_of_both_are_told_everything_once_and_in_one_order(
    pair: Pair, http: aiohttp.ClientSession
) -> None:
    one, two = pair
    alice, bob = await two_users(pair, http, "order")
    room_ids = [await alice.shared_room(bob), await bob.shared_room(alice)]
    devices = [await alice.another_device() for _ in range(2)] + [await bob.another_device() for _ in range(2)]
    places = [[alice], [at(two, devices[0])], [bob], [at(one, devices[2])], [devices[1], at(two, devices[1])]]
    readers = [Reader(*clients) for clients in places]
    starts = [(await clients[0].sync(filter=FILTER))["next_batch"] for clients in places]
    socket = at(one, devices[3])
    heard_from = (await socket.sync(filter=FILTER))["next_batch"]

    wanted = 4 * MESSAGES
    writers = [(alice, "alice here"), (bob, "bob there"), (at(two, alice), "alice there"), (at(one, bob), "bob here")]
    async with asyncio.timeout(200):
        *told, heard, _, _, _, _ = await asyncio.gather(
            *(reader.run(since, wanted) for reader, since in zip(readers, starts, strict=True)),
            listened(socket, heard_from, wanted),
            *(write(client, room_ids, name) for client, name in writers),
        )
    for room_id in room_ids:
        history = [event["content"].get("body") for event in reversed(await alice.history(room_id))]
        texts = [text for text in history if text is not None]
        assert len(texts) == len(set(texts)) == wanted // 2
        assert [orders[room_id] for orders in (*told, heard)] == [texts] * 6


async def test_a_join_in_one_is_a_join_in_the_other(pair: Pair, http: aiohttp.ClientSession) -> None:
    one, two = pair
    alice, bob = await two_users(pair, http, "join")
    room = await alice.create_room(preset="private_chat")
    since = (await bob.sync())["next_batch"]
    held = asyncio.create_task(bob.sync(since, timeout=LONG_MS))
    await alice.member(room, "invite", bob.user_id)
    body = await asyncio.wait_for(held, 30)
    assert room in rooms(body, "invite")
    await bob.join(room)
    await at(one, bob).send(room, "hello from the other one")
    event = await alice.send(room, "and back")
    there = at(two, alice)

    async def is_there() -> bool:
        return (await there.request("GET", f"/rooms/{part(room)}/event/{part(event)}")).status == 200

    await eventually(is_there)  # it follows the log once a second
    state = {event["state_key"] for event in await there.full_state(room) if event["type"] == "m.room.member"}
    assert state == {alice.user_id, bob.user_id}


async def test_a_logout_in_one_ends_the_session_in_the_other(pair: Pair, http: aiohttp.ClientSession) -> None:
    alice, _ = await two_users(pair, http, "logout")
    there = at(pair[1], alice)
    since = (await there.sync())["next_batch"]
    held = asyncio.create_task(there.request("GET", "/sync", params={"since": since, "timeout": LONG_MS}))
    async with streaming(there, since=since) as stream:
        assert (await there.request("GET", "/account/whoami")).ok()["user_id"] == alice.user_id
        await alice.ok("POST", "/logout", {})
        # It follows the log once a second; the machine may be busy, but the poll is not over by itself.
        reply: Reply = await asyncio.wait_for(held, 30)
        reply.error(401, "M_UNKNOWN_TOKEN")
        assert await stream.closed() == CloseCode.UNKNOWN_TOKEN
    (await there.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")


async def test_a_password_changed_in_one_ends_sessions_in_the_other(pair: Pair, http: aiohttp.ClientSession) -> None:
    alice, _ = await two_users(pair, http, "password")
    there = await at(pair[1], alice).another_device()
    since = (await there.sync())["next_batch"]
    held = asyncio.create_task(there.request("GET", "/sync", params={"since": since, "timeout": LONG_MS}))
    await asyncio.sleep(0)
    path = "/account/password"
    reply = await alice.request("POST", path, {"new_password": "another long password"})
    if reply.status == 401:
        user = {"type": "m.id.user", "user": alice.user_id}
        password = {"type": "m.login.password", "identifier": user, "password": "correct horse battery staple"}
        auth = {**password, "session": reply.body["session"]}
        await alice.ok("POST", path, {"new_password": "another long password", "auth": auth})
    (await asyncio.wait_for(held, 30)).error(401, "M_UNKNOWN_TOKEN")


async def test_keys_and_messages_of_both_are_one(pair: Pair, http: aiohttp.ClientSession) -> None:
    """matrix-org/synapse#10766: claims in one process did not move the count that another told; matrix-spec#966."""
    alice, bob = await two_users(pair, http, "keys")
    there = at(pair[1], alice)
    await publish(alice, *(f"k{number:02}" for number in range(20)))
    assert (await alice.sync())["device_one_time_keys_count"] == {ALGORITHM: 20}
    owners = [claim(bob, there), *(claim(at(pair[0], bob), alice) for _ in range(4))]
    found = await asyncio.gather(*owners)
    names = [name for keys in found for name in keys]
    assert len(names) == len(set(names)) == 5
    assert await upload(alice) == {ALGORITHM: 15}

    async def told() -> bool:
        counts = [(await client.sync())["device_one_time_keys_count"][ALGORITHM] for client in (alice, there)]
        return counts == [15, 15]

    await eventually(told)  # it follows the log once a second

    since = (await alice.sync())["next_batch"]

    async def write(client: Client, name: str) -> None:
        for number in range(30):
            await send(client, f"{name}{number}", (alice, alice.device_id, {"n": number, "from": name}))

    await asyncio.gather(write(bob, "there"), write(at(pair[0], bob), "here"))
    got: list[dict[str, object]] = []
    places = itertools.cycle([alice, there])
    async with asyncio.timeout(200):
        while len(got) < 60:
            answer = await next(places).sync(since, timeout=10_000)
            since = answer["next_batch"]
            got += [event["content"] for event in answer.get("to_device", {}).get("events", [])]
    for name in ("here", "there"):
        assert [content["n"] for content in got if content["from"] == name] == list(range(30))
