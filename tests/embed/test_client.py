"""The web client in a real Chromium on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from tests.embed import hostile
from tests.embed.people import held_back, local, pair, person
from tests.embed.test_uploads import kept
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from playwright.async_api import Browser, Page

SCHEMES = {"https:", "http:", "mailto:"}
HARMLESS = (
    "a b strong i em u s del sub sup code span small button p div ul ol li blockquote table thead tbody tr th td "
    "caption details summary hr br"
).split()


async def test_two_people_register_and_talk_over_the_socket(browser: Browser, server: Server) -> None:
    ada, maya, name = await pair(browser, server)
    polls: list[str] = []
    ada.page.on("request", lambda request: polls.append(request.url) if "/sync?" in request.url else None)
    await ada.say("Hello **Maya**")
    await maya.sees("Hello Maya")
    assert await maya.page.locator("[role=log] strong").inner_text() == "Maya"
    await maya.say("Привіт, Адо!")
    await ada.sees("Привіт, Адо!")
    assert polls == []  # everything came over the WebSocket
    # What was said is there after a reload, and so is the unsent text.
    await maya.composer.fill("half a tho")
    await kept(maya.page, "half a tho")
    await maya.page.reload()
    await maya.sees("Привіт, Адо!")
    await becomes(maya.composer.input_value, "half a tho")
    await maya.page.get_by_role("navigation", name="Chats").get_by_text(name).wait_for()
    assert ada.faults + maya.faults == []


# Notes what stands in the place of the conversation before the SDK is there.
KEPT = """new MutationObserver(() => {
    const found = document.querySelector(".tl[aria-busy] li.msg:last-child");
    if (found) globalThis.kept = document.querySelector(".tl[aria-busy]").textContent;
}).observe(document, { childList: true, subtree: true });"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_open_room_is_shown_before_the_client_runs(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    await ada.create_room(f"Garden {ada.name}")
    await ada.say("kept for the morning")
    await ada.sent("kept for the morning")
    await ada.page.add_init_script(KEPT)
    # It is kept a while after it has changed.
    for attempt in range(1, 10):
        await ada.page.wait_for_timeout(1_500 * attempt)
        await ada.page.reload()
        await ada.composer.wait_for()
        if seen := await ada.page.evaluate("globalThis.kept"):
            break
    assert "kept for the morning" in seen
    await ada.sees("kept for the morning")
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_wrong_password_is_said_and_a_right_one_signs_in(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    again = await person(browser, local(server), "again")
    again.name = ada.name
    await again.page.goto(f"{again.url}/#/login")
    await again.page.get_by_label("User name").fill(ada.name)
    await again.page.get_by_label("Password", exact=True).fill("wrong")
    await again.page.get_by_role("button", name="Sign in").click()
    await again.page.get_by_role("alert").get_by_text("not right").wait_for()
    await again.sign_in()
    assert ada.faults + again.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_went_on_after_signing_in_is_not_led_away(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    again = await person(browser, local(server), "again")
    again.name = ada.name
    page = again.page
    let = await held_back(page, "**/keys/query")
    await again.sign_in()
    await again.go("settings/profile")
    let.set()
    await page.get_by_text("This device is not confirmed yet").wait_for()
    await page.get_by_role("heading", name="Profile").wait_for()
    await page.get_by_role("button", name="Confirm", exact=True).click()
    await page.get_by_text("Open your encrypted messages").wait_for()
    assert ada.faults + again.faults == []


# long: one walk in two browsers, because each further one takes seconds
async def test_a_conversation_has_all_its_parts(browser: Browser, server: Server) -> None:
    ada, maya, _ = await pair(browser, server)
    await ada.say("Count me in")
    await maya.sees("Count me in")
    await maya.act("Count me in", "React with 👍")
    await ada.page.get_by_role("button", name="1 reacted with 👍").wait_for()
    await maya.act("Count me in", "Reply")
    await maya.say("see you at nine")
    await ada.message("see you at nine").locator(".quote", has_text="Count me in").wait_for()
    await maya.sent("see you at nine")
    await maya.composer.press("ArrowUp")
    await maya.say("see you at ten")
    await ada.message("see you at ten").get_by_text("edited").wait_for()
    await ada.act("see you at ten", "Reply in thread")
    thread = ada.page.get_by_role("complementary", name="Thread")
    await thread.get_by_role("textbox").fill("in the thread")
    await thread.get_by_role("textbox").press("Enter")
    await maya.page.get_by_role("button", name="1 reply").click()
    answer = maya.page.get_by_role("complementary", name="Thread")
    await answer.get_by_text("in the thread").wait_for()
    await answer.get_by_role("textbox").fill("and back")
    await answer.get_by_role("textbox").press("Enter")
    await thread.get_by_text("and back").wait_for()
    await maya.composer.press_sequentially("hm")
    await ada.page.get_by_text(f"{maya.name} is typing").first.wait_for()
    await maya.composer.fill("")
    await maya.composer.press_sequentially(f"@{ada.name[:3]}")
    await maya.page.get_by_role("option", name=ada.name).click()
    # Painted behind the field, in the field's own type and place.
    mark = maya.page.locator(".cmp .seen mark", has_text=f"@{ada.name}")
    await mark.wait_for()
    assert (
        await mark.evaluate("""(mark) => {
        const [layer, field] = [mark.parentElement, document.querySelector("#composer")];
        const form = ["font", "fontFeatureSettings", "letterSpacing", "paddingTop", "paddingLeft"];
        const [mine, its] = [getComputedStyle(layer), getComputedStyle(field)];
        const [here, there] = [layer.getBoundingClientRect(), field.getBoundingClientRect()];
        const places = ["top", "left", "height"].filter((name) => here[name] !== there[name]);
        return [...form.filter((name) => mine[name] !== its[name]), ...places];
    }""")
        == []
    )
    await maya.composer.press_sequentially("look")
    await maya.composer.press("Enter")
    await ada.page.locator("li.msg.me .men.me").wait_for()
    # Who may only look on has one button, and it stands at the end of what was said.
    await ada.say("Apples, pears and quinces " * 4)
    row = maya.message("quinces")
    await row.hover()
    bar = row.get_by_role("toolbar")
    await bar.evaluate("bar => { while (bar.children.length > 1) bar.firstChild.remove(); }")
    toolbar, bubble = await bar.bounding_box(), await row.locator(".bub").bounding_box()
    assert toolbar
    assert bubble
    assert 0 <= bubble["x"] + bubble["width"] - toolbar["x"] - toolbar["width"] <= 12
    # What is deleted is gone for both.
    await maya.act("look", "More actions")
    await maya.page.get_by_role("menuitem", name="Delete").click()
    await maya.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await ada.page.get_by_text("Message deleted").wait_for()
    assert ada.faults + maya.faults == []


async def harmless(page: Page, least: int) -> None:
    """Nothing in what others wrote runs, asks for something, or passes for a part of the page."""
    log = page.get_by_role("log")
    assert await log.locator(".rich").count() >= least
    nodes = log.locator(".rich *")
    assert set(await nodes.evaluate_all("all => all.map((node) => node.localName)")) <= set(HARMLESS)
    names = set(await nodes.evaluate_all("all => all.flatMap((node) => node.getAttributeNames())"))
    assert names <= {"class", "href", "target", "rel", "type", "start", "tabindex", "aria-label", "aria-hidden"}
    classes = set(await log.locator(".rich *[class]").evaluate_all("all => all.flatMap((node) => [...node.classList])"))
    assert not classes & {"main", "language-js"}, "nothing of what others wrote is a class here"
    links = log.locator(".rich a[href]")
    assert set(await links.evaluate_all("all => all.map((link) => new URL(link.href).protocol)")) <= SCHEMES
    # What turns letters around outside a link does not reach into it.
    assert set(await links.evaluate_all("all => all.map((link) => getComputedStyle(link).unicodeBidi)")) <= {"isolate"}


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_hostile_texts_become_harmless_nodes(browser: Browser, server: Server, http: ClientSession) -> None:
    ada, maya, _ = await pair(browser, server)
    asked: set[str] = set()
    maya.page.on("request", lambda request: asked.add(urlsplit(request.url).hostname or request.url))
    sender = Client(http, server.url)
    sender.token = await ada.token()
    room = unquote((await ada.page.evaluate("location.hash")).split("/")[2].split("?")[0])
    made = list(hostile.documents(20_261_129, 60))
    batches = [hostile.KNOWN, *(made[first : first + 12] for first in range(0, len(made), 12))]
    for n, batch in enumerate(batches):
        for html in batch:
            body = {"msgtype": "m.text", "body": "plain", "format": "org.matrix.custom.html", "formatted_body": html}
            await sender.send(room, body)
        await sender.send(room, f"batch {n} is over")
        # What one says oneself goes to the end, wherever one is; the last thirty messages are there then.
        await maya.say(f"after batch {n}")
        await maya.sent(f"after batch {n}")
        # The answer to what one sends may overtake what others said before.
        await maya.message(f"batch {n} is over").wait_for(state="attached")
        await harmless(maya.page, len(batch))
    assert await maya.page.evaluate("globalThis.pwned") is None
    assert asked <= {"localhost"}
    # The inert document has the page's policy, which reports each handler in it as blocked; nothing else may be heard.
    assert [fault for fault in maya.faults if "has been blocked" not in fault] == []
