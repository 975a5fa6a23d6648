"""Where one comes into a conversation, and what waits elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

# The spec's own tolerance for this client: what one reads may stand two pixels from its place.
NEAR_PX = 2.0
# Where the first message below the line of new ones stands, where it should, and what it says.
STANDS = """() => {
    const log = document.querySelector("[role=log]");
    const box = log.getBoundingClientRect();
    const row = log.querySelector("li.new").nextElementSibling;
    return [row.getBoundingClientRect().top - box.top, box.height * 0.3, row.textContent];
}"""
# The first row in view, and how far below the top it stands.
PLACE = """() => {
    const log = document.querySelector("[role=log]");
    const top = log.getBoundingClientRect().top;
    const row = [...log.querySelectorAll("[data-key]")].find((each) => each.getBoundingClientRect().bottom > top);
    return [row.dataset.key, Math.round(row.getBoundingClientRect().top - top)];
}"""
SCROLL_UP = """async () => {
    const log = document.querySelector("[role=log]");
    log.scrollTop -= 600;
    await new Promise((done) => log.addEventListener("scroll", done, { once: true }));
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_comes_back_begins_with_what_is_unread(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1200, "height": 800})
    client = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await client.shared_room(maya, name="Garden")
    other = await client.shared_room(maya, name="Kitchen")

    async def says(where: str, word: str, count: int) -> str:
        sent = [await maya.send(where, {"msgtype": "m.text", "body": f"{word} {n} "}) for n in range(count)]
        return sent[-1]

    async def line_before(text: str) -> None:
        await ada.page.locator("li.new").wait_for()
        stands, wanted, after = await ada.page.evaluate(STANDS)
        assert text in after
        assert abs(stands - wanted) <= NEAR_PX

    last = await says(room, "old", 40)
    await client.ok("POST", f"/rooms/{room}/read_markers", {"m.fully_read": last, "m.read": last})
    await says(room, "away", 60)
    await ada.sign_in()
    garden, kitchen = [ada.page.get_by_role("link", name=name) for name in ("Garden", "Kitchen")]
    # More is unread than the first sync brings: the beginning of it is fetched.
    await garden.click()
    await line_before("away 0 ")
    # The line stays until one leaves, at the end too; all is read then, and there is none on coming back.
    await ada.page.get_by_role("button", name="Jump to the latest message").click()
    await ada.sees("away 59 ")
    await garden.get_by_text("unread").wait_for(state="detached")
    assert await ada.page.locator("li.new").count() == 1
    await kitchen.click()
    await ada.page.get_by_role("main", name="Kitchen").wait_for()
    await garden.click()
    await ada.sees("away 59 ")
    assert await ada.page.locator("li.new").count() == 0
    # What came meanwhile has a line of its own.
    await kitchen.click()
    await ada.page.get_by_role("main", name="Kitchen").wait_for()
    await says(room, "meanwhile", 30)
    await garden.get_by_text("30 unread").wait_for()
    await garden.click()
    await line_before("meanwhile 0 ")
    # A short while later one is where one was.
    await ada.page.evaluate(SCROLL_UP)
    place = await ada.page.evaluate(PLACE)
    await kitchen.click()
    await ada.page.get_by_role("main", name="Kitchen").wait_for()
    await garden.click()
    await ada.page.get_by_role("main", name="Garden").wait_for()
    assert await ada.page.evaluate(PLACE) == place
    await _what_waits_can_be_taken_back(ada)
    await _an_edit_keeps_its_mentions_and_gives_the_draft_back(ada, maya, room)
    assert ada.faults == []


async def _what_waits_can_be_taken_back(ada: Person) -> None:
    """A message without an id offers nothing that needs one."""
    await ada.page.route("**/send/**", lambda route: route.fulfill(status=403, json={"errcode": "M_FORBIDDEN"}))
    await ada.say("a slip")
    waiting = ada.page.locator("li.msg[data-id='']").filter(has_text="a slip").locator(".b")
    await waiting.get_by_role("button", name="Delete").wait_for()
    await waiting.focus()
    await waiting.press("Enter")
    items = ada.page.get_by_role("menuitem")
    await items.first.wait_for()
    assert [text.split("\n")[0] for text in await items.all_inner_texts()] == ["Copy text", "Delete"]
    await items.last.click()
    await ada.message("a slip").wait_for(state="detached")
    await ada.page.unroute("**/send/**")
    await ada.say("as meant")
    await ada.sent("as meant")
    assert await ada.page.get_by_role("log").get_by_text("a slip").count() == 0


async def _an_edit_keeps_its_mentions_and_gives_the_draft_back(ada: Person, maya: Client, room: str) -> None:
    name = maya.user_id[1:].split(":")[0]
    await ada.composer.press_sequentially(f"@{name[:4]}")
    await ada.page.get_by_role("option", name=name).click()
    await ada.composer.press_sequentially("brings tea")
    await ada.composer.press("Enter")
    await ada.sent("brings tea")
    await ada.composer.press("ArrowUp")
    await ada.say(f"@{name} brings cake")
    await ada.message("brings cake").get_by_text("edited").wait_for()
    await ada.sent("brings cake")
    await ada.message("brings cake").get_by_text("Sending").wait_for(state="detached")
    assert await ada.message("brings cake").locator(".men").count() == 1
    latest = (await maya.ok("GET", f"/rooms/{room}/messages?dir=b&limit=1"))["chunk"][0]["content"]
    assert latest["m.new_content"]["m.mentions"] == {"user_ids": [maya.user_id]}
    assert latest["m.mentions"] == {}  # she has been told
    # What was begun before a message is changed is there again when the change is called off.
    await ada.composer.fill("half a tho")
    await ada.act("brings cake", "More actions")
    await ada.page.get_by_role("menuitem", name="Edit").click()
    await ada.page.wait_for_function("document.querySelector('#composer').value.includes('brings cake')")
    await ada.act("away", "Reply")
    await ada.page.wait_for_function("document.querySelector('#composer').value === 'half a tho'")
    await ada.composer.press("Escape")
    await ada.composer.fill("")
