"""E-mail addresses in the client: given with a new account, added, removed, and a lost password set anew."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.embed.test_access import violations
from tests.embed.test_small_screens import WIDE
from tests.support.admin import V2, administrator
from tests.support.client import Client, becomes, part
from tests.support.fixtures import StartServer
from tests.support.mailserver import MailServer, environment, running_mail_server, text_of
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.all_only
NEW = "a new and long password"


class Reader:
    """Somebody who reads letters, and answers them in a tab of their own."""

    def __init__(self, who: Person, mail: MailServer) -> None:
        self.who = who
        self.mail = mail

    async def says_yes(self, address: str, button: str) -> None:
        """Follow the link of the newest letter and press its page's button."""
        await self.mail.until(lambda: bool(self.mail.to(address)))
        (link,) = re.findall(r"https://hromada\.test(/_\S+)", text_of(self.mail.to(address)[-1]))
        self.mail.letters.clear()
        page = await self.who.context.new_page()
        await page.goto(self.who.url + link)
        await page.get_by_role("button", name=button).click()
        await page.get_by_role("button", name=button).wait_for(state="detached")
        assert await page.get_by_role("heading", level=1).count() == 1
        await page.close()


async def looks_well(who: Person, what: str) -> None:
    """Nothing sticks out of a small screen, and screen readers know what there is."""
    await who.page.mouse.move(0, 0)  # what the pointer is on has other colours
    assert await who.page.evaluate(WIDE) == []
    assert await violations(who, what) == []


async def _registers(ada: Person, reader: Reader, address: str) -> None:
    page = ada.page
    await page.goto(f"{ada.url}/#/register")
    await page.get_by_label("User name").fill(ada.name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("E-mail").fill(address)
    await looks_well(ada, "register")
    await page.get_by_role("button", name="Create account").click()
    await page.get_by_role("button", name="Remind me later").click()
    await reader.says_yes(address, "Add the address")
    await page.goto(f"{ada.url}/#/settings/profile")
    await page.get_by_text(address).wait_for()


async def _adds_and_removes(ada: Person, reader: Reader, first: str, second: str) -> None:
    page = ada.page
    await page.get_by_role("button", name="Add an address").click()
    await page.get_by_label("E-mail").fill(second)
    await looks_well(ada, "adding")
    await page.get_by_role("button", name="Send a letter").click()
    await page.get_by_text("Open the link in the letter").wait_for()
    await looks_well(ada, "waiting")
    yes = page.get_by_role("button", name="I have said yes")
    await yes.click()
    await page.get_by_text("was not followed yet").wait_for()
    await reader.says_yes(second, "This is my address")
    await page.reload()  # as telephones do while one reads letters
    await yes.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Password", exact=True).fill(PASSWORD)
    await dialog.get_by_role("button", name="Continue").click()
    await page.get_by_role("button", name=f"Remove: {second}").wait_for()
    await looks_well(ada, "two addresses")
    await page.get_by_role("button", name=f"Remove: {first}").click()
    await dialog.get_by_role("button", name="Remove").click()
    await page.get_by_role("button", name=f"Remove: {first}").wait_for(state="detached")


async def _is_shown_to_administrators(ada: Person, server: Server, address: str) -> None:
    """Who finds the account by it, and can take it away."""
    page, user = ada.page, f"@{ada.name}:{server.name}"
    path = f"{V2}/users/{part(user)}"
    async with aiohttp.ClientSession() as http:
        admin = await administrator(Client(http, server.url))
        await admin.ok("PUT", path, {"admin": True})
        await page.goto(f"{ada.url}/#/admin/users")
        await page.reload()
        await page.get_by_label("Name, address or e-mail").fill(address)
        await page.get_by_role("row", name=user).wait_for()
        await page.get_by_role("row").nth(2).wait_for(state="detached")
        await page.get_by_role("link", name=user).click()
        remove = page.get_by_role("button", name=f"Remove: {address}")
        await remove.wait_for()
        await looks_well(ada, "an account's address")
        await remove.click()
        await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await remove.wait_for(state="detached")
        assert (await admin.ok("GET", path))["threepids"] == []


async def _forgets(ada: Person, reader: Reader, address: str) -> None:
    page = ada.page
    await page.goto(f"{ada.url}/#/login")
    await page.get_by_role("link", name="Forgot it?").click()
    await page.get_by_label("E-mail").fill(address)
    await looks_well(ada, "forgotten")
    await page.get_by_role("button", name="Send a letter").click()
    await page.get_by_text("a letter is on its way").wait_for()
    await page.reload()
    await page.get_by_label("New password", exact=True).fill(NEW)
    await looks_well(ada, "new password")
    change = page.get_by_role("button", name="Set the password")
    await change.click()
    await page.get_by_text("was not followed yet").wait_for()
    await reader.says_yes(address, "Let me set a new password")
    await change.click()
    await page.get_by_text("The password was changed").wait_for()
    await page.get_by_label("User name or e-mail").fill(address)
    await page.get_by_label("Password", exact=True).fill(NEW)
    await page.get_by_role("button", name="Sign in").click()
    await ada.arrive()


async def is_signed_out(page: Page) -> bool:
    return await page.get_by_role("heading", name="Welcome back").count() == 1


@pytest.mark.timeout(300)  # a whole journey of three pages and their letters
async def test_addresses_of_an_account(browser: Browser, start_server: StartServer) -> None:
    async with running_mail_server() as mail:
        server = start_server(environment=environment(mail.port))
        ada = await person(browser, local(server), "ada", bypass_csp=True, viewport={"width": 320, "height": 640})
        away = await person(browser, local(server), "ada", bypass_csp=True, viewport={"width": 320, "height": 640})
        reader = Reader(ada, mail)
        first, second = (f"{ada.name}.{which}@example.org" for which in ("first", "second"))
        await _registers(ada, reader, first)
        await _adds_and_removes(ada, reader, first, second)
        await _forgets(away, Reader(away, mail), second)
        await becomes(lambda: is_signed_out(ada.page), True)
        away.name = ada.name
        await _is_shown_to_administrators(away, server, second)
        assert ada.faults == away.faults == []
