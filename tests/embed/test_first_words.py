"""Conversations that do not exist yet: what is written is kept under the person, whom the first message invites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import Person, local, person
from tests.embed.test_access import violations
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Route

PICTURE = Path(__file__).parent / "media" / "picture.jpg"


async def _pair(browser: Browser, server: Server, anonymous: Client) -> tuple[Person, Person, Client]:
    """Two who do not know each other; and requests of the first one's own."""
    ada, maya = await person(browser, local(server), "ada"), await person(browser, local(server), "maya")
    await ada.sign_up()
    await maya.sign_up()
    client = anonymous.anonymous()
    client.token = await ada.token()
    return ada, maya, client


def _row(who: Person, other: Person) -> Locator:
    return who.page.get_by_role("navigation", name="Chats").locator("a.rm").filter(has_text=other.name)


async def test_nobody_is_invited_before_something_is_said(browser: Browser, server: Server, anonymous: Client) -> None:
    ada, maya, asked = await _pair(browser, server, anonymous)
    await ada.write_to(maya.name)
    assert await violations(ada, "first words") == []
    await ada.page.get_by_text(f"{maya.name} is invited when you send the first message").wait_for()
    await ada.composer.fill("half a thou")
    await ada.go("settings/profile")
    await ada.go("")
    await _row(ada, maya).get_by_text("half a thou").wait_for()
    assert (await asked.ok("GET", "/joined_rooms"))["joined_rooms"] == []
    # It is on the disk: a page that is loaded anew has it.
    await ada.page.reload()
    await _row(ada, maya).get_by_text("half a thou").click()
    await ada.page.wait_for_function("() => document.querySelector('#composer')?.value === 'half a thou'")
    asked.token = await ada.token()  # of the page as it was it is not good any more
    await ada.say("half a thought, and the rest")
    await ada.sent("half a thought, and the rest")
    [room] = (await asked.ok("GET", "/joined_rooms"))["joined_rooms"]
    # One row, that of the room; and what went out was encrypted.
    await becomes(_row(ada, maya).count, 1)
    await _row(ada, maya).get_by_text("Draft").wait_for(state="detached")
    page = await asked.ok("GET", f"/rooms/{room}/messages?dir=b&limit=5")
    assert [each["type"] for each in page["chunk"]][:1] == ["m.room.encrypted"]
    await maya.accept()
    await maya.sees("half a thought, and the rest")
    # Whoever writes to them again is where they talk already.
    await ada.go("")
    await ada.write_to(maya.name)
    await ada.sees("half a thought, and the rest")
    assert (await asked.ok("GET", "/joined_rooms"))["joined_rooms"] == [room]
    assert ada.faults == maya.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_could_not_be_begun_is_kept_and_makes_one_room_in_the_end(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada, maya, asked = await _pair(browser, server, anonymous)
    await ada.write_to(maya.name)

    async def refuse(route: Route) -> None:
        await route.fulfill(status=429, json={"errcode": "M_LIMIT_EXCEEDED", "error": "later"})

    await ada.page.route("**/createRoom", refuse)
    await ada.say("with a picture")
    await ada.page.get_by_text("The conversation could not be begun").first.wait_for()
    assert await ada.composer.input_value() == "with a picture"
    await ada.page.unroute("**/createRoom")
    await ada.attach(PICTURE)
    await ada.composer.press("Enter")
    await ada.page.locator("li.msg[data-id^='$'] img").first.wait_for()
    await ada.page.get_by_text("with a picture").last.wait_for()
    [_] = (await asked.ok("GET", "/joined_rooms"))["joined_rooms"]
    assert ada.faults == maya.faults == []
