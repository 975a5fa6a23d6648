"""What is done to messages that have no id yet: they are changed where they stand, or it waits for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Route

PATTERNS = ("**/send/**", "**/redact/**")


class Gate:
    """Holds what the page sends until it is opened."""

    def __init__(self, who: Person) -> None:
        self._who = who
        self._open = asyncio.Event()
        self.held = asyncio.Event()

    async def _hold(self, route: Route) -> None:
        self.held.set()
        await self._open.wait()
        await route.continue_()

    async def shut(self) -> None:
        """From here on nothing gets through."""
        for pattern in PATTERNS:
            await self._who.page.route(pattern, self._hold)

    def open(self) -> None:
        """Let it through, and what comes."""
        self._open.set()


async def _menu(who: Person, text: str) -> Locator:
    row = who.page.locator("li.msg[data-id='']").filter(has_text=text).locator(".b")
    await row.focus()
    await row.press("Enter")
    return who.page.get_by_role("menu", name="Message actions")


async def _edit(who: Person, text: str, into: str) -> None:
    await (await _menu(who, text)).get_by_role("menuitem", name="Edit").click()
    await who.composer.fill(into)
    await who.composer.press("Enter")
    await who.message(into).wait_for()


async def _events(maya: Client, room: str, count: int) -> list[dict[str, Any]]:
    """The newest events of the room, the oldest first, once there are so many that are no state."""
    async with asyncio.timeout(60):
        while True:
            chunk = (await maya.messages(room, limit=50))["chunk"]
            found = [event for event in reversed(chunk) if "state_key" not in event]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_is_done_to_a_message_waits_for_it(
    browser: Browser, server: Server, anonymous: Client, web_build: Path
) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1200, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Garden")
    await ada.sign_in()
    await ada.page.evaluate("room => { location.hash = `#/room/${room}`; }", room)
    page = ada.page
    gate = Gate(ada)
    await gate.shut()
    await ada.say("on its way")
    await gate.held.wait()
    await ada.say("not begun")
    # One that has not begun is another one when it goes; one that may have arrived is changed afterwards.
    await ada.composer.press("ArrowUp")
    assert await ada.composer.input_value() == "not begun"
    await ada.say("never begun like this")
    await ada.message("never begun like this").wait_for()
    assert await ada.message("never begun like this").get_by_text("edited").count() == 0
    await _edit(ada, "on its way", "on its way, mended")
    await ada.message("on its way, mended").get_by_text("edited").wait_for()
    await (await _menu(ada, "never begun like this")).get_by_role("menuitem", name="React").click()
    await page.get_by_label("Search emoji").fill("waving hand")
    await page.get_by_role("button", name="waving hand").first.click()
    await ada.message("never begun like this").get_by_role("button", name="👋").wait_for()
    # What is done to one that is taken back goes with it.
    await ada.say("a slip")
    await (await _menu(ada, "a slip")).get_by_role("menuitem", name="React").click()
    await page.get_by_label("Search emoji").fill("waving hand")
    await page.get_by_role("button", name="waving hand").first.click()
    await ada.message("a slip").get_by_role("button", name="👋").wait_for()
    await (await _menu(ada, "a slip")).get_by_role("menuitem", name="Delete").click()
    await ada.message("a slip").wait_for(state="detached")
    gate.open()
    first, second, edit, reaction = await _events(maya, room, 4)
    assert [first["content"]["body"], second["content"]["body"]] == ["on its way", "never begun like this"]
    assert edit["content"]["m.new_content"]["body"] == "on its way, mended"
    assert edit["content"]["m.relates_to"]["event_id"] == first["event_id"]
    assert reaction["content"]["m.relates_to"]["event_id"] == second["event_id"]
    await ada.sent("never begun like this")

    # One that is just going out is deleted when it is there.
    gate = Gate(ada)
    await gate.shut()
    await ada.say("too fast")
    await gate.held.wait()
    await (await _menu(ada, "too fast")).get_by_role("menuitem", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await ada.message("too fast").wait_for(state="detached")
    gate.open()
    *_, gone, redaction = await _events(maya, room, 6)
    assert redaction["type"] == "m.room.redaction"
    assert (redaction.get("redacts") or redaction["content"]["redacts"]) == gone["event_id"]
    assert gone["content"] == {}

    # One that was refused is sent anew when it is changed.
    await page.route("**/send/**", lambda route: route.fulfill(status=403, json={"errcode": "M_FORBIDDEN"}))
    await ada.say("what a rude word")
    await ada.message("what a rude word").get_by_role("button", name="Try again").wait_for()
    await page.unroute("**/send/**")
    await _edit(ada, "what a rude word", "what a kind word")
    await ada.sent("what a kind word")
    assert (await _events(maya, room, 7))[6]["content"]["body"] == "what a kind word"
    assert len(await _events(maya, room, 7)) == 7
    await _a_change_that_is_refused(ada, "what a kind word")
    await _what_is_not_in_the_outbox_is_in_its_draft(ada, web_build)
    assert (await _events(maya, room, 8))[7]["content"]["body"] == "this is *late*"
    await _answers_wait(ada)
    *_, root, reply, answer = await _events(maya, room, 11)
    assert [each["content"]["body"] for each in (root, reply, answer)] == ["a root", "a reply", "below"]
    assert reply["content"]["m.relates_to"] == {"m.in_reply_to": {"event_id": root["event_id"]}}
    assert answer["content"]["m.relates_to"]["rel_type"] == "m.thread"
    assert answer["content"]["m.relates_to"]["event_id"] == root["event_id"]
    assert ada.faults == []


async def _a_change_that_is_refused(ada: Person, text: str) -> None:
    """It stands at its message until it is given up."""
    page = ada.page
    await page.route("**/send/**", lambda route: route.fulfill(status=403, json={"errcode": "M_FORBIDDEN"}))
    await ada.composer.press("ArrowUp")
    await becomes(ada.composer.input_value, text)
    await ada.say("what a word")
    changed = ada.message("what a word")
    await changed.get_by_role("button", name="Try again").wait_for()
    await changed.get_by_role("button", name="Cancel the edit").click()
    await ada.sent(text)
    await page.unroute("**/send/**")


async def _answers_wait(ada: Person) -> None:
    """A reply and an answer in a thread, to what does not get through, outlive that the page is loaded anew."""
    page = ada.page
    await page.route("**/send/**", lambda route: route.abort())
    await ada.say("a root")
    await (await _menu(ada, "a root")).get_by_role("menuitem", name="Reply").first.click()
    await ada.say("a reply")
    quoted = ada.message("a reply").locator(".quote").get_by_text("a root")
    await quoted.wait_for()
    main = page.get_by_role("main")
    row = main.locator("li.msg[data-id='']").filter(has_text="a root").first.locator(".b")
    await row.focus()
    await row.press("t")
    thread = page.get_by_role("complementary", name="Thread")
    await thread.get_by_text("a root").wait_for()
    await thread.get_by_role("textbox").fill("below")
    await thread.get_by_role("textbox").press("Enter")
    await thread.get_by_text("below").wait_for()
    await main.get_by_role("button", name="1 reply").wait_for()
    await thread.get_by_role("textbox").fill("more to come")
    await becomes(lambda: page.evaluate(DRAFTS), ["more to come"])
    await page.reload()
    await thread.get_by_text("below").wait_for()
    await quoted.wait_for()
    await page.unroute("**/send/**")
    await page.evaluate("dispatchEvent(new Event('online'))")
    # With the root's id the thread has its own address, and what is written there goes along.
    await becomes(lambda: page.evaluate("location.hash.includes('thread%3A%24')"), True)
    await thread.locator("li.msg[data-id^='$']").filter(has_text="below").wait_for()
    assert await thread.get_by_role("textbox").input_value() == "more to come"
    await thread.get_by_role("textbox").fill("")
    await becomes(lambda: page.evaluate(DRAFTS), [])


# What is on the disk of unsent texts.
DRAFTS = """() => new Promise((done) => {
    const open = indexedDB.open("hromada");
    open.onsuccess = () => {
        const got = open.result.transaction("drafts").objectStore("drafts").getAll();
        got.onsuccess = () => (open.result.close(), done(got.result.map(({ text }) => text)));
    };
})"""


async def _what_is_not_in_the_outbox_is_in_its_draft(ada: Person, web_build: Path) -> None:
    """The page is loaded anew while the part is on its way that makes HTML of the marks in a message."""
    page = ada.page
    parts = [part for part in (web_build / "assets").glob("c.*.js") if "emStrongLDelim" in part.read_text()]
    assert len(parts) == 1

    async def hold(_route: Route) -> None:
        pass

    await page.route(f"**/{parts[0].name}", hold)
    await page.reload()
    await ada.composer.fill("this is *late*")
    await ada.composer.press("Enter")
    await becomes(ada.composer.input_value, "")
    assert await ada.message("this is").count() == 0
    # A browser takes back what it has not written when its page goes.
    await becomes(lambda: page.evaluate(DRAFTS), ["this is *late*"])
    await page.reload()  # while the part is held: let go, it comes, and the message is sent instead
    await becomes(ada.composer.input_value, "this is *late*")
    await page.unroute_all(behavior="ignoreErrors")
    await ada.composer.press("Enter")
    await ada.sent("this is late")
    await becomes(lambda: page.evaluate(DRAFTS), [])
    await page.reload()
    await ada.message("this is late").wait_for()
    assert await ada.composer.input_value() == ""
