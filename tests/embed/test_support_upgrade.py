"""A visitor who takes an account: the same user, rooms and history, and nothing of it within the site's reach."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Frame, new_site, site_command
from tests.embed.test_support_identity import claims, keyed, refused, signed
from tests.support.client import PASSWORD, Client, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("web_build")
ORIGIN = "https://shop.example"


async def _account(frame: Frame, **more: Any) -> Any:
    """What the frame asks for when somebody wants to keep the conversation."""
    name = frame.client.user_id[1:].partition(":")[0]
    body = {"username": name, "password": PASSWORD, "guest_access_token": frame.client.token, **more}
    reply = await frame.client.request("POST", "/register", body, token=None)
    if reply.status != 401:
        return reply
    auth = {"type": "m.login.dummy", "session": reply.body["session"]}
    return await frame.client.request("POST", "/register", {**body, "auth": auth}, token=None)


async def test_a_visitor_becomes_an_ordinary_user(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    """spec: client-server-api#guest-access"""
    agent = Agent(await make_user("agent"))
    site = new_site(server, [ORIGIN], [agent.client.user_id])
    desk = await agent.join_desk()
    key = keyed(server, site)
    frame, phone = Frame(http, server, site), Frame(http, server, site)
    token = signed(key, claims(site, name="Ada"))
    await frame.begin(jwt=token)
    await phone.begin(jwt=signed(key, claims(site, name="Ada")))
    await frame.say("may I keep this?")
    card = await agent.card(desk, "may I keep this?")
    room = await agent.enter(card)
    (await _account(frame, username="somebody")).error(403, "M_FORBIDDEN")
    (await _account(frame, password="x")).error(400, "M_WEAK_PASSWORD")
    assert (await frame.client.ok("GET", "/account/whoami"))["is_guest"] is True

    made = (await _account(frame, inhibit_login=True)).ok()
    assert made["user_id"] == frame.client.user_id
    assert "access_token" not in made
    # What the frames hold is worth nothing any more, and the site's word opens no account.
    for each in (frame, phone):
        (await each.client.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
        (await each.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
        (await each.ask("session/renew")).error(401, "M_UNKNOWN_TOKEN")
    assert await refused(Frame(http, server, site), signed(key, claims(site, name="Eve"))) == "account"

    ada = Client(http, server.url)
    await ada.login(made["user_id"])
    who = await ada.ok("GET", "/account/whoami")
    assert (who["user_id"], who["is_guest"]) == (made["user_id"], False)
    profile = await ada.ok("GET", f"/profile/{part(ada.user_id)}")
    assert profile["displayname"] == "Ada"
    page = await ada.ok("GET", f"/rooms/{part(room)}/messages", params={"dir": "b", "limit": "50"})
    assert "may I keep this?" in str(page)
    # The case goes on, and the account may do what accounts may.
    await ada.send(room, "thank you")
    await agent.hears(room, "thank you")
    await agent.react(desk, card, "✅")
    await agent.card(desk, "resolved")
    await ada.send(room, "and one thing more")
    await agent.card(desk, "🆕", "and one thing more")
    assert await ada.create_room(name="my own")
    (await ada.request("GET", f"/rooms/{part(desk)}/messages", params={"dir": "b"})).error(403, "M_FORBIDDEN")
    # The site goes; the account stays.
    other = Frame(http, server, site)
    await other.begin()
    site_command(server, "remove", site)
    again = Client(http, server.url)
    await again.login(made["user_id"])
    assert (await again.request("GET", "/account/whoami")).ok()["user_id"] == made["user_id"]


async def test_a_repeated_request_does_not_open_an_account(server: Server, http: aiohttp.ClientSession) -> None:
    site = new_site(server, [ORIGIN], [])
    frame = Frame(http, server, site)
    key = fresh("key")
    await frame.begin(key=key)
    made = (await _account(frame)).ok()
    assert made["device_id"] != frame.session["device_id"]
    again = Frame(http, server, site)
    reply = await again.ask("session", {"nonce": await again.nonce(), "key": key})
    assert reply.error(403, "M_FORBIDDEN")["reason"] == "account"
    # The same browser begins anew, as somebody else.
    assert (await frame.begin())["user_id"] != made["user_id"]


async def test_no_more_accounts_than_the_server_gives(server: Server, http: aiohttp.ClientSession) -> None:
    frame, other = (Frame(http, server, new_site(server, [ORIGIN], [])) for _ in range(2))
    await frame.begin()
    await other.begin()
    (await _account(frame, guest_access_token=other.client.token)).error(403, "M_FORBIDDEN")
    (await _account(frame, guest_access_token=frame.handle)).error(403, "M_FORBIDDEN")
    assert (await frame.client.ok("GET", "/account/whoami"))["is_guest"] is True
