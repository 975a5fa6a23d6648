"""What one is told of, who may invite, and a login that nobody has confirmed: what is chosen on the page is so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.embed.people import PASSWORD, local, person
from tests.embed.test_access import violations
from tests.embed.test_encryption import second_device
from tests.support.client import Client, Json, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser


async def rules(client: Client) -> dict[str, Json]:
    """The user's push rules by their ids."""
    found = (await client.ok("GET", "/pushrules/"))["global"]
    return {rule["rule_id"]: rule for kind in found.values() for rule in kind}


async def has_rule(client: Client, rule: str) -> bool:
    """Whether there is a rule of this id."""
    return rule in await rules(client)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_one_is_told_of(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    page = ada.page
    client = await anonymous.anonymous().login(ada.name, PASSWORD)
    await page.goto(f"{ada.url}/#/settings/notifications")
    for name in ("Direct messages", "Rooms"):
        async with page.expect_response(lambda reply: "/.m.rule." in reply.url and reply.url.endswith("/enabled")):
            await page.get_by_label(name, exact=True).select_option("Mentions only")
    async with page.expect_response(lambda reply: "/.m.rule.invite_for_me/enabled" in reply.url):
        await page.get_by_role("switch", name="Invitations").uncheck()
    await page.get_by_label("A word or a name").fill("lift")
    await page.get_by_role("button", name="Add").click()
    await page.get_by_role("button", name="Remove “lift”").wait_for()
    silent = (".m.rule.message", ".m.rule.encrypted", ".m.rule.room_one_to_one", ".m.rule.invite_for_me")

    async def chosen() -> list[Any]:
        now = await rules(client)
        return [*(now[rule]["actions"] for rule in silent), now.get("lift", {}).get("pattern")]

    await becomes(chosen, [[], [], [], [], "lift"])
    await page.get_by_role("button", name="Remove “lift”").click()
    await page.get_by_role("button", name="Remove “lift”").wait_for(state="detached")
    await becomes(lambda: has_rule(client, "lift"), False)
    # A room says the opposite of what is usual, and then the usual again: its own rule comes and goes.
    room = await client.create_room(name="Garden")
    await page.goto(f"{ada.url}/#/room/{room}?panel=details")
    for choice, left in (("All messages", True), ("Mentions only", False)):
        await page.get_by_role("button", name="Notifications: ").click()
        async with page.expect_response(lambda reply: "/pushrules/global/room/" in reply.url):
            await page.get_by_role("menuitem", name=choice).click()
        await becomes(lambda: has_rule(client, room), left)
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_wants_no_invitations_gets_none(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    page = ada.page
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await maya.create_room(preset="private_chat")
    user = f"@{ada.name}:{server.name}"
    await page.goto(f"{ada.url}/#/settings/privacy")
    async with page.expect_response(lambda reply: "m.invite_permission_config" in reply.url):
        await page.get_by_label("Who may invite me").select_option("Nobody")
    refused = await maya.request("POST", f"/rooms/{room}/invite", {"user_id": user})
    refused.error(403, "M_INVITE_BLOCKED")
    async with page.expect_response(lambda reply: "m.invite_permission_config" in reply.url):
        await page.get_by_label("Who may invite me").select_option("Everybody")
    await maya.ok("POST", f"/rooms/{room}/invite", {"user_id": user})
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_login_that_was_not_ones_own_is_ended(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada", bypass_csp=True)
    await ada.sign_up()
    other = await second_device(browser, ada)
    await ada.page.get_by_text("A new device signed in to your account").first.wait_for()
    await ada.page.get_by_role("button", name="Look").click()
    card = ada.page.get_by_role("group", name="Was it you?")
    await card.wait_for()
    assert await violations(ada, "was it you") == []
    await card.get_by_role("button", name="No, sign it out").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    await ada.page.get_by_label("Password", exact=True).fill(PASSWORD)
    await ada.page.get_by_role("button", name="Continue").click()
    await card.wait_for(state="detached")
    await other.page.get_by_label("User name").wait_for()
    # What a device is called is asked in a dialog of the page.
    await ada.page.get_by_title("Rename the device").first.click()
    naming = ada.page.get_by_role("dialog", name="Rename the device")
    await naming.get_by_label("Name of the device").fill("The old laptop")
    await naming.get_by_label("Name of the device").press("Enter")
    await naming.wait_for(state="detached")
    await ada.page.get_by_text("The old laptop").wait_for()
    assert ada.faults + other.faults == []
