"""Encrypted support chats: a visitor in Chromium, an agent with matrix-js-sdk who trusts signed devices only."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from PIL import Image

from tests.embed.support_chat import Agent, Visitor, host, new_site, page_with
from tests.embed.test_support_host import visitor
from tests.embed.test_support_identity import claims, keyed, signed
from tests.embed.test_support_senses import MEDIA, PLAY, moving
from tests.interop import javascript
from tests.interop.javascript import INSTALL_TIMEOUT_S, run_script
from tests.support.browser import PATIENCE_MS
from tests.support.client import Client
from tests.support.fixtures import MakeUser, fresh
from tests.support.media import download
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

TIMEOUT_S = 180
PICTURES, FILM = ("mug.jpg", "mug.webp", "mug.gif"), "mug.mp4"
FORM = {"fields": [{"name": "name"}, {"name": "message", "required": True}]}


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """What the agent tells next."""
    assert process.stdout is not None
    while True:
        line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT_S)
        if not line:
            raise AssertionError((await process.communicate())[1].decode(errors="replace")[-4000:])
        if line.strip() == b"ready":
            return {}
        if line.startswith(b"{"):
            return dict(json.loads(line))


def _looks() -> list[tuple[str, bytes]]:
    """Pictures and a film, in the order of their names."""
    return [
        ("image/jpeg", (MEDIA / "picture.jpg").read_bytes()),
        ("image/webp", moving("WEBP")),
        ("image/gif", moving("GIF")),
        ("video/mp4", (MEDIA / "clip.mp4").read_bytes()),
    ]


async def _shows_sealed(ada: Visitor) -> None:
    """Everything that can be seen is."""
    for name in PICTURES:
        await ada.sees_picture(name)
    await ada.frame.locator("video").scroll_into_view_if_needed()
    await ada.frame.locator("video[src^=blob]").wait_for()
    assert (await ada.frame.evaluate(PLAY, 0.5))["source"] == "blob"


async def _has_still(info: dict[str, Any], stranger: Client) -> None:
    """A film's size, length and first picture are for staff alone, too."""
    assert (info["w"] > 0, "thumbnail_url" in info, abs(info["duration"] - 4_000) < 200) == (True, False, True)
    file, small = info["thumbnail_file"], info["thumbnail_info"]
    sealed = (await download(stranger, file["url"].removeprefix("mxc://"))).raw
    still = _opened(sealed, file)
    assert sealed != still
    assert (len(still), Image.open(io.BytesIO(still)).size) == (small["size"], (small["w"], small["h"]))


def _opened(data: bytes, file: dict[str, Any]) -> bytes:
    """A file opened by what its message says.  spec: client-server-api#extensions-to-mroommessage-msgtypes"""
    assert sha256(data).digest() == _bytes(file["hashes"]["sha256"])
    opener = Cipher(algorithms.AES(_bytes(file["key"]["k"])), modes.CTR(_bytes(file["iv"]))).decryptor()
    return opener.update(data) + opener.finalize()


def _bytes(text: str) -> bytes:
    """Of base64 of either alphabet, without its padding."""
    return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))


async def _flip(route: Route) -> None:
    """Change a bit of what is fetched."""
    fetched = await route.fetch()
    data = bytearray(await fetched.body())
    data[0] ^= 1
    await route.fulfill(response=fetched, body=bytes(data))


# long: one browser and one agent go through all of it, as starting them takes most of the time
@pytest.mark.timeout(INSTALL_TIMEOUT_S + 3 * TIMEOUT_S)
async def test_nobody_between_visitor_and_agent_reads_along(
    browser: Browser, server: Server, make_user: MakeUser, tmp_path: Path
) -> None:
    name = fresh("support-olena")  # begins like the bot, who reads nothing
    process = await run_script("sealed.mjs", tmp_path, await asyncio.to_thread(javascript.install), server.url, name)
    try:
        assert await _line(process) == {}
        site = ""

        def pages(origin: str) -> dict[str, tuple[str, ...]]:
            nonlocal site
            site = new_site(server, [origin], [name], form=FORM, encryption="on")
            return {"/": ("text/html", page_with(server, site))}

        async with host(pages) as origin:
            context = await browser.new_context(locale="en")
            context.set_default_timeout(PATIENCE_MS)
            ada = Visitor(context, await context.new_page())
            await ada.page.goto(f"{origin}/")
            sent: list[str] = []
            ada.page.on("request", lambda asked: sent.append(asked.post_data or "") if "/send/" in asked.url else None)
            # Said before anybody of staff is in the room, and read all the same.
            await ada.begin("where is my parcel?")
            told = await _line(process)
            assert told["said"] == "where is my parcel?"
            assert told["shield"] == 0  # signed by its owner
            assert "(encrypted: read it in the conversation)" in told["card"]
            assert "parcel" not in told["card"]
            await ada.sees("You said: where is my parcel?")
            assert sent
            assert not any("parcel" in body for body in sent)
            await ada.frame.get_by_text("end-to-end encrypted").wait_for()

            # A file, of which the server knows nothing but its size.
            picker = ada.frame.locator("input[type=file]")
            await picker.set_input_files(
                {"name": "note.txt", "mimeType": "text/plain", "buffer": b"the parcel's number is 12"}
            )
            told = await _line(process)
            assert (told["said"], told["file"]) == ("note.txt", True)

            # Pictures of all kinds and a film: shown from what this browser opens itself.
            for shown, (mime, data) in zip((*PICTURES, FILM), _looks(), strict=True):
                await picker.set_input_files({"name": shown, "mimeType": mime, "buffer": data})
                told = await _line(process)
                assert (told["said"], told["file"]) == (shown, True)
            await _shows_sealed(ada)
            await _has_still(told["info"], await make_user("stranger"))

            # After a reload everything is read with the keys of before.
            await ada.page.route("**/media/download/**", _flip)
            await ada.page.reload()
            await ada.framed()
            await ada.sees("You said: where is my parcel?")
            await ada.sees("You said: note.txt")
            # With one bit changed on the way it is no file, and says so instead of saving or showing what is none.
            await ada.frame.get_by_role("button", name="note.txt").click()
            broken = ada.frame.get_by_role("button", name="This file cannot be opened.")
            await broken.filter(has_text="note.txt").wait_for()
            for shown in (*PICTURES, FILM):
                tile = broken.filter(has_text=shown)
                await ada.frame.locator(f"[aria-label$='{shown}']").or_(tile).first.scroll_into_view_if_needed()
                await tile.wait_for()
            await ada.page.unroute("**/media/download/**")
            for shown in ("note.txt", *PICTURES, FILM):
                await broken.filter(has_text=shown).click()
            await _shows_sealed(ada)
            async with ada.page.expect_download() as download:
                await ada.frame.get_by_role("button", name="note.txt").click()
            saved = await (await download.value).path()
            assert Path(saved).read_bytes() == b"the parcel's number is 12"
            await ada.say("after a reload")
            assert (await _line(process))["said"] == "after a reload"
            await ada.sees("You said: after a reload")

            # A colleague who is invited now reads what was said before, and what is said next.
            await ada.say("who else reads this?")
            assert (await _line(process))["said"] == "who else reads this?"
            late = await _line(process)
            assert {"where is my parcel?", "note.txt", FILM, "after a reload"} <= set(late["late"]["read"])
            assert late["late"]["unread"] == 0
            await ada.sees("You said: who else reads this?")
            await ada.say("for both of you")
            told = [await _line(process) for _ in range(2)]
            assert sorted(each.get("said", each.get("heard")) for each in told) == ["for both of you"] * 2

            # Another tab takes the device; the first says so, and takes it back when asked.
            second = Visitor(context, await context.new_page())
            await second.page.goto(f"{origin}/")
            await second.open()
            await second.sees("You said: after a reload")
            await ada.frame.get_by_text("open in another tab").wait_for()
            await ada.frame.get_by_role("button", name="Go on here").click()
            await ada.sees("You said: after a reload")
            await second.frame.get_by_text("open in another tab").wait_for()
            await second.page.close()

            # The keys are lost: another device goes on, says what it cannot read, and is heard.
            await _lose_keys(ada)
            await ada.page.reload()
            await ada.framed()
            await ada.frame.get_by_text("This browser has lost its keys").wait_for()
            await ada.frame.get_by_text("cannot be read in this browser").first.wait_for()
            await ada.say("goodbye")
            told = await _line(process)
            assert told["said"] == "goodbye"
            await ada.sees("You said: goodbye")
            assert ada.faults + second.faults == []
        await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
async def test_one_browser_at_a_time_signs_for_a_known_user(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [agent.client.user_id], form=FORM, encryption="on")
        return {"/": ("text/html", page_with(server, site))}

    async def signing_key(user_id: str) -> Any:
        """What everybody takes for the user's identity."""
        found = await agent.client.ok("POST", "/keys/query", {"device_keys": {user_id: []}})
        return found["master_keys"][user_id]["keys"]

    async with host(pages) as origin:
        key = keyed(server, site)
        desk = await agent.join_desk()
        people = [await visitor(browser), await visitor(browser)]
        for one in people:
            await one.page.goto(f"{origin}/")
            await one.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
            token = signed(key, claims(site, name="Ada"))
            await one.page.evaluate("token => hromadaChat.setUser({ jwt: token })", token)
            if one is people[0]:
                await one.begin("from the computer")
                card = await agent.card(desk, "(encrypted")
                room = await agent.enter(card)
                await one.sees("from the computer")
        computer, phone = people
        who = (await agent.until(lambda: _sealed(agent, room), "the first message"))[0]["sender"]
        first = await signing_key(who)
        # Another browser of hers asks before it takes anything, and the one that has the keys goes on undisturbed.
        await phone.page.evaluate("hromadaChat.open()")
        await phone.framed()
        await phone.frame.get_by_text("Another browser of yours has this conversation").wait_for()
        await computer.say("still here")
        await computer.sees("still here")
        assert await signing_key(who) == first
        # It is asked to go on there: the other says so, and can take it back.
        await phone.frame.get_by_role("button", name="Go on here").click()
        await phone.frame.get_by_role("textbox", name="Write a message").wait_for()
        await phone.say("from the telephone")
        await phone.sees("from the telephone")
        await computer.frame.get_by_text("Another browser of yours has this conversation").wait_for()
        second = await signing_key(who)
        assert second != first
        await computer.frame.get_by_role("button", name="Go on here").click()
        await computer.sees("still here")
        await phone.frame.get_by_text("Another browser of yours has this conversation").wait_for()
        await computer.say("and back")
        await agent.until(lambda: len(_sealed(agent, room)) == 4, "four messages")
        assert computer.faults + phone.faults == []


SECRET = "of-ada-from-the-sites-own-server"


# long: two browsers and an agent with keys go through all of it
@pytest.mark.parametrize("server", ["postgres"], indirect=True)
@pytest.mark.timeout(INSTALL_TIMEOUT_S + 3 * TIMEOUT_S)
async def test_browsers_of_a_known_user_share_history_by_the_sites_secret(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    name = fresh("agent")
    process = await run_script("sealed.mjs", tmp_path, await asyncio.to_thread(javascript.install), server.url, name)
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [name], form=FORM, encryption="on")
        return {"/": ("text/html", page_with(server, site))}

    async def come(secret: str) -> Visitor:
        one = await visitor(browser)
        one.page.on("request", lambda asked: asked_for.append(f"{asked.url} {asked.post_data or ''}"))
        await one.page.goto(f"{origin}/")
        await one.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        user = {"jwt": signed(key, claims(site, name="Ada")), "secret": secret}
        await one.page.evaluate("user => hromadaChat.setUser(user)", user)
        return one

    asked_for: list[str] = []
    try:
        assert await _line(process) == {}
        async with host(pages) as origin:
            key = keyed(server, site)
            computer = await come(SECRET)
            await computer.begin("from the computer")
            assert (await _line(process))["said"] == "from the computer"
            await computer.say("a second line")
            assert (await _line(process))["said"] == "a second line"
            # Another browser of hers reads what was said before, and goes on beside the first.
            phone = await come(SECRET)
            await phone.page.evaluate("hromadaChat.open()")
            await phone.framed()
            await phone.sees("You said: from the computer")
            await phone.sees("You said: a second line")
            await phone.say("from the telephone")
            told = await _line(process)
            assert (told["said"], told["shield"]) == ("from the telephone", 0)
            await computer.sees("You said: from the telephone")
            await computer.say("and back")
            assert (await _line(process))["said"] == "and back"
            await phone.sees("You said: and back")
            # A browser that loses its keys takes them up again, and says nothing of it; nor does what it was hold them.
            for _ in range(2):
                await _lose_keys(phone)
                await phone.page.reload()
                await phone.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
                user = {"jwt": signed(key, claims(site, name="Ada")), "secret": SECRET}
                await phone.page.evaluate("user => hromadaChat.setUser(user)", user)
                await phone.framed()
                await phone.sees("You said: and back")
                await phone.sees("You said: from the computer")
            assert await phone.frame.get_by_text("has lost its keys").count() == 0
            # With another secret nothing of it opens: that browser asks, as it does without one.
            stranger = await come("of-ada-but-an-older-secret")
            await stranger.page.evaluate("hromadaChat.open()")
            await stranger.framed()
            await stranger.frame.get_by_text("Another browser of yours has this conversation").wait_for()
            await computer.say("undisturbed")
            assert (await _line(process))["said"] == "undisturbed"
            assert not [each for each in asked_for if SECRET in each]
            assert computer.faults + phone.faults + stranger.faults == []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _sealed(agent: Agent, room: str) -> list[Any]:
    return [event for event in agent.events.get(room, []) if event["type"] == "m.room.encrypted"]


async def _lose_keys(visitor: Visitor) -> None:
    """Delete what the frame keeps, as browsers do that run out of room; first its device lets go of it."""
    names = "indexedDB.databases().then((all) => all.map(({ name }) => name))"
    [device] = {name.partition("::")[0] for name in await visitor.frame.evaluate(names) if "::" in name}
    await visitor.frame.evaluate("(name) => new BroadcastChannel(name).postMessage('yield')", device)
    await visitor.frame.get_by_text("open in another tab").wait_for()
    await visitor.frame.evaluate(
        """async () => {
            for (const { name } of await indexedDB.databases()) {
                const request = indexedDB.deleteDatabase(name);
                await new Promise((done) => { request.onsuccess = done; });
            }
        }"""
    )
