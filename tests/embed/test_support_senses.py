"""What a visitor sees, hears and hands in: films, files from the clipboard and from outside, sounds, contrast, zoom."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.support_chat import Agent, Visitor, host
from tests.embed.test_support_chat import Shop
from tests.support.client import becomes, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.media import upload
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

MEDIA = Path(__file__).parent / "media"

# A file comes with an event of the clipboard or of dragging, as a browser makes it.
HAND_IN = """([selector, kind, name, data]) => {
    const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type: "image/jpeg" }));
    const init = { bubbles: true, cancelable: true };
    const event = kind === "paste"
        ? new ClipboardEvent("paste", { ...init, clipboardData: carried })
        : new DragEvent("drop", { ...init, dataTransfer: carried });
    return document.querySelector(selector).dispatchEvent(event);
}"""

PLAY = """async (at) => {
    const film = document.querySelector("video");
    film.muted = true;
    if (film.readyState < 1) await new Promise((done) => film.addEventListener("loadedmetadata", done, { once: true }));
    await film.play();
    await new Promise((done) => film.addEventListener("timeupdate", done, { once: true }));
    film.pause();
    const played = film.currentTime;
    film.currentTime = at;
    await new Promise((done) => film.addEventListener("seeked", done, { once: true }));
    return { played, at: film.currentTime, source: film.currentSrc.split(":")[0], duration: film.duration };
}"""

FITS = """() => {
    const box = document.querySelector(".cmp textarea").getBoundingClientRect();
    const page = document.documentElement;
    return [box.top >= 0 && box.bottom <= innerHeight, page.scrollWidth <= page.clientWidth];
}"""

COUNT_NOTES = """() => {
    globalThis.notes = 0;
    const make = AudioContext.prototype.createOscillator;
    AudioContext.prototype.createOscillator = function () { globalThis.notes++; return make.call(this); };
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_films_files_and_sounds(browser: Browser, server: Server, make_user: MakeUser) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    picture = base64.b64encode((MEDIA / "picture.jpg").read_bytes()).decode()
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "please see the clip")
        # A film is played, and moved to another moment, while it comes in parts.
        parts: list[tuple[int, str]] = []
        ada.page.on(
            "response",
            lambda it: "download" in it.url and parts.append((it.status, it.request.headers.get("range", ""))),
        )
        uri = await upload(shop.agent.client, (MEDIA / "clip.webm").read_bytes(), "video/webm", "clip.webm")
        info = {"mimetype": "video/webm", "size": (MEDIA / "clip.webm").stat().st_size, "w": 320, "h": 240}
        content = {"msgtype": "m.video", "body": "clip.webm", "url": f"mxc://{uri}", "info": info}
        await shop.agent.client.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/{fresh('v')}", content)
        await ada.frame.locator("video[src*='chat.hromada.site']").wait_for()
        seen = await ada.frame.evaluate(PLAY, 0.5)
        assert seen["played"] > 0
        assert abs(seen["at"] - 0.5) < 0.1 or seen["duration"] < 0.5, seen
        assert seen["source"] == "http"
        assert parts
        assert all(status == 206 and asked.startswith("bytes=") for status, asked in parts), parts
        second = Visitor(ada.context, await ada.context.new_page())
        await second.page.goto(origin)
        await second.open()
        await second.sees("please see the clip")
        # Where the browser has no cookie for us all of it comes first.
        await ada.context.clear_cookies()
        other = await upload(shop.agent.client, (MEDIA / "clip.webm").read_bytes(), "video/webm", "other.webm")
        again = {**content, "body": "other.webm", "url": f"mxc://{other}"}
        await shop.agent.client.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/{fresh('v')}", again)
        await ada.frame.locator("video[src^=blob]").wait_for()
        assert await ada.frame.evaluate(PLAY.replace('"video"', '"video[src^=blob]"'), 0.5)
        # Files come by the clipboard and by dragging, too; the page itself does not open what was dropped.
        for kind, selector in (("paste", "textarea"), ("drop", "form.cmp")):
            went_on = await ada.frame.evaluate(HAND_IN, [selector, kind, f"{kind}.jpg", picture])
            assert went_on is False
            assert (await shop.agent.hears(room, f"{kind}.jpg"))["content"]["msgtype"] == "m.image"
        # A message makes a sound while one looks elsewhere, in one of the tabs, unless that is switched off.
        for tab in (ada, second):
            await tab.frame.evaluate(COUNT_NOTES)
            await tab.page.evaluate("hromadaChat.close()")
        await shop.agent.say(room, "are you there?")
        for tab in (ada, second):
            await tab.frame.locator(".msg", has_text="are you there?").wait_for(state="attached")
        assert [await tab.frame.evaluate("globalThis.notes") for tab in (ada, second)] == [2, 0]
        await second.page.close()
        await ada.page.evaluate("hromadaChat.open()")
        assert ": please see the clip\n" in await _saved(ada)
        await ada.frame.get_by_role("button", name="Menu").click()
        await ada.frame.get_by_role("button", name="Mute sounds").click()
        await ada.page.evaluate("hromadaChat.close()")
        before = await ada.frame.evaluate("globalThis.notes")
        await shop.agent.say(room, "and now?")
        await ada.frame.locator(".msg", has_text="and now?").wait_for(state="attached")
        assert await ada.frame.evaluate("globalThis.notes") == before
        # Nothing but the site's page and this server was asked for anything, from the first moment to the last.
        own = (origin, server.url.replace("127.0.0.1", "localhost"), "blob:", "data:")
        assert [url for url in ada.requests if not url.startswith(own)] == []
        assert ada.faults == []


async def _saved(ada: Visitor) -> str:
    """The conversation as a file."""
    await ada.frame.get_by_role("button", name="Menu").click()
    async with ada.page.expect_download() as saved:
        await ada.frame.get_by_role("button", name="Download the conversation").click()
    return Path(await (await saved.value).path()).read_text()


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_too_many_messages_wait_for_their_turn(browser: Browser, server: Server, make_user: MakeUser) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "hello there")
        refusals, seen = [0], False

        async def refuse(route: Route) -> None:
            if refusals[0] < 2 or not seen:
                refusals[0] += 1
                body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 1_500}
                await route.fulfill(status=429, json=body)
            else:
                await route.continue_()

        await ada.page.route("**/send/m.room.message/**", refuse)
        for number in range(3):
            await ada.say(f"in a hurry {number}")
        await ada.frame.get_by_text("Too many messages: goes on in").first.wait_for()
        seen = True
        await shop.agent.hears(room, "in a hurry 2")
        mine = [body for body in shop.agent.bodies(room) if body.startswith("in a hurry")]
        assert mine == [f"in a hurry {number}" for number in range(3)]
        assert refusals[0] >= 2


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_contrast_and_zoom(browser: Browser, server: Server, make_user: MakeUser) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    async with host(shop.pages) as origin:
        ada, _ = await shop.begin(browser, origin, "can this be read?")
        await ada.page.emulate_media(forced_colors="active")
        widths = await ada.frame.evaluate(
            """() => [...document.querySelectorAll(".own .bub, .cmp .box")]
                .map((each) => getComputedStyle(each).borderTopWidth)"""
        )
        assert widths == ["1px", "1px"]
        await ada.page.emulate_media(forced_colors="none")
        # A browser zoomed to 200 % has half as many pixels for the page.
        for width, height in ((640, 400), (320, 480)):
            await ada.page.set_viewport_size({"width": width, "height": height})
            await ada.frame.wait_for_function("height => innerHeight <= height", arg=height)
            await becomes(lambda: ada.frame.evaluate(FITS), [True, True])
            await ada.say(f"written at {width}")
            await ada.sees(f"written at {width}")
