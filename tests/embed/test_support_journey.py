"""A visitor on a website and an agent on a plain Matrix client converse: the whole way, in a real Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.embed.support_chat import Agent, Json, Visitor, host, new_site, page_with
from tests.support.browser import PATIENCE_MS
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

FORM = {"fields": [{"name": "name"}, {"name": "order"}, {"name": "message", "required": True}]}


async def test_a_visitor_is_answered_from_any_matrix_client(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("olena"))
    await agent.client.ok("PUT", f"/profile/{agent.client.user_id}/displayname", {"displayname": "Olena"})
    site = ""

    def pages(origin: str) -> dict[str, tuple[str, ...]]:
        nonlocal site
        site = new_site(server, [origin], [agent.client.user_id], form=FORM)
        return {"/mugs": ("text/html", page_with(server, site, before=_OVERHEARD))}

    async with host(pages) as origin:
        desk = await agent.join_desk()
        context = await browser.new_context(locale="en")
        context.set_default_timeout(PATIENCE_MS)
        ada = Visitor(context, await context.new_page())
        ada.page.on("websocket", lambda socket: ada.requests.append(socket.url))
        await ada.page.goto(f"{origin}/mugs?secret=1")
        await ada.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        # Loading the page has cost one request and has left nothing behind.
        assert [url for url in ada.requests if not url.startswith(origin)] == [f"{_widget(server)}/embed.js"]
        assert await context.cookies() == []
        assert await ada.page.evaluate("localStorage.length + sessionStorage.length") == 0

        async with ada.page.expect_response("**/session") as answer:
            await ada.begin("Is the blue mug safe for the dishwasher?")
        session = await (await answer.value).json()
        card = await agent.card(desk, "Ada", "/mugs", "Is the blue mug safe")
        assert "secret" not in card["body"]
        room = await agent.enter(card)
        await agent.hears(room, "Is the blue mug safe for the dishwasher?")
        await agent.say(room, "Yes, up to 60 °C.")
        await ada.sees("Yes, up to 60 °C.")
        await ada.frame.get_by_text("Olena joined").wait_for()
        # The answer has given the case to who wrote it.
        await agent.card(desk, "open, with Olena")
        await ada.say("Great, then I will take four.")
        await agent.hears(room, "Great, then I will take four.")

        await _seen_on_both_sides(agent, ada, room)
        # What the page comes to say is on the card.
        await ada.page.evaluate("hromadaChat.setContext({ order: 1042, plan: 'pro' })")
        await agent.card(desk, "order: 1042")

        await _kept_apart(ada, origin, session)
        # It goes on after a reload, and in another tab of the same browser.
        await ada.page.reload()
        await ada.framed()
        await ada.sees("Great, then I will take four.")
        second = Visitor(context, await context.new_page())
        await second.page.goto(f"{origin}/mugs")
        await second.open()
        await second.sees("Yes, up to 60 °C.")
        await agent.say(room, "They are in your basket.")
        await ada.sees("They are in your basket.")
        await second.sees("They are in your basket.")
        assert ada.faults + second.faults == []
        polls = [url for url in ada.requests if "/sync?" in url]
        assert polls == []  # everything came over the WebSocket


async def _seen_on_both_sides(agent: Agent, ada: Visitor, room: str) -> None:
    """Typing and reading."""
    await agent.client.ok("PUT", f"/rooms/{room}/typing/{agent.client.user_id}", {"typing": True, "timeout": 20_000})
    await ada.frame.get_by_text("Olena is typing").wait_for()
    last = (await agent.hears(room, "Great, then I will take four."))["event_id"]
    await agent.client.ok("POST", f"/rooms/{room}/receipt/m.read/{last}", {})
    await ada.frame.get_by_text("Seen").wait_for()


async def _kept_apart(ada: Visitor, origin: str, session: Json) -> None:
    """The page and the chat know of each other what they need."""
    # The frame learns where the page is by its word alone, and may not listen or look.
    assert await ada.frame.evaluate("document.referrer") == f"{origin}/"
    allowed = await ada.frame.evaluate("document.featurePolicy.allowedFeatures()")
    assert not {"microphone", "camera", "geolocation"} & set(allowed)
    # No address and nothing that the page is told or holds has a token in it.
    places = [ada.requests, await ada.page.evaluate(_OPEN), await ada.page.content()]
    assert "streaming" in str(places)
    assert [secret for secret in ("access_token", "handle") if session[secret] in str(places)] == []
    assert any(url.startswith("ws") for url in ada.requests)


# All that goes through windows and ports of the page; and that with what the page holds.
_OVERHEARD = """<script>
    globalThis.heard = [];
    addEventListener("message", ({ data }) => heard.push(data));
    const Channel = MessageChannel;
    globalThis.MessageChannel = function () {
        const made = new Channel(), post = made.port1.postMessage.bind(made.port1);
        made.port1.addEventListener("message", ({ data }) => heard.push(data));
        made.port1.postMessage = (data) => (heard.push(data), post(data));
        return made;
    };
</script>"""
_OPEN = "JSON.stringify([heard, { ...localStorage }, { ...sessionStorage }, document.cookie])"


def _widget(server: Server) -> str:
    return server.url.replace("127.0.0.1", "localhost")
