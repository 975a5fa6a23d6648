"""What waits in the list: what makes a count or a dot, what takes it away, and what the menu of a row does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.support.client import Client, Json, becomes, eventually, part
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator

SHOWS = "JSON.parse(localStorage.getItem('hromada.settings') ?? '{}').receipts"


class Row:
    """One room in the list."""

    def __init__(self, who: Person, name: str) -> None:
        self._who = who
        self.name = name
        self.link: Locator = who.page.get_by_role("navigation", name="Chats").get_by_role("link", name=name)

    async def _badges(self) -> list[str]:
        return [text or "dot" for text in await self.link.locator(".end :is(.badge, .dot)").all_inner_texts()]

    async def waits(self, *badges: str) -> None:
        """Wait until these badges stand there, and no others; a dot is called so."""
        await becomes(self._badges, list(badges))

    async def choose(self, what: str) -> None:
        """Press an entry of its menu."""
        await self.link.click(button="right")
        await self._who.page.get_by_role("menuitem", name=what, exact=True).click()


async def _receipts(other: Client, room: str, user: str) -> list[str]:
    """The events up to which others see that somebody has read."""
    answer = await other.ok("GET", "/sync", params={"timeout": 0})
    events = answer["rooms"]["join"][room]["ephemeral"]["events"]
    return [
        event
        for receipt in events
        if receipt["type"] == "m.receipt"
        for event, kinds in receipt["content"].items()
        if user in kinds.get("m.read", {})
    ]


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_waits_in_a_room_is_shown_in_its_row(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1280, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Garden")
    await mine.create_room(name="Cellar")
    await ada.sign_in()
    page = ada.page
    garden, cellar = Row(ada, "Garden"), Row(ada, "Cellar")
    await cellar.link.click()
    await ada.composer.wait_for()

    async def read(event: str) -> None:
        await mine.ok("POST", f"/rooms/{part(room)}/read_markers", {"m.fully_read": event, "m.read": event})

    first = await maya.send(room, "the first")
    await garden.waits("1")
    last = await maya.send(room, "and another")
    await garden.waits("2")
    # Read elsewhere, in part and then all of it.
    await read(first)
    await garden.waits("1")
    await read(last)
    await garden.waits()
    # A mention says so; what oneself has said elsewhere is an answer to all before it.
    await maya.send(room, {"msgtype": "m.text", "body": "Ada?", "m.mentions": {"user_ids": [mine.user_id]}})
    await garden.waits("@")
    await maya.send(room, "Ada!")
    await garden.waits("@", "2")
    await mine.send(room, "from the telephone")
    await garden.waits()
    # What is taken back is not waited for.
    slip = await maya.send(room, "a slip")
    await garden.waits("1")
    await maya.redact(room, slip)
    await garden.waits()
    # A silenced room has a dot at most.
    await garden.choose("Mute")
    await garden.link.get_by_role("img", name="Muted").wait_for()
    silent = await maya.send(room, "in the silence")
    await garden.waits("dot")
    await garden.choose("Unmute")
    await garden.link.get_by_role("img", name="Muted").wait_for(state="detached")
    await read(silent)
    await garden.waits()
    await _the_menu_of_a_row(ada, mine, maya, room)
    # A badge is a way to what waits.
    await maya.send(room, "at last")
    await garden.waits("1")
    await page.evaluate("document.querySelector('.rail').focus()")
    await garden.link.click()
    await ada.sees("at last")
    await garden.waits()
    await garden.choose("Leave room")
    await page.get_by_role("dialog").get_by_role("button", name="Leave", exact=True).click()
    await garden.link.wait_for(state="detached")
    assert ada.faults == []


async def _the_menu_of_a_row(ada: Person, mine: Client, maya: Client, room: str) -> None:
    page = ada.page
    garden = Row(ada, "Garden")
    path = f"/user/{part(mine.user_id)}/account_data/chat.hromada.web"
    # Who does not show what they have read does not show it here either.
    before = await _receipts(maya, room, mine.user_id)
    await mine.ok("PUT", path, {"receipts": False})
    await becomes(lambda: page.evaluate(SHOWS), False)
    last = await maya.send(room, "is anybody here?")
    await garden.waits("1")
    async with page.expect_response(lambda reply: reply.url.endswith("/read_markers")) as answered:
        await garden.choose("Mark as read")
    assert (await answered.value).ok
    await garden.waits()
    assert await _receipts(maya, room, mine.user_id) == before
    await mine.ok("PUT", path, {"receipts": True})
    await becomes(lambda: page.evaluate(SHOWS), True)
    # To be looked at again: this device and the others know, and it ends as the other did.
    await garden.choose("Mark as unread")
    await garden.waits("dot")
    marked = f"/user/{part(mine.user_id)}/rooms/{part(room)}/account_data/m.marked_unread"
    assert await mine.ok("GET", marked) == {"unread": True}
    async with page.expect_response(lambda reply: reply.url.endswith("/read_markers")):
        await garden.choose("Mark as read")
    await garden.waits()

    async def seen() -> bool:
        return last in await _receipts(maya, room, mine.user_id)

    await eventually(seen)

    async def sections() -> Json:
        found = page.get_by_role("navigation", name="Chats").get_by_role("region")
        texts = await found.evaluate_all("all => all.map((each) => [each.ariaLabel, each.textContent])")
        return {name: "Garden" in text for name, text in texts}

    for choice, other, section in (
        ("Add to favourites", "Remove from favourites", "Favourites"),
        ("Move down", "Move up again", "Less important"),
    ):
        await garden.choose(choice)

        async def moved(section: str = section) -> bool:
            return (await sections()).get(section) is True

        await eventually(moved)
        await garden.choose(other)
        await becomes(sections, {"All chats": True})


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_an_answer_in_a_thread_waits_until_the_thread_is_read(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada = await person(browser, local(server), "ada", viewport={"width": 1280, "height": 800})
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Garden")
    await mine.create_room(name="Cellar")
    root = await mine.send(room, "who waters the beds?")
    await ada.sign_in()
    page = ada.page
    garden, cellar = Row(ada, "Garden"), Row(ada, "Cellar")
    await cellar.link.click()
    await ada.composer.wait_for()
    relation = {"rel_type": "m.thread", "event_id": root, "is_falling_back": True, "m.in_reply_to": {"event_id": root}}
    await maya.send(room, {"msgtype": "m.text", "body": "I do", "m.relates_to": relation})
    await garden.waits("1")
    # Reading what is said beside it takes nothing away from it.
    await garden.link.click()
    threads = page.get_by_role("button", name="Threads, 1 unread")
    for text in ("the sun is out", "and warm"):
        said = await maya.send(room, text)
        await ada.sees(text)

        async def read(event: str = said) -> bool:
            return event in await _receipts(maya, room, mine.user_id)

        await eventually(read)
        await threads.wait_for()
    await cellar.link.click()
    await ada.composer.wait_for()
    await garden.waits("1")
    await garden.link.click()
    await threads.click()
    await page.get_by_role("complementary").locator(".hit button.thr").click()
    thread = page.get_by_role("complementary", name="Thread")
    await thread.locator("li.new + li.msg").get_by_text("I do").wait_for()
    await threads.wait_for(state="detached")
    await garden.waits()
    # What waits there is read with the room where that is what one asks for.
    await cellar.link.click()
    await ada.composer.wait_for()
    await maya.send(room, {"msgtype": "m.text", "body": "and the roses", "m.relates_to": relation})
    await garden.waits("1")
    await garden.choose("Mark as read")
    await garden.waits()
    assert ada.faults == []
