"""The client by keyboard and to screen readers: axe finds nothing, and the main path needs no mouse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.narrow import WIDE
from tests.embed.overlays import around_faults, around_files, around_messages, around_rooms, around_the_account
from tests.embed.people import PASSWORD, Person, local, pair, person
from tests.embed.test_encryption import CAMERA, scan
from tests.embed.test_hands import has_focus
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

AXE = Path(__file__).resolve().parents[2] / "embed/web/node_modules/axe-core/axe.min.js"
RUN = """async ([within, only]) =>
    (await axe.run(within ?? document, { resultTypes: ["violations"], ...only })).violations
    .map((found) => `${found.id}: ${found.nodes.map((node) => node.target.join(" ")).join(", ")}`)"""
# In the dark only colours are others, so only they are looked at again.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
PAGES = ("explore", "search", "invites", "settings/profile", "settings/devices", "settings/encryption",
         "settings/notifications", "settings/appearance", "settings/language", "settings/privacy",
         "settings/keyboard", "settings/about", "")  # fmt: skip


async def violations(who: Person, where: str, within: str | None = None) -> list[str]:
    """What axe finds on the page, or in the part that a selector names, light and dark."""
    found = []
    if not await who.page.evaluate("'axe' in globalThis"):
        await who.page.evaluate(AXE.read_text())
    for scheme, only in (("light", {}), ("dark", COLOURS)):
        await who.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found += [f"{where} {scheme}: {each}" for each in await who.page.evaluate(RUN, [within, only])]
    return found


@pytest.mark.timeout(400)  # every page twice: on a machine with much else to do that takes its time
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing(browser: Browser, server: Server) -> None:
    ada, maya, _ = await pair(browser, server, bypass_csp=True, viewport={"width": 1440, "height": 900})
    await ada.say("Hello **there**, `code`")
    await maya.sees("Hello there")
    await maya.act("Hello there", "React with 👍")
    await ada.page.locator(".rx").wait_for()
    found = await violations(ada, "room")
    room = ada.page.url.partition("#/room/")[2].partition("?")[0]
    found += await around_messages(ada, maya, "Hello there", violations)
    found += await around_files(ada, violations)
    for tab in ("details", "members", "settings", "threads", "pinned"):
        await ada.go(f"room/{room}?panel={tab}")
        await ada.page.get_by_role("complementary").wait_for()
        found += await violations(ada, tab)
    await ada.page.keyboard.press("Control+k")
    found += await violations(ada, "switcher")
    await ada.page.keyboard.press("Escape")
    await ada.page.get_by_role("button", name="New conversation").first.click()
    found += await violations(ada, "new")
    await ada.page.keyboard.press("Escape")
    for page in PAGES:
        await ada.go(page)
        await ada.page.locator("main:not([aria-busy])").first.wait_for()  # the page and its code
        found += await violations(ada, page or "home")
    found += await around_rooms(ada, maya, room, server.name, violations)
    found += await around_the_account(ada, violations)
    visitor = await person(browser, ada.url, "visitor", bypass_csp=True)
    for page in ("login", "register"):
        await visitor.page.goto(f"{ada.url}/#/{page}")
        await visitor.page.get_by_label("User name").wait_for()
        found += await violations(visitor, page)
    await visitor.sign_up()
    await visitor.page.get_by_role("heading", name=f"Welcome, {visitor.name}").wait_for()
    found += await violations(visitor, "welcome")
    found += await around_faults(ada, room, server.name, violations)
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_main_path_needs_no_mouse(browser: Browser, server: Server) -> None:
    ada, maya, name = await pair(browser, server)
    await ada.say("first")
    await ada.say("second")
    await maya.sees("second")
    keys = maya.page.keyboard
    await keys.press("Shift+Tab")
    # Messages are one stop; arrows walk through them and letters act.
    log = maya.page.get_by_role("log")
    await log.locator("li.msg .b").last.focus()
    await keys.press("ArrowUp")
    await has_focus(maya.page, "ariaLabel", "first")
    await keys.press("r")
    await maya.page.locator("#composer:focus").wait_for()
    await keys.type("an answer")
    await keys.press("Enter")
    await ada.message("an answer").locator(".quote", has_text="first").wait_for()
    await keys.press("Control+k")
    await maya.page.get_by_role("dialog").locator("input:focus").wait_for()
    await keys.type(name[:12])
    await keys.press("Escape")
    await maya.page.get_by_role("dialog").wait_for(state="detached")
    assert ada.faults + maya.faults == []


# The longest names that emoji have, in the place of the seven that came, and which of them are wider than their fields.
LONG = {
    "uk": ["Пісковий годинник", "Гайковий ключ", "Святий Миколай", "Парасолька", "Навушники", "Подарунок", "Велосипед"],
    "en": ["Headphones", "Light Bulb", "Strawberry", "Aeroplane", "Telephone", "Paperclip", "Hourglass"],
}
TOO_WIDE = """names => [...document.querySelectorAll(".emo7 b")].flatMap((node, at) => {
    node.textContent = names[at];
    const [name, field] = [node, node.parentElement].map((each) => each.getBoundingClientRect());
    return name.width > 0 && name.left >= field.left && name.right <= field.right ? [] : [`emoji ${names[at]}`];
})"""


async def _emoji_at_320(who: Person) -> list[str]:
    page = who.page
    await page.set_viewport_size({"width": 320, "height": 640})
    await who.go("settings/appearance")
    await page.locator(".wrap input[type=range]").fill("22")
    found: list[str] = []
    for language, names in LONG.items():
        await who.go("settings/language")
        await page.locator("select:has(option[value=uk])").select_option(language)
        await who.go("verify")
        await page.locator(".emo7 > div").nth(6).wait_for()
        found += await page.evaluate(TOO_WIDE, names)
        found += await page.evaluate(WIDE)
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing_on_the_pages_around_keys(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada", bypass_csp=True)
    await ada.sign_up()
    await ada.page.goto(f"{ada.url}/#/recovery")
    await ada.page.locator(".key:not(:has(.bone))").wait_for()
    found = await violations(ada, "recovery")
    await ada.page.get_by_role("checkbox").check()
    await ada.page.get_by_role("button", name="Continue").click()
    await ada.page.get_by_role("navigation", name="Main").first.wait_for()
    again = await person(browser, ada.url, "again", bypass_csp=True)
    await again.page.add_init_script(CAMERA)
    again.name = ada.name
    await again.page.goto(f"{again.url}/#/login")
    await again.page.get_by_label("User name").fill(ada.name)
    await again.page.get_by_label("Password", exact=True).fill(PASSWORD)
    await again.page.get_by_role("button", name="Sign in").click()
    await again.page.get_by_text("Open your encrypted messages").wait_for()
    found += await violations(again, "verify")
    await again.page.get_by_role("button", name="Recovery key").click()
    await again.page.get_by_label("Key").fill("0000")
    found += await violations(again, "unlock")
    await again.page.go_back()
    await ada.page.goto(f"{ada.url}/#/")
    await again.page.get_by_text("Another device of mine").click()
    await ada.page.get_by_role("button", name="Compare").click()
    await again.page.get_by_role("heading", name="Scan the other screen").wait_for()
    found += await violations(again, "camera")
    await ada.page.get_by_role("img", name="Code for the other device").wait_for()
    found += await violations(ada, "code")
    await scan(again, ada)
    found += await violations(again, "scanning") + await violations(ada, "scanned")
    # Once more, by emoji.
    await ada.page.get_by_role("button", name="Cancel").click()
    cancel = again.page.get_by_role("button", name="Cancel")
    await cancel.or_(again.page.get_by_role("button", name="Close")).first.click()
    await again.page.goto(f"{again.url}/#/verify")
    await again.page.get_by_text("Another device of mine").click()
    await ada.page.get_by_role("button", name="Compare", exact=True).click()
    await ada.page.get_by_role("button", name="Compare emoji instead").click()
    for device in (ada, again):
        await device.page.get_by_role("button", name="They match").wait_for()
        found += await violations(device, "emoji")
    found += await _emoji_at_320(again)
    # They differ: nothing is confirmed, and one may begin again.
    await again.page.get_by_role("button", name="They differ").click()
    await again.page.get_by_role("heading", name="Then nothing was confirmed").wait_for()
    found += await violations(again, "differ")
    await ada.page.get_by_role("heading", name="The comparison was cancelled").wait_for()
    await again.page.get_by_role("button", name="Start again").click()
    await again.page.get_by_role("heading", name="Waiting").wait_for()
    await ada.page.get_by_role("button", name="Compare", exact=True).wait_for()
    await ada.page.goto(f"{ada.url}/#/")
    await ada.private_room("Cellar")
    await ada.say("a jar of honey")
    await ada.sent("a jar of honey")
    await ada.page.evaluate("location.hash = '#/search?q=honey'")
    await ada.page.locator(".hits-list mark").wait_for()
    found += await violations(ada, "search-encrypted")
    assert found == [], "\n".join(found)
