"""Ways into a room that ask somebody first, and rooms that go on in another one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, local, person, until
from tests.embed.test_start import SNAPSHOT
from tests.support.client import Client, becomes, part
from tests.support.fixtures import fresh
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_knocks_is_let_in_and_follows_the_room(browser: Browser, server: Server, anonymous: Client) -> None:
    ada, maya = [await person(browser, local(server), word) for word in ("ada", "maya")]
    await ada.sign_up()
    await maya.sign_up()
    client = await anonymous.anonymous().login(ada.name, PASSWORD)
    knock = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room = await client.create_room(name="Council", room_version="10", initial_state=[knock])
    await maya.page.goto(f"{maya.url}/#/room/{room}")
    await maya.page.get_by_label("Why").or_(maya.page.locator("main textarea")).first.fill("the lift")
    await maya.page.get_by_role("button", name="Ask to join").click()
    await maya.page.get_by_text("You asked to join. Somebody will answer.").wait_for()
    await ada.page.goto(f"{ada.url}/#/room/{room}?panel=members")
    await ada.page.get_by_role("region", name="Asking to join").get_by_role("button").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Let in").click()
    await maya.page.get_by_role("button", name="Accept").click()
    await maya.composer.wait_for()
    await ada.page.keyboard.press("Escape")
    await ada.page.goto(f"{ada.url}/#/room/{room}?panel=settings")
    await ada.page.get_by_role("button", name="Move to a newer version").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Move", exact=True).click()
    await ada.page.wait_for_function(
        "old => location.hash.includes('/room/') && !location.hash.includes(old)", arg=room
    )
    await ada.composer.wait_for()
    new = ada.page.url.split("/room/")[1].split("?")[0]
    assert (await client.ok("GET", f"/rooms/{new}/state/m.room.create"))["predecessor"]["room_id"] == room
    await maya.page.get_by_text("This room goes on in a new one").first.wait_for()
    await maya.page.get_by_role("button", name="Go there").click()
    await maya.page.wait_for_function(
        "old => location.hash.includes('/room/') && !location.hash.includes(old)", arg=room
    )
    await maya.composer.wait_for()
    await maya.say("here, too")
    await ada.sees("here, too")
    assert ada.faults + maya.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_new_account_on_a_telephone_is_told_where_to_begin(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    await (await anonymous.anonymous().register(fresh("ada"))).create_room(name="Orchard", visibility="public")
    maya = await person(browser, local(server), "maya", viewport={"width": 390, "height": 780})
    await maya.sign_up()
    await maya.page.get_by_role("button", name="Write to someone").wait_for()
    await maya.page.get_by_text(re.compile(r"^\d+ (is|are) open here$")).wait_for()
    await maya.page.get_by_role("link", name="Find a room").click()
    await maya.page.get_by_role("heading", name="Explore rooms").wait_for()
    await maya.page.evaluate("location.hash = '#/explore?q=nothing-of-this-name'")
    await maya.page.get_by_text("Nothing found for “nothing-of-this-name”").wait_for()
    await maya.page.go_back()
    await maya.page.get_by_text("Nothing found").wait_for(state="detached")
    await maya.page.get_by_role("button", name="Create a room").first.click()
    await maya.page.get_by_role("dialog").get_by_label("Name").fill("Bees")
    await maya.page.get_by_role("dialog").get_by_role("button", name="Create room").click()
    await maya.page.get_by_role("main", name="Bees").wait_for()
    await maya.page.evaluate("location.hash = '#/'")
    await maya.page.get_by_role("link", name="Bees").wait_for()
    assert maya.faults == []


# long: one walk in one browser, because each further one takes seconds
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_invitations_are_declined_and_people_ignored(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada")
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Garden")
    await ada.sign_in()
    page = ada.page

    async def invited(name: str) -> str:
        made = await maya.create_room(name=name, preset="private_chat", topic=f"of the {name}")
        await maya.ok("POST", f"/rooms/{made}/invite", {"user_id": mine.user_id})
        return made

    async def membership(of: str) -> str:
        return str((await maya.state(of, "m.room.member", mine.user_id))["membership"])

    async def ignored() -> bool:
        path = f"/user/{mine.user_id}/account_data/m.ignored_user_list"
        reply = await mine.request("GET", path)
        return reply.status == 200 and maya.user_id in reply.body["ignored_users"]

    # One of two is declined on its page, the other among all.
    first, second = await invited("Shed"), await invited("Attic")
    await page.get_by_role("link", name="2 invitations").click()
    await page.get_by_role("heading", name="2 invitations").wait_for()
    await page.get_by_role("main").get_by_role("button", name="Shed").click()
    await page.get_by_text("of the Shed").wait_for()
    await page.get_by_role("button", name="Decline", exact=True).first.click()
    await becomes(lambda: membership(first), "leave")
    await page.get_by_role("link", name="1 invitation").click()
    await page.get_by_role("main").get_by_role("button", name="Decline").click()
    await becomes(lambda: membership(second), "leave")
    await page.get_by_text("No invitations").wait_for()
    await page.get_by_role("link", name="1 invitation").wait_for(state="detached")
    # Who invites what one does not want is ignored with it; what they say is not shown from then on.
    await maya.send(room, "said before")
    await page.goto(f"{ada.url}/#/room/{room}")
    await ada.sees("said before")
    third = await invited("Loft")
    await page.get_by_role("link", name="1 invitation").click()
    await page.get_by_role("main").get_by_role("button", name="Loft").click()
    await page.get_by_role("button", name="Ignore maya").click()
    await becomes(lambda: membership(third), "leave")
    await becomes(ignored, True)
    await page.goto(f"{ada.url}/#/room/{room}")
    await ada.composer.wait_for()
    await ada.message("said before").wait_for(state="detached")
    await maya.send(room, "said to the wall")
    await ada.say("is it quiet?")
    await ada.sent("is it quiet?")
    assert await page.get_by_role("log").get_by_text("said to the wall").count() == 0
    # Once they are heard again, all of it is there.
    await page.goto(f"{ada.url}/#/settings/privacy")
    await page.get_by_role("button", name="Stop ignoring").click()
    await page.locator("p", has_text="Nobody").wait_for()
    await becomes(ignored, False)
    await page.goto(f"{ada.url}/#/room/{room}")
    await ada.sees("said before")
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_was_ignored_on_another_device_stays_so(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada")
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya, noor = [await anonymous.anonymous().register(f"{word}.{ada.name}") for word in ("maya", "noor")]
    room = await mine.shared_room(maya, name="Garden")
    await mine.send(room, "kept for the morning")
    await ada.sign_in()
    page = ada.page
    await ada.go(f"room/{room}")
    await ada.sees("kept for the morning")
    await until(page, SNAPSHOT, "kept for the morning")
    # A page that has begun with what it had, and has not heard of the other device.
    await page.route_web_socket("**/stream", lambda socket: None)
    await page.reload()
    await ada.sees("kept for the morning")
    path = f"/user/{mine.user_id}/account_data/m.ignored_user_list"
    await mine.ok("PUT", path, {"ignored_users": {noor.user_id: {}}})
    await page.goto(f"{ada.url}/#/room/{room}?panel=person:{maya.user_id}")
    await page.get_by_role("button", name="Ignore").click()

    async def ignored() -> set[str]:
        return set((await mine.ok("GET", path))["ignored_users"])

    await becomes(ignored, {maya.user_id, noor.user_id})
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_room_for_members_of_another_is_asked_at_or_joined(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    maya = await person(browser, local(server), "maya")
    mine = await anonymous.anonymous().register(maya.name, PASSWORD)
    ada = await anonymous.anonymous().register(f"ada.{maya.name}")
    name = maya.name.replace(".", " ")
    house = await ada.create_room(name=f"House {name}", preset="public_chat")
    rule = {"join_rule": "knock_restricted", "allow": [{"type": "m.room_membership", "room_id": house}]}
    state = [{"type": "m.room.join_rules", "content": rule}]
    council = await ada.create_room(name=f"Council {name}", room_version="10", visibility="public", initial_state=state)
    await maya.sign_in()
    page = maya.page
    await maya.go(f"explore?q=Council%20{name.replace(' ', '%20')}")
    await page.get_by_role("article").get_by_role("button", name="Ask to join").click()
    await page.get_by_role("main").locator("textarea").wait_for()
    await mine.ok("POST", f"/join/{part(house)}", {})
    await page.get_by_role("link", name=f"House {name}").wait_for()
    await maya.go(f"room/{council}")
    await page.get_by_role("main").get_by_role("button", name="Join", exact=True).click()
    await maya.composer.wait_for()
    # What was typed of a name stands out in it.
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox").fill("hou")
    await page.get_by_role("option", name=f"House {name}").locator("b", has_text="Hou").wait_for()
    assert maya.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_list_shows_who_is_online(browser: Browser, server: Server, anonymous: Client) -> None:
    maya = await person(browser, local(server), "maya")
    mine = await anonymous.anonymous().register(maya.name, PASSWORD)
    direct = {}
    for word in ("ada", "bo"):
        friend = await anonymous.anonymous().register(f"{word}.{maya.name}")
        direct[friend.user_id] = [await mine.shared_room(friend, name=word.title(), is_direct=True)]
        if word == "ada":
            await friend.ok("PUT", f"/presence/{part(friend.user_id)}/status", {"presence": "online"})
    await mine.ok("PUT", f"/user/{part(mine.user_id)}/account_data/m.direct", direct)
    async with maya.page.expect_response(lambda answer: "/presence/%40bo." in answer.url):
        await maya.sign_in()
    await maya.page.get_by_role("link", name="Ada").locator(".av.on").wait_for()
    assert await maya.page.get_by_role("link", name="Bo").locator(".av.on").count() == 0
    assert maya.faults == []
