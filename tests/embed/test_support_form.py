"""What is asked before the chat, in a real Chromium: every kind of question, and when the chat is closed for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from homeserver.services.support.site import DAYS
from tests.embed.support_chat import Agent, Visitor, host, new_site, page_with
from tests.embed.test_support_chat import Shop
from tests.embed.test_support_host import axe_of, clean, visitor
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
QUESTIONS: list[dict[str, Any]] = [
    {"name": "name", "required": True},
    {"name": "email", "type": "email"},
    {"name": "phone", "type": "tel", "label": {"en": "Telephone"}},
    {"name": "topic", "type": "select", "options": ["Mug", "Cup"], "label": {"en": "Topic", "uk": "Тема"}},
    {"name": "details", "type": "textarea"},
    {"name": "message", "required": True},
]
KINDS = """() => [...document.querySelectorAll("form .in")].map((each) => `${each.name} ${each.type}`)"""


async def test_every_kind_of_question_comes_to_the_card(
    browser: Browser, server: Server, make_user: MakeUser, web_build: Path
) -> None:
    shop = Shop(server, Agent(await make_user("agent")), form={"fields": QUESTIONS})
    async with host(shop.pages) as origin:
        desk = await shop.agent.join_desk()
        ada = await visitor(browser, bypass_csp=True)
        await ada.page.goto(origin)
        frame = await ada.open()
        assert await frame.evaluate(KINDS) == [
            *("name text", "email email", "phone tel", "topic select-one", "details textarea", "message textarea"),
        ]
        assert await frame.get_by_label("Topic").locator("option").all_inner_texts() == ["", "Mug", "Cup"]
        await ada.page.evaluate("hromadaChat.setLocale('uk')")
        await frame.get_by_label("Тема").wait_for()
        await frame.get_by_label("details").wait_for()  # which nobody has said in any language
        await ada.page.evaluate("hromadaChat.setLocale('en')")
        await frame.get_by_label("Your question").fill("Is it blue?")
        await frame.get_by_role("button", name="Start chat").click()
        await _complains(frame, "name", "Please fill this in")
        await frame.get_by_label("Name").fill("Ada")
        # Who mistypes their address would wait for a letter in vain.
        await frame.get_by_label("E-mail").fill("ada@")
        await frame.get_by_role("button", name="Start chat").click()
        await _complains(frame, "email", "Please check this")
        await clean(frame, axe_of(web_build))
        assert await ada.context.cookies() == []  # nothing was begun
        await frame.get_by_label("E-mail").fill("ada@example.org")
        await frame.get_by_label("Telephone").fill("+380 44 000 00 00")
        await frame.get_by_label("Topic").select_option("Cup")
        await frame.get_by_label("details").fill("a large one")
        await frame.get_by_role("button", name="Start chat").click()
        await ada.sees("Is it blue?")
        card = await shop.agent.card(
            desk, "Is it blue?", "Ada", "ada@example.org", "phone: +380", "topic: Cup", "a large"
        )
        await _is_seen_to_write(ada, shop.agent, await shop.agent.enter(card))
        assert ada.faults == []


async def _complains(frame: Any, name: str, words: str) -> None:
    """One field, and no other, is said to be wrong."""
    await frame.locator(".field.bad", has_text=words).locator(f"[name={name}][aria-invalid=true]").wait_for()
    assert await frame.locator("[aria-invalid=true]").count() == 1


async def _is_seen_to_write(ada: Visitor, agent: Agent, room: str) -> None:
    """Staff sees that the visitor writes, until the message is there."""
    await ada.frame.get_by_role("textbox", name="Write a message").fill("and is it")
    await agent.until(lambda: any(who.startswith("@visitor-") for who in agent.typing.get(room, [])), "typing")
    await ada.say("and is it large?")
    await agent.hears(room, "and is it large?")
    await agent.until(lambda: agent.typing[room] == [], "the end of typing")


async def test_who_is_away_for_long_says_on_which_date_they_are_back(browser: Browser, server: Server) -> None:
    day = datetime.now(UTC).date() + timedelta(days=3)
    weekly = {DAYS[day.weekday()]: [["10:00", "12:00"]]}
    hours = {"tz": "UTC", "weekly": weekly, "holidays": [day.isoformat()]}

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin], [], hours=hours)))}

    async with host(pages) as origin:
        ada = await visitor(browser, timezone_id="UTC")
        await ada.page.goto(origin)
        frame = await ada.open()
        await frame.get_by_label("Your question").fill("when are you back?")
        await frame.get_by_role("button", name="Leave a message").click()
        await ada.sees("when are you back?")
        back = day + timedelta(days=7)
        # The weekday would be that of next week.
        assert f"Back {back:%B} {back.day}" in await frame.locator(".head small").inner_text()
        assert ada.faults == []
