"""What the chat costs a page: one request and little of its main thread; and how soon somebody can write.

`HROMADA_FIGURES=1` loads several times, checks the figures of the design and prints them.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.embed.support_chat import host, new_site, page_with
from tests.embed.test_support_host import FORM, visitor
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

FULL = bool(os.environ.get("HROMADA_FIGURES"))
LOADS = 7 if FULL else 1
MOST_LOAD_MS, MOST_OPEN_MS = 10, 1_500
WORK = ("v8.compile", "EvaluateScript", "FunctionCall", "UpdateLayoutTree", "Layout", "Paint")


async def _traced(page: Page, address: str) -> float:
    """Milliseconds of the page's main thread in the loader: compiled, run, and what it calls later."""
    session = await page.context.new_cdp_session(page)
    events: list[dict[str, Any]] = []
    done: list[bool] = []
    session.on("Tracing.dataCollected", lambda data: events.extend(data["value"]))
    session.on("Tracing.tracingComplete", lambda _: done.append(True))
    categories = ["devtools.timeline", "v8", "disabled-by-default-v8.compile"]
    await session.send("Tracing.start", {"traceConfig": {"includedCategories": categories}})
    await page.goto(address)
    await page.wait_for_function("() => !!globalThis.hromadaChat?.open")
    await page.wait_for_timeout(300)
    await session.send("Tracing.end")
    while not done:
        await page.wait_for_timeout(20)
    return sum(event.get("tdur", event.get("dur", 0)) for event in events if _of_loader(event)) / 1000


def _of_loader(event: dict[str, Any]) -> bool:
    data = event.get("args", {}).get("data") or {}
    return event.get("name") in WORK and "embed.js" in str(data.get("url", data.get("fileName", "")))


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_loading_and_opening(browser: Browser, server: Server) -> None:
    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin], [], form=FORM)))}

    spent: list[float] = []
    opened: list[float] = []
    async with host(pages) as origin:
        for _ in range(LOADS):
            ada = await visitor(browser)  # nothing is cached
            spent.append(await _traced(ada.page, origin))
            assert len([url for url in ada.requests if not url.startswith(origin)]) == 1
            start = time.perf_counter()
            await ada.page.evaluate("hromadaChat.open()")
            frame = await ada.framed()
            await frame.get_by_label("Your question").fill("x")
            opened.append((time.perf_counter() - start) * 1000)
            assert ada.faults == []
            await ada.context.close()
    assert min(spent) > 0  # the trace has seen it
    print(
        f"\nloader: {statistics.median(spent):.1f} ms of the main thread; open to a composer that takes words: "
        f"{statistics.median(opened):.0f} ms; load {os.getloadavg()[0]:.1f}"
    )
    if FULL:
        assert statistics.median(spent) < MOST_LOAD_MS
        assert statistics.median(opened) < MOST_OPEN_MS
