"""The web client in a real Chromium on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import Person, person
from tests.support.browser import Chromium
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.fixture
async def browser(chromium: Chromium, web_build: Path) -> AsyncIterator[Browser]:
    """The shared browser, connected to for one test."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - slow, and most runs need no browser

    async with async_playwright() as playwright:
        connected = await playwright.chromium.connect_over_cdp(chromium.endpoint)
        yield connected
        for context in connected.contexts:
            await context.close()
        await connected.close()


def local(server: Server) -> str:
    """The server under the name that browsers trust."""
    return server.url.replace("127.0.0.1", "localhost")


async def pair(browser: Browser, server: Server) -> tuple[Person, Person, str]:
    """Two people in a public room, and its name."""
    ada, maya = await person(browser, local(server), "ada"), await person(browser, local(server), "maya")
    await ada.sign_up()
    name = f"Garden {ada.name}"
    await ada.create_room(name)
    await maya.sign_up()
    await maya.join(f"#garden-{ada.name}:{server.name}")
    return ada, maya, name


async def test_two_people_register_and_talk_over_the_socket(browser: Browser, server: Server) -> None:
    ada, maya, name = await pair(browser, server)
    polls: list[str] = []
    ada.page.on("request", lambda request: polls.append(request.url) if "/sync?" in request.url else None)
    await ada.say("Hello **Maya**")
    await maya.sees("Hello Maya")
    assert await maya.page.locator("[role=log] strong").inner_text() == "Maya"
    await maya.say("Привіт, Адо!")
    await ada.sees("Привіт, Адо!")
    assert polls == []  # everything came over the WebSocket
    # What was said is there after a reload, and so is the unsent text.
    await maya.composer.fill("half a tho")
    await maya.page.wait_for_timeout(600)
    await maya.page.reload()
    await maya.sees("Привіт, Адо!")
    assert await maya.composer.input_value() == "half a tho"
    await maya.page.get_by_role("navigation", name="Chats").get_by_text(name).wait_for()
    assert ada.faults + maya.faults == []


async def test_a_wrong_password_is_said_and_a_right_one_signs_in(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    again = await person(browser, local(server), "again")
    again.name = ada.name
    await again.page.goto(f"{again.url}/#/login")
    await again.page.get_by_label("User name").fill(ada.name)
    await again.page.get_by_label("Password", exact=True).fill("wrong")
    await again.page.get_by_role("button", name="Sign in").click()
    await again.page.get_by_role("alert").get_by_text("not right").wait_for()
    await again.sign_in()
    assert ada.faults + again.faults == []
