"""The administrators' pages in a real Chromium: what they show is what the server says, and what they do is done."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.narrow import WIDE
from tests.embed.people import Person, local, person
from tests.embed.support_chat import Visitor, host, site_command
from tests.embed.test_access import violations
from tests.embed.test_small_screens import look
from tests.embed.test_support_host import visitor
from tests.support.admin import OWN, acts, administrator
from tests.support.client import Client, Json, becomes, eventually, part
from tests.support.fixtures import fresh
from tests.support.media import upload
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

SHOTS = os.environ.get("HROMADA_SCREENSHOTS")
"""A folder for pictures of every screen; without it none are taken."""
WIDTHS = ((1440, 900), (900, 1100), (390, 780))


async def sign_in(browser: Browser, server: Server, admin: Client, **options: object) -> Person:
    """An administrator in front of the pages."""
    who = await person(browser, local(server), "unused", **options)
    who.name = admin.user_id[1:].split(":")[0]
    await who.sign_in()
    later = who.page.get_by_role("button", name="Remind me later")
    there = who.page.get_by_role("link", name="Administration")
    await later.or_(there).first.wait_for()
    if await later.is_visible():
        await later.click()
    await there.wait_for()
    return who


async def go(who: Person, where: str) -> None:
    """Open a page of the administration and wait until its rows are there."""
    await who.go(f"admin/{where}")
    # The list of pages, hidden where it is narrow, names the one that is shown: the heading may be of the one before.
    this = f".side a[aria-current=page][href='#/admin/{where.partition('/')[0]}']"
    await who.page.locator(this).wait_for(state="attached")
    await who.page.locator("main h1").first.wait_for()
    await who.page.locator("main [aria-busy=true]").first.wait_for(state="detached")


# Words in tables that do not stand on one line: a table may be moved sideways instead.
BROKEN = """() => [...document.querySelectorAll(".tb td")]
    .filter((cell) => cell.childElementCount === 0 && /^\\S+$/.test(cell.textContent))
    .filter((cell) => {
        const words = document.createRange();
        words.selectNodeContents(cell);
        return new Set([...words.getClientRects()].map(({ top }) => Math.round(top))).size > 1;
    })
    .map((cell) => cell.textContent)"""


async def shoot(who: Person, name: str) -> None:
    """Pictures at the three widths, light and dark, where they are asked for."""
    if not SHOTS:
        return
    folder = Path(SHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in WIDTHS:
        await who.page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await who.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await who.page.wait_for_timeout(150)
            await who.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
    await who.page.set_viewport_size({"width": 1440, "height": 900})


async def test_people_and_tokens(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    spam = await anonymous.anonymous().register(fresh("spam"))
    who = await sign_in(browser, server, admin, viewport={"width": 1440, "height": 900})
    page = who.page
    await who.page.get_by_role("link", name="Administration").click()
    await page.get_by_label("Name, address or e-mail").fill(spam.user_id)
    row = page.get_by_role("row", name=re.compile(spam.user_id))
    await row.wait_for()
    await page.get_by_role("row").nth(2).wait_for(state="detached")
    await page.get_by_role("checkbox", name="Select all on this page").check()
    await page.get_by_role("status").get_by_text("1 selected").wait_for()
    await row.get_by_role("checkbox", checked=True).wait_for()
    await page.get_by_role("button", name="Clear").click()
    await page.get_by_role("link", name=spam.user_id).click()
    await page.get_by_role("heading", name=spam.user_id[1:].split(":")[0]).or_(
        page.get_by_role("heading", name=spam.user_id)
    ).wait_for()  # fmt: skip
    # What is switched here holds at once.
    await page.get_by_role("switch", name="Suspended").click()
    await page.locator(".chip", has_text="suspended").wait_for()
    (await spam.request("POST", "/createRoom", {})).error(403, "M_USER_SUSPENDED")
    await page.get_by_role("switch", name="Suspended").click()
    await page.locator(".chip.ok", has_text="active").wait_for()
    await page.get_by_role("button", name="New password").click()
    await page.get_by_role("dialog").get_by_role("button", name="New password").click()
    secret = await page.locator(".secret").inner_text()
    assert len(secret) >= 12
    await page.get_by_role("button", name="Close", exact=True).last.click()
    (await spam.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    await page.get_by_role("button", name="Close the account").click()
    await page.get_by_role("dialog").get_by_role("button", name="Close the account").click()
    await page.locator(".chip", has_text="closed").wait_for()
    # A new account by its page.
    await go(who, "users")
    await page.get_by_role("button", name="New user").click()
    name = fresh("made")
    await page.get_by_role("dialog").get_by_label("User name").fill(name)
    await page.get_by_role("dialog").get_by_role("button", name="Add").click()
    made = await page.locator(".secret").inner_text()
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": made}
    await anonymous.ok("POST", "/login", login)
    await page.get_by_role("button", name="Close", exact=True).last.click()
    await go(who, "tokens")
    await page.get_by_role("button", name="New token").first.click()
    token = fresh("token")
    await page.get_by_label("Its text").fill(token)
    await page.get_by_role("dialog").get_by_role("button", name="Add").click()
    await page.get_by_role("row", name=re.compile(token)).get_by_text("can be used").wait_for()
    await page.get_by_role("button", name=f"Delete the token {token}").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await page.get_by_text(token).wait_for(state="detached")
    await go(who, "audit")
    await page.get_by_role("row", name=re.compile(token)).first.wait_for()
    assert who.faults == []


async def test_what_people_have_uploaded(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    taras = await anonymous.anonymous().register(fresh("taras"))
    uri = (await upload(taras, b"x" * 3_000, "text/plain", "plan.txt")).removeprefix("mxc://")
    who = await sign_in(browser, server, admin, viewport={"width": 1440, "height": 900})
    page = who.page
    await go(who, "users")
    await page.get_by_label("Name, address or e-mail").fill(taras.user_id)
    row = page.get_by_role("row", name=re.compile(taras.user_id))
    await page.get_by_role("row").nth(2).wait_for(state="detached")
    assert [await row.locator("td.n").nth(at).inner_text() for at in (0, 1)] == ["1", "3 kB"]
    await go(who, "media")
    await page.get_by_label("Name or address").fill(taras.user_id)
    await page.get_by_role("row").nth(2).wait_for(state="detached")
    assert [await row.locator("td.n").nth(at).inner_text() for at in (0, 1)] == ["1", "3 kB"]
    await page.get_by_role("button", name="In 7 days").click()
    await row.get_by_role("link").click()
    uploads = page.get_by_role("region", name="Uploads")
    await uploads.get_by_role("button", name="Put into quarantine: plan.txt").click()
    await uploads.get_by_text("in quarantine").wait_for()
    (await taras.request("GET", f"/_matrix/client/v1/media/download/{uri}")).error(404, "M_NOT_FOUND")
    await uploads.get_by_role("button", name="Release from quarantine: plan.txt").click()
    await uploads.get_by_text("in quarantine").wait_for(state="detached")
    assert (await taras.request("GET", f"/_matrix/client/v1/media/download/{uri}")).raw == b"x" * 3_000
    await uploads.get_by_role("button", name="Delete: plan.txt").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await uploads.get_by_text("Nothing was uploaded.").wait_for()
    assert who.faults == []


async def test_rooms_and_reports(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    ada = await anonymous.anonymous().register(fresh("ada"))
    name = fresh("Garden")
    room = (await ada.ok("POST", "/createRoom", {"name": name, "preset": "public_chat", "room_version": "10"}))[
        "room_id"
    ]
    sent = await ada.ok(
        "PUT", f"/rooms/{part(room)}/send/m.room.message/1", {"msgtype": "m.text", "body": "buy <b>now</b>"}
    )
    reporter = await anonymous.anonymous().register(fresh("maya"))
    await reporter.ok("POST", f"/join/{part(room)}", {})
    await reporter.ok("POST", f"/rooms/{part(room)}/report/{part(sent['event_id'])}", {"reason": "an advert"})
    who = await sign_in(browser, server, admin, viewport={"width": 1440, "height": 900})
    page = who.page
    await go(who, "reports")
    card = page.get_by_role("article").filter(has_text="an advert").first
    await card.get_by_text("buy <b>now</b>").wait_for()
    await card.get_by_role("button", name=f"Write to {reporter.user_id[1:].split(':')[0]}").click()
    await page.get_by_text("The beginning of your conversation").wait_for()
    await go(who, "reports")
    await card.get_by_role("button", name="Suspend the author").click()
    await page.get_by_role("dialog").get_by_role("button", name="Suspend the author").click()
    await card.get_by_role("button", name="Settled").click()
    await card.wait_for(state="detached")
    (await ada.request("POST", "/createRoom", {})).error(403, "M_USER_SUSPENDED")
    # Others may have reported something too: each open report has such a button.
    await page.get_by_role("group", name="Reports").get_by_role("button", name="Settled").click()
    await page.get_by_role("row", name=re.compile(re.escape(sent["event_id"]))).wait_for()
    await go(who, "rooms")
    # A room without a name is called by its id, once.
    nameless = await reporter.create_room()
    await page.get_by_label("Name, #address or !id").fill(nameless)
    await page.get_by_role("row", name=re.compile(re.escape(nameless))).wait_for()
    await becomes(page.get_by_text(nameless, exact=True).count, 1)
    await page.get_by_label("Name, #address or !id").fill(name)
    await page.get_by_role("row", name=re.compile(name)).get_by_text("upgrade advised").wait_for()
    await page.get_by_role("link", name=re.compile(name)).click()
    await page.get_by_role("link", name=re.compile(reporter.user_id)).wait_for()
    await page.get_by_role("button", name="Delete the room").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete the room").click()
    await page.get_by_role("status").get_by_text("Done: 2 have left.").wait_for()
    await page.get_by_role("switch", name="Blocked", checked=True).wait_for()
    assert (await ada.ok("GET", "/joined_rooms"))["joined_rooms"] == []
    assert who.faults == []


async def _is_known(ada: Visitor, frame: str, origin: str) -> bool:
    """Whether the server follows what the command has changed: pages of the origin may show the frame."""
    return origin in (await ada.page.request.get(frame)).headers["content-security-policy"]


async def hides(page: Page, site_id: str) -> None:
    """Who hides the chat out of hours gets a script that knows the site."""
    assert f"embed.mjs?site={site_id}" not in await page.locator("pre.snip").inner_text()
    await page.get_by_role("group", name="Out of hours").get_by_text("Hidden").click()
    assert f"embed.mjs?site={site_id}" in await page.locator("pre.snip").inner_text()
    await page.get_by_role("button", name="For React, Vue, npm").click()
    tag = await page.locator("pre.snip").inner_text()
    assert f"embed.js?site={site_id}" in tag and 'data-launcher="Ask &quot;us&quot;"' in tag


async def says_what_pages_may(page: Page) -> None:
    """What the launcher looks like, how much may come, what pages keep; the code follows at once."""
    await page.get_by_role("switch", name="Visitors may keep their chat").check()
    await page.get_by_label("Word on the button").fill('Ask "us"')
    assert 'launcher: "Ask \\"us\\""' in await page.locator("pre.snip").inner_text()
    await page.get_by_label("Messages a minute of all visitors").fill("30")
    await page.get_by_label("New visitors an hour").fill("99999")  # more than there can be
    await page.get_by_role("switch", name="Pages keep what browsers do not").check()
    assert 'persist: "host"' in await page.locator("pre.snip").inner_text()


async def says_how_long_and_what_work(page: Page) -> None:
    """How long conversations are kept, what a new visitor's browser does first, what the rooms are made with."""
    await page.get_by_label("Work before the first message").select_option("Half a second")
    await page.get_by_label("Conversations are kept for").fill("30")
    await chooses_the_rooms_of_cases(page)


async def says_who_is_asked_what_and_when(page: Page) -> None:
    """Looks, encryption, whose turn it is and until when, letters, files, days off; the preview follows."""
    preview = page.frame_locator("iframe.widget")
    await page.get_by_role("group", name="Light or dark").get_by_role("button", name="Dark").click()
    await preview.locator("html[data-theme=dark]").wait_for(state="attached")
    for switch in ("End-to-end encryption", "Letters to visitors", "Show staff all of the page"):
        await page.get_by_role("switch", name=switch).check()
    assert await page.get_by_label("Next agent after").count() == 0  # all are asked
    await page.get_by_label("Routing").select_option("In turn")
    for field, value in (("Next agent after", "60"), ("New case after", "0"), ("Letter after", "15")):
        await page.get_by_label(field).fill(value)
    await page.get_by_label("Kinds of files").fill("image/png\nimage/webp")
    await page.get_by_label("Kinds of files").blur()
    dialog = page.get_by_role("dialog")
    hours = page.get_by_text("Always open").locator("xpath=../..")
    await hours.get_by_role("button", name="Edit").click()
    await dialog.get_by_label("Closed on").fill("2026-12-25 2026-02-30")
    assert await dialog.get_by_role("button", name="Save").is_disabled()
    await dialog.get_by_label("Closed on").fill("2026-12-25, 2027-01-01")
    await dialog.get_by_label("Time zone").fill("Europe/Kyiv")
    await dialog.get_by_label("Monday").fill("9-18")
    await dialog.get_by_role("button", name="Save").click()
    await _asks_further_questions(page)


QUESTIONS = [
    {"name": "order", "required": True, "label": {"en": "Order number"}},
    {"name": "topic", "type": "select", "options": ["Mug", "Cup"]},
]


async def _asks_further_questions(page: Page) -> None:
    """Each has a name that staff and pages use, and what visitors read; what is not whole cannot be kept."""
    dialog, preview = page.get_by_role("dialog"), page.frame_locator("iframe.widget")
    part_ = page.get_by_text("Such as an order").locator("xpath=../..")
    await part_.get_by_role("button", name="Edit").click()
    for number in (1, 2, 3):
        await dialog.get_by_role("button", name="Add").click()
        await dialog.get_by_role("group", name=f"Question {number}").get_by_label("Short name").fill("order")
    await dialog.get_by_role("alert").first.wait_for()  # it is there already
    first, second = (dialog.get_by_role("group", name=f"Question {number}") for number in (1, 2))
    await dialog.get_by_role("button", name="Remove question 3").click()
    await first.get_by_label("As visitors read it").fill("Order number")
    await first.get_by_label("required").check()
    await second.get_by_label("Short name").fill("topic")
    await second.get_by_label("Kind").select_option("Choice")
    assert await dialog.get_by_role("button", name="Save").is_disabled()
    await second.get_by_label("Choices").press_sequentially("Mug\nCup\n")
    await dialog.get_by_role("button", name="Save").click()
    await preview.get_by_label("Order number").wait_for()
    assert await preview.get_by_label("topic").locator("option").all_inner_texts() == ["", "Mug", "Cup"]


SHELF = {"type": "org.example.shelf", "content": {"row": 7}}


async def chooses_the_rooms_of_cases(page: Page) -> None:
    """What they are made with; what is no JSON cannot be kept, and what is written is there again."""
    part_ = page.get_by_text("Rooms of new cases", exact=True).locator("xpath=../..")
    dialog = page.get_by_role("dialog")
    await part_.get_by_role("button", name="Edit").click()
    await dialog.get_by_label("Name of the room").fill("{site} {number}")
    await dialog.get_by_label("Power levels").fill("[")
    await dialog.get_by_role("alert").wait_for()
    assert await dialog.get_by_role("button", name="Save").is_disabled()
    await dialog.get_by_label("Power levels").fill("")
    await dialog.get_by_label("Further state").fill(json.dumps([SHELF]))
    await dialog.get_by_role("button", name="Save").click()
    await part_.get_by_role("button", name="Edit").click()
    assert '"row": 7' in await dialog.get_by_label("Further state").input_value()
    await dialog.get_by_role("button", name="Cancel").click()


async def module_runs(browser: Browser, server: Server, site_id: str, code: str) -> None:
    """What the page gives for bundles shows the chat, and takes calls that were made before the script was there."""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        site_command(server, "edit", site_id, "--origin", origin)
        calls = 'window.hromadaChat = { q: [["sendMessage", "from a module"]] };'
        return {
            "/": ("text/html", f'<!doctype html><html lang="en"><body><script type="module">{calls}\n{code}</script>')
        }

    async with host(pages) as origin:
        ada = await visitor(browser)
        await eventually(lambda: _is_known(ada, f"{server.url}/_embed/frame/{site_id}", origin))
        await ada.page.goto(origin)
        frame = await ada.framed()
        await becomes(frame.get_by_label("Your question").input_value, "from a module")
        assert ada.faults == []
        await ada.context.close()


def is_kept(settings: Json) -> None:
    """What was chosen on the page is what the server has."""
    assert settings["words"] == {"en": {"greeting": "Good day <b>to you</b>"}}
    assert settings["form"]["fields"] == [{"name": "name"}, *QUESTIONS]
    assert settings["routing"] == {"mode": "round_robin", "requeue_seconds": 60, "new_case_after_hours": 0}
    holidays = ["2026-12-25", "2027-01-01"]
    hours = {"tz": "Europe/Kyiv", "weekly": {"mon": [["09:00", "18:00"]]}, "holidays": holidays}
    assert (settings["hours"], settings["letters"]) == (hours, {"enabled": True, "after_minutes": 15})
    assert [settings[name] for name in ("encryption", "keep_query")] == ["on", True]
    assert (settings["theme"]["scheme"], settings["files"]["types"]) == (
        "dark",
        ["image/png", "image/webp"],
    )
    plain = ("accounts", "proof_of_work", "conversation_days", "persist")
    assert [settings[name] for name in plain] == [True, 16, 30, "host"]
    assert settings["theme"]["launcher"] == 'Ask "us"'
    assert settings["limits"] == {"messages_per_minute": 30, "visitors_per_hour": 10_000}
    assert settings["room_template"] == {"name": "{site} {number}", "initial_state": [SHELF]}


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_sites_are_made_and_changed_before_ones_eyes(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    who = await sign_in(browser, server, admin, viewport={"width": 1440, "height": 900})
    page = who.page
    await go(who, "sites")
    await page.get_by_role("button", name="Make a site").click()
    dialog = page.get_by_role("dialog")
    name = fresh("Teren")
    await dialog.get_by_label("Name").fill(name)
    await dialog.get_by_label("Allowed addresses").fill("https://shop.example.org")
    await dialog.get_by_role("button", name="Make a site").click()
    await page.get_by_role("heading", name=name).wait_for()
    site_id = page.url.rpartition("/")[2]
    assert f'data-site="{site_id}"' in await page.locator("pre.snip").inner_text()
    await page.get_by_text("Not seen on any page yet").wait_for()
    await page.get_by_role("button", name="For React, Vue, npm").click()
    await module_runs(browser, server, site_id, await page.locator("pre.snip").inner_text())
    preview = page.frame_locator("iframe.widget")
    await preview.get_by_role("heading").wait_for()
    # What is changed is seen at once, and saved when that is asked for.
    await page.get_by_role("switch", name="Ask for the name").check()
    await preview.get_by_label("Name").wait_for()
    await says_what_pages_may(page)
    await says_how_long_and_what_work(page)
    await says_who_is_asked_what_and_when(page)
    words = page.get_by_text("Your own, in the place of the widget").locator("xpath=../..")
    await words.get_by_role("button", name="Edit").click()
    await page.get_by_role("dialog").get_by_label("Greeting").fill("Good day <b>to you</b>")
    await page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await preview.get_by_role("heading", name="Good day <b>to you</b>").wait_for()
    before = await admin.ok("GET", f"{OWN}/sites/{site_id}")
    assert "words" not in before["settings"]
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_text("Saved.").first.wait_for()
    after = await admin.ok("GET", f"{OWN}/sites/{site_id}")
    is_kept(after["settings"])
    await page.get_by_text(re.compile(r"^Seen .+ ago on site-a\.localhost:\d+$")).wait_for()
    await page.get_by_role("button", name="New key").click()
    await page.get_by_role("dialog").get_by_role("button", name="New key").click()
    assert len((await page.locator(".secret").inner_text()).split(" ")[1]) >= 32
    await page.get_by_role("button", name="Close", exact=True).last.click()
    await hides(page, site_id)
    # A fault is said in the server's words and nothing is lost.
    await page.get_by_label("Allowed addresses").fill("shop.example.org")
    await page.get_by_label("Allowed addresses").blur()
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("alert").get_by_text("is no origin").wait_for()
    assert await page.get_by_label("Allowed addresses").input_value() == "shop.example.org"
    assert [act["action"] for act in await acts(admin, target=site_id)] == [
        *("site.rotate_key", "site.change", "site.create"),
    ]
    await page.get_by_role("button", name="Remove the site").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove the site").click()
    await page.get_by_role("heading", name="Support sites").first.wait_for()
    assert (await admin.request("GET", f"{OWN}/sites/{site_id}")).status == 404
    assert who.faults == []


async def _what_asks(who: Person, user_id: str, room: str) -> list[str]:
    """What axe finds in the dialogs, and in what stands in the place of them."""
    page, found = who.page, []
    for where, button, title in (
        ("users", "New user", "New user"),
        (f"users/{part(user_id)}", "New password", "New password"),
        (f"rooms/{part(room)}", "Delete the room", "Delete the room"),
        ("tokens", "New token", "New token"),
        ("sites", "Make a site", "Make a site"),
    ):
        await go(who, where)
        await page.get_by_role("button", name=button, exact=True).first.click()
        dialog = page.get_by_role("dialog", name=title)
        await dialog.wait_for()
        found += await violations(who, title, "dialog[open]")
        await dialog.get_by_role("button", name="Cancel").click()
        await dialog.wait_for(state="detached")
    for where in ("users", "rooms", "reports", "sites"):
        await go(who, where)
        await page.get_by_role("button", name=re.compile("^Actions for ")).first.click()
        menu = page.get_by_role("menu")
        await menu.get_by_role("menuitem").first.wait_for()
        found += await violations(who, f"menu of {where}", "[role=menu]")
        await page.keyboard.press("Escape")
        await menu.wait_for(state="detached")
    await go(who, "users")
    await page.get_by_role("checkbox", name="Select all on this page").check()
    await page.get_by_role("status").get_by_text("selected").wait_for()
    found += await violations(who, "selection", ".toast")
    await go(who, "reports")
    await page.get_by_role("group", name="Reports").get_by_role("button", name="Settled").click()
    await page.get_by_role("article").first.wait_for(state="detached")
    return found + await violations(who, "settled")


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_screen_readers_find_nothing_wrong(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    site_id = fresh("s").lower().replace("-", "")[:20]
    settings = {
        "name": "Крамниця «Терен»",
        "origins": ["https://teren.example"],
        "theme": {"accent": "#8C3B4A", "side": "start"},
    }
    assert (await admin.request("POST", f"{OWN}/sites", {"site_id": site_id, "settings": settings})).status == 201
    room = (await admin.ok("POST", "/createRoom", {"name": "Bike workshop", "preset": "public_chat"}))["room_id"]
    await admin.ok("POST", f"/rooms/{part(room)}/report", {"reason": "free goods"})
    await admin.ok("POST", "/_synapse/admin/v1/registration_tokens/new", {})
    options = {"viewport": {"width": 1440, "height": 900}, "bypass_csp": True}
    who = await sign_in(browser, server, admin, **options)
    found = []
    pages = {
        "users": "users",
        "user": f"users/{part(admin.user_id)}",
        "rooms": "rooms",
        "room": f"rooms/{part(room)}",
        "reports": "reports",
        "tokens": "tokens",
        "audit": "audit",
        "federation": "federation",
        "media": "media",
        "health": "health",
        "sites": "sites",
        "site": f"sites/{site_id}",
    }
    for name, where in pages.items():
        await go(who, where)
        found += await violations(who, name)
        await shoot(who, f"admin-{name}")
    assert 'data-side="start"' in await who.page.locator("pre.snip").inner_text()
    found += await _what_asks(who, admin.user_id, room)
    assert found == [], "\n".join(found)
    # Nothing sticks out of a telephone with the largest type, once a page is drawn.
    await who.page.set_viewport_size({"width": 320, "height": 640})
    await look(who, 22, "uk")
    for where in pages.values():
        await go(who, where)
        await becomes(lambda: who.page.evaluate(WIDE), [])
        assert await who.page.evaluate(BROKEN) == []
