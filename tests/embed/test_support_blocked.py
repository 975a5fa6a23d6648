"""Visitors whom staff has blocked, as administrators see them and let them in again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.embed.support_chat import Agent, Frame, new_site
from tests.embed.test_access import violations
from tests.embed.test_admin_pages import go, shoot, sign_in
from tests.support.admin import OWN, acts, administrator
from tests.support.client import Client
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.usefixtures("web_build")
HOUR_MS = 3_600_000


async def test_administrators_let_blocked_visitors_in_again(
    browser: Browser, server: Server, http: aiohttp.ClientSession, make_user: MakeUser, anonymous: Client
) -> None:
    admin, agent = await administrator(anonymous), Agent(await make_user("agent"))
    site = new_site(server, ["https://shop.example"], [agent.client.user_id], block_hours=2)
    desk, ada, bo = await agent.join_desk(), Frame(http, server, site), Frame(http, server, site)
    path = f"{OWN}/sites/{site}/blocked"
    for frame, name in ((ada, "Ada"), (bo, "Bo")):
        await frame.begin(answers={"name": name})
        await frame.say(f"buy {name}'s pills")
    before_ms = int(time.time() * 1000)
    for name in ("Ada", "Bo"):
        await agent.react(desk, await agent.card(desk, f"buy {name}'s pills"), "🚫")
        await agent.card(desk, f"buy {name}'s pills", "blocked")
    listed = (await admin.ok("GET", path))["blocked"]
    assert [(one["number"], one["name"], one["room_id"], one["user_id"]) for one in listed] == [
        (2, "Bo", bo.room, bo.client.user_id),
        (1, "Ada", ada.room, ada.client.user_id),
    ]
    for one in listed:
        assert (one["blocked_by"], one["verified"]) == (agent.client.user_id, False)
        assert before_ms <= one["blocked_ts"] <= time.time() * 1000
        assert one["blocked_ts"] + HOUR_MS < one["address_until_ts"] <= time.time() * 1000 + 2 * HOUR_MS
    first = await admin.ok("GET", path, params={"limit": "1"})
    assert first == {"blocked": listed[:1], "next_token": "2"}
    assert await admin.ok("GET", path, params={"limit": "2", "from": "2"}) == {"blocked": listed[1:]}
    who = await sign_in(browser, server, admin, viewport={"width": 1440, "height": 900}, bypass_csp=True)
    await go(who, f"sites/{site}")
    section = who.page.get_by_role("region", name="Blocked visitors")
    await section.get_by_text("Ada · #1").wait_for()
    assert await section.get_by_text(f"by {agent.client.user_id} · nobody new from their address until").count() == 2
    assert await violations(who, "site") == []
    await shoot(who, "admin-site-blocked")
    await section.get_by_role("button", name="Unblock Ada, case 1").click()
    await who.page.get_by_text("Ada may write again.").wait_for()
    await section.get_by_text("Ada · #1").wait_for(state="detached")
    await agent.card(desk, "buy Ada's pills", "🆕")
    ada.take((await ada.ask("session/resume")).ok())
    await ada.say("I am sorry")
    assert [(one["action"], one["detail"]) for one in await acts(admin, target=site)] == [
        ("site.unblock", {"case": 1, "visitor": ada.client.user_id}),
    ]
    # The address is still shut out, because of the other one; who is not blocked cannot be let in.
    (await Frame(http, server, site).ask("session", {"nonce": await bo.nonce(), "key": "k" * 20})).error(403)
    (await admin.request("DELETE", f"{path}/1")).error(400, "M_INVALID_PARAM")
    await section.get_by_role("button", name="Unblock Bo, case 2").click()
    await section.get_by_text("Nobody is blocked").wait_for()
    await Frame(http, server, site).begin()
    assert len(await acts(admin, target=site)) == 2
    assert who.faults == []
