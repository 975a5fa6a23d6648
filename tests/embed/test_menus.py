"""Menus and pickers are the browser's pop-ups: above all else, closed by a press beside them, the focus given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import Person, local, person
from tests.support.client import becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator

# Whether the pop-up is what one sees and presses in its middle and at its corners.
ABOVE = """(box) => {
    const { left, top, right, bottom } = box.getBoundingClientRect();
    const points = [[left + 12, top + 12], [right - 12, bottom - 12], [(left + right) / 2, (top + bottom) / 2]];
    return box.matches(":popover-open") && points.every(([x, y]) => box.contains(document.elementFromPoint(x, y)));
}"""
FOCUSED = "each => each === document.activeElement"


def _menu(who: Person) -> Locator:
    return who.page.get_by_role("menu")


async def _opened(who: Person) -> None:
    await _menu(who).get_by_role("menuitem").first.wait_for()
    await becomes(lambda: _menu(who).get_by_role("menuitem").first.evaluate(FOCUSED), True)
    assert await _menu(who).evaluate(ABOVE)


async def _shut(who: Person) -> None:
    await _menu(who).wait_for(state="detached")


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_menus_open_above_all_else_and_close_by_themselves(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1000, "height": 600})
    await ada.sign_up()
    await ada.create_room(f"Garden {ada.name}")
    for text in ("the first one", "the second one"):
        await ada.say(text)
        await ada.sent(text)
    page = ada.page
    first = ada.message("the first one").locator(".b")
    await first.focus()
    await first.press("Enter")
    await _opened(ada)
    # By the keyboard: round its items, and back to where one was.
    await page.keyboard.press("ArrowUp")
    assert await _menu(ada).get_by_role("menuitem").last.evaluate(FOCUSED)
    await page.keyboard.press("Escape")
    await _shut(ada)
    await becomes(lambda: first.evaluate(FOCUSED), True)
    await first.press("Enter")
    await _opened(ada)
    await page.keyboard.press("Tab")
    await _shut(ada)
    await becomes(lambda: first.evaluate(FOCUSED), True)
    # A press beside it closes it, and does what it does there.
    await first.press("Enter")
    await _opened(ada)
    await ada.composer.click()
    await _shut(ada)
    assert await ada.composer.evaluate(FOCUSED)
    await ada.act("the first one", "More actions")
    await _opened(ada)
    await page.get_by_role("button", name="Order", exact=True).click()
    await _menu(ada).get_by_role("menuitem", name="By name").wait_for()
    await _opened(ada)
    await page.keyboard.press("Escape")
    await _shut(ada)
    await ada.act("the second one", "More actions")
    await _opened(ada)
    await _menu(ada).get_by_role("menuitem", name="Reply", exact=False).first.click()
    await _shut(ada)
    await page.locator(".ctx").get_by_text("the second one").wait_for()
    await becomes(lambda: ada.composer.evaluate(FOCUSED), True)
    # What opens it at the pointer does not close it when the button is let go, however late.
    await page.locator(".ctx").get_by_role("button", name="Cancel the reply").click()
    await ada.message("the second one").locator(".bub").hover()
    await page.mouse.down(button="right")
    await page.locator("[role=menu]").wait_for(state="attached")
    await page.mouse.up(button="right")
    await _opened(ada)
    await _the_picker_and_the_list(ada)
    assert ada.faults == []


async def _the_picker_and_the_list(ada: Person) -> None:
    page = ada.page
    # From a menu to the picker, and out of it.
    await _menu(ada).get_by_role("menuitem", name="React").click()
    picker = page.get_by_role("dialog", name="Emoji")
    await becomes(lambda: page.get_by_label("Search emoji").evaluate(FOCUSED), True)
    assert await picker.evaluate(ABOVE)
    await page.keyboard.press("Escape")
    await picker.wait_for(state="detached")
    # One of the list, whose box would cut it off.
    await page.locator(".list .rm").first.click(button="right")
    await _opened(ada)
    await page.mouse.click(700, 500)
    await _shut(ada)
