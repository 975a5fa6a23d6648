"""Where one comes into a conversation, and what waits elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client, Json, becomes, eventually, part
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

# The spec's own tolerance for this client: what one reads may stand two pixels from its place.
NEAR_PX = 2.0
# Where the first message below the line of new ones stands, where it should, and what it says.
STANDS = """() => {
    const log = document.querySelector("[role=log]");
    const box = log.getBoundingClientRect();
    const row = log.querySelector("li.new")?.nextElementSibling;
    return row ? [row.getBoundingClientRect().top - box.top, box.height * 0.3, row.textContent] : [0, 0, ""];
}"""
# The first row in view, and how far below the top it stands.
PLACE = """() => {
    const log = document.querySelector("[role=log]");
    const top = log.getBoundingClientRect().top;
    const row = [...log.querySelectorAll("[data-key]")].find((each) => each.getBoundingClientRect().bottom > top);
    return row && [row.dataset.key, Math.round(row.getBoundingClientRect().top - top)];
}"""
# How many drafts are on disk.
DRAFTS = """new Promise((done) => {
    const open = indexedDB.open("hromada");
    open.onsuccess = () => {
        const count = open.result.transaction("drafts").objectStore("drafts").count();
        count.onsuccess = () => { open.result.close(); done(count.result); };
    };
})"""
# Notices are allowed, and kept.
NOTICES = """globalThis.told = [];
globalThis.Notification = class {
    static permission = "granted";
    constructor(title, { body }) { told.push(`${title}: ${body}`); }
    close() {}
};"""
# As if another tab were shown now.
HIDE = """() => {
    Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
SCROLL_UP = """async () => {
    const log = document.querySelector("[role=log]");
    log.scrollTop -= 600;
    await new Promise((done) => log.addEventListener("scroll", done, { once: true }));
}"""


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_comes_back_begins_with_what_is_unread(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1200, "height": 800})
    client = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await client.shared_room(maya, name="Garden")
    other = await client.shared_room(maya, name="Kitchen")
    space = await client.create_room(name="Allotment", creation_content={"type": "m.space"})
    await client.set_state(space, "m.space.child", {"via": [server.name]}, other)

    async def says(where: str, word: str, count: int) -> str:
        sent = [await maya.send(where, {"msgtype": "m.text", "body": f"{word} {n} "}) for n in range(count)]
        return sent[-1]

    async def line_before(text: str) -> None:
        await ada.page.locator("li.new").wait_for()

        async def stands_there() -> bool:
            stands, wanted, after = await ada.page.evaluate(STANDS)
            return text in after and abs(stands - wanted) <= NEAR_PX

        await eventually(stands_there)

    last = await says(room, "old", 40)
    await client.ok("POST", f"/rooms/{room}/read_markers", {"m.fully_read": last, "m.read": last})
    await says(room, "away", 60)
    await ada.page.add_init_script(NOTICES)
    await ada.sign_in()
    newer = {"server_name": server.name, "version": "", "registration": "open", "push_key": None, "build": "0123456"}
    await ada.page.route("**/_hromada/web/config", lambda route: route.fulfill(json=newer))
    asked: list[str] = []
    ada.page.on(
        "requestfinished", lambda request: asked.append(request.url) if request.url.endswith("/web/config") else None
    )
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
    await becomes(ada.page.locator("li.new").count, 0)
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
    await becomes(lambda: ada.page.evaluate(PLACE), place)
    await _what_waits_can_be_taken_back(ada)
    await _an_edit_keeps_its_mentions_and_gives_the_draft_back(ada, maya, room)
    await _asked(ada.page, asked)
    await _what_waits_is_told_and_opened(ada, maya, other)
    alias = f"#plot-{ada.name}:{server.name}"
    await client.ok("PUT", f"/directory/room/{part(alias)}", {"room_id": room})
    await _another_address_opens_the_room(ada, alias)
    await _another_build_is_taken_up(ada, asked)
    await _what_is_kept_of_an_ended_session(ada, maya, await anonymous.anonymous().login(client.user_id), room)
    assert ada.faults == []


async def _until(page: Page, expression: str) -> None:
    """Wait until it holds; the page may be loaded anew meanwhile. (Its policy forbids what Playwright has for this.)"""
    from playwright.async_api import Error  # noqa: PLC0415 - slow, and most runs need no browser

    for _ in range(900):
        with contextlib.suppress(Error):
            if await page.evaluate(expression):
                return
        await page.wait_for_timeout(100)
    raise AssertionError(expression)


async def _what_waits_can_be_taken_back(ada: Person) -> None:
    """A message without an id offers what can wait for it, and nothing that needs one at once."""
    await ada.page.route("**/send/**", lambda route: route.fulfill(status=403, json={"errcode": "M_FORBIDDEN"}))
    await ada.say("a slip")
    waiting = ada.page.locator("li.msg[data-id='']").filter(has_text="a slip").locator(".b")
    await waiting.get_by_role("button", name="Delete").wait_for()
    await waiting.focus()
    await waiting.press("Enter")
    items = ada.page.get_by_role("menuitem")
    await items.first.wait_for()
    offered = ["React", "Reply", "Reply in thread", "Edit", "Copy text", "Delete"]
    assert [text.split("\n")[0] for text in await items.all_inner_texts()] == offered
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

    async def changed() -> Json:
        """The newest mentions in what she has changed it to, and beside it: she has been told."""
        latest = (await maya.ok("GET", f"/rooms/{room}/messages?dir=b&limit=1"))["chunk"][0]["content"]
        return {"new": latest.get("m.new_content", {}).get("m.mentions"), "beside": latest.get("m.mentions")}

    await becomes(changed, {"new": {"user_ids": [maya.user_id]}, "beside": {}})
    # What was begun before a message is changed is there again when the change is called off.
    await ada.composer.fill("half a tho")
    await ada.act("brings cake", "More actions")
    await ada.page.get_by_role("menuitem", name="Edit").click()
    await _until(ada.page, "document.querySelector('#composer').value.includes('brings cake')")
    await ada.act("away", "Reply")
    await _until(ada.page, "document.querySelector('#composer').value === 'half a tho'")
    await ada.composer.press("Escape")
    await ada.composer.fill("")


async def _what_waits_is_told_and_opened(ada: Person, maya: Client, other: str) -> None:
    """In the title, by the icon and at the space; an invitation counts nothing, and is told of."""
    await ada.page.wait_for_timeout(2_500)  # the client is silent in its first five seconds, and three are over
    shed = await maya.create_room(name="Shed", preset="private_chat")
    await maya.ok("POST", f"/rooms/{part(shed)}/invite", {"user_id": f"@{ada.name}:{maya.user_id.split(':', 1)[1]}"})
    await _until(ada.page, "told.some((each) => each.startsWith('Shed: ') && each.endsWith(' invited you'))")
    await maya.send(other, "the kettle is on")
    await _until(ada.page, "document.title === '(1) Garden · Hromada'")
    await _until(ada.page, "document.querySelector('link[rel=icon]').getAttribute('href') === '/assets/logo-new.svg'")
    await ada.page.get_by_role("button", name="Allotment").locator(".badge").click()
    await ada.page.get_by_role("main", name="Kitchen").wait_for()
    await _until(ada.page, "document.querySelector('link[rel=icon]').getAttribute('href') === '/assets/logo.svg'")


async def _another_address_opens_the_room(ada: Person, alias: str) -> None:
    await ada.page.evaluate("alias => { location.hash = `#/room/${encodeURIComponent(alias)}`; }", alias)
    await ada.page.get_by_role("main", name="Garden").wait_for()
    await ada.composer.wait_for()


async def _asked(page: Page, asked: list[str]) -> None:
    """The client asks for the server's build when it has come to rest."""
    while not asked:
        await page.wait_for_timeout(100)


async def _another_build_is_taken_up(ada: Person, asked: list[str]) -> None:
    """Only when nobody looks, and nothing is written; a part of the page that is gone by then is told of."""
    page = ada.page
    await page.evaluate(f"globalThis.hide = {HIDE}; globalThis.old = true")
    await _asked(page, asked)
    await ada.composer.fill("not lost")
    await page.evaluate("hide()")
    assert await page.evaluate("globalThis.old")
    await ada.composer.fill("")
    asked.clear()
    await _until(page, "globalThis.hide?.() ?? globalThis.old === undefined")
    await _asked(page, asked)
    await page.unroute("**/_hromada/web/config")
    await page.route("**/assets/*.js", lambda route: route.fulfill(status=404))
    await page.evaluate("location.hash = '#/settings/profile'")
    await page.get_by_text("Something broke in this window").wait_for()
    await page.unroute("**/assets/*.js")
    await page.get_by_role("button", name="Load again").click()
    await page.get_by_label("Display name").wait_for()


async def _what_is_kept_of_an_ended_session(ada: Person, maya: Client, elsewhere: Client, room: str) -> None:
    """Drafts are, until somebody else signs in."""
    page = ada.page
    await page.evaluate("room => { location.hash = `#/room/${room}`; }", room)
    await ada.composer.fill("half a thought")
    await _until(page, f"{DRAFTS}.then((count) => count === 1)")
    await elsewhere.ok("POST", "/logout/all", {})
    user = page.get_by_label("User name")
    await user.wait_for()
    await becomes(user.input_value, ada.name)
    await page.get_by_text("your drafts are kept").wait_for()
    await ada.sign_in()
    # A new device is asked to be confirmed first, on a page that comes in its own time.
    there = f"(location.hash.startsWith('#/room/') || (location.hash = '#/room/{room}'))"
    await _until(page, f"{there} && document.querySelector('#composer')?.value === 'half a thought'")
    again = await elsewhere.anonymous().login(elsewhere.user_id)
    await again.ok("POST", "/logout/all", {})
    await user.wait_for()
    ada.name = maya.user_id[1:].split(":")[0]
    await ada.sign_in()
    await _until(page, f"{DRAFTS}.then((count) => count === 0)")
