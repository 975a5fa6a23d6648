"""The states of the chat, light and dark, as axe-core sees them; the calls and events of its JavaScript interface."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from homeserver.services.support.site import DAYS
from tests.embed.support_chat import Agent, host, new_site, page_with
from tests.embed.test_support_files import UPLOADS, choose, refuse, row
from tests.embed.test_support_host import FORM, axe_of, clean, visitor
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, Page

HEARD = """<script>
    globalThis.heard = [];
    const events = ["ready", "open", "close", "unread", "message", "status", "error"];
    window.hromadaChat = { q: events.map((name) => ["on", name, (value) => heard.push([name, value ?? null])]) };
</script>"""
SENDS = "**/send/m.room.message/**"


class Looks:
    """Looks at a frame in both schemes."""

    def __init__(self, page: Page, axe: str) -> None:
        self._page = page
        self._axe = axe

    async def at(self, frame: Any) -> None:
        for scheme in ("dark", "light"):
            await self._page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] # a plain str
            await clean(frame, self._axe)


# long: one visitor comes through all states, as making a conversation takes most of the time
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_states_calls_and_events(browser: Browser, server: Server, make_user: MakeUser, web_build: Path) -> None:
    agent = Agent(await make_user("agent"))
    far = (datetime.now(UTC) + timedelta(days=3)).weekday()
    away: dict[str, Any] = {"hours": {"tz": "UTC", "weekly": {DAYS[far]: [["22:00", "23:30"]]}}}

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        site = new_site(server, [origin], [agent.client.user_id], form=FORM)
        closed = new_site(server, [origin], [], form={**FORM, "consent_url": "https://shop.example/privacy"}, **away)
        return {
            "/": ("text/html", page_with(server, site, before=HEARD)),
            "/closed": ("text/html", page_with(server, closed)),
        }

    async with host(pages) as origin:
        ada = await visitor(browser, bypass_csp=True)
        page, looks = ada.page, Looks(ada.page, axe_of(web_build))
        await page.goto(f"{origin}/closed")
        frame = await ada.open()
        await frame.get_by_role("button", name="Leave a message").click()
        await frame.get_by_role("alert").first.wait_for()
        await frame.locator(".hours dd").first.wait_for()
        await looks.at(frame)  # closed, and something is missing

        desk = await agent.join_desk()
        await page.goto(origin)
        await page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        await _calls(page)
        frame = await ada.framed()
        await page.evaluate("hromadaChat.setLocale('de')")
        await frame.wait_for_function("() => document.documentElement.lang === 'de'")
        await page.evaluate("hromadaChat.setLocale('en')")
        await ada.begin("what does it look like?")
        await page.wait_for_function("() => heard.some(([name, value]) => name === 'status' && value === 'streaming')")
        card = await agent.card(desk, "what does it look like?")
        await agent.say(await agent.enter(card), "Like **this**: https://shop.example/mugs")
        await ada.sees("Like **this**")
        await ada.say("I see")
        await page.wait_for_function("() => heard.some(([name, value]) => name === 'message' && value.mine)")
        # A message and a file that were refused, a file that waits.
        await ada.context.route(SENDS, refuse)
        await ada.say("not to be said")
        await row(ada, "not to be said").get_by_role("button", name="Try again").wait_for()
        await ada.context.route(UPLOADS, lambda route: route.abort())
        await choose(ada, "waiting.txt")
        await row(ada, "waiting.txt").get_by_role("button", name="Cancel").wait_for()
        await frame.locator("input[type=file]").set_input_files(
            [{"name": "x.html", "mimeType": "text/html", "buffer": b"x"}]
        )
        await frame.get_by_role("alert").get_by_text("Files of this kind").wait_for()
        await looks.at(frame)
        await row(ada, "waiting.txt").get_by_role("button", name="Cancel").click()
        await row(ada, "not to be said").get_by_role("button", name="Remove").click()
        await ada.context.unroute(SENDS)
        # Erasing asks first; a conversation that has ended asks how it was; one that was shut says so.
        await frame.get_by_role("button", name="Menu").click()
        await frame.get_by_role("button", name="Erase my data").click()
        await frame.get_by_role("dialog", name="Erase my data").wait_for()
        await looks.at(frame)
        await frame.get_by_role("dialog", name="Erase my data").get_by_role("button", name="Cancel").click()
        await agent.react(desk, card, "✅")
        await frame.get_by_role("radio", name="Great").click()
        await looks.at(frame)
        await agent.react(desk, card, "🚫")
        await frame.get_by_text("Sorry, this chat is closed.").wait_for()
        await looks.at(frame)
        # It says so to who comes back, too, and goes on where it was when it is opened once they are let in again.
        await page.reload()
        frame = await ada.open()
        await frame.get_by_text("Sorry, this chat is closed.").wait_for()
        await agent.react(desk, card, "🔁")
        await agent.card(desk, "open, with")
        await page.evaluate("hromadaChat.close(); hromadaChat.open()")
        await ada.sees("what does it look like?")
        await agent.note(desk, card, "!block")
        await frame.get_by_text("Sorry, this chat is closed.").wait_for()
        # The browser is forgotten: who comes is somebody new.
        await page.evaluate("hromadaChat.reset()")
        await frame.get_by_role("button", name="Start chat").wait_for()
        assert [cookie["name"] for cookie in await ada.context.cookies() if cookie["value"]] == []
        assert ada.faults == []


async def _calls(page: Page) -> None:
    """The window and the launcher by calls, which are told as what people do is."""
    shown = "(() => !document.querySelector('hromada-chat').hidden)()"
    await page.evaluate("globalThis.deaf = 0; hromadaChat.on('open', () => deaf++)()")  # who stops listening at once
    course = []
    for call in ("hide", "show", "toggle", "toggle", "open", "close", "open"):
        await page.evaluate(f"hromadaChat.{call}()")
        course.append((call, await page.evaluate("hromadaChat.isOpen()"), await page.evaluate(shown)))
    assert course == [
        *(("hide", False, False), ("show", False, True), ("toggle", True, True), ("toggle", False, True)),
        *(("open", True, True), ("close", False, True), ("open", True, True)),
    ]
    told = await page.evaluate(
        "heard.filter(([name]) => ['ready', 'open', 'close'].includes(name)).map(([name]) => name)"
    )
    assert told == ["ready", "open", "close", "open", "close", "open"]
    assert await page.evaluate("deaf") == 0
