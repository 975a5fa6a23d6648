"""Marks in what is written: what reads them is loaded with the first one, and is there when the connection is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import pair
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_markdown_is_loaded_with_the_first_mark(browser: Browser, server: Server, web_build: Path) -> None:
    ada, maya, _ = await pair(browser, server)
    page = ada.page
    [markdown] = [file.name for file in (web_build / "assets").glob("c.*.js") if "codespan" in file.read_text()]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    async with page.expect_response("**/_hromada/web/config"):  # the last of what a start fetches ahead
        await page.reload()
    await ada.say("no marks here")
    await ada.sent("no marks here")
    assert markdown not in asked
    async with page.expect_request_finished(lambda request: request.url.endswith(markdown)):
        await ada.composer.press_sequentially("**bold")
    await ada.context.set_offline(True)
    await ada.composer.press_sequentially("** and `code`")
    await ada.composer.press("Enter")
    await ada.message("bold and code").locator("strong", has_text="bold").wait_for()
    await ada.context.set_offline(False)
    await maya.message("bold and code").locator("code", has_text="code").wait_for()
    assert asked.count(markdown) == 1
    assert ada.faults + maya.faults == []
