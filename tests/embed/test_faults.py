"""The web client while things go wrong: no connection, a restarted server, the end of a session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, local, nothing_kept, pair, person, until
from tests.support.client import Client, becomes, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.fixtures import StartServer
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, WebSocketRoute


# Whether a message with this text is on the disk, to be sent.
UNSENT = """async (text) => {
    const request = (from) => new Promise((done) => (from.onsuccess = () => done(from.result)));
    const db = await request(indexedDB.open("hromada"));
    const entries = await request(db.transaction("outbox").objectStore("outbox").getAll());
    db.close();
    return entries.some(({ content }) => content.body === text);
}"""
# The page's patience with a socket, stretched while `patient` is set.
PATIENT = """const real = setTimeout;
globalThis.patient = true;
globalThis.setTimeout = (run, after, ...rest) =>
    real(run, globalThis.patient && after === 3_000 ? 60_000 : after, ...rest);"""


async def test_what_is_written_offline_goes_out_once_and_in_order(browser: Browser, server: Server) -> None:
    ada, maya, _ = await pair(browser, server)
    await ada.context.set_offline(True)
    for n in range(4):
        await ada.say(f"offline {n}")
    await ada.page.get_by_text("Sending").last.or_(ada.page.get_by_text("Waiting for connection").last).wait_for()
    await ada.context.set_offline(False)
    await maya.sees("offline 3")
    for who in (ada, maya):
        texts = await who.page.locator("li.msg .plain").all_inner_texts()
        assert [text for text in texts if text.startswith("offline")] == [f"offline {n}" for n in range(4)]
    assert ada.faults + maya.faults == []


async def test_an_unsent_message_outlives_a_reload_and_a_restart(browser: Browser, start_server: StartServer) -> None:
    server = start_server("sqlite")
    ada, maya, _ = await pair(browser, server)
    await maya.say("before")
    await ada.sees("before")
    # The page is loaded anew while its message waits: the server refuses to take it until then.
    await ada.page.route("**/send/**", lambda route: route.abort())
    await ada.say("kept on disk")
    await ada.message("kept on disk").wait_for()
    await until(ada.page, UNSENT, "kept on disk")
    await ada.page.reload()
    await ada.sees("kept on disk")
    await ada.page.unroute("**/send/**")
    await maya.sees("kept on disk")
    assert await maya.page.get_by_role("log").get_by_text("kept on disk").count() == 1


ROUNDS, EACH = 10, 20
SHOWN = """() => [...document.querySelectorAll("[role=log] li.msg .plain")].map((each) => each.textContent)
    .filter((text) => /^(heard|said) \\d+ \\d+$/.test(text))"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_line_that_is_cut_again_and_again_loses_and_doubles_nothing(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    with FaultProxy.running(int(server.url.rpartition(":")[2])) as proxy:
        ada = await person(browser, f"http://localhost:{proxy.port}", "ada", viewport={"width": 1200, "height": 800})
        mine = await anonymous.anonymous().register(ada.name, PASSWORD)
        maya = await anonymous.anonymous().register(f"maya.{ada.name}")
        room = await mine.shared_room(maya, name="Garden")
        await maya.send(room, "the first")
        await ada.sign_in()
        await ada.page.goto(f"{ada.url}/#/room/{room}")
        await ada.sees("the first")
        heard, said = [], []
        for round_ in range(ROUNDS):
            for number in range(EACH - 1):
                heard.append(f"heard {round_} {number}")
                await maya.send(room, heard[-1])
            said.append(f"said {round_} {EACH}")
            await ada.say(said[-1])
            proxy.reset()

        async def there() -> list[str]:
            chunk = (await maya.messages(room, limit=300))["chunk"]
            return [event["content"]["body"] for event in reversed(chunk) if event["type"] == "m.room.message"][1:]

        async def count() -> int:
            return len(await there())

        # As it was taken, each once: on the server, and on the page, which has the newest of it.
        await becomes(count, ROUNDS * EACH)
        taken = await there()
        assert [text for text in taken if text in heard] == heard
        assert [text for text in taken if text in said] == said

        async def as_taken() -> bool:
            shown = await ada.page.evaluate(SHOWN)
            return len(shown) >= EACH and shown == taken[-len(shown) :]

        await eventually(as_taken)
        await ada.page.reload()
        await ada.sees(heard[-1])
        await eventually(as_taken)
        assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_dead_socket_is_found_when_the_browser_says_that_the_network_went(
    browser: Browser, server: Server
) -> None:
    ada = await person(browser, local(server), "ada")
    dead: list[bool] = []
    sockets: list[WebSocketRoute] = []
    alive = asyncio.Event()

    def wire(socket: WebSocketRoute) -> None:
        far = socket.connect_to_server()
        sockets.append(socket)

        def say(message: str | bytes) -> None:
            if dead:
                return
            socket.send(message)
            if "pong" in str(message):
                alive.set()

        socket.on_message(lambda message: None if dead else far.send(message))
        far.on_message(say)

    await ada.page.add_init_script(PATIENT)
    await ada.page.route_web_socket("**/stream", wire)
    await ada.sign_up()
    await ada.create_room(f"Hut {ada.name}")
    # A hint only: a socket that answers goes on.
    strip = ada.page.get_by_text("You are offline")
    opened = len(sockets)
    alive.clear()
    await ada.page.evaluate("dispatchEvent(new Event('offline'))")
    await alive.wait()
    assert len(sockets) == opened
    dead.append(True)
    await ada.page.evaluate("globalThis.patient = false; dispatchEvent(new Event('offline'))")
    await strip.wait_for()
    dead.clear()
    await sockets[-1].close()
    await strip.wait_for(state="detached")
    assert len(sockets) > opened
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_nothing_stays_after_sign_out(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    name = f"Tabs {ada.name}"
    await ada.create_room(name)
    second = await ada.context.new_page()
    await second.goto(f"{ada.url}/")
    await second.get_by_role("link", name=name).wait_for()
    # The tab that follows ends the session of both.
    await second.goto(f"{ada.url}/#/settings/profile")
    await second.get_by_role("button", name="Sign out").click()
    await second.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    for page in (ada.page, second):
        await page.get_by_role("button", name="Sign in").wait_for()
    await nothing_kept(ada.page)
    assert ada.faults == []
