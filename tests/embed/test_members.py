"""Roles, removals and bans from the list of members: as who does it, and as who it is done to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.embed.people import Person, pair
from tests.support.client import Client, becomes, eventually, part
from tests.support.fixtures import fresh
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Request


def _group(who: Person, name: str) -> Locator:
    """A part of the list of members."""
    return who.page.get_by_role("region", name=name, exact=True)


async def _card(who: Person, group: str, of: Person) -> Locator:
    """Open somebody's card from the list."""
    await _group(who, group).get_by_role("button", name=of.name).click()
    return who.page.get_by_role("dialog")


async def _do(who: Person, of: Person, what: str, group: str = "Members") -> None:
    """Press what asks first on somebody's card."""
    await (await _card(who, group, of)).get_by_role("button", name=what, exact=True).click()
    question = who.page.get_by_role("dialog", name=what)
    await question.get_by_text(of.name).wait_for()
    await question.get_by_role("button", name=what, exact=True).click()
    await question.wait_for(state="detached")


# long: one walk, since each browser costs seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_members_are_given_roles_removed_and_let_in_again(browser: Browser, server: Server) -> None:
    ada, maya, name = await pair(browser, server)
    for each in (ada, maya):
        await each.page.evaluate("location.hash = location.hash.split('?')[0] + '?panel=members'")
    # A role: the list of both shows it, and what it allows can be done at once.
    await maya.page.get_by_role("tab", name="Settings").click()
    topic = maya.page.get_by_label("Topic")
    await maya.page.locator("aside textarea:disabled").wait_for()
    card = await _card(ada, "Members", maya)
    await card.get_by_label("Role").select_option("50")
    await maya.page.locator("aside textarea:enabled").wait_for()
    await topic.fill("Seeds and tools")
    await maya.page.get_by_role("button", name="Save").click()
    await ada.page.locator(".head").get_by_text("Seeds and tools").wait_for()
    await ada.page.keyboard.press("Escape")
    await _group(ada, "Moderators").get_by_role("button", name=maya.name).wait_for()
    await maya.page.get_by_role("tab", name="Members").click()
    await _group(maya, "Moderators").get_by_text("you", exact=True).wait_for()
    # Who is below somebody cannot remove them.
    card = await _card(maya, "Administrators", ada)
    await card.get_by_role("button", name="Write a message").wait_for()
    assert await card.get_by_role("button", name="Remove from the room").count() == 0
    await card.get_by_role("button", name="Report").click()
    report = maya.page.get_by_role("dialog", name="Report this person")
    await report.get_by_label("What is wrong with it?").fill("spoils the tea")
    async with maya.page.expect_response(lambda reply: reply.url.endswith("/report")) as answered:
        await report.get_by_role("button", name="Report").click()
    assert (await answered.value).ok
    await report.wait_for(state="detached")
    # Back to no role.
    card = await _card(ada, "Moderators", maya)
    await card.get_by_label("Role").select_option("0")
    await ada.page.keyboard.press("Escape")
    await _group(maya, "Members").get_by_text("you", exact=True).wait_for()

    # Removed: who it was is said, and the way back is there, since the room is public.
    await ada.say("goodbye")
    await _do(ada, maya, "Remove from the room")
    await _group(ada, "Members").wait_for(state="detached")
    await ada.sees(f"{ada.name} removed {maya.name}")
    await maya.page.get_by_text(f"{ada.name} removed you from this room").wait_for()
    assert await maya.page.get_by_role("navigation", name="Chats").get_by_role("link", name=name).count() == 0
    await maya.page.get_by_role("button", name="Join", exact=True).click()
    await maya.composer.wait_for()
    await maya.say("I am back")
    await ada.sees("I am back")

    # Banned: there is no way back until the ban is lifted.
    await _do(ada, maya, "Ban")
    await _group(ada, "Banned").get_by_role("button", name=maya.name).wait_for()
    await maya.page.get_by_text(f"{ada.name} banned you from this room").wait_for()
    assert await maya.page.get_by_role("button", name="Join", exact=True).count() == 0
    await (await _card(ada, "Banned", maya)).get_by_role("button", name="Lift the ban").click()
    await _group(ada, "Banned").wait_for(state="detached")
    join = maya.page.get_by_role("button", name="Join", exact=True)
    await join.wait_for()
    assert await maya.page.get_by_text("removed you").count() == 0
    await join.click()
    await maya.composer.wait_for()
    await _group(ada, "Members").get_by_role("button", name=maya.name).wait_for()
    await maya.say("thank you")
    await ada.sees("thank you")
    assert ada.faults + maya.faults == []


CROWD = 24
_ASKED = re.compile(r"/presence/([^/]+)/status$")


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_is_online_is_asked_of_those_in_view(browser: Browser, server: Server, anonymous: Client) -> None:
    ada, maya, name = await pair(browser, server)
    alias = part(f"#garden-{ada.name}:{server.name}")
    crowd = [await anonymous.anonymous().register(fresh(f"z{number:02}")) for number in range(CROWD)]
    for each in crowd:
        await each.ok("POST", f"/join/{alias}", {})
    asked: list[str] = []

    def hear(request: Request) -> None:
        if found := _ASKED.search(request.url):
            asked.append(unquote(found[1]))

    maya.page.on("request", hear)
    await maya.page.evaluate("location.hash = location.hash.split('?')[0] + '?panel=members'")
    row = _group(maya, "Administrators").get_by_role("button", name=ada.name)
    await row.locator(".av.on").wait_for()
    assert "online" in await row.inner_text()
    rows = _group(maya, "Members").get_by_role("button")
    await becomes(rows.count, CROWD + 1)
    last = max(crowd, key=lambda each: each.user_id).user_id
    far = rows.filter(has_text=last)
    assert last not in asked, "it is far below"
    await far.scroll_into_view_if_needed()

    async def is_asked() -> bool:
        return last in asked

    await eventually(is_asked)
    assert len(asked) == len(set(asked)), "nobody is asked of twice"
    assert await far.locator(".av.on").count() == 0
    await row.click()
    card = maya.page.get_by_role("dialog", name=ada.name)
    await card.locator(".hero .av.on").wait_for()
    await card.get_by_text("Admin", exact=True).wait_for()
    assert name in await maya.page.title()
    assert ada.faults + maya.faults == []
