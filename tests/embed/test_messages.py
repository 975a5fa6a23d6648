"""What can be done to a message: pinned, copied, and nothing more once it is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator

MEDIA = Path(__file__).parent / "media"
COPIED = """globalThis.copied = [];
Clipboard.prototype.writeText = (text) => (globalThis.copied.push(text), Promise.resolve());"""


async def _menu(who: Person, row: Locator) -> list[str]:
    """The entries of a message's menu, opened by its key; it stays open."""
    await row.locator(".b").focus()
    await row.locator(".b").press("Enter")
    items = who.page.get_by_role("menuitem")
    await items.first.wait_for()
    return [text.split("\n")[0] for text in await items.all_inner_texts()]


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_messages_are_pinned_and_copied_while_they_are_there(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1440, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Garden")
    kind = {"Content-Type": "image/jpeg"}
    data = (MEDIA / "picture.jpg").read_bytes()
    mxc = (await maya.ok("POST", "/_matrix/media/v3/upload", data=data, headers=kind))["content_uri"]
    info = {"mimetype": "image/jpeg", "w": 64, "h": 48}
    picture = {"msgtype": "m.image", "filename": "bed.jpg", "url": mxc, "info": info}
    await ada.page.add_init_script(COPIED)
    await ada.sign_in()
    page = ada.page
    await page.goto(f"{ada.url}/#/room/{room}?panel=details")
    pin = await maya.send(room, "the gate's code is on the board")
    await ada.sees("the gate's code")
    row = page.get_by_role("main").locator("li.msg").filter(has_text="the gate's code")
    assert "Pin" in await _menu(ada, row)
    await page.get_by_role("menuitem", name="Pin", exact=True).click()
    await row.get_by_role("img", name="Pinned").wait_for()
    assert await maya.state(room, "m.room.pinned_events") == {"pinned": [pin]}
    await ada.sees(f"{ada.name} pinned a message")
    panel = page.get_by_role("complementary")
    await panel.get_by_role("button", name="Pinned messages").click()
    await panel.get_by_text("the gate's code").wait_for()
    await _menu(ada, row)
    await page.get_by_role("menuitem", name="Unpin").click()
    await row.get_by_role("img", name="Pinned").wait_for(state="detached")
    await panel.get_by_text("Nothing is pinned").wait_for()
    # C copies what somebody wrote, also beside a picture; where nothing is written the clipboard stays as it is.
    await row.locator(".b").focus()
    await row.locator(".b").press("c")
    await becomes(lambda: page.evaluate("globalThis.copied"), ["the gate's code is on the board"])
    await page.locator(".toast").filter(has_text="Copied").wait_for()
    await maya.send(room, {**picture, "body": "the third bed"})
    await ada.sees("the third bed")
    shown = ada.message("the third bed").locator(".b")
    await shown.focus()
    await shown.press("c")
    await becomes(lambda: page.evaluate("globalThis.copied.at(-1)"), "the third bed")
    await maya.send(room, {**picture, "body": "bed.jpg"})
    bare = page.locator("li.msg").filter(has=page.get_by_role("button", name="Open bed.jpg"))
    await bare.locator(".b").focus()
    await bare.locator(".b").press("c")
    assert "Copy text" not in await _menu(ada, bare)
    assert await page.evaluate("globalThis.copied.length") == 2
    await page.keyboard.press("Escape")
    # Of one that is deleted only where it was can be said.
    await maya.redact(room, pin)
    gone = ada.message("Message deleted")
    await gone.wait_for()
    assert await _menu(ada, gone) == ["Copy link", "Details", "Report"]
    await page.keyboard.press("Escape")
    for key in ("r", "e", "t", "c"):
        await gone.locator(".b").press(key)
    assert await page.locator(".cmp .ctx, .emoji").count() == 0
    assert await page.evaluate("globalThis.copied.length") == 2
    assert "thread" not in page.url
    assert ada.faults == []
