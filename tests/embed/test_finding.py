"""What was shared is found again: links looked at, files listed, voices heard, days and words jumped to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.embed.people import LIT, PASSWORD, Person, lights_up, local, person
from tests.embed.test_access import violations
from tests.embed.test_admin_pages import shoot
from tests.media.test_previews import meta, page, serving
from tests.support.client import Client, becomes, part
from tests.support.server import Server, ServerOptions

if TYPE_CHECKING:
    from playwright.async_api import Browser

MEDIA = Path(__file__).parent / "media"
# Threads come by pages of thirty: there is a little more.
THREADS = 32
# A tone in the place of a microphone, which this machine has none of.
TONE = """navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const out = context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    return out.stream;
};"""


@pytest.fixture(scope="module")
def looking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that looks at pages on this machine."""
    environment = {"HROMADA_PREVIEWS_ENABLED": "true", "HROMADA_OUTBOUND_ALLOW": "127.0.0.1/32"}
    running = Server(tmp_path_factory.mktemp("looking") / "data", ServerOptions(environment=environment))
    running.start()
    yield running
    running.stop()


async def same(http: aiohttp.ClientSession, server: Server, name: str) -> Client:
    """Another client of somebody's."""
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": PASSWORD}
    client = Client(http, server.url)
    return client.adopt(await client.ok("POST", "/login", login))


async def _weeks_begin_as_one_likes(ada: Person, room: str) -> None:
    page = ada.page
    for start in ("Sunday", "Monday"):
        await ada.go("settings/language")
        await page.get_by_label("Week starts on").select_option(start)
        await ada.go(f"room/{room}?panel=details")
        await page.get_by_role("button", name="Jump to a date").click()
        assert await page.locator("dialog th").first.get_attribute("abbr") == start
        if start == "Sunday":
            await page.keyboard.press("Escape")
            await page.get_by_role("dialog").wait_for(state="detached")
    # Arrows walk through the days, across months too, and the field follows.
    day = page.get_by_label("Date", exact=True)
    today = date.fromisoformat(await day.input_value())
    await page.locator("dialog td button[aria-pressed=true]").focus()
    for key, days in (
        ("ArrowUp", 7),
        ("ArrowLeft", 8),
        ("ArrowRight", 7),
        *[("ArrowUp", 7 * (week + 2)) for week in range(5)],
    ):
        await page.keyboard.press(key)
        await becomes(day.input_value, str(today - timedelta(days=days)))
    await page.locator("dialog td button[aria-pressed=true]:focus").wait_for()
    await page.get_by_role("button", name="Next month").click()
    await page.locator("dialog td button:not([disabled])").first.click()

    async def chosen() -> int:
        return date.fromisoformat(await day.input_value()).day

    await becomes(chosen, 1)
    await page.get_by_role("button", name="Go there").click()
    await page.get_by_role("dialog").wait_for(state="detached")


async def _a_picture_offers_what_its_message_does(ada: Person, room: str) -> None:
    page = ada.page
    await ada.go(f"room/{room}")
    await ada.attach(MEDIA / "picture.jpg")
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.locator("li.msg[data-id^='$'] button.img img").click()
    viewer = page.locator("dialog.box-light")
    more = viewer.get_by_role("button", name="More actions")
    await more.click()
    items = viewer.get_by_role("menuitem")
    await items.first.wait_for()
    assert await items.all_inner_texts() == ["Go to the message", "Copy link", "Details", "Delete"]
    # Esc closes the menu alone.
    await page.locator("[role=menuitem]:focus").wait_for()
    await page.keyboard.press("Escape")
    await items.first.wait_for(state="detached")
    assert await viewer.is_visible()
    await more.click()
    await viewer.get_by_role("menuitem", name="Details").click()
    details = page.get_by_role("dialog", name="Message details")
    await details.get_by_role("button", name="Close").click()
    await details.wait_for(state="detached")
    await more.click()
    await viewer.get_by_role("menuitem", name="Go to the message").click()
    await viewer.wait_for(state="detached")
    await page.wait_for_function("decodeURIComponent(location.hash).includes('/$')")
    await page.locator("li.msg button.img").click()
    await more.click()
    await viewer.get_by_role("menuitem", name="Delete").click()
    await page.get_by_role("dialog", name="Delete the message?").get_by_role("button", name="Delete").click()
    await viewer.wait_for(state="detached")
    await page.locator("li.msg button.img").wait_for(state="detached")


async def _threads_are_told_apart(ada: Person, mine: Client, room: str) -> None:
    """Those one takes part in from the others, and the older ones come by pages."""
    noor = await mine.anonymous().register(f"noor.{ada.name}")
    await noor.join(room)

    async def thread(by: Client, word: str, *answers: Client) -> None:
        root = await by.send(room, word)
        for who in answers:
            relation = {"rel_type": "m.thread", "event_id": root}
            await who.send(room, {"msgtype": "m.text", "body": f"to {word}", "m.relates_to": relation})

    await thread(noor, "with ada", noor, mine)
    for n in range(THREADS):
        await thread(noor, f"thread {n}", noor)
    page = ada.page
    await page.reload()  # what came before is not all in memory any more
    await ada.go(f"room/{room}?panel=details")
    panel = page.get_by_role("complementary")
    await panel.get_by_role("button", name="Notifications: All").wait_for()
    await panel.get_by_role("button", name="Threads").get_by_text(re.compile(r"^\d+\+$")).wait_for()
    await panel.get_by_role("button", name="Files").get_by_text("2", exact=True).wait_for()
    await panel.get_by_role("button", name="Threads").click()
    hits = panel.locator(".hit")
    await panel.get_by_role("button", name="Show more").click()
    await becomes(hits.count, THREADS + 1)
    await panel.get_by_role("button", name="Show more").wait_for(state="detached")
    await panel.get_by_role("button", name="I take part in").click()
    await becomes(hits.count, 1)
    await hits.get_by_text("with ada").wait_for()
    await panel.get_by_role("button", name="All", exact=True).click()
    await becomes(hits.count, THREADS + 1)


# long: one walk in one browser, because each further one takes seconds
async def test_what_was_shared_is_found_again(browser: Browser, looking_server: Server, tmp_path: Path) -> None:
    ada = await person(browser, local(looking_server), "ada", viewport={"width": 1440, "height": 900}, bypass_csp=True)
    await ada.page.add_init_script(TONE)
    await ada.sign_up()
    await ada.create_room(f"Garden {ada.name}")
    look = ada.page
    room = look.url.split("/room/")[1].split("?")[0]
    async with serving() as site, aiohttp.ClientSession() as http:
        site.pages["/seeds"] = page(meta("og:title", "Seeds <b>of</b> Podil"), meta("og:description", "For the spring"))
        await ada.say("the first words of all")
        await ada.sees("the first words of all")
        await ada.say(f"look at {site.url}/seeds please")
        card = look.locator("a.lp")
        await card.get_by_text("Seeds <b>of</b> Podil").wait_for()
        assert await card.get_attribute("rel") == "noopener noreferrer"
        assert site.asked("/seeds") >= 1
        client = await same(http, looking_server, ada.name)
        notes = tmp_path / "notes.txt"
        notes.write_text("hello")
        await ada.attach(notes)
        await look.get_by_role("button", name="Send", exact=True).click()
        await look.locator("li.msg .file").get_by_text("notes.txt").wait_for()
        # A voice message says how long and how loud it is.
        await look.get_by_role("button", name="Record a voice message").click()
        await look.locator(".wave i").nth(6).wait_for()
        await look.get_by_role("button", name="Send voice message").click()
        await look.locator("li.msg[data-id^='$'] .audio audio").wait_for()
        found = await client.ok("GET", f"/rooms/{part(room)}/messages", params={"dir": "b", "limit": "5"})
        voice = next(event["content"] for event in found["chunk"] if event["content"].get("msgtype") == "m.audio")
        assert voice["org.matrix.msc3245.voice"] == {}
        assert voice["info"]["duration"] == voice["org.matrix.msc1767.audio"]["duration"] >= 500
        wave = voice["org.matrix.msc1767.audio"]["waveform"]
        assert len(wave) >= 5
        assert max(wave) == 1024
        # One that is thrown away is not sent.
        await look.get_by_role("button", name="Record a voice message").click()
        await look.locator(".wave i").first.wait_for()
        problems = await violations(ada, "recording", ".cmp")
        await look.get_by_role("button", name="Throw away").click()
        await ada.composer.wait_for()
        await look.get_by_role("button", name="Details").first.click()
        panel = look.get_by_role("complementary")
        await panel.get_by_role("button", name="Files").click()
        await panel.get_by_text("notes.txt").wait_for()
        await becomes(panel.get_by_text("Voice message").count, 1)
        problems += await violations(ada, "link, file and voice", "[role=log]") + await violations(ada, "files")
        await shoot(ada, "room-files")
        await panel.get_by_role("button", name="Pictures and videos").click()
        await panel.get_by_text("Nothing was shared here yet.").wait_for()
        await look.get_by_role("button", name="Back").last.click()
        await panel.get_by_role("button", name="Jump to a date").click()
        problems += await violations(ada, "jump")
        await look.get_by_role("button", name="Go there").click()
        await look.wait_for_function("/\\/room\\/[^/]+\\/\\$/.test(decodeURIComponent(location.hash))")
        await ada.sees("the first words of all")
        await _weeks_begin_as_one_likes(ada, room)
        await _a_picture_offers_what_its_message_does(ada, room)
        await _threads_are_told_apart(ada, client, room)
        # Words are found and led to.
        await look.evaluate("room => { location.hash = '#/search?q=first%20words&in=' + room; }", room)
        await look.evaluate(LIT)
        await look.get_by_role("button").filter(has_text="the first words of all").click()
        await lights_up(look, "the first words of all")
        assert problems == [], "\n".join(problems)
        assert ada.faults == []
