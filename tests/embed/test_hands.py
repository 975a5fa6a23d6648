"""What hands do with the web client: fingers on a telephone, keys at a desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Locator

TELEPHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


async def room_with_a_word(who: Person, anonymous: Client) -> tuple[Client, str]:
    """A room of `who`'s with one message by somebody else, who is returned, open on the page."""
    mine = await anonymous.anonymous().login(who.name, PASSWORD)
    other = await anonymous.anonymous().register(f"noor{who.name}")
    room = await mine.create_room(name="Bees", preset="public_chat")
    await other.ok("POST", f"/join/{room}", {})
    await other.ok("PUT", f"/rooms/{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "They have come"})
    await who.page.goto(f"{who.url}/#/room/{room}")
    await who.sees("They have come")
    return other, room


class Finger:
    """One finger on the page."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session

    async def _do(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in points]
        await self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    async def down(self, place: Locator) -> tuple[float, float]:
        """Lay it on the middle of something."""
        box = await place.bounding_box()
        assert box
        self.at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await self._do("touchStart", self.at)
        return self.at

    async def pull(self, by: float) -> None:
        """Move it sideways, in steps."""
        for step in range(1, 9):
            await self._do("touchMove", (self.at[0] + by * step / 8, self.at[1]))

    async def up(self) -> None:
        """Lift it."""
        await self._do("touchEnd")


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_fingers_on_a_telephone(browser: Browser, server: Server, anonymous: Client) -> None:
    maya = await person(browser, local(server), "maya", **TELEPHONE)
    await maya.sign_up()
    _, room = await room_with_a_word(maya, anonymous)
    page = maya.page
    finger = Finger(await maya.context.new_cdp_session(page))
    # A long press opens the sheet, at the foot; the finger that is lifted then presses nothing.
    await finger.down(maya.message("They have come").locator(".bub"))
    sheet = page.get_by_role("menu", name="Message actions")
    await sheet.wait_for()
    await finger.up()
    await sheet.evaluate("each => Promise.all(each.getAnimations().map(({ finished }) => finished))")
    box = await sheet.bounding_box()
    assert box
    assert (box["x"], box["y"] + box["height"], box["width"]) == (0, 780, 390)
    await sheet.get_by_role("menuitem", name="React with 👍").tap()
    await maya.message("They have come").get_by_role("button", name="👍").wait_for()
    assert await sheet.count() == 0
    # A pull answers.
    await finger.down(maya.message("They have come").locator(".bub"))
    await finger.pull(-70)
    await finger.up()
    await page.locator(".cmp .ctx").get_by_text("They have come").wait_for()
    await maya.say("Where from?")
    await maya.message("Where from?").locator(".quote").wait_for()
    # Back closes one pane after the other, and then the room.
    await page.get_by_role("button", name="Room details").last.tap()
    await page.get_by_role("tab", name="Members").tap()
    await page.get_by_role("tab", name="About").tap()
    await page.get_by_role("button", name="Pinned messages").tap()
    await page.get_by_role("complementary", name="Pinned messages").wait_for()
    await page.go_back()
    await page.get_by_role("tab", name="About").wait_for()
    await page.go_back()
    await page.get_by_role("complementary").wait_for(state="detached")
    assert page.url.endswith(f"/room/{room}")
    # The X closes what is open, and leaves no step behind.
    before = await page.evaluate("history.length")
    await page.get_by_role("button", name="Room details").last.tap()
    await page.get_by_role("button", name="Close").tap()
    await page.get_by_role("complementary").wait_for(state="detached")
    await page.wait_for_function("room => location.hash === `#/room/${room}`", arg=room)
    assert await page.evaluate("history.length") <= before + 1
    # The user's spaces stand above the list.
    mine = await anonymous.anonymous().login(maya.name, PASSWORD)
    space = await mine.create_room(name="Courtyard", creation_content={"type": "m.space"})
    await page.evaluate("location.hash = '#/'")
    await page.get_by_role("group", name="Spaces").get_by_role("button", name="Courtyard").tap()
    await page.get_by_role("heading", name="Courtyard").wait_for()
    assert await page.get_by_role("link", name="Bees").count() == 0
    await mine.ok("PUT", f"/rooms/{space}/state/m.space.child/{room}", {"via": [server.name]})
    await page.get_by_role("link", name="Bees").wait_for()
    assert maya.faults == []
