"""Long histories: scrolling back loads them in pieces, nothing moves under the reader, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, local, person
from tests.support.client import Client, eventually
from tests.support.faultproxy import FaultProxy
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

MESSAGES = 260
# The spec's own tolerance for this client: what one reads may move by two pixels.
STILL_PX = 2.0

SEND = """async ([access, room, count]) => {
    const headers = { Authorization: `Bearer ${access}` };
    for (let n = 0; n < count; n++) {
        const body = JSON.stringify({ msgtype: "m.text", body: `message ${n} ` + "word ".repeat((n * 7) % 40) });
        const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/h${n}`;
        const answer = await fetch(path, { method: "PUT", headers, body });
        if (!answer.ok) throw new Error(await answer.text());
    }
}"""

# Scrolls up in steps. After each, watches the first row in view while older ones are put above it.
CLIMB = """async () => {
    const log = document.querySelector("[role=log]");
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    let worst = 0;
    const seen = new Set();
    const note = () => {
        for (const row of log.querySelectorAll("li.msg")) {
            const found = /^message (\\d+) /.exec(row.querySelector(".plain")?.textContent ?? "");
            if (found) seen.add(Number(found[1]));
        }
    };
    // Where the top is reached a step waits for what comes: of those there may be any number.
    for (let step = 0; step < 400; step += log.scrollTop > 1 ? 1 : 0) {
        note();
        if (log.querySelector(".intro")) break;
        log.scrollTop = Math.max(1, log.scrollTop - 700);
        await frame();
        const top = log.getBoundingClientRect().top;
        const row = [...log.querySelectorAll("[data-key]")].find(
            (each) => each.getBoundingClientRect().bottom > top + 40,
        );
        const before = row.getBoundingClientRect().top;
        for (let n = 0; n < 6; n++) {
            await frame();
            if (row.isConnected) worst = Math.max(worst, Math.abs(row.getBoundingClientRect().top - before));
        }
    }
    note();
    const texts = [...log.querySelectorAll("li.msg")].map((row) => row.dataset.key);
    return { worst, seen: seen.size, rows: texts.length, unique: new Set(texts).size };
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_scrolling_back_moves_nothing_and_loses_nothing(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1200, "height": 800})
    await ada.sign_up()
    await ada.create_room(f"Garden {ada.name}")
    room = (await ada.page.evaluate("location.hash")).split("/")[2].split("?")[0]
    await ada.page.evaluate(SEND, [await ada.token(), room, MESSAGES])
    await ada.page.reload()
    await ada.sees(f"message {MESSAGES - 1} ")
    climbed = await ada.page.evaluate(CLIMB)
    assert climbed["seen"] == MESSAGES
    assert climbed["rows"] == climbed["unique"]
    assert climbed["rows"] <= 200
    assert climbed["worst"] <= STILL_PX
    # Back at the live end by one press, and what comes then is seen.
    await ada.page.get_by_role("button", name="Jump to the latest message").click()
    await ada.sees(f"message {MESSAGES - 1} ")
    await ada.say("and on")
    await ada.sees("and on")
    assert ada.faults == []


# The top of what is loaded is in view. Where each row and its text stand, and how high they are.
STAND = """() => {
    const log = document.querySelector("[role=log]");
    const box = log.getBoundingClientRect();
    const rows = [...log.querySelectorAll("[data-key]")].map((row) => [row, row.getBoundingClientRect()]);
    const seen = rows.filter(([, { bottom, top }]) => bottom > box.top + 40 && top < box.bottom);
    return Object.fromEntries(seen.map(([row, { top, height }]) => {
        const text = (row.querySelector(".plain") ?? row).getBoundingClientRect().top;
        return [row.dataset.key, [top, height, text]];
    }));
}"""
TO_THE_TOP = """async () => {
    const log = document.querySelector("[role=log]");
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    for (let still = 0; still < 3; still = log.scrollTop <= 1 ? still + 1 : 0) { log.scrollTop = 1; await frame(); }
    return log.querySelector("[data-key]").dataset.key;
}"""
GROWN = """key => {
    const log = document.querySelector("[role=log]");
    return log.querySelector("[data-key]").dataset.key !== key || log.querySelector(".intro") !== null;
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_comes_above_the_rows_in_view_does_not_move_or_change_them(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    """The row that was the oldest had a heading; what it answers was not there; what happened was not in one line."""
    ada = await person(browser, local(server), "ada", viewport={"width": 1440, "height": 900})
    client = await anonymous.anonymous().register(ada.name)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await client.shared_room(maya, name="Still")
    sent: list[str] = []
    for number in range(100):
        content: dict[str, object] = {"msgtype": "m.text", "body": f"message {number} " + "word " * 60}
        if len(sent) >= 9:
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": sent[-9]}}
        sent.append(await maya.send(room, content))
        if number % 3 == 0:
            for name in ("Still", "Stiller"):
                await client.ok("PUT", f"/rooms/{room}/state/m.room.name", {"name": f"{name} {number}"})
    pages_let_through = asyncio.Semaphore(0)

    async def hold(route: Route) -> None:
        await pages_let_through.acquire()
        await route.continue_()

    page = ada.page
    await page.route("**/messages?*", hold)
    await ada.sign_in()  # now, so that it has the end of the room and nothing of what came before
    await page.goto(f"{ada.url}/#/room/{room}")
    await ada.sees("message 99 ")
    pages = 0
    while not await page.evaluate("document.querySelector('[role=log] .intro') !== null"):
        top = await page.evaluate(TO_THE_TOP)
        before = await page.evaluate(STAND)
        pages_let_through.release()
        await page.wait_for_function(GROWN, arg=top)
        after = await page.evaluate(STAND)
        assert before
        for key, row in before.items():
            assert key in after, (pages, key)
            assert max(abs(was - now) for was, now in zip(row, after[key], strict=True)) <= STILL_PX, (pages, key)
        pages += 1
    assert pages >= 2
    assert ada.faults == []


# How far the end of the conversation is under the lower edge, once two frames in a row say the same.
PATIENCE_S = 90
LEFT = """async () => {
    const log = document.querySelector("[role=log]");
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    let before = -1;
    for (let still = 0; still < 3; ) {
        await frame();
        const left = log.scrollHeight - log.scrollTop - log.clientHeight;
        still = left === before ? still + 1 : 0;
        before = left;
    }
    return before;
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_end_stays_in_sight_when_the_window_turns(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1440, "height": 900})
    await ada.sign_up()
    client = await anonymous.anonymous().login(ada.name, PASSWORD)
    data = (Path(__file__).parent / "media" / "picture.jpg").read_bytes()
    reply = await client.request("POST", "/_matrix/media/v3/upload", data=data, headers={"Content-Type": "image/jpeg"})
    picture = {"msgtype": "m.image", "body": "p.jpg", "url": reply.ok()["content_uri"],
               "info": {"w": 640, "h": 480, "mimetype": "image/jpeg"}}  # fmt: skip
    room = await client.create_room(name="Pictures")
    for number in range(8):
        await client.send(room, picture)
        await client.send(room, f"line {number} " + "word " * 40)
    await ada.page.goto(f"{ada.url}/#/room/{room}")
    await ada.sees("line 7")
    for width, height in ((1440, 900), (390, 844), (390, 420), (844, 390), (768, 1024), (1440, 900)):
        await ada.page.set_viewport_size({"width": width, "height": height})
        # What is drawn for the new size comes some frames later; on a busy machine those take their time.
        async with asyncio.timeout(PATIENCE_S):
            while await ada.page.evaluate(LEFT) > STILL_PX:
                await asyncio.sleep(0.05)
    assert ada.faults == []


BODIES = """() => [...document.querySelectorAll("[role=log] li.msg .plain")].map((row) => row.textContent)"""
MISSED = 40


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_waited_at_the_end_sees_what_came_while_the_line_was_dead(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    with FaultProxy.running(int(server.url.rpartition(":")[2])) as proxy:
        ada = await person(browser, f"http://localhost:{proxy.port}", "ada")
        await ada.sign_up()
        client = await anonymous.anonymous().login(ada.name, PASSWORD)
        room = await client.create_room(name="Gap")
        await client.send(room, "before 0")
        await ada.page.goto(f"{ada.url}/#/room/{room}")
        await ada.sees("before 0")
        proxy.hold()
        said = [f"missed {number}" for number in range(MISSED)]
        for text in said:
            await client.send(room, text)
        # More than an update holds: the server leaves out the first of them.
        proxy.cut()
        proxy.flow()
        await ada.sees(said[-1])

        async def at_the_end() -> bool:
            return float(await ada.page.evaluate(LEFT)) <= STILL_PX

        await eventually(at_the_end)
        async with asyncio.timeout(PATIENCE_S):
            while (await ada.page.evaluate(BODIES)) != ["before 0", *said]:
                await asyncio.sleep(0.05)
        await client.send(room, "after")
        await ada.sees("after")
        assert ada.faults == []


async def _mostly_unseen(client: Client, room: str, first: str, name: str, words: int) -> None:
    """More than an update holds, in six rows: the page asks for more until it has enough of them."""
    for number in range(30):
        relation = {"rel_type": "m.annotation", "event_id": first, "key": f"{name} {number}"}
        await client.send(room, {"m.relates_to": relation}, "m.reaction")
    for number in range(6):
        await client.send(room, f"{name} {number} " + "word " * words)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_room_opens_at_its_end_when_a_gap_comes_meanwhile(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    with FaultProxy.running(int(server.url.rpartition(":")[2])) as proxy:
        ada = await person(browser, f"http://localhost:{proxy.port}", "ada", viewport={"width": 1200, "height": 800})
        client = await anonymous.anonymous().register(ada.name)
        room = await client.create_room(name="Gap")
        first = await client.send(room, "the first")
        await _mostly_unseen(client, room, first, "before", 200)
        opening, earlier = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            opening.set()
            await earlier.wait()
            await route.continue_()

        await ada.page.route("**/messages?*", hold)
        await ada.sign_in()
        await ada.page.goto(f"{ada.url}/#/room/{room}")
        await opening.wait()
        proxy.hold()
        await _mostly_unseen(client, room, first, "missed", 400)
        proxy.cut()
        proxy.flow()
        # The gap is here, and what comes after it is not in the window that is being opened.
        await ada.page.get_by_role("button", name="Later messages").wait_for()
        # The browser tells of a scroll that no reader made, as it does when rows take more room.
        await ada.page.get_by_role("log").dispatch_event("scroll")
        earlier.set()
        await ada.sees("missed 5")

        async def at_the_end() -> bool:
            return float(await ada.page.evaluate(LEFT)) <= STILL_PX

        await eventually(at_the_end)
        assert ada.faults == []
