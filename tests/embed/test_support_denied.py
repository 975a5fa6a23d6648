"""Browsers that keep nothing, and pages that are no secure context: the chat goes on as long as the page does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.embed.support_chat import Agent, Visitor, host, new_site, page_with
from tests.embed.test_support_files import UPLOADS, choose, row
from tests.embed.test_support_host import FORM, visitor
from tests.support.browser import PATIENCE_MS, Chromium
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
PLAIN = "plain.test"
KEEPING = "keeping.localhost"
ALLOWED = {"content_settings": {"exceptions": {"cookies": {f"{KEEPING},*": {"setting": 1}}}}}


@pytest.fixture(scope="module")
def wary(chromium: Chromium) -> Iterator[Chromium]:
    """A browser that gives frames of other sites nothing to keep, and pages nothing either but those of `KEEPING`."""
    browser = Chromium(
        chromium.program,
        ("--disable-features=ThirdPartyStoragePartitioning,PartitionedCookies",),
        {"profile": {"cookie_controls_mode": 1, "default_content_setting_values": {"cookies": 2}, **ALLOWED}},
    )
    yield browser
    browser.stop()


@pytest.fixture
async def denying(wary: Chromium, web_build: object) -> AsyncIterator[Browser]:
    """It, connected to for one test."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - slow, and most runs need no browser

    async with async_playwright() as playwright:
        connected = await playwright.chromium.connect_over_cdp(wary.endpoint)
        yield connected
        for context in connected.contexts:
            await context.close()
        await connected.close()


STORED = """async () => {
    let local = true;
    try { localStorage.setItem("x", "1"); localStorage.removeItem("x"); } catch { local = false; }
    const indexed = await new Promise((done) => {
        try {
            const request = indexedDB.open("probe-of-the-test");
            request.onsuccess = () => { request.result.close(); done(true); };
            request.onerror = () => done(false);
        } catch { done(false); }
    });
    return { local, indexed, secure: isSecureContext, subtle: globalThis.crypto.subtle !== undefined };
}"""


@asynccontextmanager
async def talking(
    browser: Browser, server: Server, make_user: MakeUser, name: str, encryption: str
) -> AsyncIterator[Visitor]:
    """A visitor on a page of a host of this name, who has been answered and has read their own words."""
    agent = Agent(await make_user("agent"))
    settings = {"form": FORM, "encryption": encryption}

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin], [agent.client.user_id], **settings)))}

    async with host(pages, name) as origin:
        desk = await agent.join_desk()
        ada = await visitor(browser)
        await ada.page.goto(origin)
        await ada.begin("does this browser keep anything?")
        card = await agent.card(desk, "(encrypted" if encryption == "on" else "does this browser")
        room = await agent.enter(card)
        await agent.say(room, "Not a thing.")
        await ada.sees("Not a thing.")
        await ada.say("then I say it again")
        kind = "m.room.encrypted" if encryption == "on" else "m.room.message"
        await agent.until(lambda: len(_of(agent, room, kind)) == 2, f"two {kind}")
        await ada.sees("then I say it again")
        assert await ada.frame.get_by_text("cannot be read in this browser").count() == 0
        yield ada
        assert ada.faults == []


def _of(agent: Agent, room: str, kind: str) -> list[Any]:
    """What the visitor has sent of this kind."""
    found = [event for event in agent.events.get(room, []) if event["type"] == kind]
    return [event for event in found if event["sender"].startswith("@visitor-")]


@pytest.mark.parametrize("encryption", ["off", "on"])
async def test_a_browser_that_keeps_nothing(
    denying: Browser, server: Server, make_user: MakeUser, encryption: str
) -> None:
    async with talking(denying, server, make_user, "site-a.localhost", encryption=encryption) as ada:
        assert await ada.frame.evaluate(STORED) == {"local": False, "indexed": False, "secure": True, "subtle": True}
        await ada.frame.get_by_text("This browser keeps nothing for us").wait_for()
        # A file that cannot be sent at once waits as long as the page is there, and says so.
        await ada.context.route(UPLOADS, lambda route: route.abort())
        await choose(ada, "waiting.txt")
        await row(ada, "waiting.txt").get_by_text("Keep this page open").wait_for()
        await ada.context.unroute(UPLOADS)
        await row(ada, "waiting.txt").get_by_text("Keep this page open").wait_for(state="detached")
        await ada.page.reload()
        await ada.page.evaluate("hromadaChat.open()")
        await (await ada.framed()).get_by_role("button", name="Start chat").wait_for()


async def test_cookies_of_others_are_blocked_and_the_browser_is_started_anew(
    chromium: Chromium, server: Server, web_build: object
) -> None:
    from playwright.async_api import Error, async_playwright  # noqa: PLC0415 - slow, and most runs need no browser

    def elsewhere(origin: str) -> str:
        """The same page on another website."""
        return origin.replace("site-a", "site-b")

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin, elsewhere(origin)], [], form=FORM)))}

    blocking = Chromium(chromium.program, (), {"profile": {"cookie_controls_mode": 1}})
    try:
        async with host(pages) as origin, async_playwright() as playwright:
            for is_new in (True, False):
                connected = await playwright.chromium.connect_over_cdp(blocking.endpoint)
                [context] = connected.contexts  # its own, which it keeps
                context.set_default_timeout(PATIENCE_MS)
                ada = Visitor(context, await context.new_page())
                await ada.page.goto(origin)
                if is_new:
                    await ada.begin("will you know me tomorrow?")
                    [cookie] = await context.cookies()
                    assert cookie["partitionKey"].startswith("http://site-a.localhost")  # type: ignore[typeddict-item]
                await ada.open()
                await ada.sees("will you know me tomorrow?")
                assert await ada.frame.evaluate(STORED) == {
                    "local": True,
                    "indexed": True,
                    "secure": True,
                    "subtle": True,
                }
                assert await ada.frame.get_by_text("This browser keeps nothing for us").count() == 0
                if is_new:
                    # The same chat there knows nothing of it.
                    there = Visitor(context, await context.new_page())
                    await there.page.goto(elsewhere(origin))
                    await (await there.open()).get_by_role("button", name="Start chat").wait_for()
                assert ada.faults == []
                if is_new:
                    session = await connected.new_browser_cdp_session()
                    with suppress(Error):  # the answer may not come any more
                        await session.send("Browser.close")
                    await asyncio.to_thread(blocking.restart)
    finally:
        blocking.stop()


KEPT = """(site) => localStorage.getItem(`hromada:${site}`) ?? "" """


async def test_a_page_keeps_what_the_browser_does_not(denying: Browser, browser: Browser, server: Server) -> None:
    sites: dict[str, str] = {}

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        sites["asked"] = new_site(server, [origin], [], form=FORM)
        sites["both"] = new_site(server, [origin], [], form=FORM, persist="host")
        asks = {name: page_with(server, site, attributes=' data-persist="host"') for name, site in sites.items()}
        texts = {**asks, "allowed": page_with(server, sites["both"])}
        return {f"/{name}": ("text/html", text) for name, text in texts.items()}

    async with host(pages, KEEPING) as origin:
        ada = await visitor(denying)
        keeps_nothing = "This browser keeps nothing for us"

        def kept() -> Any:
            return ada.page.evaluate(KEPT, sites["both"])

        # Unless both want it, the page is given nothing.
        for name in ("asked", "allowed"):
            await ada.page.goto(f"{origin}/{name}")
            await ada.begin(f"only {name}")
            await ada.frame.get_by_text(keeps_nothing).wait_for()
            assert await ada.page.evaluate("localStorage.length") == 0
            await ada.page.evaluate("sessionStorage.clear()")
        await ada.page.goto(f"{origin}/both")
        await ada.begin("both want it")
        await ada.page.wait_for_function(f"(site) => ({KEPT})(site)", arg=sites["both"])
        first = await kept()
        assert await ada.frame.get_by_text(keeps_nothing).count() == 0
        await ada.page.reload()
        await ada.framed()
        await ada.sees("both want it")
        await ada.page.wait_for_function(
            f"([site, old]) => ![old, ''].includes(({KEPT})(site))", arg=[sites["both"], first]
        )
        assert await ada.frame.get_by_text(keeps_nothing).count() == 0
        # Who ends the session takes it along; what is no handle is given up.
        await ada.page.evaluate("hromadaChat.reset()")
        await ada.frame.get_by_role("button", name="Start chat").wait_for()
        await ada.page.wait_for_function(f"(site) => !({KEPT})(site)", arg=sites["both"])
        await ada.page.evaluate("(site) => localStorage.setItem(`hromada:${site}`, 'forged')", sites["both"])
        await ada.open()
        await ada.page.reload()
        await ada.open()
        await ada.page.wait_for_function(f"(site) => !({KEPT})(site)", arg=sites["both"])
        await ada.begin("anew")
        assert await ada.frame.get_by_text("both want it").count() == 0
        # Where the browser keeps its cookie the page is given nothing, and gives up what it has.
        max_ = await visitor(browser)
        await max_.page.goto(f"{origin}/both")
        await max_.begin("here is a cookie")
        await max_.page.evaluate("(site) => localStorage.setItem(`hromada:${site}`, 'stale')", sites["both"])
        await max_.page.reload()
        await max_.framed()
        await max_.sees("here is a cookie")
        await max_.page.wait_for_function(f"(site) => !({KEPT})(site)", arg=sites["both"])
        assert ada.faults + max_.faults == []


@pytest.mark.parametrize("encryption", ["off", "on"])
async def test_a_page_that_is_no_secure_context(
    browser: Browser, server: Server, make_user: MakeUser, encryption: str
) -> None:
    async with talking(browser, server, make_user, PLAIN, encryption=encryption) as ada:
        assert await ada.frame.evaluate(STORED) == {"local": True, "indexed": True, "secure": False, "subtle": False}
        await ada.page.reload()
        await ada.framed()
        await ada.sees("then I say it again")
