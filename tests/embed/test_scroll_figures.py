"""Scrolling back through a long history: what each frame costs, and that what one reads stays where it is.

`HROMADA_FIGURES=1` climbs 10,000 messages and prints what docs/performance.md has; without it a few pages of history
show that a frame's work is bounded and that nothing moves. Frames themselves depend on the machine's load, so their
work is what is measured: from the first callback of a frame until the page has been laid out and painted.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, local, person
from tests.embed.test_history import STILL_PX
from tests.support.client import Client
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

FULL = bool(os.environ.get("HROMADA_FIGURES"))
MESSAGES = 10_000 if FULL else 400
SENDERS = 8
PICTURE = Path(__file__).parent / "media" / "picture.jpg"

# Scrolls up by a wheel's notch each frame, faster than one reads. Where older rows have been put above, the first row
# in view must have moved by the notch and nothing else.
CLIMB = """async ([notch, most]) => {
    const log = document.querySelector("[role=log]");
    const frames = [], work = [], long = [];
    let worst = 0, worstAt = 0, drops = 0;
    const lengths = (list) => long.push(...list.getEntries().map((each) => each.duration));
    new PerformanceObserver(lengths).observe({ type: "longtask" });
    const channel = new MessageChannel();
    const painted = () => new Promise((done) => { channel.port1.onmessage = done; channel.port2.postMessage(0); });
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    // From rest: while pictures still come at the end, the end is what is kept in sight.
    const rest = () => `${log.scrollTop} ${log.scrollHeight}`;
    for (let still = 0, before = ""; still < 60; before = rest()) {
        await frame();
        still = before === rest() ? still + 1 : 0;
    }
    let last = await frame();
    const until = performance.now() + most;
    while (performance.now() < until) {
        if (log.querySelector(".intro") && log.scrollTop <= 2) break;
        const top = log.getBoundingClientRect().top;
        const rows = [...log.querySelectorAll("[data-key]")];
        const row = rows.find((each) => each.getBoundingClientRect().bottom > top + 40);
        const before = row?.getBoundingClientRect().top ?? 0;
        const room = Math.min(notch, Math.max(0, log.scrollTop - 1));
        if (room > 0) log.scrollTop -= room;
        const now = await frame();
        const start = performance.now();
        await painted();
        work.push(performance.now() - start);
        frames.push(now - last);
        last = now;
        if (row?.isConnected) {
            const off = Math.abs(row.getBoundingClientRect().top - before - room);
            if (off > worst) { worst = off; worstAt = frames.length; }
            if (off > 2) drops++;
        }
    }
    const at = (list, part) => {
        const sorted = [...list].sort((a, b) => a - b);
        return sorted[Math.min(list.length - 1, Math.floor(list.length * part))] ?? 0;
    };
    return {
        frames: frames.length, frame50: at(frames, 0.5), frame95: at(frames, 0.95),
        work50: at(work, 0.5), work95: at(work, 0.95), work99: at(work, 0.99),
        long: long.length, longest: Math.max(0, ...long), worst, worstAt, drops,
        rows: log.querySelectorAll("[data-key]").length, whole: Boolean(log.querySelector(".intro")),
    };
}"""


async def _write(clients: list[Client], room: str, picture: str) -> None:
    """A history by several people, of texts of all lengths, with pictures, answers and reactions in it."""
    numbers = itertools.count()
    last = [""]

    async def write(client: Client) -> None:
        while (n := next(numbers)) < MESSAGES:
            content: dict[str, object] = {"msgtype": "m.text", "body": f"message {n} " + "слово " * (n * 7 % 40)}
            if n % 40 == 7:
                info = {"w": 640, "h": 480, "mimetype": "image/jpeg"}
                content = {"msgtype": "m.image", "body": f"message {n}.jpg", "url": picture, "info": info}
            elif n % 10 == 3 and last[0]:
                content["m.relates_to"] = {"m.in_reply_to": {"event_id": last[0]}}
            last[0] = await client.send(room, content)
            if n % 12 == 5:
                relation = {"rel_type": "m.annotation", "event_id": last[0], "key": "👍"}
                await client.send(room, {"m.relates_to": relation}, "m.reaction")

    await asyncio.gather(*(write(client) for client in clients))


async def _memory(browser: Browser, page: Page) -> tuple[float, float, int]:
    """MB of the page's process, MB of its scripts' objects, and nodes, once what can be collected is."""
    session = await page.context.new_cdp_session(page)
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    heap = (await session.send("Runtime.getHeapUsage"))["usedSize"] / 1e6
    nodes = (await session.send("Memory.getDOMCounters"))["nodes"]
    return await _held(browser), heap, nodes


async def _held(browser: Browser) -> float:
    """MB of memory that the largest process of a page has of its own now."""
    whole = await browser.new_browser_cdp_session()
    processes = (await whole.send("SystemInfo.getProcessInfo"))["processInfo"]
    await whole.detach()
    return max(_resident(each["id"]) for each in processes if each["type"] == "renderer")


async def _watch(browser: Browser, seen: list[float]) -> None:
    """Look at the memory now and then, for its peak."""
    while True:
        seen.append(await _held(browser))
        await asyncio.sleep(5)


def _resident(process: int) -> float:
    """MB of memory that a process has of its own."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # another system, or it is gone
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


@pytest.mark.timeout(1_400 if FULL else 400)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_scrolling_a_long_history(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1440, "height": 900})
    await ada.sign_up()
    client = await anonymous.anonymous().login(ada.name, PASSWORD)
    others = [await anonymous.anonymous().register(f"{ada.name}.{n}") for n in range(SENDERS)]
    data = PICTURE.read_bytes()
    reply = await client.request("POST", "/_matrix/media/v3/upload", data=data, headers={"Content-Type": "image/jpeg"})
    room = await client.shared_room(*others, name="Long")
    await _write(others, room, reply.ok()["content_uri"])
    page = ada.page
    await page.evaluate("room => { location.hash = '#/room/' + room; }", room)
    await ada.composer.wait_for()
    # One comes in at the first unread message, which is at the beginning.
    await page.get_by_role("button", name="Jump to the latest message").click()
    await page.locator("[role=log] li.msg").nth(15).wait_for()
    await page.evaluate("document.querySelector('[role=log]').scrollTop = 1e9")
    peaks: list[float] = []
    watcher = asyncio.create_task(_watch(browser, peaks))
    seen = await page.evaluate(CLIMB, [120, 900_000 if FULL else 180_000])
    watcher.cancel()
    held, heap, nodes = await _memory(browser, page)
    print(
        f"\n{MESSAGES} messages in {seen['frames']} frames of 120 px: a frame every {seen['frame50']:.1f} ms, p95 "
        f"{seen['frame95']:.1f} ms; its rendering {seen['work50']:.1f} ms, p95 {seen['work95']:.1f}, p99 "
        f"{seen['work99']:.1f} ms; {seen['long']} long tasks, the longest {seen['longest']:.0f} ms; anchor off by at "
        f"most {seen['worst']:.2f} px, {seen['drops']} times over 2; {seen['rows']} rows in the page, "
        f"{nodes} nodes, {heap:.0f} MB of scripts' objects, {held:.0f} MB held by the process, "
        f"{max(peaks):.0f} at most; load "
        f"{os.getloadavg()[0]:.1f}"
    )
    assert seen["whole"], seen
    assert seen["worst"] <= STILL_PX, seen
    assert seen["rows"] <= 260, seen
    assert ada.faults == []
