"""Files on their way: some at a time and in order, taken back, refused, and kept with the draft over a reload."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import pair, until
from tests.support.client import becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

UPLOAD = "**/_matrix/media/v3/upload*"
TOO_LARGE = {"errcode": "M_TOO_LARGE", "error": "Too large"}


# Whether all of these words are on the disk, beside or in a draft.
KEPT = """async (words) => {
    const request = (from) => new Promise((done) => (from.onsuccess = () => done(from.result)));
    const db = await request(indexedDB.open("hromada"));
    const drafts = await request(db.transaction("drafts").objectStore("drafts").getAll());
    const files = (await request(db.transaction("kv").objectStore("kv").get("attached"))) ?? [];
    db.close();
    const found = [...drafts.map((each) => each.text), ...files.map((each) => each.file.name)];
    return words.every((word) => found.includes(word));
}"""


async def kept(page: Page, *words: str) -> None:
    """Wait until these are on the disk: from then on a reload loses none of them."""
    await until(page, KEPT, list(words))


class Gate:
    """Holds uploads back until they are let through one by one."""

    def __init__(self) -> None:
        self.held: dict[str, Route] = {}
        self.most = 0
        self._changed = asyncio.Condition()

    async def hold(self, route: Route) -> None:
        """Take a request in."""
        async with self._changed:
            self.held[route.request.url.rpartition("filename=")[2]] = route
            self.most = max(self.most, len(self.held))
            self._changed.notify_all()

    async def until(self, *names: str) -> None:
        """Wait until these are held."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: set(self.held) >= set(names)), 90)

    async def let(self, name: str) -> None:
        """Let one through."""
        await self.held.pop(name).continue_()


def files(folder: Path, *names: str) -> list[Path]:
    """Small files of these names."""
    made = [folder / name for name in names]
    for file in made:
        file.write_text(f"what is in {file.name}")
    return made


async def tray(page: Page) -> list[str]:
    """The names of the files beside the text."""
    return await page.get_by_role("list", name="Files to send").locator("small.cut").all_inner_texts()


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_files_go_up_three_at_a_time_and_stay_in_order(browser: Browser, server: Server, tmp_path: Path) -> None:
    ada, maya, _ = await pair(browser, server)
    gate = Gate()
    await ada.page.route(UPLOAD, gate.hold)
    names = ["a.txt", "b.txt", "c.txt", "d.txt", "e.txt"]
    await ada.attach(*files(tmp_path, *names))
    await ada.composer.press("Enter")
    await ada.say("and that is all")
    await gate.until("a.txt", "b.txt", "c.txt")
    # One is taken back on its way, so the next goes up in its place.
    row = ada.message("b.txt")
    gate.held.pop("b.txt")
    await row.get_by_role("button", name="Cancel the upload").click()
    await row.wait_for(state="detached")
    await gate.until("a.txt", "c.txt", "d.txt")
    # The later ones are there first, and wait for their turn.
    for name in ("d.txt", "c.txt"):
        await gate.let(name)
    await gate.until("a.txt", "e.txt")
    await gate.let("e.txt")
    assert gate.most == 3
    assert await maya.page.get_by_text("d.txt").count() == 0
    await gate.let("a.txt")
    await maya.sees("and that is all")
    shown = await maya.page.locator("li.msg").all_inner_texts()
    order = [word for text in shown for word in (*names, "and that is all") if word in text]
    assert order == ["a.txt", "c.txt", "d.txt", "e.txt", "and that is all"]
    await ada.page.unroute(UPLOAD)

    # What the server refuses is said, and what comes after it goes on.
    await ada.page.route(UPLOAD, lambda route: route.fulfill(status=413, json=TOO_LARGE), times=1)
    await ada.attach(*files(tmp_path, "large.txt"))
    await ada.composer.press("Enter")
    await ada.message("large.txt").get_by_text("Not sent: it is too large.").wait_for()
    await ada.say("after a refusal")
    await maya.sees("after a refusal")
    await ada.message("large.txt").get_by_role("button", name="Delete").click()
    await ada.message("large.txt").wait_for(state="detached")
    assert ada.faults + maya.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_is_not_sent_yet_outlives_a_reload(browser: Browser, server: Server, tmp_path: Path) -> None:
    ada, maya, name = await pair(browser, server)
    page = ada.page
    await ada.attach(*files(tmp_path, "one.txt", "two.txt"))
    await ada.composer.fill("with a text")
    await kept(page, "with a text", "one.txt", "two.txt")
    await page.reload()
    await page.get_by_text("two.txt").wait_for()
    await becomes(lambda: tray(page), ["one.txt", "two.txt"])
    await becomes(ada.composer.input_value, "with a text")
    # Another tab shows them too; what is sent or dropped there is gone here.
    second = await ada.context.new_page()
    await second.goto(f"{ada.url}/")
    await second.get_by_role("link", name=name).click()
    await second.get_by_role("button", name="Remove two.txt").click()
    await page.get_by_text("two.txt").wait_for(state="detached")
    await becomes(second.locator("#composer").input_value, "with a text")
    await second.locator("#composer").press("Enter")
    await page.get_by_role("list", name="Files to send").wait_for(state="detached")
    await maya.page.get_by_text("with a text").last.wait_for()
    await second.close()
    await page.reload()
    await ada.sees("with a text")
    await becomes(page.get_by_role("list", name="Files to send").count, 0)

    # A message that is being changed: as it stood, and the draft of what is new beside it.
    await ada.say("first words")
    await maya.sees("first words")
    await ada.composer.fill("something new")
    await ada.act("first words", "More actions")
    await page.get_by_role("menuitem", name="Edit").click()
    await becomes(ada.composer.input_value, "first words")
    await ada.composer.fill("better words")
    await kept(page, "something new", "better words")
    await page.reload()
    await page.get_by_text("Editing", exact=True).wait_for()
    await becomes(ada.composer.input_value, "better words")
    await ada.composer.press("Enter")
    await maya.sees("better words")
    await becomes(ada.composer.input_value, "something new")
    await page.reload()
    await ada.sees("better words")
    assert await page.get_by_text("Editing", exact=True).count() == 0
    assert ada.faults + maya.faults == []
