"""The loader on other people's pages: strict, isolated, hostile, changing; and the frame where it must not be."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from homeserver.services.support.site import DAYS
from tests.embed.support_chat import Visitor, host, new_site, page_with, site_command
from tests.support.browser import PATIENCE_MS
from tests.support.client import becomes
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, Route

# What a page does with the loader is the same whatever the server keeps its data in.
one_database = pytest.mark.parametrize("server", ["sqlite"], indirect=True)

FORM = {"fields": [{"name": "name"}, {"name": "message", "required": True}]}


async def visitor(browser: Browser, language: str = "en", **options: Any) -> Visitor:
    """Somebody with a browser of their own."""
    context = await browser.new_context(locale=language, **options)
    context.set_default_timeout(PATIENCE_MS)
    return Visitor(context, await context.new_page())


@pytest.mark.parametrize("isolation", ["", "require-corp", "credentialless"])
@one_database
async def test_pages_with_the_strictest_policies(browser: Browser, server: Server, isolation: str) -> None:
    widget = server.url.replace("127.0.0.1", "localhost")
    policy = (
        f"Content-Security-Policy: default-src 'none'; script-src {widget}; frame-src {widget}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    isolated = (f"Cross-Origin-Embedder-Policy: {isolation}", "Cross-Origin-Opener-Policy: same-origin")
    headers = (policy, *isolated) if isolation else (policy,)

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        site = new_site(server, [origin], [], form=FORM)
        mount = f'{{ site: "{site}", accent: "#8C3B4A", side: "start" }}'
        module = f"""import {{ HromadaChat }} from "{widget}/embed.mjs";
            const chat = HromadaChat.mount({mount});
            globalThis.same = [chat, HromadaChat.mount({mount})].every((each) => each === globalThis.hromadaChat);"""
        page = '<!doctype html><html lang="en"><body><script type="module" src="/app.js"></script>'
        own = tuple(line.replace("script-src", "script-src 'self'") for line in headers)
        return {
            "/": ("text/html", page_with(server, site), *headers),
            "/module": ("text/html", page, *own),
            "/app.js": ("text/javascript", module),
        }

    async with host(pages) as origin:
        ada = await visitor(browser)
        await ada.page.goto(origin)
        await ada.begin("Does it work here?")
        assert await ada.page.evaluate("crossOriginIsolated") is bool(isolation)
        await _as_a_module(ada, f"{origin}/module")
        launcher = await ada.page.evaluate("document.querySelector('hromada-chat').getBoundingClientRect().width")
        assert launcher >= 56
        assert ada.faults == []


async def _as_a_module(ada: Visitor, address: str) -> None:
    """A page that imports the loader has the same chat, once."""
    await ada.page.goto(address)
    await ada.framed()
    await ada.sees("Does it work here?")
    assert await ada.page.evaluate("globalThis.same")
    assert await ada.page.locator("hromada-chat").count() == 1
    accent = "getComputedStyle(document.querySelector('hromada-chat')).getPropertyValue('--hromada-accent')"
    assert await ada.page.evaluate(accent) == "#8C3B4A"
    assert await ada.page.evaluate("document.querySelector('hromada-chat').getBoundingClientRect().left") < 100


@one_database
async def test_only_the_site_s_pages_show_the_frame(browser: Browser, server: Server) -> None:
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [], form=FORM)
        return {"/": ("text/html", page_with(server, site))}

    async with host(pages), host(lambda _: {"/": ("text/html", page_with(server, site))}, "site-c.localhost") as wrong:
        eve = await visitor(browser)
        await eve.page.goto(wrong)
        await eve.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        async with eve.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
            await eve.page.evaluate("hromadaChat.open()")


@one_database
async def test_the_page_is_left_as_it_was(browser: Browser, server: Server) -> None:
    before = """<script>
        globalThis.heard = []; globalThis.seen = [];
        window.onmessage = (event) => heard.push(event.data);
        window.hromadaChat = { q: [["on", "open", () => seen.push(1)], ["setContext", { name: "Ada", plan: "pro" }],
            ["sendMessage", "first"], ["close"], ["open"]] };
    </script><style>* { display: none !important; font-size: 90px !important } html, body { display: block !important }
    </style>"""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        text = page_with(server, new_site(server, [origin], [], form=FORM), before=before)
        twice = text.replace("</head>", text[text.index("<script async") : text.index("</head>")] + "</head>")
        return {"/": ("text/html", twice)}

    async with host(pages) as origin:
        ada = await visitor(browser)
        await ada.page.goto(origin)
        frame = await ada.framed()
        await becomes(lambda: ada.page.evaluate("seen"), [1, 1])  # in the order of the calls
        assert await ada.page.locator("hromada-chat").count() == 1  # though it was included twice
        await becomes(frame.get_by_label("Your question").input_value, "first")  # a draft, and not sent
        await becomes(frame.get_by_label("Name").input_value, "Ada")  # what the page knows need not be typed
        # A forged hello gets no port: neither from the page itself nor from a frame of its own.
        await ada.page.evaluate("""() => {
            window.postMessage("hromada:hello", "*");
            const inner = document.createElement("iframe");
            inner.srcdoc = "<script>parent.postMessage('hromada:hello', '*');"
                + "onmessage = (event) => parent.ports = (parent.ports ?? 0) + event.ports.length</" + "script>";
            document.body.append(inner);
        }""")
        # A forged port is not taken by the frame: it comes from another window than the one around it.
        await frame.evaluate("""() => new Promise((done) => {
            const inner = document.createElement("iframe");
            document.body.append(inner);
            const { port1, port2 } = new inner.contentWindow.MessageChannel();
            port1.postMessage({ m: "draft", v: "forged" });
            inner.contentWindow.parent.postMessage("hromada:port", "*", [port2]);
            setTimeout(done, 300);
        })""")
        assert await frame.get_by_label("Your question").input_value() == "first"
        assert await ada.page.evaluate("globalThis.ports ?? 0") == 0
        assert await ada.page.evaluate("typeof window.onmessage") == "function"
        await _begins_elsewhere(ada, origin)
        # The body is swapped, the chat stays; destroyed it goes, and comes back when it is called.
        await ada.page.evaluate("document.body.replaceWith(document.createElement('body'))")
        await ada.page.wait_for_function("() => document.querySelector('body > hromada-chat')")
        await ada.page.evaluate("hromadaChat.destroy()")
        await ada.page.wait_for_function("() => !document.querySelector('hromada-chat')")
        while ada.frame is not None:
            await ada.page.wait_for_timeout(50)
        assert await _listened_to(ada) == ["message"]  # by the page itself
        await ada.page.evaluate("hromadaChat.open()")
        await ada.framed()
        assert await ada.page.locator("hromada-chat").count() == 1
        # The launcher looks as ever, whatever the page's rules are for all elements.
        await ada.page.evaluate("hromadaChat.close()")
        box = "(() => { const { width, height } = document.querySelector('hromada-chat').getBoundingClientRect(); "
        await becomes(lambda: ada.page.evaluate(f"{box} return [width, height]; }})()"), [56, 56])
        assert ada.faults == []


async def _begins_elsewhere(ada: Visitor, origin: str) -> None:
    """What is too large is not listened to; the address changes, and it is the new one that staff is told."""
    frame = ada.frame
    await ada.page.evaluate("""() => {
        hromadaChat.setContext({ name: "x".repeat(70_000) });
        history.pushState({}, "", "/next?a=1");
        hromadaChat.sendMessage("second");
    }""")
    await becomes(frame.get_by_label("Your question").input_value, "second")
    assert await frame.get_by_label("Name").input_value() == "Ada"
    async with ada.page.expect_request("**/session") as asked:
        await frame.get_by_role("button", name="Start chat").click()
    assert json.loads((await asked.value).post_data or "")["page"] == f"{origin}/next?a=1"
    await ada.sees("second")


HEARS = ("message", "popstate", "currententrychange", "resize", "scroll", "DOMContentLoaded")


async def _listened_to(ada: Visitor) -> list[str]:
    """The events, of those that the loader listens to, that somebody listens to for the whole page."""
    session = await ada.context.new_cdp_session(ada.page)
    found: list[str] = []
    for whole in ("window", "visualViewport", "navigation"):
        thing = (await session.send("Runtime.evaluate", {"expression": whole}))["result"]["objectId"]
        listeners = (await session.send("DOMDebugger.getEventListeners", {"objectId": thing}))["listeners"]
        found += [each["type"] for each in listeners if each["type"] in HEARS]
    await session.detach()
    return found


@one_database
async def test_the_launcher_looks_as_site_and_page_say(browser: Browser, server: Server) -> None:
    theme = {"launcher": "Ask\u202e  us", "side": "start", "accent": "#8C3B4A"}

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        site = new_site(server, [origin], [], form=FORM, theme=theme)
        own = ' data-launcher="Help &lt;b&gt;" data-side="end" data-accent="#1F7048"'
        style = "<style>hromada-chat { --hromada-side: 7px }</style>"
        return {
            "/": ("text/html", page_with(server, site)),
            "/own": ("text/html", page_with(server, site, attributes=own, before=style)),
        }

    async def looks(ada: Visitor) -> tuple[str, float, bool, bool, str]:
        """The button's name, its distance from the nearer side, which that is, whether a word is on it, its colour."""
        found = await ada.page.evaluate("""() => {
            const chat = document.querySelector("hromada-chat"), box = chat.getBoundingClientRect();
            const [left, right] = [box.left, document.documentElement.clientWidth - box.right];
            const accent = getComputedStyle(chat).getPropertyValue("--hromada-accent");
            return [Math.min(left, right), left < right, box.width > 70, accent];
        }""")
        session = await ada.context.new_cdp_session(ada.page)
        nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
        await session.detach()
        names = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "button"]
        return (names[0], *found)

    async with host(pages) as origin:
        ada = await visitor(browser)
        await ada.page.goto(origin)
        await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        assert await looks(ada) == ("Open the chat", 20, False, False, "")  # nothing was asked for yet
        await ada.open()
        await ada.page.evaluate("hromadaChat.close()")
        await becomes(lambda: looks(ada), ("Ask us", 20, True, True, "#8C3B4A"))
        await ada.page.goto(f"{origin}/own")
        await ada.open()  # the frame says what the site wants, and the page has said it already
        await ada.page.evaluate("hromadaChat.close()")
        await becomes(lambda: looks(ada), ("Help <b>", 7, False, True, "#1F7048"))
        assert ada.faults == []


@one_database
async def test_the_keyboard_and_the_focus(browser: Browser, server: Server, web_build: Path) -> None:
    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        return {"/": ("text/html", page_with(server, new_site(server, [origin], [], form=FORM)))}

    axe = axe_of(web_build)
    async with host(pages) as origin:
        ada = await visitor(browser, bypass_csp=True, viewport={"width": 390, "height": 780})
        await ada.page.goto(origin)
        await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        await ada.page.keyboard.press("Tab")
        await becomes(lambda: ada.page.evaluate("document.activeElement.localName"), "hromada-chat")
        await ada.page.keyboard.press("Enter")
        frame = await ada.framed()

        async def size() -> tuple[float, float]:
            box = await (await frame.frame_element()).bounding_box()
            return (box["width"], box["height"]) if box else (0, 0)

        await becomes(size, (390, 780))  # all of a phone's screen
        sizes = await frame.locator("input, textarea").evaluate_all(
            "all => all.map((each) => parseFloat(getComputedStyle(each).fontSize))"
        )
        assert min(sizes) >= 16  # smaller ones make phones zoom
        await clean(frame, axe)
        await ada.begin("Is anybody there?")
        await clean(frame, axe)
        await _goes_round(ada)
        await _types_on_the_screen(ada)
        await frame.get_by_role("button", name="Menu").press("Enter")
        await clean(frame, axe)
        await ada.page.keyboard.press("Escape")
        await frame.locator(".menu").wait_for(state="detached")
        await ada.page.keyboard.press("Escape")
        await becomes(lambda: ada.page.evaluate("hromadaChat.isOpen()"), False)
        await becomes(lambda: ada.page.evaluate("document.activeElement.localName"), "hromada-chat")


@one_database
async def test_what_cannot_be_shown_can_be_closed_and_tried_again(
    browser: Browser, server: Server, web_build: Path
) -> None:
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [], form=FORM)
        return {"/": ("text/html", page_with(server, site))}

    async with host(pages) as origin:
        ada = await visitor(browser, bypass_csp=True, viewport={"width": 390, "height": 780})
        await ada.page.goto(origin)
        await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        # Without a connection: a phone's screen is not left covered by nothing.
        await ada.page.route("**/_embed/frame/*", lambda route: route.abort())
        await ada.page.evaluate(
            "globalThis.errors = []; hromadaChat.on('error', (e) => errors.push(e.message)); hromadaChat.open()"
        )
        await ada.page.wait_for_function("() => errors.includes('offline') && !hromadaChat.isOpen()")
        await ada.page.unroute("**/_embed/frame/*")

        async def busy(route: Route) -> None:
            """What the server shows to whom it refuses for a while."""
            refused = await route.fetch(url=f"{server.url}/_embed/frame/nobody")
            text = (await refused.text()).replace('"off": true', '"off": false')
            await route.fulfill(status=429, headers=refused.headers, body=text.replace("[]", json.dumps([origin])))

        await ada.page.route("**/_embed/frame/*", busy)
        frame = await ada.open()
        await frame.get_by_role("alert").get_by_text("The chat cannot be reached just now.").wait_for()
        await clean(frame, axe_of(web_build))
        await frame.get_by_role("button", name="Close the chat").click()
        await ada.page.wait_for_function("() => !hromadaChat.isOpen()")
        await ada.page.evaluate("hromadaChat.open()")
        await ada.page.unroute("**/_embed/frame/*")
        await frame.evaluate("setTimeout(() => document.querySelector('.btn').click())")  # it takes this frame away
        while ada.frame in (None, frame):
            await ada.page.wait_for_timeout(50)
        await ada.frame.locator(".hello").wait_for()
        # A site that is switched off has no launcher, from the first opening on, until it is there again.
        hidden = "() => document.querySelector('hromada-chat')?.hidden"
        for switch, expected in (("--disable", True), ("--enable", False)):
            site_command(server, "edit", site, switch)
            while ((await ada.page.request.get(f"{server.url}/_embed/frame/{site}")).status == 404) is not expected:
                await ada.page.wait_for_timeout(100)
            await ada.page.reload()
            await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
            if expected:
                await ada.page.evaluate("hromadaChat.open()")
            await ada.page.wait_for_function(f"() => ({hidden})() === {json.dumps(expected)}")
        assert ada.faults == []


async def _goes_round(ada: Visitor) -> None:
    """The keyboard comes to everything in the chat, forwards and back, and not out of it."""
    stops = ["Menu", "Close the chat", "Messages", "Attach a file", "Write a message"]
    await ada.frame.get_by_role("textbox", name=stops[-1]).focus()
    here = "[document.hasFocus(), document.activeElement.getAttribute('aria-label')]"
    for key, way in (("Tab", [*stops, stops[0]]), ("Shift+Tab", [*reversed(stops), stops[-1]])):
        for stop in way:
            await ada.page.keyboard.press(key)
            await becomes(lambda: ada.frame.evaluate(here), [True, stop])


# A keyboard on the screen as iPhones have it: it covers the page, which only its visual viewport says.
_KEYBOARD = """([height, top]) => {
    Object.defineProperty(visualViewport, "height", { value: height, configurable: true });
    Object.defineProperty(visualViewport, "offsetTop", { value: top, configurable: true });
    visualViewport.dispatchEvent(new Event("resize"));
}"""
_IN_VIEW = """(height) => {
    const [field, last] = [document.querySelector(".cmp textarea"), [...document.querySelectorAll(".bub")].at(-1)];
    return innerHeight === height && [field, last].every((each) => {
        const box = each.getBoundingClientRect();
        return box.top >= 0 && box.bottom <= innerHeight;
    });
}"""


async def _types_on_the_screen(ada: Visitor) -> None:
    """What is left of the screen is the chat, with the field and the last message in it."""
    frame = ada.frame
    for number in range(12):
        await ada.say(f"line {number}")
    await ada.sees("line 11")
    for height, top in ((380, 120), (780, 0)):
        await ada.page.evaluate(_KEYBOARD, [height, top])
        await frame.wait_for_function(_IN_VIEW, arg=height)
        box = {"x": 0, "y": top, "width": 390, "height": height}
        await becomes((await frame.frame_element()).bounding_box, box)


def axe_of(build: Path) -> str:
    """The program of axe-core."""
    return (build.parent / "node_modules" / "axe-core" / "axe.min.js").read_text()


async def clean(frame: Any, axe: str) -> None:
    """Nothing that axe-core finds wrong."""
    await frame.evaluate(axe)
    found = await frame.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    shown = [(fault["id"], [node["html"][:160] for node in fault["nodes"]]) for fault in found["violations"]]
    assert shown == []


async def test_sizes(web_build: Path) -> None:
    sizes = json.loads((web_build / "manifest.json").read_text())["sizes"]
    assert sizes["loader"] <= 4 * 1024
    assert sizes["module"] <= 4 * 1024
    assert sizes["frame"] <= 30 * 1024
    assert 20 * 1024 < sizes["sealed"] <= 30 * 1024


@one_database
async def test_dark_pages_printing_and_hours(browser: Browser, server: Server, make_user: MakeUser) -> None:
    far = (datetime.now(UTC) + timedelta(days=3)).weekday()
    hours = {"tz": "UTC", "weekly": {DAYS[far]: [["22:00", "23:30"]]}}
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [], form=FORM, hours=hours)
        text = page_with(server, site)
        return {"/": ("text/html", text), "/named": ("text/html", text.replace("embed.js", f"embed.js?site={site}"))}

    async with host(pages) as origin:
        ada = await visitor(browser, color_scheme="dark", timezone_id="Asia/Tokyo")
        await ada.page.goto(origin)
        frame = await ada.open()
        # Late in the evening there is early on the next day here.
        await frame.locator(".hours dd").first.wait_for()
        week = await frame.locator(".hours dd").all_inner_texts()
        assert len([text for text in week if text != "closed"]) == 1
        assert [part.strip()[:4] for part in week[(far + 1) % 7].split("\u2013")] == ["7:00", "8:30"]
        background = "getComputedStyle(document.body).backgroundColor"
        assert await frame.evaluate(background) == "rgb(21, 20, 18)"
        await ada.page.evaluate("hromadaChat.setTheme('light')")
        await frame.wait_for_function(f"() => {background} === 'rgb(255, 255, 255)'")
        await ada.page.emulate_media(media="print")
        shown = "getComputedStyle(document.querySelector('hromada-chat')).display"
        await becomes(lambda: ada.page.evaluate(shown), "none")
        await ada.page.emulate_media(media="screen")
        await _hides(server, site, ada)
        # In its hours it is there.
        site_command(server, "edit", site, "--file", "-", stdin='{"hours": null}')
        await _until(ada, f"{server.url}/_embed/frame/{site}", 200)
        max_ = await visitor(browser)
        await max_.page.goto(f"{origin}/named")
        await _stays_open_for_hours(server, site, max_, {"hours": hours, "offline": "form"})
        assert ada.faults + max_.faults == []


async def _stays_open_for_hours(server: Server, site: str, max_: Visitor, later: dict[str, Any]) -> None:
    """What was so when the frame was loaded is looked at anew; what is written meanwhile stays."""
    frame = await max_.open()
    await frame.get_by_label("Your question").fill("are you still there?")
    before = await frame.locator("h1").inner_text()
    site_command(server, "edit", site, "--file", "-", stdin=json.dumps(later))

    async def heading() -> str:
        await frame.evaluate("() => { const now = Date.now; Date.now = () => now() + 3_600_000; }")
        await max_.page.evaluate("hromadaChat.close(); hromadaChat.open();")
        return str(await frame.locator("h1").inner_text())

    await becomes(heading, "We are closed now")
    assert before != "We are closed now"
    assert await frame.get_by_label("Your question").input_value() == "are you still there?"
    await frame.locator(".hours dd").first.wait_for()


async def _hides(server: Server, site: str, ada: Visitor) -> None:
    """Out of hours there is no chat: none at all where the script knows the site, and none any more elsewhere."""
    said = site_command(server, "edit", site, "--offline", "hide")
    assert f'/embed.js?site={site}" data-site="{site}"' in said
    await _until(ada, f"{server.url}/_embed/frame/{site}", 404)
    for name in ("embed.js", "embed.mjs"):
        loader = await ada.page.request.get(f"{server.url}/{name}?site={site}")
        assert (loader.status, loader.headers["cache-control"]) == (200, "public, max-age=300")
    origin = ada.page.url.rstrip("/")
    await ada.page.goto(f"{origin}/named")
    await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
    assert (
        await ada.page.evaluate("hromadaChat.open() ?? hromadaChat.on('open', () => 1)() ?? hromadaChat.isOpen()")
        is False
    )
    module = f'import("{loader.url}").then(({{ HromadaChat }}) => HromadaChat.mount({{ site: "{site}" }}).isOpen())'
    assert await ada.page.evaluate(module) is False
    assert await ada.page.locator("hromada-chat").count() == 0
    await ada.page.goto(origin)
    await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
    await ada.page.evaluate("hromadaChat.open()")
    await ada.page.wait_for_function("() => document.querySelector('hromada-chat').hidden")


async def _until(ada: Visitor, address: str, status: int) -> None:
    """Settings that another process has changed hold within seconds."""
    while (await ada.page.request.get(address)).status != status:
        await ada.page.wait_for_timeout(100)
