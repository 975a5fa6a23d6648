"""Two processes on one database: what is to be done once for visitors one of them does, and the other takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.api.test_two_processes import at
from tests.embed.support_chat import Agent, Frame, new_site
from tests.embed.test_support_api import refused
from tests.support.appservice import free_port
from tests.support.client import Client, eventually
from tests.support.fixtures import fresh
from tests.support.mailserver import environment, running_mail_server, text_of
from tests.support.postgres import PostgresCluster
from tests.support.server import Server, ServerOptions, running_pair
from tests.support.stream import streaming

pytestmark = [pytest.mark.usefixtures("web_build"), pytest.mark.all_only]
ORIGIN = "https://shop.example"
FORM = {"fields": [{"name": "name"}, {"name": "email", "type": "email"}]}


@dataclass
class Two:
    """Two servers on one database."""

    cluster: PostgresCluster
    database: str
    servers: tuple[Server, Server]
    mail_port: int

    def _sql(self, statement: str) -> str:
        return self.cluster.sql(statement, self.database.rsplit("/", 1)[-1])

    async def by_duty(self) -> tuple[Server, Server]:
        """The one that writes to visitors, and the other one."""
        found: list[Server] = []

        async def is_held() -> bool:
            holder = self._sql("SELECT holder FROM duties WHERE name = 'visitors'").split()
            found[:] = sorted(self.servers, key=lambda server: str(server.pid) not in holder)
            return str(found[0].pid) in holder

        await eventually(is_held)
        return found[0], found[1]

    def terms(self) -> int:
        """How often the duty was taken. A process that stands still for seconds loses it, as one that is stopped."""
        return int(self._sql("SELECT term FROM duties WHERE name = 'visitors'"))

    def address_of(self, frame: Frame) -> str:
        """From where a visitor was seen last, as far as it is stored."""
        return self._sql(f"SELECT seen_ip FROM devices WHERE user_id = '{frame.client.user_id}'")

    async def noted(self) -> None:
        """Wait until of all letters that went out it is stored that they did."""

        async def is_noted() -> bool:
            return self._sql("SELECT count(*) FROM support_cases WHERE mailed_ms IS NULL OR mailed_ms < said_ms") == "0"

        await eventually(is_noted)

    async def needs_no_letter(self, room: str) -> None:
        """Wait until it is stored that what staff said in a room, at once or by letter, was heard."""
        question = f"SELECT count(*) FROM support_cases WHERE room_id = '{room}' AND mailed_ms >= said_ms"

        async def is_heard() -> bool:
            return self._sql(question) == "1"

        await eventually(is_heard)


@asynccontextmanager
async def there(frame: Frame) -> AsyncIterator[None]:
    """A visitor has the chat before them."""
    async with streaming(frame.client, since=None, filter="{}") as stream:
        await stream.update()

        async def read() -> None:
            while True:
                await stream.update()

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@pytest.fixture
def two(postgres_cluster: PostgresCluster, tmp_path: Path) -> Iterator[Two]:
    mail_port = free_port()
    database = postgres_cluster.make_database()
    options = ServerOptions(database_url=database, environment=environment(mail_port))
    with running_pair(tmp_path, options) as servers:
        yield Two(postgres_cluster, database, servers, mail_port)


async def test_visitors_get_each_letter_once_whoever_they_and_staff_are_with(
    two: Two, http: aiohttp.ClientSession
) -> None:
    writer, other = await two.by_duty()
    async with running_mail_server(two.mail_port) as mail:
        agent = Agent(await Client(http, other.url).register(fresh("agent")))
        letters = {"enabled": True, "after_minutes": 0}
        site = new_site(other, [ORIGIN], [agent.client.user_id], form=FORM, letters=letters)
        desk = await agent.join_desk()
        rooms, frames = {}, {}
        for name, server in (("ira", other), ("ada", writer), ("max", other)):
            frame = frames[name] = Frame(http, server, site)
            await frame.begin(answers={"name": name, "email": f"{name}@example.org"})
            await frame.say(f"I am {name}")
            rooms[name] = await agent.enter(await agent.card(desk, f"I am {name}"))
        # Of somebody who is with the one that does not write only that one knows it, and says so: nothing else stores
        # that a letter went out or is needed by nobody, as long as the mail server takes none.
        mail.refuse = "451 later"
        async with there(frames["ira"]):
            for name, room in rooms.items():
                await agent.say(room, f"Hello {name}")
            await two.needs_no_letter(rooms.pop("ira"))
        mail.refuse = None

        def about(name: str, words: str) -> int:
            """How many letters say this."""
            return sum(f"{words} {name}" in text_of(letter) for letter in mail.to(f"{name}@example.org"))

        await mail.until(lambda: all(about(name, "Hello") for name in rooms))
        await two.noted()
        # The one that wrote them is stopped. The other one writes from then on, and nothing a second time.
        await asyncio.to_thread(writer.stop)  # the mail server is here, and answers meanwhile
        for name, room in rooms.items():
            await at(other, agent.client).send(room, f"Still there, {name}?")
        await mail.until(lambda: all(about(name, "Still there,") for name in rooms))
        await two.noted()
        for name in rooms:
            found = (about(name, "Hello"), about(name, "Still there,"))
            # What was sent, but not stored, when another one took over is sent once more; here one did, and waited.
            assert found == (1, 1) or (two.terms() > 2 and min(found) == 1), (name, found)
        assert mail.to("ira@example.org") == []


async def test_whoever_shuts_a_visitor_out_knows_from_where_they_came(two: Two, http: aiohttp.ClientSession) -> None:
    one, _ = two.servers
    agent = Agent(await Client(http, one.url).register(fresh("agent")))
    site = new_site(one, [ORIGIN], [agent.client.user_id])
    desk, frame = await agent.join_desk(), Frame(http, one, site)
    await frame.begin()
    assert two.address_of(frame) == "127.0.0.1"  # with the session, not when sightings are written the next time
    await frame.say("buy cheap pills")
    await agent.react(desk, await agent.card(desk, "pills"), "🚫")
    await agent.card(desk, "pills", "blocked")
    for server in two.servers:
        await refused(Frame(http, server, site), "session")
