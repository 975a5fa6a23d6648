"""Several tabs of one browser (ADR 0017): all can be read and written in, one has the socket and the keys."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import Person, local, pair, person
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True)

# Somebody else has the lock: a tab of another build, which says so and goes when asked, or one that says nothing.
HOLDER = """async ([name, answers]) => {
    const channel = new BroadcastChannel(name);
    let release;
    channel.onmessage = ({ data }) => {
        if (answers && data.op === "hello") channel.postMessage({ op: "other", to: data.from });
        if (answers && data.op === "take") { release(); window.taken = true; }
    };
    await new Promise((held) => navigator.locks.request(name, () => {
        held();
        return new Promise((end) => { release = end; });
    }));
}"""

# A page that hears what the tabs say to each other, and when the first one has answered another.
LISTENS = """(name) => {
    new BroadcastChannel(name).onmessage = ({ data }) => { window.greeted ||= data.op === "soon"; };
}"""


async def beside(one: Person) -> Person:
    """The same person in one more tab, at the same place."""
    tab = Person(one.context, await one.context.new_page(), one.url, one.name)
    await tab.page.goto(one.page.url)
    await tab.composer.wait_for()
    return tab


async def behind(one: Person, server: Server, answers: bool) -> Page:
    """Their client in one more tab, while theirs has the lock and is none that can be followed."""
    await one.page.goto(f"{one.url}/assets/logo.svg")
    await one.page.evaluate(HOLDER, [f"hromada:@{one.name}:{server.name}", answers])
    page = await one.context.new_page()
    await page.goto(f"{one.url}/")
    return page


async def texts(tab: Person, start: str) -> list[str]:
    """What the timeline shows of the messages that begin so."""
    found = await tab.page.locator("li.msg .plain").all_inner_texts()
    return [text for text in found if text.startswith(start)]


def sockets(page: Page) -> list[str]:
    """The sockets that the page opens from now on."""
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    return opened


async def test_tabs_share_a_session_and_go_on_when_the_first_is_closed(browser: Browser, server: Server) -> None:
    first, maya, _ = await pair(browser, server)
    await maya.write_to(first.name)
    await maya.say("secret one")
    await first.accept()
    await first.sees("secret one")
    second = await beside(first)
    opened = sockets(second.page)
    await second.sees("secret one")
    await second.say("from the second")
    for who in (first, maya):
        await who.sees("from the second")
    await maya.say("secret two")
    for tab in (first, second):
        await tab.sees("secret two")
    await first.say("from the first")
    await second.sees("from the first")
    await second.act("secret two", "Reply")
    await second.say("an answer")
    await first.sees("an answer")
    third = await beside(first)
    await third.sees("an answer")
    assert not [url for url in opened if "stream" in url]
    # The socket and the keys go to the next tab; what is written meanwhile stays where it is.
    await second.composer.fill("half a sen")
    await first.page.close()
    await maya.say("secret three")
    for tab in (second, third):
        await tab.sees("secret three")
    assert await second.composer.input_value() == "half a sen"
    await second.say("half a sentence")
    await third.say("by the third")
    for text in ("half a sentence", "by the third"):
        await maya.sees(text)
    await maya.say("secret four")
    await third.sees("secret four")
    await second.sees("secret four")
    assert len([url for url in opened if "stream" in url]) == 1
    for who in (second, third, maya):
        assert await texts(who, "secret") == ["secret one", "secret two", "secret three", "secret four"]
        assert await who.page.get_by_text(re.compile("Waiting for the key|cannot be")).count() == 0
        assert who.faults == []


async def test_what_a_tab_sends_outlives_the_one_that_sends_it(browser: Browser, server: Server) -> None:
    first, maya, _ = await pair(browser, server)
    await first.say("before")
    await first.sent("before")
    second = await beside(first)
    await second.sees("before")
    # The first tab's requests hang: it has taken the messages and the file, and sent nothing.
    await first.page.route("**/send/**", lambda route: None)
    for n in range(3):
        await second.say(f"kept {n}")
    await first.sees("kept 2")
    assert await second.page.locator("li.msg[data-id^='$']").filter(has_text="kept").count() == 0
    await first.page.close()
    await maya.sees("kept 2")
    await second.sent("kept 2")
    for who in (second, maya):
        assert await texts(who, "kept") == ["kept 0", "kept 1", "kept 2"]
        assert who.faults == []


async def test_a_tab_that_opens_while_the_first_one_starts_has_the_keys(browser: Browser, server: Server) -> None:
    first, maya, _ = await pair(browser, server)
    await maya.write_to(first.name)
    await maya.say("secret one")
    await first.accept()
    await first.sees("secret one")
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await answer.wait()
        await route.continue_()

    await first.page.route("**/keys/query", hold)
    await first.page.reload()
    await asyncio.wait_for(asked.wait(), 60)
    listener = await first.context.new_page()
    await listener.goto(f"{first.url}/assets/logo.svg")
    await listener.evaluate(LISTENS, f"hromada:@{first.name}:{server.name}")
    tab = Person(first.context, await first.context.new_page(), first.url, first.name)
    await tab.page.goto(first.page.url)
    await listener.wait_for_function("window.greeted")
    answer.set()
    await tab.sees("secret one")
    await tab.say("from a tab that came early")
    await maya.sees("from a tab that came early")
    await maya.say("secret two")
    for who in (first, tab):
        await who.sees("secret two")
        assert await who.page.get_by_text(re.compile("Waiting for the key|cannot be")).count() == 0
        assert who.faults == []


async def test_a_tab_that_cannot_be_followed_is_taken_over(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    name = f"Tabs {ada.name}"
    await ada.create_room(name)
    for answers in (True, False):
        second = await behind(ada, server, answers)
        await second.get_by_text("Hromada is open in another tab").wait_for()
        await second.get_by_role("button", name="Use it here").click()
        await second.get_by_role("link", name=name).wait_for()
        assert await ada.page.evaluate("window.taken ?? false") is answers
        # The browser frees the lock of a tab that is gone.
        await second.close()
    await ada.page.goto(f"{ada.url}/")
    await ada.page.get_by_role("link", name=name).wait_for()


async def test_a_tab_begins_when_the_one_that_it_could_not_follow_is_gone(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    name = f"Tabs {ada.name}"
    await ada.create_room(name)
    for answers in (False, True):
        second = await behind(ada, server, answers)
        if answers:
            await second.get_by_text("Hromada is open in another tab").wait_for()
        # A tab that is being closed may have the lock for a moment still, and says nothing any more.
        await ada.page.close()
        await second.get_by_role("link", name=name).click()
        await second.get_by_role("log").wait_for()
        ada.page = second
