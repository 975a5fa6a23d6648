"""Files that visitors choose while there is no connection, or whose upload breaks off: kept, shown, and sent once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.embed.support_chat import Agent, Visitor, host
from tests.embed.test_support_chat import Shop
from tests.support.fixtures import MakeUser
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

NOTE = (Path(__file__).parent / "media" / "note.txt").read_bytes()
UPLOADS = "**/_matrix/media/v3/upload**"


async def choose(ada: Visitor, *names: str) -> None:
    """Choose text files of these names."""
    files: list[Any] = [{"name": name, "mimeType": "text/plain", "buffer": NOTE} for name in names]
    await ada.frame.locator("input[type=file]").set_input_files(files)


def row(ada: Visitor, name: str) -> Any:
    return ada.frame.locator(".msg.own", has_text=name)


async def ready(ada: Visitor) -> None:
    """What sends files is there: it comes by itself, after the conversation."""
    await ada.frame.wait_for_function(
        "async () => (await indexedDB.databases()).some(({ name }) => name.endsWith(':files'))"
    )


# long: one visitor lives through all of it, as what counts is what has arrived at its end
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_files_wait_for_the_connection_and_come_once(
    browser: Browser, server: Server, make_user: MakeUser
) -> None:
    shop = Shop(server, Agent(await make_user("agent")))
    async with host(shop.pages) as origin:
        ada, room = await shop.begin(browser, origin, "I have papers for you")
        await ready(ada)
        # Without a connection they wait, are bounded in number, and can be taken back.
        await ada.context.set_offline(True)
        await choose(ada, *(f"tunnel-{number}.txt" for number in range(10)))
        await row(ada, "tunnel-9.txt").get_by_text("Waits for the connection").or_(
            row(ada, "tunnel-9.txt").get_by_text("Sending")
        ).wait_for()  # fmt: skip
        await choose(ada, "one-too-many.txt")
        await ada.frame.get_by_role("alert").get_by_text("Too many files are waiting.").wait_for()
        for number in range(9):
            await row(ada, f"tunnel-{number}.txt").get_by_role("button", name="Cancel").click()
        await ada.say("written after them")
        await ada.context.set_offline(False)
        await shop.agent.hears(room, "written after them")
        await shop.agent.hears(room, "tunnel-9.txt")
        # An upload that breaks off half-way is begun again by itself; a page that comes anew goes on with it.
        broken = [0]

        async def break_off(route: Route) -> None:
            broken[0] += 1
            await route.abort("connectionreset")

        await ada.context.route(UPLOADS, break_off)
        await choose(ada, "broken.txt")
        await row(ada, "broken.txt").get_by_text("Sending").wait_for()
        while not broken[0]:
            await ada.page.wait_for_timeout(50)
        await ada.page.reload()
        await ada.framed()
        await row(ada, "broken.txt").get_by_role("button", name="Cancel").wait_for()
        before = broken[0]
        while broken[0] == before:  # it is tried again
            await ada.page.wait_for_timeout(50)
        await ada.context.unroute(UPLOADS)
        await shop.agent.hears(room, "broken.txt")
        # One that the server does not want is not tried for ever: it can be tried again, or taken away.
        await ada.context.route(UPLOADS, refuse)
        await choose(ada, "refused.txt")
        await row(ada, "refused.txt").get_by_role("button", name="Try again").wait_for()
        await row(ada, "refused.txt").get_by_role("button", name="Remove").click()
        await row(ada, "refused.txt").wait_for(state="detached")
        await ada.context.unroute(UPLOADS)
        await ada.say("that was all")
        await shop.agent.hears(room, "that was all")
        files = [
            event["content"]
            for event in shop.agent.events[room]
            if event["type"] == "m.room.message" and event["content"]["msgtype"] == "m.file"
        ]
        assert [content["body"] for content in files] == ["tunnel-9.txt", "broken.txt"]
        assert [content["info"] for content in files] == [{"mimetype": "text/plain", "size": len(NOTE)}] * 2
        # Nothing of them is kept here any more.
        await ada.frame.wait_for_function(_EMPTY)
        assert ada.faults == []


async def refuse(route: Route) -> None:
    """The answer to a file that must not be sent."""
    await route.fulfill(status=403, json={"errcode": "M_FORBIDDEN", "error": "Not here"})


_EMPTY = """async () => {
    const { name } = (await indexedDB.databases()).find((each) => each.name.endsWith(":files"));
    const db = await new Promise((done) => (indexedDB.open(name).onsuccess = (event) => done(event.target.result)));
    const count = db.transaction("files").objectStore("files").count();
    await new Promise((done) => (count.onsuccess = done));
    db.close();
    return count.result === 0 && !Object.keys(localStorage).some((key) => key.startsWith("parcels:"));
}"""
