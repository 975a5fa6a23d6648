"""Telephones, and desks at 400 %: nothing sticks out at 320 pixels, and each page has its landmark and heading."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.embed.narrow import WIDE
from tests.embed.people import PASSWORD, Person, local, person
from tests.embed.test_access import violations
from tests.support.client import Client, becomes, part
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

# The same of the page when it is read from right to left.
TURNED = f"""async () => {{
    const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    document.documentElement.dir = "rtl";
    await frame();
    const found = ({WIDE})();
    document.documentElement.dir = "";
    await frame();
    return found;
}}"""
TABS = ("profile", "devices", "encryption", "notifications", "appearance", "language", "privacy", "keyboard", "about")


def places(room: str, invited: str) -> dict[str, str]:
    """Fragments of the pages, and what is there once each is drawn."""
    settings = {f"settings/{tab}": f"main:has(option[value={tab}]:checked) .wrap h1" for tab in TABS}
    return {
        "": "main.list .rm",
        "explore": ".rc",
        "search": ".search-page input",
        "invites": ".narrow .set",
        f"room/{invited}": ".hero.flat",
        **settings,
        f"room/{room}": "li.msg",
        f"room/{room}?panel=details": "aside .quick",
        f"room/{room}?panel=members": "aside section .it",
        f"room/{room}?panel=settings": "aside .it:has-text('#garden')",
        "verify": ".quiet h1",
        "unlock": ".quiet textarea",
        "recovery": ".key:not(:has(.bone))",
    }


def titles(room: str, invited: str) -> dict[str, str]:
    """What the window is called on some of them."""
    return {
        "explore": "Explore rooms",
        "search": "Search",
        "invites": "Invitation",
        f"room/{invited}": "Shed",
        f"room/{room}": "Garden of the long house by the river",
        "verify": "Confirm a device",
        "unlock": "Enter your recovery key",
        "recovery": "Recovery key",
    }


async def _title(who: Person) -> str:
    """Without the number of what waits."""
    return re.sub(r"^\(\d+\) ", "", await who.page.title())


async def _choose(who: Person, text_size: int, language: str) -> None:
    await who.page.evaluate(
        """([settings, language]) => {
            localStorage.setItem("hromada.settings", settings);
            localStorage.setItem("hromada.language", language);
        }""",
        [json.dumps({"textSize": text_size}), language],
    )


async def look(who: Person, text_size: int, language: str) -> None:
    """Take another size of type and another language."""
    await _choose(who, text_size, language)
    await who.page.evaluate("location.hash = '#/'")
    await who.page.reload()
    await who.page.locator("main.list .rm").first.wait_for()


async def _before_one_is_in(who: Person) -> list[str]:
    """What sticks out of the pages for those who have not signed in."""
    found = []
    page = who.page
    await page.goto(f"{who.url}/#/login")
    for language in ("uk", "en"):
        await _choose(who, 22, language)
        for place, there in (("login", "input[name=password]"), ("register", "input[autocomplete=new-password]")):
            await page.goto(f"{who.url}/#/{place}")
            await page.reload()
            await page.locator(there).wait_for()
            found += [f"{language} {place}: {each}" for each in await page.evaluate(WIDE)]
    return found


async def _open(who: Person, place: str, there: str) -> None:
    await who.page.evaluate("place => { location.hash = `#/${place}`; }", place)
    await who.page.locator(there).first.wait_for()


@pytest.mark.timeout(300)  # each page several times: on a machine with much else to do that takes its time
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_small_screens(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", bypass_csp=True, viewport={"width": 320, "height": 640})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    alias = f"garden-{ada.name}"
    room = await mine.create_room(
        name="Garden of the long house by the river",
        topic="Donaudampfschifffahrtsgesellschaftskapitän",
        preset="public_chat",
        visibility="public",
        room_alias_name=alias,
    )
    await maya.join(room)
    address = "https://a-long-name-of-a-host.example/with/a/path/that/does/not/end?and=a"
    await maya.send(room, {"msgtype": "m.text", "body": f"Hello, see {address}"})
    invited = await maya.create_room(name="Shed", preset="private_chat", topic="Tools and twine")
    tea = await maya.create_room(name="Saturday tea", preset="private_chat")
    for each in (invited, tea):
        await maya.ok("POST", f"/rooms/{part(each)}/invite", {"user_id": mine.user_id})
    found = await _before_one_is_in(ada)
    await ada.sign_in()
    for language in ("uk", "en"):
        await look(ada, 22, language)
        for place, there in places(room, invited).items():
            await _open(ada, place, there)
            found += [f"{language} {place}: {each}" for each in await ada.page.evaluate(WIDE)]
    assert found == [], "\n".join(found)
    # At the usual size, to screen readers.
    await ada.page.set_viewport_size({"width": 390, "height": 780})
    await look(ada, 15, "en")
    named = titles(room, invited)
    for place, there in places(room, invited).items():
        if "settings/" not in place:
            await _open(ada, place, there)
            if place in named:
                await becomes(lambda: _title(ada), f"{named[place]} · Hromada")
            if place == f"room/{invited}":
                # Who invites, and how far back one will see.
                await ada.page.get_by_text("1 room in common").wait_for()
                await ada.page.get_by_text("You will see what was said before, too").wait_for()
                await ada.page.get_by_role("region", name="1 more invitation").get_by_text("Saturday tea").wait_for()
            found += await violations(ada, place)
            found += [f"rtl {place}: {each}" for each in await ada.page.evaluate(TURNED)]
    # In a language whose texts are longer than ours.
    await ada.page.set_viewport_size({"width": 320, "height": 640})
    await look(ada, 22, "xx")
    assert await ada.page.locator("main.list h1").inner_text() == "Ćĥȧťš~~"
    for place, there in places(room, invited).items():
        await _open(ada, place, there)
        found += [f"xx {place}: {each}" for each in await ada.page.evaluate(WIDE)]
    await look(ada, 15, "en")
    for each in (invited, tea):
        await maya.ok("POST", f"/rooms/{part(each)}/kick", {"user_id": mine.user_id})
    await _open(ada, "invites", ".empty h1")
    found += await violations(ada, "no invitations")
    assert found == [], "\n".join(found)
    assert ada.faults == []
