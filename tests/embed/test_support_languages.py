"""The languages of the chat, and which of them it speaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.embed.support_chat import Visitor, host, new_site, page_with
from tests.embed.test_support_host import FORM, one_database, visitor
from tests.support.client import becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, Route


@pytest.mark.parametrize(("locale", "direction"), [("uk", "ltr"), ("de", "ltr"), ("pl", "ltr"), ("ar", "rtl")])
@one_database
async def test_languages(browser: Browser, server: Server, locale: str, direction: str) -> None:
    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin], [], form=FORM), lang=locale))}

    async with host(pages) as origin:
        ada = await visitor(browser)
        await ada.page.goto(origin)
        await ada.open()
        frame = ada.frame
        await frame.wait_for_function(f"() => document.documentElement.lang === '{locale}'")
        assert await frame.evaluate("document.documentElement.dir") == direction
        assert "{" not in await frame.locator("body").inner_text()
        assert await frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        left = await ada.page.evaluate("document.querySelector('hromada-chat').getBoundingClientRect().left")
        assert (left < 100) is (direction == "rtl")


@one_database
async def test_the_language_is_the_page_s_else_the_browser_s(browser: Browser, server: Server, web_build: Path) -> None:
    said = "Відповідаємо"
    words = next(file.name for file in (web_build / "assets").glob("w.*.js") if said in file.read_text())
    loads, goes_on = asyncio.Event(), asyncio.Event()

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        page = page_with(server, new_site(server, [origin], [], form=FORM, theme={"accent": "#8C3B4A"}, locale="pl"))
        languages = {"": "en", "none": "", "other": "fr"}
        return {
            f"/{name}": ("text/html", page.replace('lang="en"', f'lang="{lang}"')) for name, lang in languages.items()
        }

    async def late(route: Route) -> None:
        loads.set()
        await goes_on.wait()
        await route.continue_()

    async with host(pages) as origin:
        ada = await visitor(browser, language="uk-UA")
        await ada.page.route(f"**/{words}", late)
        await ada.page.goto(origin)
        frame = await ada.open()
        await loads.wait()  # the browser's language comes first, and its words come last
        await _heard(ada)
        goes_on.set()
        await frame.evaluate(f"import('/assets/{words}').then(() => undefined)")
        assert await frame.evaluate("document.documentElement.lang") == "en"
        # Of a page that names none, or none of ours.
        for name, spoken in (("none", "uk"), ("other", "pl")):
            await ada.page.goto(f"{origin}/{name}")
            frame = await ada.open()
            await _heard(ada)
            await becomes(lambda frame=frame: frame.evaluate("document.documentElement.lang"), spoken)
        # What the frame is called and what the button says follow the language, whoever changes it.
        await becomes(lambda: _called(ada), ("Teren shop · Wiadomości", "Close the chat"))
        await ada.page.evaluate("hromadaChat.close()")
        await ada.page.evaluate("hromadaChat.setLocale('de')")
        await becomes(lambda: _called(ada), ("Teren shop · Nachrichten", "Chat öffnen"))
        assert ada.faults == []


async def _called(ada: Visitor) -> tuple[str | None, str]:
    """The frame's name, and the button's."""
    title = await (await ada.frame.frame_element()).get_attribute("title")
    session = await ada.context.new_cdp_session(ada.page)
    nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    await session.detach()
    return title, next(node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "button")


async def _heard(ada: Visitor) -> None:
    """Wait until the frame has heard of the page, which it has answered by the site's look."""
    accent = "document.querySelector('hromada-chat').style.getPropertyValue('--hromada-accent')"
    await becomes(lambda: ada.page.evaluate(accent), "#8C3B4A")
