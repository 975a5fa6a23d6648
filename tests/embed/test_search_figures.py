"""What a large index of encrypted rooms costs: taking messages in, opening it, answers.

`HROMADA_FIGURES=1` takes in 20,000 messages and prints what docs/performance.md has; without it a few hundred show that
all of it is found again. It is the client's own index, on a real disk, without a client around it.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from embed.web.build import find_node
from tests.embed.conftest import WEB
from tests.embed.people import local
from tests.support.fixtures import unavailable
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

FULL = bool(os.environ.get("HROMADA_FIGURES"))
MESSAGES = 20_000 if FULL else 600

BUNDLE = """
import * as esbuild from "esbuild";
const contents = ["index", "disk"].map((name) => `export * from "./client/sdk/find/${name}.ts";`).join("");
await esbuild.build({
    stdin: { contents, resolveDir: "." },
    bundle: true, format: "iife", globalName: "find", target: "es2022", minify: true, outfile: process.argv[1],
});
"""

MEASURE = """async (count) => {
    const long = [];
    new PerformanceObserver((list) => long.push(...list.getEntries().map((each) => each.duration)))
        .observe({ type: "longtask" });
    const rest = () => new Promise((done) => setTimeout(done, 200));
    const words = Array.from({ length: 4000 }, (_, n) => "слов" + n.toString(36) + "ї".repeat(n % 5));
    let seed = 1;
    const any = (most) => (seed = (seed * 48271) % 2147483647) % most;
    // Few words are in most messages, most words in few.
    const word = () => words[Math.min(any(4000), any(4000), any(4000))];
    const text = (n) => `${n % 1000 === 0 ? "rarely " : ""}${Array.from({ length: 4 + any(12) }, word).join(" ")}`;
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    let index = await find.Index.open(await find.openDisk(), key, "@ada:b");
    const rooms = ["!a:b", "!c:b"];
    const begun = performance.now();
    for (let at = 0; at < count; at += 64) {
        const room = rooms[(at / 64) % 2];
        const said = [];
        for (let n = at; n < Math.min(count, at + 64); n++) {
            said.push({ id: "$" + n, room, sender: "@m:b", time: n, text: text(n) });
        }
        await index.put(room, said);
        await new Promise((go) => setTimeout(go));
    }
    const taken = performance.now() - begun;
    await rest();
    const filling = long.splice(0);
    const opening = performance.now();
    index = await find.Index.open(await find.openDisk(), key, "@ada:b");
    const opened = performance.now() - opening;
    const times = [], first = performance.now();
    let rare = (await index.find("rarely", rooms)).length;
    const cold = performance.now() - first;
    for (let n = 0; n < 60; n++) {
        const start = performance.now();
        const found = await index.find(n % 3 ? words[any(4000)] : words[n].slice(0, 6), rooms);
        await index.read(found.slice(0, 20));
        times.push(performance.now() - start);
    }
    await rest();
    times.sort((a, b) => a - b);
    return {
        taken, opened, cold, rare, counted: index.counted(rooms).count, p50: times[30], p95: times[57],
        filling: [filling.length, Math.max(0, ...filling)], asking: [long.length, Math.max(0, ...long)],
    };
}"""


def _bundled(folder: Path) -> str:
    """The index by itself, as one script."""
    if (found := find_node()) is None:
        unavailable("there is no Node to bundle the index with")
    script = folder / "find.js"
    command = [str(found[0]), "--input-type=module", "-e", BUNDLE, str(script)]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return script.read_text()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_large_index(browser: Browser, server: Server, tmp_path: Path) -> None:
    page = await (await browser.new_context()).new_page()
    await page.goto(f"{local(server)}/assets/logo.svg")
    await page.evaluate(_bundled(tmp_path) + ";globalThis.find = find")
    seen = await page.evaluate(MEASURE, MESSAGES)
    print(
        f"\n{MESSAGES} messages taken in in {seen['taken'] / 1e3:.1f} s, {seen['taken'] / MESSAGES:.2f} ms each, with "
        f"{seen['filling'][0]} tasks over 50 ms (the longest {seen['filling'][1]:.0f} ms); opened in "
        f"{seen['opened']:.0f} ms; the first answer after {seen['cold']:.0f} ms, then {seen['p50']:.1f} ms, p95 "
        f"{seen['p95']:.1f} ms, with {seen['asking'][0]} tasks over 50 ms (the longest {seen['asking'][1]:.0f} ms); "
        f"load {os.getloadavg()[0]:.1f}"
    )
    assert seen["counted"] == MESSAGES
    assert seen["rare"] == -(-MESSAGES // 1000)
