"""The demo that `make run` shows: a shop's page under another name, its chat, and an agent at its desk."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import aiohttp

from tests.embed.support_chat import Agent
from tests.embed.test_support_host import visitor
from tests.support.client import Client
from tests.support.fixtures import StartServer
from tests.support.ports import free_port

if TYPE_CHECKING:
    from playwright.async_api import Browser


async def test_the_demo_shop_is_answered_from_its_desk(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    environment = {"HROMADA_SUPPORT_DEMO": "true", "HROMADA_REGISTRATION_FIRST_USER": "true"}
    server = start_server("sqlite", listen=f"127.0.0.1:{free_port()}", environment=environment)
    deadline = time.monotonic() + 90
    while (found := re.search(r"login as (\S+), password (\S+)", server.log_tail())) is None:
        assert time.monotonic() < deadline, server.log_tail()
        time.sleep(0.1)
    shop = re.search(r"Demo shop +(\S+)", server.log_tail())
    assert shop is not None
    agent = Agent(Client(http, server.url))
    await agent.client.login(found[1], found[2])
    await agent.sync()
    desk = agent.desk()
    assert desk is not None
    ada = await visitor(browser)
    await ada.page.goto(shop[1])
    frame = await ada.open()
    await frame.get_by_label("Ваше запитання").fill("Is it open on Sunday?")
    await frame.get_by_role("button", name="Почати розмову").click()
    await agent.enter(await agent.card(desk, "Is it open on Sunday?"))
    await agent.say(next(iter(agent.cards(desk)))["chat.hromada.support.case"]["room_id"], "No, sorry.")
    await ada.sees("No, sorry.")
    assert ada.faults == []
    # The first person who registers is the administrator all the same.
    first = await Client(http, server.url).register("first")
    assert (await first.request("GET", f"/admin/whois/{agent.client.user_id}")).status == 200
    # The password stays over a restart, and nothing is made twice.
    server.restart()
    async with aiohttp.ClientSession() as connections:
        again = Client(connections, server.url)
        await again.login(found[1], found[2])
        assert len((await again.ok("GET", "/joined_rooms"))["joined_rooms"]) == 3
