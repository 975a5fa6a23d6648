"""How quickly the client starts from what it keeps, opens a room, and what switching rooms leaves behind.

`HROMADA_FIGURES=1` measures with 200 rooms and 1,000 switches and prints what docs/performance.md has; without it a few
rooms show that starting and switching leave nothing behind.
"""

from __future__ import annotations

import os
import statistics
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import local, person
from tests.support.client import Client
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

FULL = bool(os.environ.get("HROMADA_FIGURES"))
ROOMS, STARTS, SWITCHES = (200, 5, 1_000) if FULL else (18, 1, 30)
# So many rows of the list are drawn at first.
FIRST_ROWS = 16
# What grows until everything has run a few times (compiled code, lists of the browser's own) is no growth per switch.
GROWTH_MB = 2.0 if FULL else 3.0
# Timers of what was left behind end within this.
REST_MS = 2_000

# When the first row of the list could be seen, in milliseconds since the navigation began, and how many there were.
WATCH = """new MutationObserver((_, observer) => {
    if (!document.querySelector(".list .rm .nm")) return;
    observer.disconnect();
    globalThis.drawn = document.querySelectorAll(".list .rm .nm").length;
    requestAnimationFrame(() => setTimeout(() => { globalThis.usable = performance.now(); }));
}).observe(document, { childList: true, subtree: true });"""

USABLE = """() => new Promise((done) => {
    const look = () => (globalThis.usable ? done(globalThis.usable) : requestAnimationFrame(look));
    look();
})"""

SWITCH = """async (count) => {
    const ids = [...document.querySelectorAll(".list .rm:has(.nm)")].slice(0, 5).map((row) => row.dataset.room);
    const times = [];
    for (let n = 0; n < count; n++) {
        const row = document.querySelector(`[data-room="${ids[n % ids.length]}"]`);
        const name = row.querySelector(".nm").textContent;
        const start = performance.now();
        row.click();
        await new Promise((done) => {
            const look = () => {
                const main = document.querySelector("main.main");
                if (main?.getAttribute("aria-label") === name && main.querySelector("[role=log] li")) done();
                else requestAnimationFrame(look);
            };
            look();
        });
        times.push(performance.now() - start);
    }
    return times;
}"""


@pytest.mark.timeout(900 if FULL else 300)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_starting_and_switching(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1440, "height": 900})
    await ada.sign_up()
    client = anonymous.anonymous()
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": ada.name}}
    client.adopt(await client.ok("POST", "/login", {**login, "password": "correct horse battery staple"}))
    for number in range(ROOMS):
        room = await client.create_room(name=f"Room {number}")
        await client.send(room, f"hello {number}")
    page = ada.page
    await page.locator(".list .rm:has(.nm)").nth(min(ROOMS, 6) - 1).wait_for()
    await page.wait_for_timeout(8_000 if FULL else 500)  # the store writes what it has now and then
    await page.add_init_script(WATCH)
    starts = []
    for _ in range(STARTS):
        await page.reload()
        starts.append(float(await page.evaluate(USABLE)))
        assert await page.evaluate("globalThis.drawn") <= FIRST_ROWS
    # The others follow.
    await page.locator(".list .rm:has(.nm)").nth(ROOMS - 1).wait_for()
    session = await page.context.new_cdp_session(page)

    async def heap() -> float:
        await page.wait_for_timeout(REST_MS)
        for _ in range(3):
            await session.send("HeapProfiler.collectGarbage")
        found = await session.send("Runtime.getHeapUsage")
        return float(found["usedSize"]) / 1e6

    await page.evaluate(SWITCH, 10)
    cold = await heap()
    times = await page.evaluate(SWITCH, SWITCHES // 2)
    warm = await heap()
    times += await page.evaluate(SWITCH, SWITCHES // 2)
    # What a leak holds stays; what is only late to go, on a busy machine, goes.
    for _ in range(10):
        if (growth := await heap() - warm) < GROWTH_MB:
            break
    print(
        f"\n{ROOMS} rooms: list usable after {statistics.median(starts):.0f} ms; a room open after "
        f"{statistics.median(times):.0f} ms, p95 {statistics.quantiles(times, n=20)[-1]:.0f} ms; memory {cold:.1f} MB, "
        f"{warm:.1f} MB after {SWITCHES // 2} switches, {growth:+.1f} MB over {SWITCHES // 2} more; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    assert growth < GROWTH_MB
    assert ada.faults == []
