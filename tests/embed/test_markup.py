"""Formatted messages against markup that wants to run: known tricks and made ones, in a browser; DOMPurify judges.

`embed/web/client/tests/markup.fuzz.ts` draws each as a message is drawn. `HROMADA_MARKUP_RUNS` and `_SEED` say how many
are made, and which.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embed.web.build import find_node
from tests.embed.conftest import WEB
from tests.embed.people import person

if TYPE_CHECKING:
    from playwright.async_api import Browser

RUNS = int(os.environ.get("HROMADA_MARKUP_RUNS", "500"))
SEED = int(os.environ.get("HROMADA_MARKUP_SEED", "20261130"))
BUNDLE = ("--bundle", "--format=iife", "--jsx=automatic", "--jsx-import-source=preact", "--target=chrome123")
# What a walk would let through that is not as ours is, and what is said of it.
LOOSE = {
    '["http:", "https:", "mailto:", "matrix:"].includes(url.protocol)': ("true", "href javascript:"),
    '"summary", "hr", "br"]': ('"summary", "hr", "br", "form"]', "DOMPurify: BODY FORM"),
    "walk.left-- <= 0": ("false", " nodes"),
    "DEPTH = 100": ("DEPTH = 1e9", " deep"),
}


def bundle(folder: Path) -> str:
    """The script of the page, built of the client's own sources."""
    found = find_node()
    assert found is not None
    made = folder / "markup.js"
    command = [found[0], WEB / "node_modules/esbuild/bin/esbuild", WEB / "client/tests/markup.fuzz.ts", *BUNDLE]
    subprocess.run([*map(str, command), f"--outfile={made}"], check=True, capture_output=True, timeout=120)
    return made.read_text()


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("web_build")
async def test_no_markup_becomes_more_than_what_is_listed(browser: Browser, tmp_path: Path) -> None:
    ada = await person(browser, "", "ada")
    asked: list[str] = []
    ada.page.on("request", lambda request: asked.append(request.url))
    await ada.page.goto("about:blank")
    await ada.page.evaluate(bundle(tmp_path))
    wrong = await ada.page.evaluate("([seed, runs]) => tryAll(seed, runs)", [SEED, RUNS])
    assert wrong == "", f"seed {SEED}: {wrong}"
    assert await ada.page.evaluate("globalThis.pwned") is None
    assert asked in ([], ["about:blank"])
    assert ada.faults == []


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("web_build")
async def test_a_walk_that_lets_more_through_is_found_out(browser: Browser, tmp_path: Path) -> None:
    script = bundle(tmp_path)
    for ours, (other, said) in LOOSE.items():
        assert script.count(ours) == 1, ours
        ada = await person(browser, "", "ada")
        await ada.page.goto("about:blank")
        await ada.page.evaluate(script.replace(ours, other))
        assert said in await ada.page.evaluate("([seed, runs]) => tryAll(seed, runs)", [SEED, 0])
        await ada.context.close()
