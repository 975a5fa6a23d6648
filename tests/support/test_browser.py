"""The browser fixture itself."""

from __future__ import annotations

from typing import Any


async def test_a_page_runs_scripts(page: Any) -> None:
    await page.goto("data:text/html,<title>first</title>")
    assert await page.evaluate("document.title + [1, 2].length") == "first2"


async def test_contexts_share_nothing(page: Any, browser_context: Any) -> None:
    assert await browser_context.cookies() == []
    assert await page.title() == ""
