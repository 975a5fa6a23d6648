"""Bad lines and dying servers, with a visitor in a real browser: nothing is lost, nothing is there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Visitor, host, new_site, page_with
from tests.embed.test_support_chat import TO_THE_TOP
from tests.embed.test_support_host import FORM, visitor
from tests.support.browser import PATIENCE_MS
from tests.support.client import Client, becomes, part
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import MakeUser, StartServer, fresh
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

ROUNDS, EACH = 10, 20
HEARTBEAT_S = "2"


async def shown(ada: Visitor) -> list[str]:
    """What the conversation shows, from its beginning."""
    return list(await ada.frame.locator(".msg .bub").all_inner_texts())


async def _count(ada: Visitor) -> int:
    """How many messages the conversation shows."""
    return int(await ada.frame.locator(".msg .bub").count())


# long: one visitor and one agent live through all of it, as what counts is what they have seen at its end
async def test_cut_half_open_and_restarted(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database, environment={"HROMADA_STREAM_HEARTBEAT_SECONDS": HEARTBEAT_S})
    agent = Agent(await Client(http, server.url).register(fresh("agent")))
    with FaultProxy.running(int(server.url.rpartition(":")[2])) as proxy:
        site = ""

        def pages(origin: str) -> dict[str, tuple[str, ...]]:
            nonlocal site
            site = new_site(server, [origin], [agent.client.user_id], form=FORM)
            text = page_with(server, site).replace(server.url.replace("127.0.0.1", "localhost"), widget)
            return {"/": ("text/html", text)}

        widget = f"http://localhost:{proxy.port}"
        async with host(pages) as origin:
            desk = await agent.join_desk()
            ada = await visitor(browser)
            await ada.page.goto(origin)
            await ada.begin("the first")
            room = await agent.enter(await agent.card(desk, "the first"))
            said, asked = [], ["the first"]
            # The line is cut again and again while both write.
            for round_ in range(ROUNDS):
                for number in range(EACH):
                    said.append(f"said {round_} {number}")
                    await agent.say(room, said[-1])
                asked.append(f"asked {round_}")
                await ada.say(asked[-1])
                proxy.reset()
            await ada.sees(said[-1])
            await agent.hears(room, asked[-1])
            # The line is there and brings nothing: the chat notices by itself, and goes on when it can.
            proxy.hold()
            asked.append("into the void")
            await ada.say(asked[-1])
            said.append("out of the void")
            await agent.say(room, said[-1])
            await ada.frame.get_by_text("Reconnecting").wait_for()
            proxy.cut()
            proxy.flow()
            await agent.hears(room, asked[-1])
            await ada.sees(said[-1])
            # The server is killed with something half said, and comes back somewhere else behind the same address.
            server.kill()
            asked.append("to a dead server")
            await ada.say(asked[-1])
            server.start()
            agent.client.base_url = server.url
            proxy.target_port = int(server.url.rpartition(":")[2])
            await agent.hears(room, asked[-1])
            said.append("from a new life")
            await agent.say(room, said[-1])
            await ada.sees(said[-1])
            await ada.frame.wait_for_function(TO_THE_TOP)  # what was cut off by more than an update holds comes, too
            await becomes(lambda: _count(ada), len(said) + len(asked))
            there = await shown(ada)
            assert [text for text in there if text in said] == said
            assert [text for text in there if text in asked] == asked
            assert len(there) == len(said) + len(asked)
            params = {"dir": "f", "limit": "500"}
            page = await agent.client.ok("GET", f"/rooms/{part(room)}/messages", params=params)
            bodies = [event["content"].get("body") for event in page["chunk"] if event["type"] == "m.room.message"]
            assert [body for body in bodies if body in asked] == asked
            assert [body for body in bodies if body in said] == said
            await ada.page.reload()
            await ada.framed()
            await ada.sees(said[-1])
            again = await shown(ada)  # the newest page of it, the rest when it is scrolled to
            assert len(again) > 30
            assert again == there[-len(again) :]


# As where a firewall lets no WebSocket through.
NO_SOCKETS = """globalThis.WebSocket = class {
    readyState = 3;
    constructor() { setTimeout(() => this.onclose?.({ code: 1006 })); }
    send() {}
    close() {}
};"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_without_sockets_it_polls(browser: Browser, server: Server, make_user: MakeUser) -> None:
    agent = Agent(await make_user("agent"))

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin], [agent.client.user_id], form=FORM)))}

    is_cut = False

    async def line(route: Route) -> None:
        answer = await route.fetch(timeout=PATIENCE_MS)
        await (route.abort() if is_cut else route.fulfill(response=answer))

    async with host(pages) as origin:
        desk = await agent.join_desk()
        ada = await visitor(browser)
        await ada.context.add_init_script(NO_SOCKETS)
        await ada.page.route("**/sync?**", line)
        await ada.page.goto(origin)
        await ada.begin("is the line open?")
        room = await agent.enter(await agent.card(desk, "is the line open?"))
        await agent.say(room, "It is.")
        await ada.sees("It is.")
        await ada.say("good")
        await agent.hears(room, "good")
        await ada.sees("good")
        assert [url for url in ada.requests if "/sync?" in url]
        # What was sent and has not come back when more is said than comes at once is not there twice.
        is_cut = True
        await ada.say("not come back")
        await agent.hears(room, "not come back")
        await ada.frame.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('outbox:'))")
        said = [f"said {number}" for number in range(60)]
        for text in said:
            await agent.say(room, text)
        is_cut = False
        await ada.sees(said[-1])
        assert await ada.frame.get_by_text("not come back").count() == 0  # it is read with the rest
        await ada.frame.wait_for_function(TO_THE_TOP)
        await becomes(lambda: shown(ada), ["is the line open?", "It is.", "good", "not come back", *said])
        assert ada.faults == []
        await ada.page.unroute_all(behavior="ignoreErrors")
