"""What opens above the pages and beside them, looked at in turn: dialogs, menus, the viewer, the composer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.embed.people import Person
from tests.embed.test_tabs import HOLDER

if TYPE_CHECKING:
    from playwright.async_api import Locator

Look = Callable[[Person, str, str | None], Awaitable[list[str]]]
"""What is wrong with a page, or with the part of it that a selector names."""

MEDIA = Path(__file__).parent / "media"
OPEN = "dialog[open]"


async def around_messages(ada: Person, maya: Person, text: str, look: Look) -> list[str]:
    """What comes of a message of `ada`'s: menus, dialogs, a thread, an answer, an edit."""
    await ada.act(text, "More actions")
    found = await _looked_at(ada, ada.page.get_by_role("menuitem").first, "message menu", ".menu", look)
    await ada.page.get_by_role("menuitem", name="Details").click()
    found += await _dialog(ada, "Message details", look)
    await ada.act(text, "More actions")
    await ada.page.get_by_role("menuitem", name="Delete").click()
    found += await _dialog(ada, "Delete the message?", look)
    await maya.act(text, "More actions")
    await maya.page.get_by_role("menuitem", name="Report").click()
    found += await _dialog(maya, "Report this message", look)
    await maya.act(text, "Reply in thread")
    thread = maya.page.get_by_role("complementary")
    await thread.get_by_role("textbox").fill("an answer aside")
    await thread.get_by_role("textbox").press("Enter")
    await thread.locator("li.msg[data-id^='$']").filter(has_text="an answer aside").wait_for()
    found += await look(maya, "thread", None)
    await maya.page.keyboard.press("Escape")
    await ada.act(text, "Reply")
    await ada.composer.press_sequentially(f"@{maya.name[:6]}")
    found += await _looked_at(ada, ada.page.get_by_role("option").first, "mentions and reply", ".cmp", look)
    await ada.composer.fill("")
    await ada.page.get_by_role("button", name="Cancel the reply").click()
    await ada.page.get_by_role("button", name="Formatting").click()
    await ada.page.get_by_role("button", name="Emoji").last.click()
    found += await _looked_at(ada, ada.page.get_by_label("Search emoji"), "emoji and formatting", ".cmp, .emoji", look)
    await ada.page.keyboard.press("Escape")
    return found


async def around_files(ada: Person, look: Look) -> list[str]:
    """A file that waits in the composer, one in the conversation, the viewer with its menu."""
    page = ada.page
    await ada.attach(MEDIA / "picture.jpg", MEDIA / "note.txt")
    found = await _looked_at(ada, page.locator(".up").nth(1), "files to send", ".cmp", look)
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.locator("li.msg[data-id^='$'] .file").wait_for()
    await page.locator("li.msg[data-id^='$'] button.img img").wait_for()
    found += await look(ada, "files in the conversation", "[role=log]")
    await page.locator("li.msg[data-id^='$'] button.img").click()
    await page.locator("dialog.box-light").get_by_role("button", name="More actions").click()
    found += await _looked_at(ada, page.get_by_role("menuitem").first, "viewer", OPEN, look)
    await page.keyboard.press("Escape")
    await page.get_by_role("menuitem").first.wait_for(state="detached")
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    return found


async def around_rooms(ada: Person, maya: Person, room: str, server: str, look: Look) -> list[str]:
    """People, invitations, new rooms, a space, a room one is not in, and what asks before one leaves."""
    page = ada.page
    await ada.go(f"room/{room}?panel=members")
    await page.get_by_role("complementary").get_by_role("button", name=maya.name).click()
    found = await _dialog(ada, maya.name, look)
    await page.get_by_role("button", name="Invite people").click()
    found += await _dialog(ada, "Invite people", look)
    await page.get_by_role("tab", name="About").click()
    await page.get_by_role("button", name="Leave room").click()
    found += await _dialog(ada, "Leave “", look)
    await page.get_by_role("button", name="New conversation").first.click()
    for kind in ("Room", "Space"):
        await page.get_by_role("dialog").get_by_role("button", name=kind, exact=True).click()
        found += await _looked_at(ada, page.get_by_role("dialog").get_by_label("Name"), f"new {kind}", OPEN, look)
    await page.get_by_role("dialog").get_by_label("Name").fill("Courtyard")
    await page.get_by_role("dialog").get_by_role("button", name="Create space").click()
    found += await _looked_at(ada, page.get_by_role("heading", name="Courtyard", level=1), "space", None, look)
    await page.get_by_role("button", name="Add a room").click()
    found += await _dialog(ada, "Add a room", look)
    await ada.create_room(f"Shed {ada.name}")
    await maya.go(f"room/%23shed-{ada.name}:{server}")
    found += await _looked_at(maya, maya.page.get_by_role("button", name="Join", exact=True), "preview", None, look)
    await maya.go(f"room/%23nothing-of-this-name:{server}")
    nothing = maya.page.get_by_text("There is no such room here")
    found += await _looked_at(maya, nothing, "unknown room", None, look)
    await maya.go("explore?q=nothing-of-this-name")
    found += await _looked_at(maya, maya.page.get_by_text("Nothing found for"), "explore, nothing", None, look)
    return found


async def around_the_account(ada: Person, look: Look) -> list[str]:
    """What settings ask before they do something, and the list of keys."""
    page = ada.page
    await ada.go("settings/profile")
    await page.get_by_role("button", name="Change", exact=True).click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    found = await _dialog(ada, "Delete account", look)
    found += await look(ada, "change of password", "main")
    await page.get_by_role("button", name="Sign out").click()
    found += await _dialog(ada, "Sign out here?", look)
    await ada.go("settings/encryption")
    for button, title in (("Export", "Export"), ("Reset", "Start afresh?")):
        await page.get_by_role("button", name=button, exact=True).click()
        found += await _dialog(ada, title, look)
    await page.locator("main h1").focus()
    await page.keyboard.press("?")
    return found + await _dialog(ada, "Keyboard", look)


async def around_faults(ada: Person, room: str, server: str, look: Look) -> list[str]:
    """No connection, a part that broke, and a tab that cannot be followed."""
    page = ada.page
    await ada.go(f"room/{room}")
    await ada.context.set_offline(True)
    await page.evaluate("dispatchEvent(new Event('offline'))")
    found = await _looked_at(ada, page.get_by_text("You are offline"), "offline", ".strip", look)
    await ada.context.set_offline(False)
    # Whatever is drawn next throws.
    await page.evaluate("Object.defineProperty(Array.prototype, 'findLast', { get() { throw new Error('staged'); } })")
    await ada.go("")
    await ada.go(f"room/{room}")
    found += await _looked_at(ada, page.get_by_text("Something broke").first, "crash", None, look)
    await page.goto(f"{ada.url}/assets/logo.svg")
    await page.evaluate(HOLDER, [f"hromada:@{ada.name}:{server}", True])
    tab = Person(ada.context, await ada.context.new_page(), ada.url, ada.name)
    await tab.page.goto(f"{ada.url}/")
    elsewhere = tab.page.get_by_text("Hromada is open in another tab")
    return found + await _looked_at(tab, elsewhere, "elsewhere", None, look)


async def _looked_at(who: Person, there: Locator, what: str, within: str | None, look: Look) -> list[str]:
    await there.wait_for()
    return await look(who, what, within)


async def _dialog(who: Person, title: str, look: Look) -> list[str]:
    """A dialog of this title, which is closed again."""
    dialog = who.page.get_by_role("dialog", name=title)
    found = await _looked_at(who, dialog, title, OPEN, look)
    await dialog.get_by_role("button", name="Close", exact=True).click()
    await dialog.wait_for(state="detached")
    return found
