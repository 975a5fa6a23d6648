"""Servers that die and come back: the conversation goes on, nothing is lost or doubled, no case is without its card."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Frame, new_site
from tests.support.client import Client, eventually
from tests.support.fixtures import StartServer, fresh
from tests.support.media import download, upload

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


_AGO_MS = 3 * 86_400_000
_LONG_AGO = (
    "UPDATE support_visitors SET seen_ms = 1 WHERE user_id = :gone",
    f"UPDATE support_visitors SET seen_ms = seen_ms - {31 * 86_400_000} WHERE user_id = :away",
    f"UPDATE support_cases SET status = 'resolved', opened_ms = opened_ms - {_AGO_MS}, "
    f"changed_ms = changed_ms - {_AGO_MS} + 60000 WHERE visitor_id = :ended",
    f"UPDATE media SET created_ms = created_ms - {_AGO_MS} WHERE user_id = :ended AND media_id = :media_id",
)


async def test_visitors_and_conversations_are_kept_as_long_as_the_site_says(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = start_server("sqlite")
    site = new_site(server, [ORIGIN], [], visitor_idle_days=60, conversation_days=2)
    frame, ended, fresher, away = (Frame(http, server, site) for _ in range(4))
    for each in (frame, ended, fresher, away):
        await each.begin()
        await each.say("to be kept for a while")
    files = [await upload(each.client, b"x" * 100, "image/png", "x.png") for each in (ended, ended, fresher)]
    left = await upload(frame.client, b"a passport", "image/png", "passport.png")
    assert (await download(fresher.client, left)).status == 200
    values = {
        "gone": frame.client.user_id,
        "away": away.client.user_id,
        "ended": ended.client.user_id,
        "media_id": files[0].partition("/")[2],
    }
    server.stop()
    with closing(sqlite3.connect(server.data_dir / "hromada.db")) as store:
        for statement in _LONG_AGO:
            assert store.execute(statement, values).rowcount == 1
        store.commit()
    server.start()  # what is due is done at start, and every hour
    for each in (frame, ended, fresher, away):
        each.client.base_url = server.url

    async def is_done() -> bool:
        # Resuming would make them somebody who was seen.
        out = [(await each.client.request("GET", "/account/whoami")).status for each in (frame, away)]
        return out == [401, 401] and (await ended.ask("session/resume")).ok()["room_id"] is None

    await eventually(is_done)
    (await frame.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    assert (await fresher.ask("session/resume")).ok()["room_id"] == fresher.room
    # What was sent in the conversation went with it; what was sent since, and what others sent, is there.
    for each, media, status in ((ended, files[0], 404), (ended, files[1], 200), (fresher, files[2], 200)):
        assert (await download(each.client, media)).status == status
    # With the account of who was away for too long go their files, too, whatever becomes of what was said.
    (await download(fresher.client, left)).error(404, "M_NOT_FOUND")
    # Who writes again begins anew.
    again = ended.take((await ended.ask("session", {"nonce": await ended.nonce(), "key": fresh("key")})).ok())
    assert again["rooms"] == [again["room_id"]]
    await ended.say("another question")
    # Of who was away for a month only the session has ended; back again they are somebody new, and the old case stays.
    (await away.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    before, room = away.client.user_id, away.room
    away.handle = ""
    session = await away.begin()
    assert (session["user_id"] != before, session["rooms"]) == (True, [session["room_id"]])
    assert session["room_id"] != room
    with closing(sqlite3.connect(server.data_dir / "hromada.db")) as store:
        statement = "SELECT deactivated, room_id FROM users JOIN support_visitors USING (user_id) WHERE user_id = ?"
        assert store.execute(statement, (before,)).fetchone() == (0, room)
