"""People in browsers: each has a context of their own, signs up on the page and talks there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.browser import PATIENCE_MS
from tests.support.client import becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Route

PASSWORD = "correct horse battery staple"
_names = itertools.count()

# A token of the page's own, as its other tabs get it: no second one is made, which would end this one.
_TOKEN = """async () => {
    const { deviceId } = await new Promise((done) => {
        const open = indexedDB.open("hromada");
        open.onsuccess = () => {
            const got = open.result.transaction("kv").objectStore("kv").get("session");
            got.onsuccess = () => (open.result.close(), done(got.result));
        };
    });
    const tabs = new BroadcastChannel("hromada.token");
    const heard = new Promise((done) => (tabs.onmessage = ({ data }) => data.access && done(data.access)));
    tabs.postMessage({ device: deviceId });
    return heard;
}"""


# To another page of the client, until it is drawn, or what is shown while its code is fetched.
_GO = """(hash) => new Promise((done) => {
    if (location.hash === new URL(hash, location.href).hash) return done();
    const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)));
    addEventListener("hashchange", drawn, { once: true });
    location.hash = hash;
})"""


class Person:
    """Somebody with a browser. Whatever the page's policy forbids, or throws, is in `faults`."""

    def __init__(self, context: BrowserContext, page: Page, url: str, name: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.name = name
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._hear(message.text))

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "TrustedHTML" in text or "Trusted Type" in text:
            self.faults.append(text)

    async def sign_up(self) -> None:
        """Make an account on the page."""
        page = self.page
        await page.goto(f"{self.url}/#/register")
        await page.get_by_label("User name").fill(self.name)
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Create account").click()
        await page.get_by_role("button", name="Remind me later").click()
        await page.get_by_role("navigation", name="Main").first.wait_for()

    async def sign_in(self) -> None:
        """Use an account there is."""
        page = self.page
        await page.goto(f"{self.url}/#/login")
        await page.get_by_label("User name").fill(self.name)
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await self.arrive()

    async def arrive(self) -> None:
        """Wait until the client runs; the offer to save the recovery key is put off."""
        later = self.page.get_by_role("button", name="Remind me later")
        main = self.page.get_by_role("navigation", name="Main").first
        await later.or_(main).wait_for()

    async def go(self, where: str) -> None:
        """Another page of the client."""
        await self.page.evaluate(_GO, f"#/{where}")

    async def create_room(self, name: str) -> None:
        """Open a public room."""
        page = self.page
        await page.get_by_role("button", name="New conversation").first.click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Room", exact=True).click()
        await dialog.get_by_label("Name").fill(name)
        await dialog.get_by_role("switch").check()
        await dialog.get_by_role("button", name="Create room").click()
        await page.get_by_role("main", name=name).wait_for()
        await self.composer.wait_for()

    async def private_room(self, name: str) -> None:
        """Open a room for those who are invited: it is encrypted."""
        page = self.page
        await page.get_by_role("button", name="New conversation").first.click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Room", exact=True).click()
        await dialog.get_by_label("Name").fill(name)
        await dialog.get_by_role("button", name="Create room").click()
        await page.get_by_role("main", name=name).wait_for()
        await self.composer.wait_for()

    async def join(self, address: str) -> None:
        """Follow a link to a room and join it."""
        await self.page.goto(f"{self.url}/#/room/{address.replace('#', '%23')}")
        await self.page.get_by_role("button", name="Join", exact=True).click()
        await self.composer.wait_for()

    async def token(self) -> str:
        """The access token that the page has in memory."""
        return str(await self.page.evaluate(_TOKEN))

    @property
    def composer(self):  # type: ignore[no-untyped-def]
        """The message field."""
        return self.page.locator("#composer")

    def message(self, text: str):  # type: ignore[no-untyped-def]
        """The row of a message in the timeline."""
        return self.page.locator("li.msg").filter(has_text=text).last

    async def sent(self, text: str) -> None:
        """Wait until the server has taken a message of one's own."""
        await self.page.locator("li.msg[data-id^='$']").filter(has_text=text).last.wait_for()

    async def act(self, text: str, name: str) -> None:
        """Press a button of a message's toolbar."""
        from playwright.async_api import TimeoutError as NotYet  # noqa: PLC0415 - slow, and most runs need no browser

        row = self.message(text)
        button = row.get_by_role("toolbar").get_by_label(name, exact=True)
        # What comes meanwhile moves the row away from under the pointer, and with it goes its toolbar.
        for _ in range(30):
            await row.hover()
            with contextlib.suppress(NotYet):
                await button.click(trial=True, timeout=2_000)
                break
        await button.click()

    async def attach(self, *files: Path) -> None:
        """Put files into the composer."""
        async with self.page.expect_file_chooser() as chooser:
            await self.page.get_by_role("button", name="Attach files").first.click()
        await (await chooser.value).set_files(list(files))

    async def write_to(self, name: str) -> None:
        """Begin a direct chat."""
        page = self.page
        await page.get_by_role("button", name="New conversation").first.click()
        await page.get_by_role("combobox").fill(name)
        await page.get_by_role("option", name=name).first.click()
        await page.get_by_role("button", name="Start chat").click()
        await page.get_by_text("The beginning of your conversation").wait_for()

    async def accept(self) -> None:
        """Accept the newest invitation."""
        page = self.page
        await page.locator("a.inv").click()
        await page.get_by_role("button", name="Accept").first.click()
        await self.composer.wait_for()

    async def say(self, text: str) -> None:
        """Send a message."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def sees(self, text: str) -> None:
        """Wait for a message in the timeline."""
        await self.page.get_by_role("log").get_by_text(text, exact=False).last.wait_for()


async def until(page: Page, script: str, arg: object = None) -> None:
    """Wait for a script that answers with a promise, which the browser's own waiting takes for an answer."""
    while not await page.evaluate(script, arg):
        await asyncio.sleep(0.05)


async def held_back(page: Page, pattern: str) -> asyncio.Event:
    """Hold back requests of a page until the event is set."""
    let = asyncio.Event()

    async def hold(route: Route) -> None:
        await let.wait()
        await route.continue_()

    await page.route(pattern, hold)
    return let


# Notes what was lit up: what one is led to is so for a moment.
LIT = """() => {
    globalThis.lit = [];
    new MutationObserver(() => {
        for (const row of document.querySelectorAll("li.msg.flash")) lit.push(row.textContent);
    }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] });
}"""


async def lights_up(page: Page, text: str) -> None:
    """Wait until a message with this text was lit up since `LIT` was begun."""
    await until(page, "text => globalThis.lit.some((each) => each.includes(text))", text)


DATABASES = "indexedDB.databases().then((all) => all.map((each) => each.name).filter((name) => name !== 'hromada'))"


async def nothing_kept(page: Page) -> None:
    """Wait until no database is left but the one that was made anew: one that another tab has open goes when it can."""
    await becomes(lambda: page.evaluate(DATABASES), [])


async def person(browser: Browser, url: str, word: str, **options: object) -> Person:
    """Somebody new whose name begins with `word`."""
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    name = f"{word}{os.getpid()}x{next(_names)}"
    return Person(context, await context.new_page(), url, name)


def local(server: Server) -> str:
    """The server under the name that browsers trust."""
    return server.url.replace("127.0.0.1", "localhost")


async def pair(browser: Browser, server: Server, **options: object) -> tuple[Person, Person, str]:
    """Two people in a public room, and its name."""
    ada, maya = [await person(browser, local(server), word, **options) for word in ("ada", "maya")]
    await ada.sign_up()
    name = f"Garden {ada.name}"
    await ada.create_room(name)
    await maya.sign_up()
    await maya.join(f"#garden-{ada.name}:{server.name}")
    return ada, maya, name
