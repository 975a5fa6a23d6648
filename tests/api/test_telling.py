"""Two processes on one database: one of them tells gateways, mail addresses and services, and the other takes over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import groupby

import aiohttp
import pytest

from tests.api.test_mail import pusher as letters_to
from tests.api.test_pushers import pusher
from tests.api.test_two_processes import at
from tests.support.appservice import AS_TOKEN, BOT, RunningService, registration
from tests.support.client import Client, eventually, part
from tests.support.fixtures import fresh
from tests.support.mailserver import environment, running_mail_server
from tests.support.ports import free_port
from tests.support.postgres import PostgresCluster
from tests.support.pushgateway import ENVIRONMENT, PushGateway, running_gateway
from tests.support.server import Server, ServerOptions, running_pair

pytestmark = pytest.mark.all_only


@dataclass
class Pair:
    """Two servers on one database, and what they tell."""

    cluster: PostgresCluster
    database: str
    servers: list[Server]
    service: RunningService
    mail_port: int

    def sql(self, statement: str) -> str:
        return self.cluster.sql(statement, self.database.rsplit("/", 1)[-1])

    async def by_duty(self) -> tuple[Server, Server]:
        """The one that tells everybody, and the other one."""

        async def is_held() -> bool:
            return any(
                str(server.pid) in self.sql("SELECT holder FROM duties WHERE name = 'telling'").split()
                for server in self.servers
            )

        await eventually(is_held)
        holder = self.sql("SELECT holder FROM duties WHERE name = 'telling'").split()
        first, second = self.servers
        return (first, second) if str(first.pid) in holder else (second, first)


@pytest.fixture(scope="module")
def pair(postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("telling")
    service, mail_port = RunningService(), free_port()
    (folder / "service.json").write_text(json.dumps(registration(service.url)))
    settings = {
        **ENVIRONMENT,
        **environment(mail_port),
        "HROMADA_APPSERVICES_FILES": str(folder / "service.json"),
        "HROMADA_APPSERVICES_LONGEST_WAIT_SECONDS": "1",
    }
    database = postgres_cluster.make_database()
    options = ServerOptions(database_url=database, environment=settings)
    with running_pair(folder, options) as servers:
        yield Pair(postgres_cluster, database, list(servers), service, mail_port)


@pytest.fixture
async def gateway() -> AsyncIterator[PushGateway]:
    async with running_gateway() as running:
        yield running


async def people(server: Server, http: aiohttp.ClientSession, *names: str) -> list[Client]:
    return [await Client(http, server.url).register(fresh(name)) for name in names]


async def read_by_all(pair: Pair, client: Client) -> None:
    """Every process has read the log as far as it goes now."""
    since = (await client.sync())["next_batch"]
    for server in pair.servers:
        await at(server, client).sync(since)


def told(gateway: PushGateway, key: str) -> list[str]:
    return [one["event_id"] for one in gateway.of(key)]


async def test_each_event_is_pushed_once_whoever_commits_it(
    pair: Pair, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    holder, other = await pair.by_duty()
    alice, bob, carol = await people(holder, http, "alice", "bob", "carol")
    room = await alice.create_room(invite=[bob.user_id, carol.user_id])
    await bob.join(room)
    await carol.join(room)
    await read_by_all(pair, alice)
    await bob.ok("POST", "/pushers/set", pusher("bob", data=gateway.data()))
    await at(other, carol).ok("POST", "/pushers/set", pusher("carol", data=gateway.data()))
    sent = [await at(pair.servers[number % 2], alice).send(room, "hello", txn=f"m{number}") for number in range(8)]
    await gateway.until(lambda: all(len(told(gateway, key)) >= len(sent) for key in ("bob", "carol")))
    await read_by_all(pair, alice)
    sent.append(await at(other, alice).send(room, "the last one", txn="last"))
    await gateway.until(lambda: all(sent[-1] in told(gateway, key) for key in ("bob", "carol")))
    assert (told(gateway, "bob"), told(gateway, "carol")) == (sent, sent)
    await at(other, carol).ok("POST", "/pushers/set", {"kind": None, "app_id": pusher()["app_id"], "pushkey": "carol"})
    sent.append(await alice.send(room, "to one of them", txn="one"))
    await gateway.until(lambda: sent[-1] in told(gateway, "bob"))
    assert told(gateway, "carol") == sent[:-1]


async def test_an_address_is_asked_once_and_by_whoever_has_the_duty(pair: Pair, http: aiohttp.ClientSession) -> None:
    holder, other = await pair.by_duty()
    bob, carol = await people(holder, http, "bob", "carol")
    async with running_mail_server(pair.mail_port) as mail:
        await at(other, bob).ok("POST", "/pushers/set", letters_to("bob@example.org"))
        await mail.until(lambda: bool(mail.to("bob@example.org")))
        await read_by_all(pair, bob)
        await carol.ok("POST", "/pushers/set", letters_to("carol@example.org"))
        await mail.until(lambda: bool(mail.to("carol@example.org")))
        assert len(mail.letters) == 2


async def test_a_service_is_told_once(pair: Pair, http: aiohttp.ClientSession) -> None:
    (alice,) = await people(pair.servers[0], http, "alice")
    await pair.service.start()
    try:
        room = await alice.create_room(invite=[BOT])
        bot = Client(http, pair.servers[1].url)
        bot.token, bot.user_id = AS_TOKEN, BOT

        async def is_in() -> bool:
            return (await bot.request("POST", f"/rooms/{part(room)}/join", {})).status == 200

        await eventually(is_in)  # that process may not have heard of the invitation yet
        await read_by_all(pair, alice)
        texts = [f"message {number}" for number in range(8)]
        for number, text in enumerate(texts):
            await at(pair.servers[number % 2], alice).send(room, text, txn=text)
        await pair.service.until(lambda: pair.service.messages() == texts)
        await read_by_all(pair, alice)
        await alice.send(room, "the last one", txn="last")
        await pair.service.until(lambda: "the last one" in pair.service.messages())
        ids = [txn_id for txn_id, _ in pair.service.transactions]
        assert len(ids) == len(set(ids)), "a transaction was sent twice"
        pair.service.check()
    finally:
        await pair.service.stop()


async def test_another_process_takes_over_where_the_killed_one_was(
    pair: Pair, http: aiohttp.ClientSession, gateway: PushGateway
) -> None:
    """Only what was on its way at the kill is sent again. It takes the seconds after which a holder counts as dead."""
    holder, other = await pair.by_duty()
    alice, bob = await people(other, http, "alice", "bob")
    room = await alice.create_room(invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("taken", data=gateway.data()))
    before = [await alice.send(room, f"before {number}") for number in range(3)]
    await gateway.until(lambda: told(gateway, "taken") == before)
    last = f"SELECT nid FROM events WHERE event_id = '{before[-1]}'"

    async def is_stored() -> bool:
        return pair.sql(f"SELECT position >= ({last}) FROM pushers WHERE pushkey = 'taken'") == "t"

    await eventually(is_stored)
    gateway.answering.clear()
    flying = await alice.send(room, "on its way")
    await gateway.until(lambda: told(gateway, "taken")[-1:] == [flying])
    holder.kill()
    gateway.answering.set()
    after = [await alice.send(room, f"after {number}") for number in range(3)]
    await gateway.until(lambda: told(gateway, "taken")[-1:] == after[-1:])
    seen: list[tuple[str, int]] = [(event, len(list(some))) for event, some in groupby(told(gateway, "taken"))]
    assert seen == [(event, 2 if event == flying else 1) for event in (*before, flying, *after)]
    holder.start()
    now, _ = await pair.by_duty()
    assert now is other, "who comes back does not take it away again"
