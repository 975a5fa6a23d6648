"""What a visitor sees, hears and hands in: films, files from the clipboard and from outside, sounds, contrast, zoom."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

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


def moving(kind: str) -> bytes:
    """A large picture of two frames."""
    frames = [Image.effect_noise((640, 480), 100).convert("RGB") for _ in range(2)]
    data = io.BytesIO()
    frames[0].save(data, kind, save_all=True, append_images=frames[1:], duration=100, loop=0)
    assert data.tell() > 200_000  # of what is larger than that a small one of the server's is shown, if it stands still
    return data.getvalue()


async def _shows(agent: Agent, room: str, name: str, data: bytes, mime: str) -> str:
    """Staff shows something; its address."""
    uri = await upload(agent.client, data, mime, name)
    kind = f"m.{mime.partition('/')[0]}"
    info = {"mimetype": mime, "size": len(data), "w": 640, "h": 480}
    content = {"msgtype": kind, "body": name, "url": f"mxc://{uri}", "info": info}
    await agent.client.ok("PUT", f"/rooms/{part(room)}/send/m.room.message/{fresh('m')}", content)
    return uri


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_pictures_of_all_kinds_come_when_they_are_looked_at(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    film = (MEDIA / "clip.mp4").read_bytes()
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "please show me all of it")
        kinds = {"a.webp": ("image/webp", moving("WEBP")), "b.gif": ("image/gif", moving("GIF")),
                 "c.mp4": ("video/mp4", film)}  # fmt: skip
        kinds |= {f"p{n}.png": ("image/png", _dot(n)) for n in range(12)}
        uris = {name: await _shows(shop.agent, room, name, data, mime) for name, (mime, data) in kinds.items()}
        await ada.sees_picture("p11.png")
        before = len(ada.requests)
        await ada.page.reload()
        await ada.framed()
        await ada.sees_picture("p11.png")

        def asked(name: str) -> list[str]:
            return [url for url in ada.requests[before:] if uris[name] in url]

        # What is out of view is not fetched before it is looked at.
        assert [name for name in ("a.webp", "b.gif", "c.mp4", "p0.png") if asked(name)] == []
        assert asked("p11.png")
        for name, how in (("b.gif", "/download/"), ("a.webp", "/thumbnail/")):
            await ada.sees_picture(name)
            assert [how in url for url in asked(name)] == [True]
        # All of it, and as it is, comes when it is made large.
        await ada.frame.get_by_role("button", name="Enlarge the picture: a.webp").click()
        await ada.frame.locator("dialog.large[open] img").wait_for()
        assert "/download/" in asked("a.webp")[-1]
        await ada.page.keyboard.press("Escape")
        await ada.frame.locator("video").scroll_into_view_if_needed()
        await ada.frame.locator("video[src*='chat.hromada.site']").wait_for()
        seen = await ada.frame.evaluate(PLAY, 0.5)
        assert (seen["played"] > 0, seen["source"]) == (True, "http")
        assert abs(seen["at"] - 0.5) < 0.1
        assert ada.faults == []


def _dot(number: int) -> bytes:
    """A small picture unlike the others."""
    data = io.BytesIO()
    Image.new("RGB", (8, 6), (20 * number, 0, 0)).save(data, "PNG")
    return data.getvalue()


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
        ada, room = await shop.begin(browser, origin, "can this be read?")
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
        await ada.context.route("**/session/resume", _with_mail)
        await _rests(ada, shop.agent, room)
        await _mails(ada)


async def _with_mail(route: Route) -> None:
    """The answer of a server that has mail, to somebody who has left an address."""
    answer = await route.fetch()
    await route.fulfill(response=answer, json={**await answer.json(), "mail": True})


async def _mails(ada: Visitor) -> None:
    """The conversation comes by letter, if that is asked for in the menu; why it does not is said."""
    answers = [429, 200]

    async def answer(route: Route) -> None:
        status, busy = answers.pop(0), {"errcode": "M_LIMIT_EXCEEDED", "error": "", "retry_after_ms": 600_000}
        await route.fulfill(status=status, json=busy if status == 429 else {})

    await ada.page.route("**/transcript/mail", answer)
    for said in ("Try again in 10 minutes.", "It is on its way to your e-mail address."):
        await ada.frame.get_by_role("button", name="Menu").click()
        await ada.frame.get_by_role("button", name="Send it by e-mail").click()
        await ada.frame.get_by_role("alert").get_by_text(said).wait_for()
    assert answers == []


# The launcher is in a shadow that no script of the page sees into.
OPEN_SHADOW = """(() => {
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function () { return (globalThis.shadow = attach.call(this, { mode: "open" })); };
})()"""


async def _rests(ada: Visitor, agent: Agent, room: str) -> None:
    """Nothing moves for who does not want that: neither the dots of typing nor the launcher."""
    await ada.page.set_viewport_size({"width": 1280, "height": 720})
    await ada.context.add_init_script(OPEN_SHADOW)
    await ada.page.reload()
    await ada.framed()
    await ada.sees("can this be read?")
    path = f"/rooms/{part(room)}/typing/{part(agent.client.user_id)}"
    await agent.client.ok("PUT", path, {"typing": True, "timeout": 120_000})
    await ada.frame.locator(".typ i").wait_for()
    dots = "getComputedStyle(document.querySelector('.typ i')).animationName"
    launcher = "getComputedStyle(shadow.querySelector('button')).transitionDuration"
    for motion, moves in (("no-preference", ("dots", "0.18s")), ("reduce", ("none", "0s"))):
        await ada.page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type] # a plain str
        assert (await ada.frame.evaluate(dots), await ada.page.evaluate(launcher)) == moves
