"""Words are found in encrypted rooms by this device's own index, of which nobody can read a word on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import LIT, Person, lights_up, nothing_kept
from tests.embed.test_encryption import direct_chat
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

# Every string and every byte that IndexedDB keeps, of the index or of all there is.
DUMP = """async (only) => {
    const seen = [];
    const walk = (value) => {
        if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
            seen.push(new TextDecoder("latin1").decode(value), new TextDecoder().decode(value));
        } else if (value && typeof value === "object") Object.entries(value).flat().forEach(walk);
        else seen.push(String(value));
    };
    const done = (request) => new Promise((yes, no) => {
        request.onsuccess = () => yes(request.result);
        request.onerror = () => no(request.error);
    });
    for (const { name } of await indexedDB.databases()) {
        if (only && name !== only) continue;
        const db = await done(indexedDB.open(name));
        for (const store of db.objectStoreNames) {
            const from = db.transaction(store).objectStore(store);
            walk(await done(from.getAllKeys()));
            walk(await done(from.getAll()));
        }
        db.close();
    }
    return seen.join("\\n");
}"""


async def look_for(who: Person, term: str) -> None:
    """Type another word into the page of search."""
    await who.page.get_by_role("searchbox", name="Search messages").fill(term)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_words_of_encrypted_rooms_are_found_here(browser: Browser, server: Server) -> None:
    ada, maya = await direct_chat(browser, server)
    await ada.say("Біля ґанку росте м’ята")  # noqa: RUF001 - as it is typed
    await ada.say("a wheelbarrow")
    await ada.sent("a wheelbarrow")
    await maya.sees("a wheelbarrow")
    look = maya.page
    hits = look.locator(".hits-list button")
    await look.evaluate("location.hash = '#/search?q=' + encodeURIComponent(\"ган м'ят\")")
    await hits.get_by_text("росте").wait_for()
    assert await hits.locator("mark").all_inner_texts() == ["ґан", "м’ят"]  # noqa: RUF001 - as it is typed
    await look.get_by_text("messages that this device has read. The oldest").wait_for()
    # An edit takes the place of what was said.
    await ada.composer.press("ArrowUp")
    await ada.composer.fill("a greenhouse")
    await ada.composer.press("Enter")
    await look_for(maya, "greenh")
    await hits.get_by_text("a greenhouse").wait_for()
    await look_for(maya, "wheelb")
    await look.get_by_text("0 found").wait_for()
    words = await look.evaluate(DUMP, "hromada-finds")
    assert len(words) > 1000
    assert not any(word in words for word in ("greenhouse", "росте", "ганку", "secret"))
    # What is found leads to its place.
    await look_for(maya, "greenh")
    await look.evaluate(LIT)
    await hits.get_by_text("a greenhouse").click()
    await lights_up(look, "a greenhouse")
    # What was removed is found no more.
    await ada.act("a greenhouse", "More actions")
    await ada.page.get_by_role("menuitem", name="Delete").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await look.get_by_text("Message deleted").wait_for()
    await look.evaluate("location.hash = '#/search?q=greenh'")
    await look.get_by_text("0 found").wait_for()
    # From the next start on the index is there, and the room's beginning can be reached.
    await look_for(maya, "secr")
    await hits.get_by_text("a secret").wait_for()
    await look.reload()
    await hits.get_by_text("a secret").wait_for()
    further = look.get_by_role("button", name="Search further back")
    # What takes long can be stopped, and gone on with.
    await look.route("**/messages?**", lambda route: None)
    await further.click()
    await look.get_by_role("button", name="Stop").click()
    await further.wait_for()
    await look.unroute("**/messages?**")
    await further.click()
    await further.wait_for(state="detached")
    # Signing out leaves nothing of it.
    await look.goto(f"{maya.url}/#/settings/profile")
    await look.get_by_role("button", name="Sign out").click()
    await look.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    await look.get_by_role("button", name="Sign in").wait_for()
    await nothing_kept(look)
    words = await look.evaluate(DUMP, "")
    assert not any(word in words for word in ("росте", "ганку", "secret"))
    assert maya.faults + ada.faults == []
