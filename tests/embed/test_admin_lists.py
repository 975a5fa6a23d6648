"""The administrators' lists in a real Chromium: orders and menus, and that whoever comes back finds their place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import Person
from tests.embed.support_chat import site_command
from tests.embed.test_admin_pages import go, shoot, sign_in
from tests.support.admin import OWN, V1, V2, acts, administrator
from tests.support.client import Client, Json, becomes, part
from tests.support.fixtures import fresh
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator

_WINDOW = {"width": 1440, "height": 900}
_SCROLLER = "main > .scroll"


async def _menu(row: Locator, entry: str) -> None:
    """Choose an entry of a row's menu."""
    await row.get_by_role("button", name=re.compile("^Actions for ")).click()
    await row.page.get_by_role("menuitem", name=entry).click()


async def _entries(row: Locator) -> list[str]:
    """What a row's menu offers; it is closed again."""
    await row.get_by_role("button", name=re.compile("^Actions for ")).click()
    menu = row.page.get_by_role("menu")
    await menu.get_by_role("menuitem").first.wait_for()
    found = [each.strip() for each in await menu.get_by_role("menuitem").all_inner_texts()]
    await row.page.keyboard.press("Escape")
    await menu.wait_for(state="detached")
    return found


async def _names(who: Person, mark: str) -> list[str]:
    """The names of the rows, as they follow one another."""
    return [name for name in await who.page.locator("tbody .cell b").all_inner_texts() if mark in name]


async def test_rooms_by_what_they_hold_and_their_menus(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    ada = await anonymous.anonymous().register(fresh("ada"))
    mark = fresh("shed")
    small, large = [await ada.create_room(preset="public_chat", name=f"{mark} {letter}") for letter in "ab"]
    for _ in range(5):
        await ada.send(large, "word " * 100)
    who = await sign_in(browser, server, admin, viewport=_WINDOW)
    page = who.page
    await go(who, "rooms")
    await page.get_by_label("Name, #address or !id").fill(mark)
    row = page.get_by_role("row", name=re.compile(f"{mark} b"))
    listed = (await admin.ok("GET", f"{V1}/rooms/{part(large)}"))["chat.hromada.events"]
    await becomes(row.locator("td.n").nth(1).inner_text, str(listed))
    assert re.fullmatch(r"[\d.,]+ kB", await row.locator("td.n").nth(2).inner_text())
    for heading in ("Events", "On disk"):
        column = page.get_by_role("columnheader", name=heading)
        await column.get_by_role("button").click()
        await page.locator("th[aria-sort=descending]", has_text=heading).wait_for()
        await becomes(lambda: _names(who, mark), [f"{mark} b", f"{mark} a"])
        await column.get_by_role("button").click()
        await page.locator("th[aria-sort=ascending]", has_text=heading).wait_for()
        await becomes(lambda: _names(who, mark), [f"{mark} a", f"{mark} b"])
    await page.get_by_label("Order").select_option("By name")
    await page.locator("th[aria-sort=ascending]", has_text="Room").wait_for()
    assert await _entries(row) == ["Copy link", "Block the room", "Delete the room"]
    await _menu(row, "Block the room")
    await row.get_by_text("blocked").wait_for()
    assert (await admin.ok("GET", f"{V1}/rooms/{part(large)}/block"))["block"] is True
    await shoot(who, "admin-rooms")
    await _menu(row, "Lift the block")
    await row.get_by_text("public").wait_for()
    await _menu(row, "Delete the room")
    await page.get_by_role("dialog").get_by_role("button", name="Delete the room").click()
    await page.get_by_role("status").get_by_text(re.compile("^Done: 1 ha(s|ve) left")).wait_for()
    assert (await ada.ok("GET", "/joined_rooms"))["joined_rooms"] == [small]
    assert who.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_people_by_time_and_their_menus(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    mark = fresh("p").replace("-", "")
    first, last = [await anonymous.anonymous().register(f"{mark}{letter}") for letter in "ab"]
    who = await sign_in(browser, server, admin, viewport=_WINDOW)
    page = who.page
    await go(who, "users")
    await page.get_by_label("Name, address or e-mail").fill(mark)
    row = page.get_by_role("row", name=re.compile(last.user_id))
    await row.wait_for()
    heading = page.get_by_role("columnheader", name="Person").get_by_role("button")
    await heading.click()
    await page.locator("th[aria-sort=descending]", has_text="Person").wait_for()
    await becomes(lambda: _names(who, mark), [f"{mark}b", f"{mark}a"])
    await page.get_by_role("columnheader", name="Since").get_by_role("button").click()
    await page.locator("th[aria-sort=descending]", has_text="Since").wait_for()
    await page.get_by_role("columnheader", name="Since").get_by_role("button").click()
    await page.locator("th[aria-sort=ascending]", has_text="Since").wait_for()
    assert await _entries(row) == [
        "Write a message",
        "Copy link",
        "Suspend",
        "Sign out everywhere",
        "Close the account",
    ]
    await _menu(row, "Suspend")
    await row.get_by_text("suspended").wait_for()
    (await last.request("POST", "/createRoom", {})).error(403, "M_USER_SUSPENDED")
    await _menu(row, "Lift the suspension")
    await row.get_by_text("active").wait_for()
    await last.ok("POST", "/createRoom", {})
    await _menu(row, "Sign out everywhere")
    await becomes(row.locator("td.n").first.inner_text, "0")
    (await last.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await _menu(row, "Close the account")
    await page.get_by_role("dialog").get_by_role("button", name="Close the account").click()
    await row.wait_for(state="detached")  # the list has no closed ones
    assert (await admin.ok("GET", f"{V2}/users/{part(last.user_id)}"))["deactivated"] is True
    await page.get_by_label("Name, address or e-mail").fill(admin.user_id)
    own = page.get_by_role("row", name=re.compile(admin.user_id))
    assert await _entries(own) == ["Copy link"], "nobody does this to themselves"
    await page.get_by_label("Name, address or e-mail").fill(mark)
    await _menu(page.get_by_role("row", name=re.compile(first.user_id)), "Write a message")
    await page.get_by_text("The beginning of your conversation").wait_for()
    assert who.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_sites_and_reports_by_their_menus(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    ada = await anonymous.anonymous().register(fresh("ada"))
    name = fresh("Shop")
    site_id = f"s_{name.lower()[-8:]}"
    site_command(server, "add", site_id, "--name", name, "--origin", "https://shop.example", "--agent", admin.user_id)
    room = await ada.create_room(preset="public_chat", name=fresh("Room"))
    event = await ada.send(room, "rude")
    await admin.ok("POST", f"/join/{part(room)}", {})
    await admin.ok("POST", f"/rooms/{part(room)}/report/{part(event)}", {"reason": "it is rude"})
    who = await sign_in(browser, server, admin, viewport=_WINDOW)
    page = who.page
    await go(who, "sites")
    row = page.get_by_role("row", name=re.compile(name))
    assert await _entries(row) == ["Open the desk", f"Copy: {site_id}", "Pause", "Remove the site"]
    await _menu(row, "Pause")
    await row.get_by_text("Paused").wait_for()
    assert (await admin.ok("GET", f"{OWN}/sites/{site_id}"))["enabled"] is False
    await _menu(row, "Go on")
    await row.get_by_text("Live").wait_for()
    await _menu(row, "Open the desk")
    await page.get_by_role("main", name=re.compile(name)).wait_for()
    await go(who, "reports")
    card = page.get_by_role("article").filter(has_text="it is rude")
    assert await _entries(card) == ["See the room", "See the person", "Copy the address", "Block the room"]
    await _menu(card, "Block the room")
    await page.get_by_role("dialog").get_by_role("button", name="Block the room").click()
    await page.get_by_role("dialog").wait_for(state="detached")
    await _menu(card, "See the room")
    await page.get_by_role("switch", name="Blocked", checked=True).wait_for()
    await page.go_back()
    await _menu(card, "See the person")
    await page.get_by_text(ada.user_id).first.wait_for()
    await go(who, "sites")
    await _menu(row, "Remove the site")
    await page.get_by_role("dialog").get_by_role("button", name="Remove the site").click()
    await row.wait_for(state="detached")
    assert who.faults == []


async def _top(who: Person) -> int:
    return round(await who.page.locator(_SCROLLER).evaluate("box => box.scrollTop"))


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_whoever_comes_back_to_a_list_finds_their_place(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    admin = await administrator(anonymous)
    ada = await anonymous.anonymous().register(fresh("ada"))
    mark = fresh("many")
    for number in range(75):
        await ada.create_room(preset="public_chat", name=f"{mark} {number:02}", visibility="public")
    who = await sign_in(browser, server, admin, viewport=_WINDOW)
    page = who.page
    await go(who, "rooms")
    find = page.get_by_label("Name, #address or !id")
    await find.fill(mark)
    await page.get_by_label("Order").select_option("By name")
    await page.get_by_role("status").get_by_text("of 75").wait_for()
    await page.locator(_SCROLLER).evaluate("box => box.scrollTo(0, 1e6)")
    await page.get_by_role("button", name="Next").click()
    await page.get_by_role("status").get_by_text(re.compile("^51.75 of 75")).wait_for()
    await becomes(lambda: _top(who), 0)
    await page.locator(_SCROLLER).evaluate("box => box.scrollTo(0, 480)")
    await becomes(lambda: _top(who), 480)
    await page.get_by_role("link", name=re.compile(f"{mark} 65")).click()
    await page.get_by_role("heading", name=f"{mark} 65").wait_for()
    await becomes(lambda: _top(who), 0)
    await page.go_back()
    await page.get_by_role("status").get_by_text(re.compile("^51.75 of 75")).wait_for()
    await becomes(lambda: _top(who), 480)
    assert [await find.input_value(), await page.get_by_label("Order").input_value()] == [mark, "name"]
    # The same by the link above a room's name; and from another page of the client.
    await page.get_by_role("link", name=re.compile(f"{mark} 65")).click()
    await page.get_by_role("main").get_by_role("link", name="Rooms", exact=True).click()
    await page.get_by_role("status").get_by_text(re.compile("^51.75 of 75")).wait_for()
    await becomes(lambda: _top(who), 480)
    # Looking for something else begins at its first page.
    await find.fill(f"{mark} 0")
    await page.get_by_role("row", name=re.compile(f"{mark} 09")).wait_for()
    await page.get_by_role("row", name=re.compile(f"{mark} 65")).wait_for(state="detached")
    # The directory, with what was loaded of it.
    await who.go("explore")
    words = page.get_by_label("Search public rooms")
    await words.fill(mark)
    await page.get_by_role("article").filter(has_text=mark).first.wait_for()
    await page.get_by_role("group", name="Filter").get_by_role("button", name="Rooms").click()
    cards = page.get_by_role("article").filter(has_text=mark)
    await becomes(cards.count, 30)
    for count in (60, 75):
        await page.get_by_role("button", name="Show more").click()
        await becomes(cards.count, count)
    await page.locator(_SCROLLER).evaluate("box => box.scrollTo(0, box.scrollHeight - box.clientHeight - 40)")
    place = await _top(who)
    name = await cards.last.get_attribute("aria-label") or ""
    await cards.last.get_by_role("button", name="Join").click()
    await who.composer.wait_for()
    await page.go_back()
    # With two in it, it is one of the first in the directory, whose first page is asked for anew.
    await page.get_by_role("article", name=name, exact=True).get_by_role("button", name="Open").wait_for()
    await becomes(lambda: _top(who), place)
    assert await words.input_value() == mark
    await page.locator("[aria-pressed=true]", has_text="Rooms").wait_for()
    assert (await cards.count(), who.faults) == (75, [])


async def test_the_record_of_acts_is_searched(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    ada, maya = [await anonymous.anonymous().register(fresh(name)) for name in ("ada", "maya")]
    room = await ada.create_room()
    for user in (ada, maya):
        await admin.ok("PUT", f"{V2}/users/{part(user.user_id)}", {"displayname": fresh("name")})
    await admin.ok("PUT", f"{V1}/rooms/{part(room)}/block", {"block": True})
    for number in range(60):
        await admin.ok("PUT", f"{V1}/suspend/{part(maya.user_id)}", {"suspend": number % 2 == 0})
    who = await sign_in(browser, server, admin, viewport=_WINDOW)
    page = who.page
    await go(who, "audit")
    rows = page.locator("tbody tr")
    by, of = page.get_by_label("Administrator", exact=True), page.get_by_label("About whom or what", exact=True)
    await by.fill(admin.user_id[1:].upper())
    await of.fill(ada.user_id[1:12])
    await becomes(rows.count, 1)
    await rows.get_by_text("user.profile").wait_for()
    await of.fill("")
    await page.get_by_label("Kind of act").select_option("Rooms")
    await becomes(rows.count, 1)
    await rows.get_by_text("room.block").wait_for()
    await page.get_by_label("Kind of act").select_option("Users")
    await of.fill(maya.user_id)
    await becomes(rows.count, 50)
    await page.get_by_role("button", name="Show more").click()
    await becomes(rows.count, 61)
    await page.get_by_role("link", name=maya.user_id).first.click()
    await page.get_by_role("switch", name="Suspended").wait_for()
    await page.go_back()
    await becomes(rows.count, 61)
    assert await of.input_value() == maya.user_id
    # Days as they are here: all of it was done today, whichever that is by now.
    acted: list[Json] = await acts(admin, target=maya.user_id)
    first, last = [await page.evaluate(_DAY, act["ts"]) for act in (acted[-1], acted[0])]
    await page.get_by_label("From").fill(first)
    await page.get_by_label("Until").fill(last)
    await becomes(rows.count, 50)
    await page.get_by_label("From").fill("2000-01-01")
    await page.get_by_label("Until").fill("2000-01-31")
    await page.get_by_text("Nothing was done like that").wait_for()
    await page.get_by_label("From").fill("2000-02-01")
    await page.get_by_text("Nothing was done like that").wait_for()
    assert who.faults == []


# The day of a time, as its field has it.
_DAY = """(ts) => {
    const day = new Date(ts), two = (n) => String(n).padStart(2, "0");
    return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
}"""
