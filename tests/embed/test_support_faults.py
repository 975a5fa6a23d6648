"""Servers that die and come back: the conversation goes on, nothing is lost or doubled, no case is without its card."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Frame, new_site
from tests.support.client import Client
from tests.support.fixtures import StartServer, fresh

pytestmark = pytest.mark.usefixtures("web_build")
ORIGIN = "https://shop.example"


async def test_a_killed_server_s_desk_goes_on_where_it_was(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    server = start_server(database)
    agent = Agent(await Client(http, server.url).register(fresh("agent")))
    site = new_site(server, [ORIGIN], [agent.client.user_id])
    desk = await agent.join_desk()
    frames = [Frame(http, server, site) for _ in range(3)]
    for number, frame in enumerate(frames):
        await frame.begin()
        if number:
            await frame.say(f"case {number} before the crash")
    await frames[0].say("case 0 before the crash")
    server.kill()
    server.start()
    for client in (agent.client, *(frame.client for frame in frames)):
        client.base_url = server.url
    for number, frame in enumerate(frames):
        await agent.card(desk, f"case {number} before the crash")
        resumed = frame.take((await frame.ask("session/resume")).ok())
        assert resumed["room_id"] == frame.room
        await frame.say(f"case {number} after it")
    # Every case has one card, and each message is there once.
    assert len(agent.cards(desk)) == 3
    for number, frame in enumerate(frames):
        await agent.enter(await agent.card(desk, f"case {number} before"))
        await agent.hears(frame.room, f"case {number} after it")
        assert agent.bodies(frame.room) == [f"case {number} before the crash", f"case {number} after it"]


async def test_visitors_whom_nobody_has_seen_for_long_are_forgotten(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = start_server("sqlite")
    frame = Frame(http, server, new_site(server, [ORIGIN], [], visitor_idle_days=30))
    fresher = Frame(http, server, frame.site)
    for each in (frame, fresher):
        await each.begin()
    server.stop()
    with closing(sqlite3.connect(server.data_dir / "hromada.db")) as store:
        store.execute("UPDATE support_visitors SET seen_ms = 1 WHERE user_id = ?", (frame.client.user_id,))
        store.commit()
    server.start()  # what is due is done at start, and every hour
    for each in (frame, fresher):
        each.client.base_url = server.url
    for _ in range(300):
        if (await frame.client.request("GET", "/account/whoami")).status == 401:
            break
        await asyncio.sleep(0.1)
    (await frame.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    (await fresher.ask("session/resume")).ok()
