"""The account in the client: what others see of it, what one takes along, its keys, and who signs in again."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.embed.test_told import DEVICE, soft
from tests.support.client import Client, Json, becomes, part
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

PRONOUNS = "io.fsky.nyx.pronouns"


async def _what_others_see(ada: Person, mine: Client, maya: Client, room: str) -> None:
    page = ada.page
    await page.goto(f"{ada.url}/#/settings/profile")
    await page.get_by_text("This server keeps no e-mail addresses").wait_for()
    await page.get_by_label("Pronouns").fill("she/her")
    await page.get_by_label("Time zone").select_option("Europe/Kyiv")
    await page.get_by_role("button", name="Save", exact=True).click()
    said = {PRONOUNS: [{"language": "en", "summary": "she/her"}], "m.tz": "Europe/Kyiv"}
    profile = f"/profile/{part(mine.user_id)}"

    async def kept() -> Json:
        found = await mine.ok("GET", profile)
        return {name: found.get(name) for name in said}

    await becomes(kept, said)
    # A card has an address of its own, and says what its person lets be known.
    for field, value in ((PRONOUNS, [{"language": "de", "summary": "dey"}]), ("m.tz", "Pacific/Auckland")):
        await maya.ok("PUT", f"/profile/{part(maya.user_id)}/{field}", {field: value})
    await ada.go(f"room/{room}?panel=person:{maya.user_id}")
    card = page.get_by_role("dialog")
    await card.get_by_text("dey", exact=True).wait_for()
    await card.get_by_text(re.compile(r"^\d\d:\d\d( [ap]m)? there \(Pacific/Auckland\)$")).wait_for()
    await card.get_by_text("1 room in commonGarden").wait_for()
    await page.keyboard.press("Escape")
    await card.wait_for(state="detached")
    assert "panel" not in page.url
    await ada.go("new")
    await page.get_by_role("dialog").get_by_role("combobox").fill(maya.user_id[1:].split(":")[0])
    await page.get_by_role("option", name=maya.user_id).get_by_text("1 room in common").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    assert page.url.endswith("#/")


async def _what_one_takes_along(ada: Person, mine: Client, maya: Client, room: str, folder: Path) -> None:
    page = ada.page
    await maya.send(room, {"msgtype": "m.text", "body": "of somebody else"})
    await ada.private_room("Cellar")
    await ada.say("a jar of honey")
    await ada.sent("a jar of honey")
    await ada.go("settings/profile")
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Prepare").click()
    file = folder / "mine.zip"
    await (await downloading.value).save_as(file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        held = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    assert held["profile.json"]["user_id"] == mine.user_id
    assert held["addresses.json"] == []
    assert {each["name"] for each in held["rooms.json"]} == {"Garden", "Cellar"}
    [said] = [each for name, each in held.items() if name.startswith("messages/")]
    assert (said["name"], said["encrypted"]) == ("Cellar", True)
    assert [each["content"]["body"] for each in said["messages"]] == ["a jar of honey"]
    assert len(held["devices.json"]) == 2


async def _keys_are_backed_up_if_one_wants(ada: Person, mine: Client) -> None:
    page = ada.page
    switch = page.get_by_role("switch", name="Key backup")
    dialog = page.get_by_role("dialog")
    preference = f"/user/{part(mine.user_id)}/account_data/m.key_backup"

    async def count() -> int | None:
        found = await mine.request("GET", "/room_keys/version")
        return found.body["count"] if found.status == 200 else None

    async def stop() -> None:
        await switch.click()
        await dialog.get_by_role("button", name="Switch off").click()
        await page.locator("input:not(:checked)[aria-label='Key backup']").wait_for()
        assert await count() is None
        assert await mine.ok("GET", preference) == {"enabled": False}

    await becomes(count, 1)
    await ada.go("settings/encryption")
    await page.get_by_text("1 key is there.").wait_for()
    await page.locator("input:checked[aria-label='Key backup']").wait_for()
    await switch.click()
    await dialog.get_by_role("button", name="Cancel").click()
    await page.locator("input:checked[aria-label='Key backup']").wait_for()
    await stop()
    # A recovery key is made, and makes no backup by itself.
    await ada.go("recovery")
    await page.locator(".key:not(:has(.bone))").wait_for()
    key = await page.locator(".key").inner_text()
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("navigation", name="Main").first.wait_for()
    # What the page has forgotten is asked for: the new backup's key lies under it.
    await page.goto(f"{ada.url}/#/settings/encryption")
    await page.reload()
    await page.locator("input:not(:checked, :disabled)[aria-label='Key backup']").wait_for()
    assert await count() is None
    await switch.click()
    await dialog.get_by_label("Key", exact=True).fill("EsTx 1234")
    await dialog.get_by_role("button", name="Continue").click()
    await dialog.get_by_text("This key does not fit").wait_for()
    await dialog.get_by_label("Key", exact=True).fill(key)
    await dialog.get_by_role("button", name="Continue").click()
    await dialog.wait_for(state="detached")
    await page.locator("input:checked[aria-label='Key backup']").wait_for()
    assert await count() is not None
    assert await mine.ok("GET", preference) == {"enabled": True}
    assert "encrypted" in await mine.ok("GET", f"/user/{part(mine.user_id)}/account_data/m.megolm_backup.v1")


async def _single_sign_on_goes_on_with_the_device(ada: Person, mine: Client) -> None:
    page = ada.page
    device = await page.evaluate(DEVICE)
    before = await mine.ok("GET", "/devices")
    path = "/_matrix/client/v1/login/get_token"
    asked = (await mine.request("POST", path, {})).body
    identifier = {"type": "m.id.user", "user": mine.user_id}
    proof = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "session": asked["session"]}
    token = (await mine.ok("POST", path, {"auth": proof}))["login_token"]
    for pattern in ("**/profile/**", "**/_hromada/web/session/token"):
        await page.route(pattern, soft)
    await ada.go("settings/profile")
    await page.get_by_label("User name").wait_for()
    await page.unroute_all()
    await page.goto(f"{ada.url}/?loginToken={token}")
    await page.get_by_role("navigation", name="Main").first.wait_for()
    assert await page.evaluate(DEVICE) == device
    assert len((await mine.ok("GET", "/devices"))["devices"]) == len(before["devices"])


@pytest.mark.timeout(300)  # a walk through all of it: on a machine with much else to do that takes its time
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_account(browser: Browser, server: Server, anonymous: Client, tmp_path: Path) -> None:
    ada = await person(browser, local(server), "ada")
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await maya.shared_room(mine, name="Garden")
    await ada.sign_in()
    await _what_one_takes_along(ada, mine, maya, room, tmp_path)
    await _what_others_see(ada, mine, maya, room)
    await _keys_are_backed_up_if_one_wants(ada, mine)
    await _single_sign_on_goes_on_with_the_device(ada, mine)
    assert [fault for fault in ada.faults if "Failed to fetch" not in fault] == []
