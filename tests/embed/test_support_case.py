"""A case beside its conversation in the web client: the visitor's page, the state, staff's notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.embed.people import Person, local
from tests.embed.support_chat import Agent, Frame, new_site
from tests.support.browser import PATIENCE_MS
from tests.support.client import part
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

ORIGIN = "https://shop.example"


@pytest.mark.usefixtures("web_build")
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_case_stands_beside_its_conversation(
    browser: Browser, server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    frame = Frame(http, server, new_site(server, [ORIGIN], [agent.client.user_id]))
    desk = await agent.join_desk()
    await frame.begin(answers={"name": "Ada"}, page=f"{ORIGIN}/mugs?utm=1", title="Blue mugs")
    await frame.say("is it blue?")
    card = await agent.card(desk, "is it blue?")
    room = await agent.enter(card)
    await agent.note(desk, card, "she asked last week, too")
    context = await browser.new_context(locale="en", viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    name = agent.client.user_id[1:].partition(":")[0]
    staff = Person(context, await context.new_page(), local(server), name)
    await staff.sign_in()
    page = staff.page
    await page.get_by_role("navigation", name="Main").first.wait_for()
    await page.goto(f"{staff.url}/#/room/{room}")
    await staff.sees("is it blue?")
    # Beside the conversation, without being asked for.
    case = page.get_by_role("region", name="Case 1")
    link = case.get_by_role("link", name="Blue mugs")
    assert await link.get_attribute("href") == f"{ORIGIN}/mugs"
    assert await link.get_attribute("rel") == "noopener noreferrer"
    notes = case.get_by_role("list", name="Notes")
    await notes.get_by_text("she asked last week, too").wait_for()
    await case.get_by_role("button", name="Take", exact=True).click()
    await case.get_by_text("with ").wait_for()
    await case.get_by_text("Open", exact=True).wait_for()
    await case.get_by_label("A note for staff").fill("!resolve is for the field below")
    await case.get_by_role("button", name="Add").click()
    await notes.get_by_text("!resolve is for the field below").wait_for()
    assert await case.get_by_role("button", name="Take", exact=True).count() == 0  # one has it
    await case.get_by_role("button", name="Resolve").click()
    await case.get_by_text("Resolved", exact=True).wait_for()
    await agent.card(desk, "resolved")
    assert await case.get_by_role("button", name="Take", exact=True).count() == 0
    seen = (await frame.client.request("GET", f"/rooms/{part(room)}/messages", params={"dir": "b"})).raw
    assert b"last week" not in seen
    assert b"for the field below" not in seen
    # A room of one's own in which somebody says that it is a case shows none.
    other = await agent.client.create_room(name="not a case")
    false = {"number": 2, "status": "open", "opened_ts": 0, "page": "javascript:alert(1)"}
    await agent.client.ok("PUT", f"/rooms/{part(other)}/state/chat.hromada.support.ticket", false)
    await page.goto(f"{staff.url}/#/room/{other}")
    await page.get_by_role("main", name="not a case").wait_for()
    await page.get_by_role("button", name="Details").first.click()
    await page.get_by_role("tab", name="About").wait_for()
    assert await page.get_by_role("region", name="Case 2").count() == 0
    assert staff.faults == []
    await context.close()
