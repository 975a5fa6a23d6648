"""Files that are dragged over the page or pasted into it, and what is said beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client, Json, becomes, eventually
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Locator

MEDIA = Path(__file__).parent / "media"
PASTE = """async (field) => {
    const canvas = new OffscreenCanvas(2, 2);
    canvas.getContext("2d").fillRect(0, 0, 2, 2);
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([await canvas.convertToBlob()], "pasted.png", { type: "image/png" }));
    return field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""

MANY = """(field) => {
    const clipboardData = new DataTransfer();
    for (let n = 0; n < 21; n++) clipboardData.items.add(new File(["a"], `note ${n}.txt`, { type: "text/plain" }));
    field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


class Hand:
    """It drags a file from outside the browser, as the browser itself is told of it."""

    def __init__(self, session: CDPSession, file: Path) -> None:
        self._session = session
        self._data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}

    async def _do(self, kind: str, x: float, y: float) -> None:
        await self._session.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": self._data})

    async def over(self, place: Locator) -> tuple[float, float]:
        """Hold it above the middle of something."""
        box = await place.bounding_box()
        assert box
        at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for kind in ("dragEnter", "dragOver", "dragOver"):
            await self._do(kind, *at)
        return at

    async def let_go(self, place: Locator) -> None:
        """Let it go there."""
        await self._do("drop", *await self.over(place))


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_files_are_let_go_and_pasted_where_one_writes(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1440, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Garden")
    board = await maya.shared_room(mine, name="Board", power_level_content_override={"events_default": 50})
    await maya.send(board, "read this")
    root = await mine.send(room, "the plan?")
    await ada.sign_in()
    page = ada.page
    hand = Hand(await ada.context.new_cdp_session(page), MEDIA / "note.txt")
    await page.goto(f"{ada.url}/#/room/{room}?panel=thread:{root}")
    thread = page.get_by_role("complementary", name="Thread")
    await thread.get_by_text("the plan?").wait_for()
    main = page.get_by_role("main")
    await main.get_by_text("the plan?").wait_for()
    await page.evaluate("globalThis.same = true")
    # The pane that it is above says where it goes.
    await hand.over(main.get_by_role("log"))
    await main.get_by_text("Drop files for Garden").wait_for()
    await hand.let_go(main.get_by_role("log"))
    await main.get_by_text("Drop files for").wait_for(state="detached")
    trays = [pane.get_by_role("list", name="Files to send") for pane in (main, thread)]
    await trays[0].get_by_text("note.txt").wait_for()
    assert await trays[1].count() == 0
    await hand.let_go(thread.get_by_role("log"))
    await trays[1].get_by_text("note.txt").wait_for()
    # Where nobody takes it the page stays as it is.
    await hand.let_go(page.get_by_role("navigation", name="Chats"))
    # A picture from the clipboard; a text is left to the browser.
    assert await ada.composer.evaluate(PASTE) is False
    await trays[0].get_by_text("pasted.png").wait_for()
    assert await page.evaluate("globalThis.same")
    await _what_is_said_beside_a_file(ada, maya, room)
    await thread.get_by_role("button", name="Send", exact=True).click()
    await thread.locator("li.msg[data-id^='$']").filter(has_text="note.txt").wait_for()
    # More than are taken at once.
    await ada.composer.evaluate(MANY)
    await page.get_by_text("The first 20 files were taken").wait_for()
    assert await trays[0].get_by_role("listitem").count() == 20
    # Where one may only read, nothing is offered and nothing is taken.
    await page.goto(f"{ada.url}/#/room/{board}")
    await ada.sees("read this")
    await page.get_by_text("Only some members can write here").first.wait_for()
    await hand.over(page.get_by_role("log"))
    await hand.let_go(page.get_by_role("log"))
    assert await page.get_by_text("Drop files for").count() == 0
    assert await page.evaluate("globalThis.same")
    assert ada.faults == []


async def _what_is_said_beside_a_file(ada: Person, maya: Client, room: str) -> None:
    """It has its marks, and whom it mentions is told."""
    name = maya.user_id[1:].split(":")[0]
    await ada.composer.press_sequentially(f"@{name[:4]}")
    await ada.page.get_by_role("option", name=name).click()
    await ada.composer.press_sequentially("this is **new**")
    await ada.composer.press("Enter")
    await ada.page.locator("li.msg[data-id^='$']").get_by_role("button", name="Open pasted.png").wait_for()

    async def found() -> list[Json]:
        chunk = (await maya.messages(room, limit=20))["chunk"]
        contents = [event["content"] for event in reversed(chunk) if event["type"] == "m.room.message"]
        return [content for content in contents if "filename" in content]

    async def both() -> bool:
        return len(await found()) == 2

    await eventually(both)
    first, second = await found()
    assert (first["msgtype"], first["filename"], first["body"]) == ("m.file", "note.txt", f"@{name} this is **new**")
    assert "<strong>new</strong>" in first["formatted_body"]
    assert first["m.mentions"] == {"user_ids": [maya.user_id]}
    assert (second["msgtype"], second["body"], second["m.mentions"]) == ("m.image", "pasted.png", {})
    caption = ada.message("this is new")
    await caption.locator(".cap strong", has_text="new").wait_for()
    await caption.locator(".cap .men").wait_for()
    # An answer to it is for who is answered, with a file too.
    said = await maya.send(room, "and the beds?")
    await ada.sees("and the beds?")
    await ada.act("and the beds?", "Reply")
    await ada.attach(MEDIA / "picture.jpg")
    await ada.composer.press("Enter")

    async def answered() -> bool:
        return len(await found()) == 3

    await eventually(answered)
    answer = (await found())[2]
    assert answer["m.relates_to"] == {"m.in_reply_to": {"event_id": said}}
    assert answer["m.mentions"] == {"user_ids": [maya.user_id]}


TRANSFORM = "document.querySelector('dialog figure img').style.transform"


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_pictures_are_looked_at_with_keys(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1280, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    room = await mine.create_room(name="Pictures")
    kind = {"Content-Type": "image/jpeg"}
    data = (MEDIA / "picture.jpg").read_bytes()
    mxc = (await mine.ok("POST", "/_matrix/media/v3/upload", data=data, headers=kind))["content_uri"]
    for name in ("one.jpg", "two.jpg", "three.jpg"):
        info = {"mimetype": "image/jpeg", "w": 640, "h": 480}
        await mine.send(room, {"msgtype": "m.image", "body": name, "url": mxc, "info": info})
    await ada.sign_in()
    page = ada.page
    await page.goto(f"{ada.url}/#/room/{room}")
    opener = page.get_by_role("button", name="Open two.jpg")
    await opener.click()
    viewer = page.locator("dialog.box-light")

    async def shown(name: str, number: int) -> None:
        await viewer.get_by_role("img", name=name).wait_for()
        await becomes(lambda: viewer.get_attribute("aria-label"), f"Photo {number} of 3")

    await shown("two.jpg", 2)
    for key, name, number in (
        ("ArrowRight", "three.jpg", 3),
        ("ArrowRight", "three.jpg", 3),
        ("ArrowLeft", "two.jpg", 2),
        ("ArrowLeft", "one.jpg", 1),
    ):
        await page.keyboard.press(key)
        await shown(name, number)
    for key, scale in (("+", "1.5"), ("+", "2.25"), ("-", "1.5"), ("0", "1"), ("-", "1")):
        await page.keyboard.press(key)
        await becomes(partial(page.evaluate, f"{TRANSFORM}.endsWith('scale({scale})')"), True)
    # It is kept under its own name.
    async with page.expect_download() as download:
        await viewer.get_by_role("button", name="Download one.jpg").click()
    kept = await download.value
    assert kept.suggested_filename == "one.jpg"
    assert (await kept.path()).read_bytes() == data
    await page.keyboard.press("Escape")
    await viewer.wait_for(state="detached")
    await page.locator("button.img[aria-label='Open two.jpg']:focus").wait_for()
    assert ada.faults == []
