"""What hands do with the web client: fingers on a telephone, keys at a desk."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client, becomes, eventually
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Locator, Page, Route

MEDIA = Path(__file__).parent / "media"
TELEPHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


async def room_with_a_word(who: Person, anonymous: Client) -> tuple[Client, str]:
    """A room of `who`'s with one message by somebody else, who is returned, open on the page."""
    mine = await anonymous.anonymous().login(who.name, PASSWORD)
    other = await anonymous.anonymous().register(f"noor{who.name}")
    room = await mine.create_room(name="Bees", preset="public_chat")
    await other.ok("POST", f"/join/{room}", {})
    await other.ok("PUT", f"/rooms/{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "They have come"})
    await who.page.goto(f"{who.url}/#/room/{room}")
    await who.sees("They have come")
    return other, room


class Finger:
    """One finger on the page."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session

    async def _do(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in points]
        await self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    async def down(self, place: Locator) -> tuple[float, float]:
        """Lay it on the middle of something, once that stands still and nothing is above it."""
        await place.tap(trial=True)
        box = await place.bounding_box()
        assert box
        self.at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await self._do("touchStart", self.at)
        return self.at

    async def pull(self, by: float) -> None:
        """Move it sideways, in steps."""
        for step in range(1, 9):
            await self._do("touchMove", (self.at[0] + by * step / 8, self.at[1]))

    async def spread(self, place: Locator) -> None:
        """Draw something apart, with a second finger."""
        x, y = await self.down(place)
        for by in range(20, 100, 20):
            await self._do("touchStart" if by == 20 else "touchMove", (x, y), (x + by, y))

    async def up(self) -> None:
        """Lift it."""
        await self._do("touchEnd")


async def _press_until_gone(button: Locator) -> None:
    """Right after a quick movement the browser takes a finger for the one that stops it, and it presses nothing."""
    from playwright.async_api import TimeoutError as NotYet  # noqa: PLC0415 - slow, and most runs need no browser

    for _ in range(15):
        with contextlib.suppress(NotYet):
            await button.tap(timeout=2_000)
            await button.wait_for(state="detached", timeout=2_000)
        if await button.count() == 0:
            return
    raise AssertionError("it stays")


# long: one walk, since each browser costs seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_fingers_on_a_telephone(browser: Browser, server: Server, anonymous: Client) -> None:
    maya = await person(browser, local(server), "maya", **TELEPHONE)
    await maya.sign_up()
    _, room = await room_with_a_word(maya, anonymous)
    page = maya.page
    finger = Finger(await maya.context.new_cdp_session(page))
    await page.locator(".tl.fingers").wait_for()
    # A long press opens the sheet, at the foot; the finger that is lifted then presses nothing.
    await finger.down(maya.message("They have come").locator(".bub"))
    sheet = page.get_by_role("menu", name="Message actions")
    await sheet.wait_for()
    await finger.up()
    await sheet.evaluate("each => Promise.all(each.getAnimations().map(({ finished }) => finished))")
    box = await sheet.bounding_box()
    assert box
    assert (box["x"], box["y"] + box["height"], box["width"]) == (0, 780, 390)
    await sheet.get_by_role("menuitem", name="React with 👍").tap()
    await maya.message("They have come").get_by_role("button", name="👍").wait_for()
    await sheet.wait_for(state="detached")
    # A pull answers.
    await finger.down(maya.message("They have come").locator(".bub"))
    await finger.pull(-70)
    await finger.up()
    await page.locator(".cmp .ctx").get_by_text("They have come").wait_for()
    await maya.say("Where from?")
    await maya.message("Where from?").locator(".quote").wait_for()
    # Back closes one pane after the other, and then the room.
    await page.get_by_role("button", name="Room details").last.tap()
    await page.get_by_role("tab", name="Members").tap()
    await page.get_by_role("tab", name="About").tap()
    await page.get_by_role("button", name="Pinned messages").tap()
    await page.get_by_role("complementary", name="Pinned messages").wait_for()
    await page.go_back()
    await page.get_by_role("tab", name="About").wait_for()
    await page.go_back()
    await page.get_by_role("complementary").wait_for(state="detached")
    assert page.url.endswith(f"/room/{room}")
    # The X closes what is open, and leaves no step behind.
    before = await page.evaluate("history.length")
    await page.get_by_role("button", name="Room details").last.tap()
    await page.get_by_role("button", name="Close").tap()
    await page.get_by_role("complementary").wait_for(state="detached")
    await page.wait_for_function("room => location.hash === `#/room/${room}`", arg=room)
    assert await page.evaluate("history.length") <= before + 1
    # Two fingers draw a picture apart.
    await maya.attach(MEDIA / "picture.jpg")
    await page.get_by_role("button", name="Send", exact=True).tap()
    await page.locator("li.msg[data-id^='$'] button.img img").tap()
    picture = page.locator("dialog figure img")
    await picture.wait_for()
    await finger.spread(picture)
    await page.wait_for_function("/scale\\([2-8]/.test(document.querySelector('dialog figure img').style.transform)")
    await finger.up()
    await _press_until_gone(page.get_by_role("dialog").get_by_role("button", name="Close"))
    # The user's spaces stand above the list.
    mine = await anonymous.anonymous().login(maya.name, PASSWORD)
    space = await mine.create_room(name="Courtyard", creation_content={"type": "m.space"})
    await page.evaluate("location.hash = '#/'")
    await page.get_by_role("group", name="Spaces").get_by_role("button", name="Courtyard").tap()
    await page.get_by_role("heading", name="Courtyard").wait_for()
    assert await page.get_by_role("link", name="Bees").count() == 0
    await mine.ok("PUT", f"/rooms/{space}/state/m.space.child/{room}", {"via": [server.name]})
    await page.get_by_role("link", name="Bees").wait_for()
    # A room that is made on the page of a space is in it, whatever the list shows.
    await page.get_by_role("group", name="Spaces").get_by_role("button", name="Courtyard").tap()
    await maya.go(f"room/{space}")
    await page.get_by_role("button", name="New room").tap()
    await page.get_by_role("dialog").get_by_label("Name").fill("Hives")
    await page.get_by_role("dialog").get_by_role("button", name="Create room").tap()
    await page.get_by_role("main", name="Hives").wait_for()

    async def rooms_inside() -> int:
        state = await mine.ok("GET", f"/rooms/{space}/state")
        return sum(event["type"] == "m.space.child" for event in state)

    await becomes(rooms_inside, 2)
    # And one that there is already is put into it.
    await mine.create_room(name="Orchard")
    await maya.go(f"room/{space}")
    await page.get_by_role("button", name="Add a room").tap()
    await page.get_by_role("button", name="Add Orchard").tap()
    await page.get_by_text("All your rooms are in it.").wait_for()
    await becomes(rooms_inside, 3)
    assert maya.faults == []


async def refuse(who: Person, path: str) -> None:
    """Let the server forbid whatever is put at `path`."""
    answer = {"errcode": "M_FORBIDDEN", "error": "The bees said no"}

    async def forbid(route: Route) -> None:
        await (route.fulfill(status=403, json=answer) if route.request.method == "PUT" else route.fallback())

    await who.page.route(path, forbid)


TOP = "() => (document.querySelector('[role=log]')?.scrollTo(0, 0), document.querySelector('.filler button') !== null)"


async def has_focus(page: Page, what: str, word: str) -> None:
    """Wait until what has the focus has this word in its `what`."""

    async def has() -> bool:
        return word in (await page.evaluate(f"document.activeElement.{what}") or "")

    await eventually(has)


# Whether it stands within the pop-up that it belongs to.
INSIDE = """(each) => {
    const [one, all] = [each, each.closest(".emoji")].map((node) => node.getBoundingClientRect());
    return one.left >= all.left && one.right <= all.right;
}"""
# To its place, and a frame later, when the page has heard of it.
SCROLL = """async (each) => {
    each.scrollTop = 120;
    for (let n = 0; n < 2; n++) await new Promise((done) => requestAnimationFrame(done));
    return each.scrollTop;
}"""


async def at_the_end(who: Person) -> None:
    """Wait until the end of the conversation is in sight."""
    box = "document.querySelector('[role=log]')"
    await who.page.wait_for_function(f"{box}.scrollHeight - {box}.scrollTop - {box}.clientHeight < 80")


# long: one walk, since each browser costs seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_keys_at_a_desk(browser: Browser, server: Server, anonymous: Client) -> None:
    maya = await person(browser, local(server), "maya", viewport={"width": 1280, "height": 500})
    await maya.sign_up()
    noor, room = await room_with_a_word(maya, anonymous)
    for n in range(30):
        await noor.ok("PUT", f"/rooms/{room}/send/m.room.message/w{n}", {"msgtype": "m.text", "body": f"word {n}"})
    page = maya.page
    await maya.sees("word 29")
    # The list is one stop, and so is the rail; arrows move inside.
    mine = await anonymous.anonymous().login(maya.name, PASSWORD)
    roofs = await mine.create_room(name="Roofs")
    await mine.create_room(name="Cellar")
    await page.get_by_role("link", name="Cellar").wait_for()
    await page.get_by_role("link", name="Roofs").focus()
    for key, name in (("ArrowUp", "Cellar"), ("End", "Bees"), ("Home", "Cellar")):
        await page.keyboard.press(key)
        await has_focus(page, "textContent", name)
    for region in (".list .scroll", ".rail"):
        assert await page.locator(f"{region} :is(a, button)[tabindex='0']").count() == 1
    # From region to region: the newest message has the focus, and T opens its thread.
    await maya.composer.focus()
    await page.keyboard.press("Shift+F6")
    await has_focus(page, "ariaLabel", "word 29")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("t")
    await page.get_by_role("complementary", name="Thread").get_by_text("word 28").wait_for()
    # Esc closes the innermost, then goes to the end.
    await page.get_by_role("log").first.evaluate("each => (each.scrollTop = 0)")
    await page.get_by_role("button", name="Jump to the newest").or_(page.locator(".jump")).first.wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("complementary").wait_for(state="detached")
    assert await page.locator(".jump").count() == 1
    await page.keyboard.press("Escape")
    await at_the_end(maya)
    # Who has read a line of the system is shown beside it.
    topic = (await mine.ok("PUT", f"/rooms/{room}/state/m.room.topic", {"topic": "Honey"}))["event_id"]
    await noor.ok("POST", f"/rooms/{room}/receipt/m.read/{topic}", {})
    await page.locator("li.sys").filter(has_text="topic").get_by_role("img", name=f"noor{maya.name}").wait_for()
    # What did not come by itself comes at a click.
    for n in range(30):
        await noor.ok("PUT", f"/rooms/{room}/send/m.room.message/x{n}", {"msgtype": "m.text", "body": f"then {n}"})
    await page.route("**/messages?**", lambda route: route.abort())
    await page.reload()
    await maya.sees("then 29")
    await page.wait_for_function(TOP)  # as often as it takes
    await page.get_by_role("button", name="Earlier messages").wait_for(state="attached")
    await page.unroute("**/messages?**")
    await page.wait_for_function("""() => {
        document.querySelector(".filler button")?.click();
        return document.querySelector("[role=log]").textContent.includes("They have come");
    }""")
    # The order of the list stays as it was chosen, and the edge of it where it was drawn.
    await mine.send(roofs, {"msgtype": "m.text", "body": "of slate"})
    names = page.locator(".list a.rm .nm")
    await becomes(names.all_inner_texts, ["Roofs", "Bees", "Cellar"])
    await page.get_by_role("button", name="Order", exact=True).click()
    await page.get_by_role("menuitem", name="By name").click()
    grip = page.get_by_role("separator", name="Width of the list")
    box = await grip.bounding_box()
    assert box
    await page.mouse.move(box["x"] + 3, 200)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 43, 200)
    await page.mouse.up()
    await page.wait_for_function("['367', '368', '369'].includes(document.querySelector('.grip').ariaValueNow)")
    wide = await grip.get_attribute("aria-valuenow")
    await grip.press("ArrowLeft")
    await page.reload()
    await grip.wait_for()
    assert wide
    await becomes(lambda: grip.get_attribute("aria-valuenow"), str(int(wide) - 10))
    await becomes(names.all_inner_texts, ["Bees", "Cellar", "Roofs"])
    # Ctrl K knows what can be done; what is too long for a message is offered as a file.
    # (Bytes count: these are 33,000 letters.)
    await maya.composer.fill("слово " * 5_500)
    await maya.composer.press("Enter")
    await page.get_by_role("dialog", name="Send it as a file?").get_by_role("button", name="Cancel").click()
    await becomes(maya.composer.input_value, "слово " * 5_500)
    await maya.composer.press("Enter")
    await page.get_by_role("dialog").get_by_role("button", name="Send as a file").click()
    await page.get_by_text("message.txt").first.wait_for()
    await becomes(maya.composer.input_value, "")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox").fill("keyb")
    await page.get_by_role("dialog").get_by_text("Keyboard").first.wait_for()
    await page.keyboard.press("Enter")
    await page.get_by_role("dialog", name="Keyboard").get_by_role("button", name="Close").click()
    # Emoji come in the tone of skin that was chosen.
    await page.get_by_role("button", name="Emoji").last.click()
    assert await page.get_by_role("button", name="Skin tone").evaluate(INSIDE)
    await page.get_by_role("button", name="Skin tone").click()
    await page.get_by_label("Search emoji").fill("waving hand")
    await page.get_by_role("button", name="waving hand").first.click()
    await becomes(maya.composer.input_value, "👋🏻")
    await page.keyboard.press("Escape")
    # A page says its name, and a list that comes back is where it was left.
    await page.goto(f"{maya.url}/#/settings/notifications")
    await becomes(lambda: page.evaluate("document.title.endsWith('Settings · Hromada')"), True)
    scroll = page.locator("main .scroll")
    # What there is to scroll comes a moment later than the title, and the page hears of the scrolling with a frame.
    await becomes(lambda: scroll.evaluate(SCROLL), 120)
    await page.get_by_role("link", name="About").click()
    await page.get_by_role("link", name="Licences").wait_for()
    await page.get_by_role("link", name="Notifications").click()
    await page.wait_for_function("document.querySelector('main .scroll').scrollTop === 120")
    # Requests were cut off on purpose, and by the reloads.
    assert [fault for fault in maya.faults if "Failed to fetch" not in fault] == []


# What is being loaded is shown as bones, but not at once: their look at 0.1 seconds and after 0.15.
LATE = """bone => {
    bone.style.animation = "none";
    getComputedStyle(bone).opacity;
    bone.style.animation = "";
    const late = bone.getAnimations().find(({ animationName }) => animationName === "late");
    late.pause();
    late.currentTime = 100;
    const before = getComputedStyle(bone).opacity;
    late.finish();
    return [Number(before), Number(getComputedStyle(bone).opacity) > 0.5];
}"""


async def _nothing_is_found(who: Person) -> None:
    """Of rooms: what can be done then."""
    page = who.page
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/publicRooms**", hold)
    await who.go("explore?q=beehive")
    assert await page.locator(".rooms .bone").first.evaluate(LATE) == [0, True]
    held.set()
    await page.get_by_role("button", name="Change server").click()
    await has_focus(page, "ariaLabel", "Server")
    await page.get_by_role("button", name="Create “beehive”").click()
    await becomes(page.get_by_role("dialog").get_by_label("Name").input_value, "beehive")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.unroute("**/publicRooms**")


CLIP = Path(__file__).parent / "media" / "clip.webm"
GIF = b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
KEY = {"kty": "oct", "alg": "A256CTR", "ext": True, "key_ops": ["decrypt"], "k": "A" * 43}
# Half of a file comes, and no more.
HALF = """() => {
    const real = window.fetch;
    const half = () => new ReadableStream({ start: (stream) => stream.enqueue(new Uint8Array(50)) });
    window.fetch = async (...of) => {
        if (!String(of[0]?.url ?? of[0]).includes("/download/")) return real(...of);
        return new Response(half(), { headers: { "Content-Length": "100" } });
    };
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_moving_pictures(browser: Browser, server: Server, anonymous: Client, tmp_path: Path) -> None:
    maya = await person(browser, local(server), "maya", viewport={"width": 1280, "height": 800})
    await maya.sign_up()
    noor, room = await room_with_a_word(maya, anonymous)
    page = maya.page
    # One that does not play by itself plays under the pointer.
    await page.evaluate("localStorage.setItem('hromada.settings', '{\"autoplay\": false}')")
    await page.reload()
    await maya.sees("They have come")
    kind = {"Content-Type": "image/gif"}
    mxc = (await noor.ok("POST", "/_matrix/media/v3/upload", data=GIF, headers=kind))["content_uri"]
    picture = {"msgtype": "m.image", "body": "bee.gif", "url": mxc, "info": {"mimetype": "image/gif", "w": 80, "h": 80}}
    await noor.ok("PUT", f"/rooms/{room}/send/m.room.message/g", picture)
    shown = page.get_by_role("img", name="bee.gif")
    await shown.wait_for()
    await page.wait_for_function("document.querySelector('button.img img').src.includes('/thumbnail/')")
    await page.get_by_role("button", name="bee.gif").hover()
    await page.wait_for_function("document.querySelector('button.img img').src.includes('/download/')")
    await maya.composer.hover()
    await page.wait_for_function("document.querySelector('button.img img').src.includes('/thumbnail/')")
    # A film without a picture of its own shows its first one, and has not come whole for that.
    kind = {"Content-Type": "video/webm"}
    clip = (await noor.ok("POST", "/_matrix/media/v3/upload", data=CLIP.read_bytes(), headers=kind))["content_uri"]
    film = {"msgtype": "m.video", "body": "hive.webm", "url": clip, "info": {"mimetype": "video/webm"}}
    await noor.ok("PUT", f"/rooms/{room}/send/m.room.message/c", film)
    still = page.get_by_role("button", name="Play hive.webm").locator("video")
    drawn = "video => [video.preload, video.paused, video.readyState > 0 && video.videoWidth > 0]"
    await becomes(lambda: still.evaluate(drawn), ["metadata", True, True])
    # An encrypted one says how much of it has come.
    file = {"v": "v2", "url": mxc, "key": KEY, "iv": "A" * 22, "hashes": {"sha256": "A" * 43}}
    film = {"msgtype": "m.video", "body": "bees.webm", "file": file, "info": {"mimetype": "video/webm", "size": 100}}
    await noor.ok("PUT", f"/rooms/{room}/send/m.room.message/f", film)
    await page.evaluate(HALF)
    await page.get_by_role("button", name="Play bees.webm").click()
    await page.get_by_role("progressbar", name="Loading the video").wait_for()
    await becomes(lambda: page.get_by_role("progressbar").get_attribute("aria-valuenow"), "50")
    await _pictures_of_oneself_and_of_a_room(maya, room, noor, tmp_path / "red.jpg")
    assert maya.faults == []


async def _pictures_of_oneself_and_of_a_room(who: Person, room: str, other: Client, picture: Path) -> None:
    """What the camera has written into them is not uploaded."""
    page = who.page
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    Image.new("RGB", (60, 40), "red").save(picture, "JPEG", exif=exif)
    assert b"SecretCamera" in picture.read_bytes()

    async def choose(name: str) -> None:
        async with page.expect_file_chooser() as chooser:
            await page.get_by_role("button", name=name, exact=True).click()
        await (await chooser.value).set_files(picture)

    async def of_the_room() -> bool:
        return (await other.request("GET", avatar)).status == 200

    avatar = f"/rooms/{room}/state/m.room.avatar"
    await page.goto(f"{who.url}/#/room/{room}?panel=settings")
    await choose("Picture")
    await eventually(of_the_room)
    where = (await other.ok("GET", avatar))["url"].removeprefix("mxc://")
    raw = (await other.request("GET", f"/_matrix/client/v1/media/download/{where}")).raw
    assert raw.startswith(b"\xff\xd8")
    assert b"SecretCamera" not in raw
    await who.go("settings/profile")
    await choose("Change photo")
    # It can be taken away once it is there.
    await page.get_by_role("button", name="Remove", exact=True).wait_for()


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_goes_wrong_is_said(browser: Browser, server: Server, anonymous: Client) -> None:
    maya = await person(browser, local(server), "maya", viewport={"width": 1280, "height": 500})
    await maya.sign_up()
    await room_with_a_word(maya, anonymous)
    page = maya.page
    # A message that is refused is announced at once; what the server says is behind Details.
    await refuse(maya, "**/send/**")
    await maya.say("Are they angry?")
    await page.get_by_role("alert").filter(has_text="Not sent: you may not write here.").wait_for()
    await refuse(maya, "**/state/**")
    await maya.say("/topic Honey")
    toast = page.locator(".toast").filter(has_text="That did not work.")
    assert not await toast.get_by_text("The bees said no").is_visible()
    await toast.get_by_text("Details").click()
    await toast.get_by_text("M_FORBIDDEN: The bees said no").wait_for()
    # What was asked for stands there still. What is no command is sent as text only if that is wanted.
    await becomes(maya.composer.input_value, "/topic Honey")
    await maya.say("/shrgu so what")
    asked = page.get_by_role("dialog", name="There is no command /shrgu")
    await asked.get_by_text("/leave").wait_for()
    await asked.get_by_role("button", name="Cancel").click()
    await becomes(maya.composer.input_value, "/shrgu so what")
    await maya.composer.press("Enter")
    await asked.get_by_role("button", name="Send as text").click()
    await maya.sees("/shrgu so what")
    await becomes(maya.composer.input_value, "")
    # A panel that breaks leaves the conversation alone.
    await page.get_by_role("button", name="Room details").last.click()
    await page.get_by_role("tab", name="Members").click()
    await page.evaluate("""() => {
        window.normalize = String.prototype.normalize;
        String.prototype.normalize = () => { throw new Error("the panel broke"); };
    }""")
    await page.locator(".panel input").fill("no")
    await page.locator(".panel").get_by_text("the panel broke").wait_for(state="attached")
    await maya.composer.fill("Still here")
    await page.evaluate("() => void (String.prototype.normalize = window.normalize)")
    await page.locator(".panel").get_by_role("button", name="Load again").click()
    await page.get_by_role("tab", name="Members").wait_for()
    await _nothing_is_found(maya)
    # Dialogs speak the user's language, and the licences can be read.
    await page.evaluate("localStorage.setItem('hromada.language', 'uk')")
    await page.goto(f"{maya.url}/#/settings/about")
    await page.reload()
    licences = page.get_by_role("link", name="Ліцензії")
    text = await (await maya.context.request.get(maya.url + (await licences.get_attribute("href") or ""))).text()
    assert "preact 1" in text
    assert "matrix-js-sdk 43" in text
    await page.get_by_role("button", name="Нова розмова").first.click()
    await page.get_by_role("dialog").get_by_role("button", name="Закрити").click()
    # A browser that is too old is told so.
    await page.add_init_script("CSS.supports = () => false")
    await page.reload()
    await page.get_by_text("This browser is too old for this client").wait_for()
    assert maya.faults == []
