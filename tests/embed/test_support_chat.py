"""What visitors do in the chat: long histories, no connection, files, forms, rating, signing in, leaving no trace."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from PIL import Image

from tests.embed.support_chat import Agent, Json, Visitor, host, new_site, page_with
from tests.embed.test_support_host import visitor
from tests.embed.test_support_identity import claims, keyed
from tests.support.client import PASSWORD, becomes, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

MESSAGES = 1_000 if os.environ.get("HROMADA_FIGURES") else 181
FORM = {"fields": [{"name": "name"}, {"name": "message", "required": True}]}


class Shop:
    """A site with an agent on its desk; `pages` is for `host`."""

    def __init__(self, server: Server, agent: Agent, **settings: Any) -> None:
        self.server = server
        self.agent = agent
        self.settings = {"form": FORM, **settings}
        self.site = ""
        self.desk = ""

    def pages(self, origin: str) -> dict[str, tuple[str, ...]]:
        self.site = new_site(self.server, [origin], [self.agent.client.user_id], **self.settings)
        return {"/": ("text/html", page_with(self.server, self.site))}

    async def begin(self, browser: Browser, origin: str, text: str) -> tuple[Visitor, str]:
        """A visitor who has written, and the case's room, which the agent has entered."""
        self.desk = self.desk or await self.agent.join_desk()
        ada = await visitor(browser)
        await ada.page.goto(origin)
        await ada.begin(text)
        return ada, await self.agent.enter(await self.agent.card(self.desk, text))


@pytest.mark.timeout(900 if os.environ.get("HROMADA_FIGURES") else 300)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_long_history_is_read_without_jumps(browser: Browser, server: Server, make_user: MakeUser) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "message number zero")
        for number in range(1, MESSAGES):
            await shop.agent.say(room, f"message number {number}")
        await ada.page.reload()
        await ada.framed()
        await ada.sees(f"message number {MESSAGES - 1}")
        log = ada.frame.get_by_role("log")
        jump = await ada.frame.evaluate(_SCROLL, "The beginning of the conversation")
        assert jump <= 2
        await log.get_by_text("message number zero").wait_for()
        await log.get_by_text("The beginning of the conversation").wait_for()
        texts = await ada.frame.locator(".msg .bub").all_inner_texts()
        assert texts == ["message number zero", *(f"message number {number}" for number in range(1, MESSAGES))]


# Scrolls to the top until its words are there; the furthest that a row in view has moved by itself, in pixels.
_SCROLL = """async (beginning) => {
    const log = document.querySelector(".log");
    let worst = 0;
    while (log.scrollTop > 0 || !log.textContent.includes(beginning)) {
        log.scrollTop = Math.max(0, log.scrollTop - 400);
        await new Promise((done) => setTimeout(done, 30));
        const box = log.getBoundingClientRect();
        const all = [...log.querySelectorAll("[data-key]")];
        const row = all.find((each) => each.getBoundingClientRect().bottom > box.top);
        const before = row.getBoundingClientRect().top, rows = log.querySelectorAll("[data-key]").length;
        await new Promise((done) => setTimeout(done, 120));
        const grown = log.querySelectorAll("[data-key]").length > rows;
        if (grown) worst = Math.max(worst, Math.abs(row.getBoundingClientRect().top - before));
    }
    return worst;
}"""


async def test_what_is_written_without_a_connection_is_sent_later(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "before the tunnel")
        await ada.context.set_offline(True)
        for number in range(3):
            await ada.say(f"in the tunnel {number}")
        await ada.frame.get_by_text("in the tunnel 2").wait_for()
        assert await ada.frame.locator(".msg .st").last.inner_text() in ("Sending…", "Waits for the connection")
        meanwhile = [f"said meanwhile {number}" for number in range(MEANWHILE)]
        for body in meanwhile:
            await shop.agent.say(room, body)
        before = len(ada.requests)
        await ada.context.set_offline(False)
        await shop.agent.hears(room, "in the tunnel 2")
        await ada.sees(meanwhile[-1])
        mine = [body for body in shop.agent.bodies(room) if body.startswith("in the tunnel")]
        assert mine == ["in the tunnel 0", "in the tunnel 1", "in the tunnel 2"]
        # More was said than comes at once: what is missing is read when it is scrolled to, and nothing twice.
        await ada.frame.wait_for_function(TO_THE_TOP)
        assert len([url for url in ada.requests[before:] if "/messages?" in url]) >= 2
        await becomes(ada.frame.locator(".msg .bub").all_inner_texts, ["before the tunnel", *meanwhile, *mine])


# More than one update holds, and two together.
MEANWHILE = 110
TO_THE_TOP = """() => {
    const log = document.querySelector(".log");
    log.scrollTop = 0;
    return log.textContent.includes("The beginning of the conversation");
}"""


# long: one browser and one conversation serve all of it, as making them takes most of the time
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_pictures_come_and_go_and_what_could_run_is_only_saved(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    files = {"max_bytes": 100_000, "types": ["image/jpeg"]}
    shop = Shop(server, Agent(await make_user("agent")), files=files)
    async with host(shop.pages) as origin:
        name = {"displayname": "Olena\u202e\u2066 gro"}
        await shop.agent.client.ok("PUT", f"/profile/{shop.agent.client.user_id}/displayname", name)
        ada, room = await shop.begin(browser, origin, "look at this")
        picture = io.BytesIO()
        exif = Image.Exif()
        exif[0x010F] = "SecretCamera"
        Image.new("RGB", (60, 40), "red").save(picture, "JPEG", exif=exif)
        chosen = {"name": "mug.jpg", "mimeType": "image/jpeg", "buffer": picture.getvalue()}
        await ada.frame.locator("input[type=file]").set_input_files([chosen])  # type: ignore[list-item] # a mapping is a FilePayload
        event = await shop.agent.hears(room, "mug.jpg")
        assert event["content"]["info"]["w"] == 60
        mxc = event["content"]["url"].removeprefix("mxc://")
        sent = await shop.agent.client.request("GET", f"/_matrix/client/v1/media/download/{mxc}")
        assert sent.status == 200
        assert b"SecretCamera" not in sent.raw
        await ada.frame.locator(".pic img").first.wait_for()
        await ada.frame.get_by_role("button", name="Enlarge the picture").first.click()
        await ada.frame.locator("dialog.large[open] img").wait_for()
        await ada.page.keyboard.press("Escape")
        # A drawing that could run is never drawn, whatever it says it is.
        svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='parent.pwned=1'/>"
        kept = await shop.agent.client.request(
            "POST", "/_matrix/media/v3/upload", data=svg, headers={"Content-Type": "image/svg+xml"}
        )
        for number, mime in enumerate(("image/svg+xml", "image/png", "text/html")):
            content = {
                "msgtype": "m.image",
                "body": f"evil\u202e{number}.svg",
                "url": kept.body["content_uri"],
                "info": {"mimetype": mime, "size": len(svg)},
            }
            path = f"/rooms/{part(room)}/send/m.room.message/{fresh('m')}"
            await shop.agent.client.ok("PUT", path, content)
        await ada.frame.locator(".doc", has_text="evil2.svg").wait_for()
        await ada.frame.locator(".doc", has_text="evil0.svg").wait_for()
        await ada.frame.get_by_text("Olena gro joined").wait_for()
        await ada.frame.evaluate(
            "globalThis.saved = []; HTMLAnchorElement.prototype.click = function () { saved.push(this.download); }; 0"
        )
        await ada.frame.locator(".doc", has_text="evil0.svg").click()
        await ada.frame.wait_for_function("() => saved.length === 1")
        assert await ada.frame.evaluate("saved") == ["evil0.svg"]
        page = await ada.frame.content()
        assert re.findall(r"\\u20[26]|[\u202a-\u202e\u2066-\u2069]", page) == []
        assert await ada.frame.locator("svg[onload], iframe, object, embed").count() == 0
        # Long after the case was resolved a message begins a new one, below what was said before.
        card = await shop.agent.card(shop.desk, "look at this")
        await shop.agent.react(shop.desk, card, "✅")
        await ada.frame.get_by_text("This conversation has ended.").wait_for()
        with closing(sqlite3.connect(server.data_dir / "hromada.db")) as store, store:
            store.execute("UPDATE support_cases SET resolved_ms = 1 WHERE room_id = ?", (room,))
        await ada.say("and now for another mug")
        card = await shop.agent.card(shop.desk, "and now for another mug")
        assert card["chat.hromada.support.case"]["room_id"] != room
        await ada.sees("and now for another mug")
        await ada.sees("look at this")
        chosen = {"name": "x.html", "mimeType": "text/html", "buffer": b"<b>x</b>"}
        await ada.frame.locator("input[type=file]").set_input_files([chosen])  # type: ignore[list-item] # a mapping is a FilePayload
        await ada.frame.get_by_text("Files of this kind cannot be sent here.").wait_for()
        before = len(ada.requests)
        chosen = {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"x" * 100_001}
        await ada.frame.locator("input[type=file]").set_input_files([chosen])  # type: ignore[list-item] # a mapping is a FilePayload
        await ada.frame.get_by_text("The file is larger than 100 kB.").wait_for()
        assert not any("/upload" in url for url in ada.requests[before:])
        assert ada.faults == []


async def test_consent_badge_rating_and_erasing(browser: Browser, server: Server, make_user: MakeUser) -> None:
    form = {**FORM, "consent_url": "https://shop.example/privacy"}
    shop = Shop(server, Agent(await make_user("agent")), form=form)
    async with host(shop.pages) as origin:
        desk = await shop.agent.join_desk()
        ada = await visitor(browser)
        await ada.page.goto(origin)
        frame = await ada.open()
        await frame.get_by_label("Your question").fill("May I ask?")
        await frame.get_by_role("button", name="Start chat").click()
        await frame.get_by_role("checkbox").and_(frame.locator("[aria-invalid=true]")).wait_for()
        assert await ada.context.cookies() == []  # nothing was begun
        await frame.get_by_role("checkbox").check()
        await frame.get_by_role("button", name="Start chat").click()
        await ada.sees("May I ask?")
        card = await shop.agent.card(desk, "May I ask?")
        room = await shop.agent.enter(card)
        # While it is closed what comes is counted; opening it is reading.
        await ada.page.evaluate(
            "globalThis.counts = []; hromadaChat.on('unread', (n) => counts.push(n)); hromadaChat.close()"
        )
        await shop.agent.say(room, "<b>Please</b> do")
        await ada.page.wait_for_function("() => counts.at(-1) === 1")
        # It stays counted on the next page, until it is read.
        await ada.context.add_init_script(
            "globalThis.counts = []; globalThis.heard = []; window.hromadaChat = { q: ["
            "['on', 'unread', (n) => counts.push(n)], ['on', 'message', ({ mine }) => heard.push(mine)]] };"
        )
        await ada.page.reload()
        await ada.page.wait_for_function("() => counts.at(-1) === 1")
        await ada.page.evaluate("hromadaChat.open()")
        await ada.page.wait_for_function("() => counts.at(-1) === 0")
        frame = await ada.framed()
        await ada.sees("<b>Please</b> do")  # a text, not markup
        await ada.say("I am here again")
        await ada.page.wait_for_function("() => heard.length === 1 && heard[0] === true")
        # What comes while it is open is read aloud.
        await shop.agent.say(room, "We are listening")
        await (
            frame.locator("[aria-live=polite]", has_text="New message from")
            .get_by_text("We are listening")
            .wait_for(state="attached")
        )
        await shop.agent.until(lambda: _read(shop.agent, room), "a receipt")
        await shop.agent.react(desk, card, "✅")
        await frame.get_by_role("radio", name="Great").click()
        await frame.wait_for_function(ASKS_IN_VIEW)  # it has grown by a field for what else there is to say
        await frame.get_by_role("button", name="Send", exact=True).first.click()
        await shop.agent.card(desk, "rated 5 of 5")
        await _is_asked_again(frame, shop.agent, desk, card)
        await frame.get_by_role("button", name="Menu").click()
        await frame.get_by_role("button", name="Erase my data").click()
        await frame.get_by_role("dialog").get_by_role("button", name="Erase", exact=True).click()
        await frame.get_by_text("Your data was erased.").wait_for()
        await shop.agent.card(desk, "(erased)")
        await ada.page.reload()
        await (await ada.framed()).get_by_role("button", name="Start chat").wait_for()


async def _is_asked_again(frame: Any, agent: Agent, desk: str, card: Json) -> None:
    """What comes to an end again is asked about again."""
    await frame.get_by_text("Thank you!").wait_for()
    await agent.react(desk, card, "🔁")
    await frame.get_by_text("Thank you!").wait_for(state="detached")
    await agent.note(desk, card, "!resolve")
    await frame.get_by_role("radio", name="Awful").click()
    await frame.get_by_role("button", name="Send", exact=True).first.click()
    await agent.card(desk, "rated 1 of 5")


ASKS_IN_VIEW = """() => {
    const [log, field] = [document.querySelector(".log"), document.querySelector(".rate textarea")];
    const send = document.querySelector(".rate .btn.go").getBoundingClientRect();
    return field && send.bottom <= log.getBoundingClientRect().bottom;
}"""


def _read(agent: Agent, room: str) -> bool:
    return room in agent.receipts


# long: one browser and one conversation serve all of it, as making them takes most of the time
async def test_signing_in_takes_the_conversation_along(browser: Browser, server: Server, make_user: MakeUser) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    async with host(shop.pages) as origin:
        kid, secret = keyed(server, shop.site)
        ada, room = await shop.begin(browser, origin, "not signed in yet")

        def token() -> str:
            return jwt.encode(claims(shop.site), secret, algorithm="HS256", headers={"kid": kid})

        await ada.page.evaluate("token => hromadaChat.setUser({ jwt: token })", token())
        await shop.agent.card(shop.desk, "not signed in yet", "verified by the site")
        await ada.sees("not signed in yet")
        await shop.agent.say(room, "Hello, Ada")
        await ada.sees("Hello, Ada")
        # Somebody new, whose token has grown old over the form: the page gives another, and the message goes out.
        late = await visitor(browser)
        await late.page.goto(origin)
        await late.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        old = claims(shop.site, "newcomer")
        old |= {"iat": old["iat"] - 900, "exp": old["iat"] - 600}
        grown_old = [jwt.encode(old, secret, algorithm="HS256", headers={"kid": kid})]

        async def over_the_form(route: Route) -> None:
            body = json.loads(route.request.post_data or "{}")
            if body["begin"] and grown_old:
                body["jwt"] = grown_old.pop()
            await route.continue_(post_data=json.dumps(body))

        await late.context.route("**/session", over_the_form)
        fresh_ones = [
            jwt.encode(claims(shop.site, "newcomer", name="New"), secret, algorithm="HS256", headers={"kid": kid})
            for _ in range(2)
        ]
        await late.page.evaluate(
            """([first, second]) => {
                hromadaChat.on("identity-expired", () => hromadaChat.setUser({ jwt: second }));
                hromadaChat.setUser({ jwt: first });
            }""",
            fresh_ones,
        )
        await late.begin("I have thought about it for long")
        assert grown_old == []
        await shop.agent.card(shop.desk, "New", "I have thought about it for long", "verified by the site")
        # Her telephone has the same conversation.
        phone = await visitor(browser)
        await phone.page.goto(origin)
        await phone.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        await phone.page.evaluate("token => { hromadaChat.setUser({ jwt: token }); hromadaChat.open(); }", token())
        await phone.framed()
        await phone.sees("Hello, Ada")
        await phone.say("from the telephone")
        await ada.sees("from the telephone")
        await phone.frame.get_by_role("textbox", name="Write a message").fill("not for who comes next")
        await phone.frame.wait_for_function("() => Object.keys(localStorage).some((key) => key.startsWith('draft:'))")
        await phone.page.evaluate("hromadaChat.sendMessage('nor this')")
        await phone.page.evaluate("hromadaChat.setUser(null)")
        await phone.frame.get_by_role("button", name="Start chat").wait_for()
        assert await phone.frame.get_by_label("Your question").input_value() == ""
        kept = await phone.frame.evaluate("JSON.stringify({ ...localStorage })")
        assert "draft" not in kept
        assert "next" not in kept
        assert await phone.context.cookies() == []
        assert ada.faults + phone.faults == []


async def test_the_first_message_may_take_long_and_the_conversation_can_be_kept(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    shop = Shop(server, Agent(await make_user("agent")), proof_of_work=12, accounts=True)
    stale = busy = 1

    async def late(route: Route) -> None:
        """Too many came before; and the page is older than what it shows may be."""
        nonlocal stale, busy
        if busy:
            busy -= 1
            body = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too many requests", "retry_after_ms": 600_000}
            await route.fulfill(status=429, json=body)
            return
        body = json.loads(route.request.post_data or "{}")
        if stale:
            stale -= 1
            body["nonce"] = "1.x"
        await route.continue_(post_data=json.dumps(body))

    async with host(shop.pages) as origin:
        desk = await shop.agent.join_desk()
        ada = await visitor(browser)
        await ada.context.route("**/session", late)
        await ada.page.goto(origin)
        frame = await ada.open()
        await frame.get_by_label("Your question").fill("may I?")
        await frame.get_by_role("button", name="Start chat").click()
        await frame.get_by_role("alert").get_by_text("Try again in 10 minutes.").wait_for()
        await ada.begin("I have thought about it for long")
        assert stale == busy == 0
        card = await shop.agent.card(desk, "I have thought")
        room = await shop.agent.enter(card)
        frame = ada.frame
        await frame.get_by_role("button", name="Menu").click()
        await frame.get_by_role("button", name="Keep it as an account").click()
        dialog = frame.get_by_role("dialog", name="Keep it as an account")
        user_id = await dialog.locator("b").inner_text()
        await dialog.get_by_label("Choose a password").fill("x")
        await dialog.get_by_role("button", name="Keep it").click()
        await dialog.get_by_text("Choose a longer password.").wait_for()
        await dialog.get_by_label("Choose a password").fill(PASSWORD)
        await dialog.get_by_role("button", name="Keep it").click()
        await frame.get_by_text(f"Your account: {user_id}.").wait_for()
        assert await ada.context.cookies() == []
        again = await shop.agent.client.anonymous().login(user_id)
        await again.send(room, "from an account of my own")
        await shop.agent.hears(room, "from an account of my own")
        # The browser begins anew, as somebody else.
        await ada.begin("a new question")
        assert ada.faults == []
