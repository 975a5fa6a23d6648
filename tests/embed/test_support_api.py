"""Sessions, desk and identity of support chats over HTTP, without a browser."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Frame, new_site, site_command
from tests.embed.test_support_identity import claims, keyed, signed
from tests.support.admin import OWN, administrator
from tests.support.client import Client, becomes, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.media import download, upload
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("web_build")
ORIGIN = "https://shop.example"


async def desk_of(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser, **settings: object
) -> tuple[Agent, str, Frame]:
    """An agent on the desk of a new site, the desk, and a visitor's frame."""
    agent = Agent(await make_user("agent"))
    site = new_site(server, [ORIGIN], [agent.client.user_id], **settings)
    return agent, await agent.join_desk(), Frame(http, server, site)


async def test_a_session_is_made_once_whatever_is_repeated(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent, desk, frame = await desk_of(server, http, make_user)
    key = fresh("key")
    first = await frame.begin(key=key, answers={"name": "Ada"})
    assert first["user_id"].startswith(f"@visitor-{frame.site}-")
    whoami = await frame.client.ok("GET", "/account/whoami")
    assert whoami["is_guest"] is True
    # The same request again, from a browser that has lost the answer: the same visitor and room, a device of its own.
    lost = Frame(http, server, frame.site)
    again = await lost.begin(key=key, answers={"name": "Ada"})
    assert (again["user_id"], again["room_id"]) == (first["user_id"], first["room_id"])
    assert again["device_id"] != first["device_id"]
    resumed = (await frame.ask("session/resume")).ok()
    assert resumed["room_id"] == first["room_id"]
    await frame.say("hello")
    await agent.card(desk, "Ada", "hello")
    (await frame.ask("session/end")).ok()
    (await frame.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    (await frame.client.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")


async def _notified(agent: Agent, desk: str) -> tuple[int, int]:
    """Of how much on the desk somebody is notified, and of how much as theirs."""
    unread = (await agent.client.ok("GET", "/sync"))["rooms"]["join"][desk]["unread_notifications"]
    return unread["notification_count"], unread["highlight_count"]


async def _called(agent: Agent, desk: str) -> int:
    """How much there is theirs."""
    return (await _notified(agent, desk))[1]


async def test_reactions_move_a_case_and_notes_stay_on_the_desk(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent, desk, frame = await desk_of(server, http, make_user)
    await frame.begin(answers={"name": "Ada"})
    await frame.say("It came broken")
    card = await agent.card(desk, "🆕", "It came broken")
    await becomes(lambda: _notified(agent, desk), (1, 0))  # by the rules that every client begins with
    await agent.react(desk, card, "🙋")
    await agent.card(desk, "💬", "with")
    await agent.until(lambda: frame.room in agent.invites, "an invitation to the case")
    await agent.client.ok("POST", f"/join/{part(frame.room)}", {})
    levels = await agent.client.ok("GET", f"/rooms/{part(frame.room)}/state/m.room.power_levels")
    assert levels["users"] == {agent.client.user_id: 50}
    await agent.note(desk, card, "SECRET NOTE: she is a friend of the owner")
    await agent.note(desk, card, "!canned sorry = We are sorry. A new one is on its way.")
    await agent.note(desk, card, "!canned sorry")
    await agent.hears(frame.room, "We are sorry. A new one is on its way.")
    await agent.note(desk, card, "!priority high")
    await agent.note(desk, card, "!tag broken post")
    await agent.card(desk, "priority high", "broken, post")
    await agent.react(desk, card, "⏸\ufe0f")
    await agent.card(desk, "⏸", "on hold")
    await frame.say("Thank you!")
    await agent.card(desk, "💬 ")
    await becomes(lambda: _called(agent, desk), 1)  # whose case it is
    await agent.react(desk, card, "✅")
    await agent.card(desk, "✅", "resolved")
    ticket = await agent.client.ok("GET", f"/rooms/{part(frame.room)}/state/chat.hromada.support.ticket")
    assert (ticket["status"], ticket["verified"], ticket["priority"]) == ("resolved", False, "high")
    rating = {"rating": 5, "comment": "quick"}
    path = f"/rooms/{part(frame.room)}/send/chat.hromada.support.rating/{fresh('m')}"
    await frame.client.ok("PUT", path, rating)
    await agent.card(desk, "rated 5 of 5")
    await frame.say("One more thing")
    await agent.card(desk, "🆕", "One more thing")
    # What the visitor gets holds nothing of the desk.
    everything = await frame.client.request("GET", "/sync", params={"filter": '{"room":{"timeline":{"limit":100}}}'})
    assert b"SECRET NOTE" not in everything.raw
    assert desk.encode() not in everything.raw.replace(b'"allow"', b"") or b"m.room_membership" in everything.raw
    (await frame.client.request("GET", f"/rooms/{part(desk)}/messages", params={"dir": "b"})).error(403)
    (await frame.client.request("GET", f"/rooms/{part(desk)}/state/m.room.name")).error(403)


async def test_what_a_visitor_has_read_counts_no_more(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    # synapse#456
    agent, desk, frame = await desk_of(server, http, make_user)
    await frame.begin()
    await frame.say("is it blue?")
    room = await agent.enter(await agent.card(desk, "is it blue?"))
    for kind in ("m.read", "m.read.private", "m.fully_read", "read_markers"):
        said = await agent.say(room, f"Yes ({kind})")
        assert await _unread(frame) == 1
        where, body = (f"receipt/{kind}/{part(said)}", {}) if kind != "read_markers" else (kind, {"m.read": said})
        await frame.client.ok("POST", f"/rooms/{part(room)}/{where}", body)
        if kind == "m.fully_read":  # says where one is, and not what one has seen
            await frame.client.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(said)}", {})
        assert await _unread(frame) == 0


async def _unread(frame: Frame) -> int:
    joined = (await frame.client.sync())["rooms"]["join"][frame.room]
    return int(joined["unread_notifications"]["notification_count"])


# long: one visitor is shut out in all ways, and let in again in all, as making the desk takes most of the time
async def test_a_blocked_visitor_is_shut_out_and_let_in_again(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent, desk, frame = await desk_of(server, http, make_user)
    key = keyed(server, frame.site)
    before, known = Frame(http, server, frame.site), Frame(http, server, frame.site)
    await before.begin()
    await frame.begin()
    await frame.say("buy cheap pills")
    card = await agent.card(desk, "pills")

    async def shut(shuts_out: Any) -> None:
        """Nothing goes with the visitor's session, nor for somebody new at their address; for all others it does."""
        await shuts_out
        await agent.card(desk, "blocked")
        (await frame.client.request("GET", "/sync")).error(401, "M_USER_LOCKED")
        for action in ("session/resume", "session/renew", "session"):
            await refused(frame, action)
        await refused(Frame(http, server, frame.site), "session")
        assert (await before.ask("session/resume")).ok()["room_id"] == before.room
        await known.begin(jwt=signed(key, claims(frame.site)))

    async def opened(opens: Any) -> None:
        await opens
        await agent.card(desk, "pills", "💬")
        frame.take((await frame.ask("session/resume")).ok())
        await frame.say(text := f"I am sorry {fresh('m')}")
        await agent.enter(card)
        await agent.hears(frame.room, text)
        await Frame(http, server, frame.site).begin()

    reaction = await agent.react(desk, card, "🚫")
    await shut(agent.card(desk, "blocked"))
    # Of anything else that is taken back nothing comes; what has shut them out lets them in.
    note = await agent.say(desk, "a word")
    for event_id in (note, reaction):
        assert "blocked" in agent.cards(desk)[0]["body"]
        await agent.client.ok("PUT", f"/rooms/{part(desk)}/redact/{part(event_id)}/{fresh('r')}", {})
    await opened(agent.card(desk, "pills", "💬"))
    await shut(agent.react(desk, card, "🚫"))
    await opened(agent.react(desk, card, "🔁"))
    # An administrator may, too, who is not on the desk.
    await agent.note(desk, card, "!block")
    await shut(agent.card(desk, "blocked"))
    number = str(card["chat.hromada.support.case"]["number"])
    await opened(asyncio.to_thread(site_command, server, "unblock", frame.site, number))
    assert "is not blocked" in await asyncio.to_thread(site_command, server, "unblock", frame.site, number, status=1)
    assert "no case" in await asyncio.to_thread(site_command, server, "unblock", frame.site, "999", status=1)


async def refused(frame: Frame, action: str) -> None:
    """Whoever is shut out is told so."""
    body = {"nonce": await frame.nonce(), "key": fresh("key")}
    assert (await frame.ask(action, body)).error(403, "M_FORBIDDEN")["reason"] == "blocked"


async def test_erasing_takes_everything_back(server: Server, http: aiohttp.ClientSession, make_user: MakeUser) -> None:
    agent, desk, frame = await desk_of(server, http, make_user)
    await frame.begin(answers={"name": "Ada Lovelace", "email": "ada@example.org"})
    await frame.say("my secret question")
    passport = await upload(frame.client, b"born on 10 December 1815", "text/plain", "passport.txt")
    file = {"msgtype": "m.file", "body": "passport.txt", "url": f"mxc://{passport}"}
    await frame.client.ok("PUT", f"/rooms/{part(frame.room)}/send/m.room.message/{fresh('m')}", file)
    card = await agent.card(desk, "Ada Lovelace", "ada@example.org")
    room = await agent.enter(card)
    manual = await upload(agent.client, b"how to do it", "text/plain", "manual.txt")
    await agent.say(room, "an answer")
    assert b"1815" in (await download(agent.client, passport)).raw
    path = f"/_embed/v1/sites/{frame.site}/transcript"
    text = (await frame.client.request("GET", path)).raw.decode()
    assert "Ada Lovelace: my secret question" in text
    assert "an answer" in text
    await frame.client.ok("POST", f"/_embed/v1/sites/{frame.site}/erase", {})
    (await frame.client.request("GET", "/account/whoami")).error(401)
    erased = await agent.card(desk, "(erased)")
    assert erased["card"] != card["card"]
    (await download(agent.client, passport)).error(404, "M_NOT_FOUND")
    assert b"how to" in (await download(agent.client, manual)).raw
    page = await agent.client.ok("GET", f"/rooms/{part(room)}/messages", params={"dir": "b", "limit": 100})
    assert "my secret question" not in str(page)
    assert "an answer" in str(page)
    seen = await agent.client.request("GET", f"/rooms/{part(desk)}/messages", params={"dir": "b", "limit": 100})
    assert b"Ada Lovelace" not in seen.raw  # three letters alone may stand in an event's id
    assert b"ada@" not in seen.raw
    name = await agent.client.ok("GET", f"/rooms/{part(room)}/state/m.room.name")
    assert name["name"].startswith("#1 Visitor")


async def test_pages_that_show_the_chat_are_seen(server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    site_id = new_site(server, [ORIGIN, "https://*.teren.example"], [])
    path, frame = f"{OWN}/sites/{site_id}", f"/_embed/frame/{site_id}"

    async def seen() -> str | None:
        site = await admin.ok("GET", path)
        assert (site["seen_ts"] is None) is (site["seen_origin"] is None)
        origin: str | None = site["seen_origin"]
        return origin

    others = ("https://elsewhere.example/", "http://shop.example/", "https://teren.example/", "https://[::1", "x")
    for page in (*others, f"https://{'a' * 300}.teren.example/"):
        assert (await admin.request("GET", frame, token=None, headers={"Referer": page})).status == 200
        assert await seen() is None
    before = time.time() * 1000 - 60_000
    for page in ("https://eu.teren.example:443/", f"{ORIGIN}/"):  # the second within a minute
        assert (await admin.request("GET", frame, token=None, headers={"Referer": page})).status == 200
        assert await seen() == "https://eu.teren.example"
    assert before < (await admin.ok("GET", path))["seen_ts"] < time.time() * 1000 + 60_000
