"""Letters to visitors: answers that they did not see, and the conversation; a mail server is run for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Frame, new_site
from tests.support.client import Client, eventually, part
from tests.support.fixtures import StartServer, fresh
from tests.support.mailserver import environment, running_mail_server, text_of
from tests.support.server import Server

ORIGIN = "https://shop.example"
FORM = {"fields": [{"name": "name"}, {"name": "email", "type": "email"}]}


@pytest.mark.usefixtures("web_build")
async def test_who_is_away_gets_the_answer_by_letter(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    async with running_mail_server() as mail:
        server = start_server("sqlite", environment=environment(mail.port))
        agent = Agent(await Client(http, server.url).register(fresh("agent")))
        site = new_site(
            server, [ORIGIN], [agent.client.user_id], form=FORM, letters={"enabled": True, "after_minutes": 0}
        )
        desk = await agent.join_desk()
        frame = Frame(http, server, site)
        session = await frame.begin(answers={"name": "Ada", "email": "ada@example.org"}, page=f"{ORIGIN}/pricing")
        assert session["mail"] is True
        await frame.say("is it blue?")
        card = await agent.card(desk, "is it blue?")
        room = await agent.enter(card)
        await agent.say(room, "It is <b>blue</b>.")
        await agent.say(room, "And round.")
        await mail.until(lambda: bool(mail.to("ada@example.org")))
        letters = mail.to("ada@example.org")
        words = "".join(text_of(letter) for letter in letters)
        assert "It is <b>blue</b>." in words and f"{ORIGIN}/pricing" in words and "is it blue?" not in words
        assert "&lt;b&gt;blue" in "".join(text_of(letter, "html") for letter in letters)
        assert str(letters[0]["Subject"]) == "Teren shop: an answer to your question"
        await mail.until(lambda: "And round." in "".join(text_of(one) for one in mail.to("ada@example.org")))
        # Who reads in the chat gets no letter, and nothing goes out twice.
        count = len(mail.letters)
        mail.refuse = "451 later"  # or a letter could go out before it is read
        said = await agent.say(room, "Anything else?")
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        receipt = f"{server.url}/_matrix/client/v3/rooms/{part(room)}/receipt/m.read/{part(said)}"
        async with http.post(receipt, json={}, headers=headers) as answer:
            assert answer.status == 200
        other = Frame(http, server, site)
        await other.begin(answers={"name": "Max", "email": "max@example.org"})
        await other.say("and red?")
        await agent.say(await agent.enter(await agent.card(desk, "and red?")), "No.")
        await eventually(lambda: _needs_no_letter(server, room))
        mail.refuse = None
        await mail.until(lambda: bool(mail.to("max@example.org")))
        assert len(mail.letters) == count + 1
        # The conversation, to one's own address.
        async with http.post(
            f"{server.url}/_embed/v1/sites/{site}/transcript/mail", json={}, headers=headers
        ) as answer:
            assert answer.status == 200
        await mail.until(lambda: len(mail.letters) == count + 2)
        copy = text_of(mail.letters[-1])
        assert mail.letters[-1]["To"] == "ada@example.org"
        assert "Ada: is it blue?" in copy and "Anything else?" in copy
        nobody = Frame(http, server, site)
        session = await nobody.begin()
        assert session["mail"] is False
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        async with http.post(
            f"{server.url}/_embed/v1/sites/{site}/transcript/mail", json={}, headers=headers
        ) as answer:
            assert answer.status == 404


async def _needs_no_letter(server: Server, room: str) -> bool:
    """Whether it is stored that what staff said was heard."""
    question = "SELECT count(*) FROM support_cases WHERE room_id = ? AND mailed_ms >= said_ms"
    with closing(sqlite3.connect(server.data_dir / "hromada.db")) as store:
        return bool(store.execute(question, (room,)).fetchone() == (1,))


@pytest.mark.usefixtures("web_build")
async def test_of_encrypted_conversations_letters_and_transcripts_say_nothing(
    start_server: StartServer, http: aiohttp.ClientSession, database: str
) -> None:
    async with running_mail_server() as mail:
        server = start_server(database, environment=environment(mail.port))
        agent = Agent(await Client(http, server.url).register(fresh("agent")))
        settings = {"form": FORM, "letters": {"enabled": True, "after_minutes": 0}, "encryption": "on"}
        site = new_site(server, [ORIGIN], [agent.client.user_id], **settings)
        desk = await agent.join_desk()
        frame = Frame(http, server, site)
        session = await frame.begin(answers={"name": "Ada", "email": "ada@example.org"}, page=f"{ORIGIN}/pricing")
        assert (session["encrypted"], session["mail"]) == ([frame.room], False)  # the menu does not offer it
        sealed = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgAEnACgAkLmt6qF84IK", "session_id": "s"}
        path = f"/rooms/{part(frame.room)}/send/m.room.encrypted/"
        await frame.client.ok("PUT", path + fresh("m"), sealed)
        card = await agent.card(desk, "(encrypted: read it in the conversation)")
        await agent.enter(card)
        await agent.client.ok("PUT", path + fresh("m"), sealed)
        await mail.until(lambda: bool(mail.to("ada@example.org")))
        letter = mail.to("ada@example.org")[0]
        for kind in ("plain", "html"):
            text = text_of(letter, kind)
            assert "An encrypted message, which only the chat can show." in text and f"{ORIGIN}/pricing" in text
            assert "AwgAEnACgAkLmt6qF84IK" not in text
        text = (await frame.client.request("GET", f"/_embed/v1/sites/{site}/transcript")).raw.decode()
        lines = text.splitlines()
        assert len(lines) == 2
        assert all(line.endswith(": (encrypted)") for line in lines)
        assert lines[0].split("] ")[1].startswith("Ada")
