"""Pictures of every screen at three widths, light and dark, to be looked at beside the design.

`HROMADA_SCREENSHOTS=folder` takes them; without it there is nothing to look at and nothing is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import Person, local, person
from tests.embed.scenery import Scenery, scenery
from tests.embed.test_admin_pages import SHOTS, shoot, sign_in
from tests.embed.test_tabs import HOLDER
from tests.support.admin import OWN
from tests.support.client import Client
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [
    pytest.mark.skipif(not SHOTS, reason="HROMADA_SCREENSHOTS names no folder"),
    pytest.mark.timeout(900),
]

SETTINGS = ("profile", "devices", "encryption", "notifications", "appearance", "language", "privacy", "keyboard",
            "about")  # fmt: skip
ADMIN = ("sites", "users", "rooms", "reports", "federation", "media", "tokens", "health", "audit")


SITE = "teren"


async def _site(scene: Scenery) -> None:
    """A shop with a support chat."""
    settings = {
        "name": "Крамниця «Терен»",
        "origins": ["https://teren.example"],
        "theme": {"accent": "#8C3B4A"},
        "form": {
            "fields": [{"name": "name"}, {"name": "email", "type": "email"}, {"name": "message", "required": True}]
        },
    }
    await scene.ada.request("POST", f"{OWN}/sites", {"site_id": SITE, "settings": settings})


async def show(who: Person, where: str) -> None:
    """Go to a page of the client and let it come to rest."""
    await who.page.evaluate("where => { location.hash = '#/' + where; }", where)
    await who.page.wait_for_timeout(900)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_every_screen(browser: Browser, server: Server, anonymous: Client) -> None:
    painter = await (await browser.new_context()).new_page()
    scene = await scenery(anonymous, painter)
    newcomer = await person(browser, local(server), "maya", viewport={"width": 1440, "height": 900})
    await entering(newcomer)
    await _site(scene)
    ada = await sign_in(browser, server, scene.ada, viewport={"width": 1440, "height": 900}, locale="en-GB")
    await conversation(ada, scene)
    await around(ada, scene)
    await in_the_way(ada, scene)
    for tab in SETTINGS:
        await show(ada, f"settings/{tab}")
        await shoot(ada, f"settings-{tab}")
    for tab in ADMIN:
        await show(ada, f"admin/{tab}")
        await shoot(ada, f"admin-{tab}")
    await show(ada, f"admin/sites/{SITE}")
    await ada.page.frame_locator("iframe.widget").get_by_role("heading").wait_for()
    await shoot(ada, "admin-site")
    assert ada.faults + newcomer.faults == []


async def entering(who: Person) -> None:
    page = who.page
    await page.goto(f"{who.url}/#/login")
    await page.get_by_label("User name").fill(who.name)
    await shoot(who, "signin")
    await page.get_by_label("Password", exact=True).fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("alert").first.wait_for()
    await shoot(who, "signin-bad")
    await page.goto(f"{who.url}/#/register")
    await shoot(who, "register")
    await page.get_by_label("User name").fill(who.name)
    await page.get_by_label("Password", exact=True).fill("correct horse battery staple")
    await page.get_by_role("button", name="Create account").click()
    await page.get_by_role("button", name="Remind me later").wait_for()
    await shoot(who, "recovery")
    await page.get_by_role("button", name="Remind me later").click()
    await page.get_by_role("navigation", name="Main").first.wait_for()
    await page.wait_for_timeout(500)
    await shoot(who, "first")
    second = await person(who.context.browser, who.url, "unused", viewport={"width": 1440, "height": 900})  # type: ignore[arg-type]  # there is one
    second.name = who.name
    await second.page.goto(f"{who.url}/#/login")
    await second.page.get_by_label("User name").fill(who.name)
    await second.page.get_by_label("Password", exact=True).fill("correct horse battery staple")
    await second.page.get_by_role("button", name="Sign in").click()
    await second.page.get_by_role("navigation", name="Main").first.wait_for()
    await show(second, "verify")
    await shoot(second, "verify-start")
    await show(second, "unlock")
    await shoot(second, "unlock")


async def conversation(ada: Person, scene: Scenery) -> None:
    page = ada.page
    await page.locator(".list .rm:has(.nm)").nth(8).wait_for()
    await shoot(ada, "home")
    bike = f"room/{scene.rooms['bike']}"
    await show(ada, bike)
    await ada.composer.fill("I can bring the chain tool")
    garden = f"room/{scene.rooms['garden']}"
    await show(ada, garden)
    await ada.sees("They also have lavender")
    await page.wait_for_timeout(3_000)  # the client asks who is in the room
    taras = scene.people["taras"]
    await taras.ok("PUT", f"/rooms/{scene.rooms['garden']}/typing/{taras.user_id}", {"typing": True, "timeout": 60_000})
    await page.get_by_text("is typing").first.wait_for()
    await shoot(ada, "chat")
    await page.evaluate("document.querySelector('[role=log]').scrollTop = 0")
    await page.wait_for_timeout(700)
    await shoot(ada, "chat-top")
    for tab in ("details", "members", "settings", "threads", "pinned", "files", f"thread:{scene.events['saturday']}"):
        await show(ada, f"{garden}?panel={tab}")
        await shoot(ada, f"panel-{tab.split(':')[0]}")
    await show(ada, garden)
    await ada.act("Anything else while", "Reply")
    await ada.composer.press_sequentially("Thanks @ir")
    await page.wait_for_timeout(300)
    await shoot(ada, "reply")
    await ada.composer.fill("")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Emoji").last.click()
    await page.wait_for_timeout(600)
    await shoot(ada, "emoji")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await page.wait_for_timeout(300)
    await shoot(ada, "switcher")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="New conversation").first.click()
    await page.wait_for_timeout(300)
    await shoot(ada, "new")
    await page.keyboard.press("Escape")
    await page.locator("li.msg .img").last.scroll_into_view_if_needed()
    await page.locator("li.msg .img").last.click()
    await page.get_by_role("dialog").wait_for()
    await page.wait_for_timeout(500)
    await shoot(ada, "viewer")
    await page.keyboard.press("Escape")
    await page.context.set_offline(True)
    await page.evaluate("dispatchEvent(new Event('offline'))")
    await ada.say("I will send this when I am back")
    await page.wait_for_timeout(6_000)
    await shoot(ada, "offline")
    await page.context.set_offline(False)


async def around(ada: Person, scene: Scenery) -> None:
    await show(ada, f"room/{scene.rooms['space']}")
    await shoot(ada, "space")
    await show(ada, "explore")
    await shoot(ada, "explore")
    await show(ada, "explore?q=nothing-of-this-name")
    await shoot(ada, "explore-none")
    await show(ada, "invites")
    await shoot(ada, "invites")
    await show(ada, f"room/{scene.rooms['invite-iryna']}")
    await shoot(ada, "invite")
    await show(ada, "search?q=насіння")
    await shoot(ada, "search")


async def in_the_way(ada: Person, scene: Scenery) -> None:
    """What one cannot go on from at once: a room of others' words, a part that broke, another tab."""
    levels = {"events_default": 50}
    outages = await scene.people["taras"].create_room(name="Power outages", power_level_content_override=levels)
    await scene.people["taras"].ok("POST", f"/rooms/{outages}/invite", {"user_id": scene.ada.user_id})
    await scene.ada.join(outages)
    await scene.people["taras"].send(outages, "On Thursday from 9 to 12 there is no power in Horikhova street")
    await show(ada, f"room/{outages}")
    await ada.sees("Horikhova street")
    await ada.message("Horikhova street").hover()
    await shoot(ada, "denied")
    # Whatever is drawn next throws.
    await ada.page.evaluate(
        "Object.defineProperty(Array.prototype, 'findLast', { get() { throw new Error('staged'); } })"
    )
    await show(ada, f"room/{scene.rooms['garden']}")
    await ada.page.get_by_text("Something broke").first.wait_for()
    await shoot(ada, "crash")
    await ada.page.reload()
    await ada.page.get_by_role("navigation", name="Main").first.wait_for()
    ada.faults.clear()  # the staged one
    first = ada.page
    await first.goto(f"{ada.url}/assets/logo.svg")
    await first.evaluate(HOLDER, [f"hromada:{scene.ada.user_id}", True])
    ada.page = await ada.context.new_page()
    await ada.page.goto(f"{ada.url}/")
    await ada.page.get_by_text("Hromada is open in another tab").wait_for()
    await shoot(ada, "elsewhere")
    await ada.page.close()
    ada.page = first
    await first.goto(f"{ada.url}/")
    await ada.page.get_by_role("navigation", name="Main").first.wait_for()
    # Words of encrypted rooms are looked for on this device.
    await ada.private_room("Cellar")
    for text in ("Twelve jars of honey on the lower shelf", "Honey for Iryna: two jars, the light one"):
        await ada.say(text)
        await ada.sent(text)
    await show(ada, "search?q=honey")
    await ada.page.locator(".hits-list mark").first.wait_for()
    await shoot(ada, "search-encrypted")
