"""The keyboard map: every key of its table does what it says (webclient.md 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, local, person
from tests.embed.test_hands import has_focus
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_every_key_does_what_the_table_says(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1280, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    rooms = {name: await mine.shared_room(maya, name=name) for name in ("Attic", "Barn", "Cellar")}
    for name in ("Cellar", "Barn", "Attic"):  # the newest first
        await mine.send(rooms[name], f"in the {name}")
    await ada.sign_in()
    page, keys = ada.page, ada.page.keyboard

    async def here(name: str) -> None:
        await page.get_by_role("main", name=name).wait_for()
        await ada.composer.wait_for()

    # From chat to chat, in the order of the list and around its ends.
    await page.get_by_role("link", name="Attic").click()
    await here("Attic")
    for key, name in (("ArrowDown", "Barn"), ("ArrowDown", "Cellar"), ("ArrowDown", "Attic"), ("ArrowUp", "Cellar")):
        await keys.press(f"Alt+{key}")
        await here(name)
    # To what is unread, past what is not.
    await maya.send(rooms["Barn"], "somebody?")
    await page.get_by_role("link", name="Barn").get_by_text("1 unread").wait_for()
    await keys.press("Alt+Shift+ArrowDown")
    await here("Barn")
    await page.get_by_role("link", name="Barn").get_by_text("unread").wait_for(state="detached")
    # Marks, around what is chosen; each key says the same as its button.
    for key, text, wanted in (
        ("Control+b", "bold", "**bold**"),
        ("Control+i", "leaning", "_leaning_"),
        ("Control+e", "code", "`code`"),
        ("Control+Shift+L", "a link", "[a link](https://)"),
    ):
        await ada.composer.fill(text)
        await keys.press("Control+a")
        await keys.press(key)
        await becomes(ada.composer.input_value, wanted)
    # Enter breaks the line in code, and with Shift everywhere.
    await ada.composer.fill("```")
    for key in ("Enter", "x", "Shift+Enter", "y"):
        await keys.press(key)
    await becomes(ada.composer.input_value, "```\nx\ny")
    await keys.press("Control+Enter")
    await becomes(ada.composer.input_value, "")
    await page.get_by_role("log").locator("code").filter(has_text="x").wait_for()
    # Single letters on a message, which are left alone while one writes.
    await ada.composer.press_sequentially("?rtec")
    assert await page.get_by_role("dialog").count() == 0
    await ada.composer.fill("")
    message = ada.message("somebody?").locator(".b")
    await message.focus()
    await keys.press("e")
    await page.get_by_label("Search emoji").wait_for()
    await keys.press("Escape")
    await page.get_by_label("Search emoji").wait_for(state="detached")
    await message.focus()
    await keys.press("Enter")
    await page.get_by_role("menu", name="Message actions").wait_for()
    await keys.press("Escape")
    await has_focus(page, "ariaLabel", "somebody?")
    # They can be turned off.
    await keys.press("Control+,")
    await page.get_by_role("heading", name="Profile").first.wait_for()
    await page.get_by_role("link", name="Keyboard").click()
    await page.get_by_role("switch", name="Single letters").uncheck()
    await page.goto(f"{ada.url}/#/room/{rooms['Barn']}")
    await message.focus()
    await keys.press("r")
    await keys.press("Enter")
    await page.get_by_role("menu", name="Message actions").wait_for()
    await keys.press("Escape")
    assert await page.locator(".cmp .ctx").count() == 0
    # Search here; pressed again it is the browser's own, which a page cannot stop.
    await keys.press("Control+f")
    await page.get_by_role("searchbox", name="Search messages").wait_for()
    await becomes(lambda: page.evaluate(f"decodeURIComponent(location.hash).includes('{rooms['Barn']}')"), True)
    stopped = "dispatchEvent(new KeyboardEvent('keydown', { key: 'f', ctrlKey: true, cancelable: true }))"
    assert await page.evaluate(stopped) is True
    # What the keys are is shown by ?
    await page.goto(f"{ada.url}/#/room/{rooms['Barn']}")
    await message.focus()
    await keys.press("?")
    await page.get_by_role("dialog", name="Keyboard").wait_for()
    await keys.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_nobody_signs_in_over_a_line_that_is_not_safe(browser: Browser, server: Server) -> None:
    """Off this machine and without https the page says so, and has no field for a password."""
    stranger = await person(browser, server.url.replace("127.0.0.1", "plain.test"), "ada")
    for where in ("login", "register"):
        await stranger.page.goto(f"{stranger.url}/#/{where}")
        await stranger.page.get_by_role("alert").get_by_text("https").wait_for()
        assert await stranger.page.locator("input").count() == 0
    assert stranger.faults == []
