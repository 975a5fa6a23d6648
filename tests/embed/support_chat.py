"""Support chats for tests: sites made by the command, pages with the chat on them, agents as plain Matrix clients."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.support.client import Client, part
from tests.support.fixtures import fresh
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

PATIENCE_S = 90.0
_numbers = itertools.count()

Json = dict[str, Any]


def site_command(server: Server, *arguments: str, stdin: str | None = None, status: int = 0) -> str:
    """What `hromada site …` prints, on this server's data."""
    options = ["--data-dir", str(server.data_dir), "--server-name", server.name]
    if server.options.database_url is not None:
        options += ["--database-url", server.options.database_url]
    command = [sys.executable, "-m", "homeserver", "site", *arguments, *options]
    not_settings = ("HROMADA_FIGURES", "HROMADA_SCREENSHOTS")
    environment = {name: value for name, value in os.environ.items() if name not in not_settings}
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT, env=environment
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + (done.stderr if status else "")


def new_site(server: Server, origins: Sequence[str], agents: Sequence[str], **settings: Any) -> str:
    """Make a site; its id."""
    site_id = f"s{os.getpid()}x{next(_numbers)}"
    arguments = ["add", site_id, "--name", settings.pop("name", "Teren shop"), "--file", "-"]
    for origin in origins:
        arguments += ["--origin", origin]
    for agent in agents:
        arguments += ["--agent", agent]
    site_command(server, *arguments, stdin=json.dumps(settings))
    return site_id


class Agent:
    """Somebody of staff with nothing but a Matrix client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.since: str | None = None
        self.events: dict[str, list[Json]] = {}
        self.state: dict[str, dict[tuple[str, str], Json]] = {}
        self.invites: dict[str, Json] = {}
        self.receipts: set[str] = set()
        """Rooms in which somebody has read something."""
        self.typing: dict[str, list[str]] = {}
        """Who writes, by room."""

    async def sync(self, timeout: int = 0) -> None:
        """Take in what is new."""
        params = {"since": self.since, "timeout": str(timeout)}
        body = await self.client.ok("GET", "/sync", params={k: v for k, v in params.items() if v})
        self.since = body["next_batch"]
        for room_id, joined in body.get("rooms", {}).get("join", {}).items():
            self.invites.pop(room_id, None)
            for event in [*joined.get("state", {}).get("events", []), *joined["timeline"]["events"]]:
                if "state_key" in event:
                    self.state.setdefault(room_id, {})[event["type"], event["state_key"]] = event["content"]
            for event in joined.get("ephemeral", {}).get("events", []):
                if event["type"] == "m.receipt":
                    self.receipts.add(room_id)
                elif event["type"] == "m.typing":
                    self.typing[room_id] = event["content"]["user_ids"]
            self.events.setdefault(room_id, []).extend(joined["timeline"]["events"])
        for room_id, invited in body.get("rooms", {}).get("invite", {}).items():
            self.invites[room_id] = invited

    async def until(self, found: Callable[[], Any], what: str = "") -> Any:
        """Sync until `found` gives something; that."""
        deadline = time.monotonic() + PATIENCE_S
        while not (result := found()):
            assert time.monotonic() < deadline, f"never came: {what}"
            await self.sync(timeout=500)
        return result

    async def join_desk(self) -> str:
        """Accept the invitations to the desk and its space; the desk's room id."""
        await self.until(lambda: len(self.invites) >= 2, "invitations to desk and space")
        for room_id in list(self.invites):
            await self.client.ok("POST", f"/join/{part(room_id)}", {})
        await self.sync()
        return str(await self.until(self.desk, "the desk"))

    def desk(self) -> str | None:
        """The desk's room id, if it has been joined."""
        for room_id, state in self.state.items():
            if state.get(("m.room.name", ""), {}).get("name", "").endswith("· desk"):
                return room_id
        return None

    def cards(self, desk: str) -> list[Json]:
        """The cards on the desk as they look now, each with its event's id in `card`."""
        cards: dict[str, Json] = {}
        for event in self.events.get(desk, []):
            content = event["content"]
            if event["type"] != "m.room.message" or "body" not in content:
                continue
            relation = content.get("m.relates_to", {})
            if relation.get("rel_type") == "m.replace":
                cards[relation["event_id"]] = {**content["m.new_content"], "card": relation["event_id"]}
            elif "chat.hromada.support.case" in content:
                cards[event["event_id"]] = {**content, "card": event["event_id"]}
        return list(cards.values())

    async def card(self, desk: str, *words: str) -> Json:
        """The newest card with these words on it."""

        def find() -> Json | None:
            fitting = [card for card in self.cards(desk) if all(word in card["body"] for word in words)]
            return fitting[-1] if fitting else None

        return dict(await self.until(find, f"a card with {words}: {[c['body'] for c in self.cards(desk)]}"))

    async def react(self, desk: str, card: Json, key: str) -> str:
        """React to a card; the reaction's id."""
        relation = {"rel_type": "m.annotation", "event_id": card["card"], "key": key}
        txn = fresh("r")
        path = f"/rooms/{part(desk)}/send/m.reaction/{txn}"
        return str((await self.client.ok("PUT", path, {"m.relates_to": relation}))["event_id"])

    async def note(self, desk: str, card: Json, text: str) -> None:
        """Say something in the card's thread."""
        content = {
            "msgtype": "m.text",
            "body": text,
            "m.relates_to": {"rel_type": "m.thread", "event_id": card["card"]},
        }
        await self.client.ok("PUT", f"/rooms/{part(desk)}/send/m.room.message/{fresh('n')}", content)

    async def enter(self, card: Json) -> str:
        """Join the case's room; its id."""
        room_id: str = card["chat.hromada.support.case"]["room_id"]
        await self.client.ok("POST", f"/join/{part(room_id)}", {})
        return room_id

    async def say(self, room_id: str, body: str) -> str:
        """Write to the visitor."""
        content = {"msgtype": "m.text", "body": body}
        sent = await self.client.ok("PUT", f"/rooms/{part(room_id)}/send/m.room.message/{fresh('m')}", content)
        return str(sent["event_id"])

    async def hears(self, room_id: str, body: str) -> Json:
        """Wait for a message."""

        def find() -> Json | None:
            for event in self.events.get(room_id, []):
                if event["type"] == "m.room.message" and event["content"].get("body") == body:
                    return event
            return None

        return dict(await self.until(find, f"a message {body!r}"))

    def bodies(self, room_id: str) -> list[str]:
        """All messages of a room, as they came."""
        return [e["content"]["body"] for e in self.events.get(room_id, []) if e["content"].get("msgtype") == "m.text"]


class Frame:
    """A visitor without a browser: does what the frame does, over HTTP."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, site: str) -> None:
        self.client = Client(http, server.url)
        self.site = site
        self.session: Json = {}
        self.handle = ""

    async def nonce(self) -> str:
        """What a fresh frame has in it."""
        reply = await self.client.request("GET", f"/_embed/frame/{self.site}", token=None)
        assert reply.status == 200, reply
        given = reply.raw.decode().split('id="given">')[1].split("</script>")[0]
        return str(json.loads(given)["nonce"])

    async def ask(self, action: str, body: Json | None = None, **headers: str) -> Any:
        """A request of the frame's own, as it is."""
        sent = {"X-Hromada-Embed": "1", **({"X-Hromada-Session": self.handle} if self.handle else {}), **headers}
        path = f"/_embed/v1/sites/{self.site}/{action}"
        return await self.client.request("POST", path, body or {}, token=None, headers=sent)

    async def begin(self, **more: Any) -> Json:
        """Begin a session."""
        body = {"nonce": await self.nonce(), "key": fresh("key"), "page": "https://shop.example/mugs?x=1", **more}
        return self.take((await self.ask("session", body)).ok())

    def take(self, session: Json) -> Json:
        """Use a session."""
        self.session = session
        self.handle = session["handle"]
        self.client.token = session["access_token"]
        self.client.user_id = session["user_id"]
        return session

    @property
    def room(self) -> str:
        """Where the visitor writes."""
        return str(self.session["room_id"])

    async def say(self, body: str) -> str:
        """Send a message."""
        content = {"msgtype": "m.text", "body": body}
        path = f"/rooms/{part(self.room)}/send/m.room.message/{fresh('m')}"
        return str((await self.client.ok("PUT", path, content))["event_id"])


HOST_PAGE = """<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>Mugs</title>{before}
<script async src="{widget}/embed.js" data-site="{site}"{attributes}></script></head>
<body><h1>Mugs</h1><p>{text}</p></body></html>"""


@asynccontextmanager
async def host(
    pages: Callable[[str], dict[str, tuple[str, ...]]], name: str = "site-a.localhost"
) -> AsyncIterator[str]:
    """A website at its own origin; `pages` is given the origin, and gives path → type, text, header lines."""
    files: dict[str, tuple[str, ...]] = {}

    async def answer(request: web.Request) -> web.Response:
        found = files.get(request.path)
        if found is None:
            return web.Response(status=404)
        headers = dict(line.split(": ", 1) for line in found[2:])
        return web.Response(text=found[1], content_type=found[0], headers=headers)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        origin = f"http://{name}:{runner.addresses[0][1]}"
        files.update(pages(origin))
        yield origin
    finally:
        await runner.cleanup()


def page_with(server: Server, site: str, **more: str) -> str:
    """A page with the chat on it."""
    widget = server.url.replace("127.0.0.1", "localhost")
    values = {"lang": "en", "before": "", "attributes": "", "text": "Blue ones.", **more}
    return HOST_PAGE.format(widget=widget, site=site, **values)


class Visitor:
    """Somebody on a website. What its policy forbids, or throws, is in `faults`."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._hear(message.text))
        page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "Trusted" in text:
            self.faults.append(text)

    @property
    def launcher(self) -> str:
        """The launcher's selector: it is in a closed shadow root, so it is found by its host."""
        return "hromada-chat"

    @property
    def frame(self) -> Any:
        """The chat's frame: found by its address, since the closed shadow root hides its element."""
        return next((frame for frame in self.page.frames if "/_embed/frame/" in frame.url), None)

    async def open(self) -> Any:
        """Open the chat; its frame."""
        await self.page.wait_for_function("() => !!globalThis.hromadaChat?.open")
        await self.page.evaluate("hromadaChat.open()")
        return await self.framed()

    async def framed(self) -> Any:
        """The frame, when it has drawn."""
        deadline = time.monotonic() + PATIENCE_S
        while (frame := self.frame) is None:
            assert time.monotonic() < deadline, "no frame"
            await asyncio.sleep(0.05)
        await frame.locator(".panel .head, .panel .hello, .panel .empty").first.wait_for()
        return frame

    async def begin(self, text: str, name: str = "Ada") -> Any:
        """Fill the form and send the first message; the frame."""
        frame = await self.open()
        await frame.get_by_label("Your question").wait_for()
        if await frame.get_by_label("Name").count():
            await frame.get_by_label("Name").fill(name)
        await frame.get_by_label("Your question").fill(text)
        await frame.get_by_role("button", name="Start chat").click()
        await frame.get_by_role("log").get_by_text(text).wait_for()
        return frame

    async def say(self, text: str) -> None:
        """Send a message."""
        composer = self.frame.get_by_role("textbox", name="Write a message")
        await composer.fill(text)
        await composer.press("Enter")

    async def sees(self, text: str) -> None:
        """Wait for a message."""
        await self.frame.get_by_role("log").get_by_text(text).last.wait_for()

    async def sees_picture(self, name: str) -> None:
        """Go to a picture, and wait until it is drawn."""
        place = self.frame.get_by_role("button", name=f"Enlarge the picture: {name}")
        await place.scroll_into_view_if_needed()
        await place.locator("img").wait_for()
        drawn = "name => [...document.images].some((each) => each.alt === name && each.complete && each.naturalWidth)"
        await self.frame.wait_for_function(drawn, arg=name)
