"""The composer at a start: what is written before the client runs is sent once, or is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.embed.people import PASSWORD, Person, local, person, until
from tests.embed.test_encryption import second_device
from tests.embed.test_faults import UNSENT
from tests.embed.test_uploads import kept
from tests.support.client import Client, becomes
from tests.support.fixtures import StartServer
from tests.support.ports import free_port
from tests.support.server import Server

if TYPE_CHECKING:
    import aiohttp
    from playwright.async_api import Browser, Page, Route

# Whether the end of the open room, with this text, is what the next page begins with.
SNAPSHOT = """async (text) => {
    const request = (from) => new Promise((done) => (from.onsuccess = () => done(from.result)));
    const db = await request(indexedDB.open("hromada"));
    const kv = db.transaction("kv").objectStore("kv");
    const [key, sealed] = await Promise.all(["snapshot-key", "snapshot-3"].map((name) => request(kv.get(name))));
    db.close();
    if (!sealed) return false;
    const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: sealed.iv }, key, sealed.data);
    return new TextDecoder().decode(plain).includes(text);
}"""
# Holds what the SDK keeps of a user, so that a page of this browser does not get further than to what it shows before.
HOLD = """(user) => new Promise((held) => {
    const open = indexedDB.open(`matrix-js-sdk:hromada-sync:${user}`);
    open.onsuccess = () => {
        const store = open.result.transaction("sync", "readwrite").objectStore("sync");
        // A transaction lasts for as long as something is asked of it.
        const ask = () => {
            store.get("-").onsuccess = () => (globalThis.let ? open.result.close() : ask());
            held();
        };
        ask();
    };
})"""
# Where one is in the field that was marked before.
CARET = """(field) => field.marked && document.activeElement === field
    && [field.selectionStart, field.selectionEnd, field.scrollTop > 0]"""


async def _holder(ada: Person, server: Server) -> Page:
    """A page beside `ada`'s that keeps her client from running."""
    page = await ada.context.new_page()
    await page.goto(f"{ada.url}/assets/logo.svg")
    await page.evaluate(HOLD, f"@{ada.name}:{server.name}")
    await ada.page.bring_to_front()
    return page


async def _let(holder: Page) -> None:
    await holder.evaluate("globalThis.let = true")


async def _own(ada: Person) -> list[str]:
    """What the conversation shows of her messages."""
    return list(await ada.page.locator(".main li.msg.own .plain").all_inner_texts())


def _height(ada: Person) -> Any:
    return ada.page.locator(".main > .cmp").evaluate("box => [box.offsetHeight, box.getBoundingClientRect().bottom]")


async def _said(who: Client, room: str) -> list[str]:
    """The messages of the room, the oldest first."""
    events = [event for event in reversed(await who.history(room)) if event["type"] == "m.room.message"]
    return [event["content"]["body"] for event in events]


async def _started(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession
) -> tuple[Server, Client, Person, str]:
    """A server that keeps its address, somebody in a public room of it, and the same somebody in a browser."""
    server = start_server("sqlite", listen=f"127.0.0.1:{free_port()}")
    ada = await person(browser, local(server), "ada", viewport={"width": 1100, "height": 700})
    mine = await Client(http, server.url).register(ada.name, PASSWORD)
    room = await mine.shared_room(name="Garden")
    await mine.send(room, "kept for the morning")
    await ada.sign_in()
    await ada.go(f"room/{room}")
    await ada.sees("kept for the morning")
    await until(ada.page, SNAPSHOT, "kept for the morning")
    return server, mine, ada, room


async def test_what_is_written_before_the_client_runs_is_sent_once(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server, mine, ada, room = await _started(browser, start_server, http)
    early = ada.page.locator(".tl[aria-busy]")
    holder = await _holder(ada, server)
    await ada.page.reload()
    await early.get_by_text("kept for the morning").wait_for()
    await ada.say("early *bird*")
    await ada.message("early bird").get_by_text("Sending").wait_for()
    assert await ada.composer.input_value() == ""
    await ada.composer.fill("half a tho")
    await kept(ada.page, "half a tho")
    # Loaded anew before anything went out: what was sent stands there, what was not is in the field.
    await ada.page.reload()
    await early.get_by_text("early bird").wait_for()
    await becomes(ada.composer.input_value, "half a tho")
    server.stop()
    await ada.composer.press("End")
    await ada.composer.press_sequentially("ught")
    await ada.page.get_by_role("button", name="Send", exact=True).click()
    await early.get_by_text("half a thought").wait_for()
    # In the middle of something longer the client runs, without a server.
    await ada.composer.fill("\n".join(f"line {n}" for n in range(30)))
    await ada.composer.evaluate("field => { field.marked = true; field.setSelectionRange(100, 104); }")
    await ada.composer.evaluate("field => field.scrollTop = 60")
    before = await ada.composer.evaluate(CARET), await _height(ada)
    assert before[0] == [100, 104, True]
    await _let(holder)
    await ada.sees("half a thought")
    assert (await ada.composer.evaluate(CARET), await _height(ada)) == before
    assert await _own(ada) == ["kept for the morning", "half a thought"]
    await ada.composer.fill("")
    server.start()
    await ada.sent("half a thought")
    await ada.sent("early bird")
    assert await _said(mine, room) == ["kept for the morning", "early *bird*", "half a thought"]
    assert ada.faults == []


async def test_in_an_encrypted_room_nothing_goes_out_in_the_clear(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server = start_server("sqlite", listen=f"127.0.0.1:{free_port()}")
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    await ada.private_room("Shed")
    await ada.say("sealed first")
    await ada.sent("sealed first")
    await until(ada.page, SNAPSHOT, "sealed first")

    async def hold(_route: Route) -> None:
        pass

    # What an earlier page left waits until its room is there, which says that it is encrypted.
    await ada.page.route("**/send/**", hold)
    await ada.say("left behind")
    await until(ada.page, UNSENT, "left behind")
    await ada.page.unroute("**/send/**", hold)
    await ada.page.reload()
    await ada.sent("left behind")
    await until(ada.page, SNAPSHOT, "left behind")
    holder = await _holder(ada, server)
    await ada.page.reload()
    await ada.page.locator(".tl[aria-busy]").get_by_text("left behind").wait_for()
    await ada.say("sealed early")
    await ada.message("sealed early").get_by_text("Sending").wait_for()
    server.stop()
    # A word is not complete yet when the client runs.
    await ada.composer.evaluate("field => { field.marked = true; }")
    keys = await ada.context.new_cdp_session(ada.page)
    await keys.send("Input.imeSetComposition", {"text": "nihon", "selectionStart": 5, "selectionEnd": 5})
    await becomes(ada.composer.input_value, "nihon")
    await _let(holder)
    await ada.sees("sealed early")
    await keys.send("Input.insertText", {"text": "日本"})
    await becomes(ada.composer.input_value, "日本")
    assert await ada.composer.evaluate("field => field.marked")
    await ada.composer.press("Enter")
    await ada.message("日本").wait_for()
    server.start()
    await ada.sent("日本")
    await ada.sent("sealed early")
    for text in ("left behind", "sealed early", "日本"):
        assert await ada.page.get_by_role("log").get_by_text(text).count() == 1
    room = unquote(urlsplit(ada.page.url).fragment).removeprefix("/room/")
    mine = await Client(http, server.url).login(ada.name, PASSWORD)
    types = [event["type"] for event in await mine.history(room) if "state_key" not in event]
    assert types == ["m.room.encrypted"] * 4
    assert ada.faults == []


async def test_where_one_may_not_write_that_is_said_from_the_start(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server, mine, ada, _ = await _started(browser, start_server, http)
    maya = await Client(http, server.url).register(f"maya.{ada.name}")
    levels = {"power_level_content_override": {"events_default": 50}}
    room = await maya.shared_room(mine, name="Notices", **levels)
    await maya.send(room, "read this")
    await ada.go(f"room/{room}")
    denied = ada.page.locator(".main > .cmp .deny")
    await denied.wait_for()
    await until(ada.page, SNAPSHOT, "read this")
    holder = await _holder(ada, server)
    await ada.page.reload()
    await ada.page.locator(".tl[aria-busy]").get_by_text("read this").wait_for()
    await denied.wait_for()
    assert await ada.composer.count() == 0
    await _let(holder)
    await ada.sees("read this")
    assert await denied.count() == 1
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_on_an_unconfirmed_device_the_way_to_confirm_it_stands_there_from_the_start(
    browser: Browser, server: Server
) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    await ada.private_room("Shed")
    await ada.say("sealed")
    await ada.sent("sealed")
    again = await second_device(browser, ada)
    await again.page.get_by_role("button", name="Later").click()
    await again.page.get_by_role("link", name="Shed").click()
    confirm = again.page.locator(".main > .cmp").get_by_role("button", name="Confirm", exact=True)
    await confirm.wait_for()
    await until(again.page, SNAPSHOT, '"confirmed":false')
    holder = await _holder(again, server)
    await again.page.reload()
    await confirm.wait_for()
    assert await again.page.get_by_role("log").count() == 0
    assert await again.composer.count() == 0
    await _let(holder)
    await again.page.get_by_role("log").wait_for()
    assert await confirm.count() == 1
    assert ada.faults + again.faults == []


async def test_a_second_tab_hands_on_what_was_written_before_it_ran(
    browser: Browser, start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    server, mine, ada, room = await _started(browser, start_server, http)
    holder = await _holder(ada, server)
    tab = Person(ada.context, await ada.context.new_page(), ada.url, ada.name)
    await tab.page.goto(ada.page.url)
    await tab.page.locator(".tl[aria-busy]").get_by_text("kept for the morning").wait_for()
    await tab.say("from the other tab")
    await tab.message("from the other tab").get_by_text("Sending").wait_for()
    await _let(holder)
    await ada.sent("from the other tab")
    await tab.sent("from the other tab")
    await tab.say("and on")
    await ada.sent("and on")
    assert await _said(mine, room) == ["kept for the morning", "from the other tab", "and on"]
    assert ada.faults + tab.faults == []
