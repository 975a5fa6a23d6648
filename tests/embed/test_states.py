"""What is seldom seen, as axe sees it, light and dark, in both languages.

Rooms and doors that are closed, what did not go out or cannot be opened, people with another identity, notes that pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, local, person
from tests.embed.support_chat import Agent, Frame, new_site
from tests.embed.test_access import violations
from tests.embed.test_admin_pages import go, sign_in
from tests.embed.test_encryption import compare, direct_chat, keep_recovery_key, second_device, start_afresh
from tests.support.admin import OWN, administrator
from tests.support.client import Client, becomes, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import Server

if TYPE_CHECKING:
    import aiohttp
    from playwright.async_api import Browser, Route

WIDE = {"viewport": {"width": 1440, "height": 900}, "bypass_csp": True}
SAYS = "localStorage.setItem('hromada.language', '{}')"


async def both(who: Person, what: str, there: str, within: str | None = None) -> list[str]:
    """What axe finds on the page in Ukrainian and in English, each loaded anew, once `there` is drawn."""
    found = []
    for language in ("uk", "en"):
        await who.page.evaluate(SAYS.format(language))
        await who.page.reload()
        await who.page.locator(there).first.wait_for()
        found += await violations(who, f"{what} {language}", within)
    return found


async def refuse(route: Route) -> None:
    """Answer that it is not allowed."""
    await route.fulfill(status=403, json={"errcode": "M_FORBIDDEN", "error": "Not today"})


async def _doors(ada: Person, mine: Client, maya: Client) -> list[str]:
    """Rooms one was put out of, may ask into, waits for, or is not asked into."""
    knock = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    council = await maya.create_room(name="Council", room_version="10", initial_state=[knock])
    shut = await maya.create_room(name="Shed", preset="private_chat")
    found = []
    for what, room, there in (("knock", council, "form textarea"), ("not asked", shut, ".empty, .note")):
        await ada.go(f"room/{room}")
        await ada.page.locator(there).first.wait_for()
        found += await both(ada, what, there)
    for language in ("uk", "en"):
        await ada.page.evaluate(SAYS.format(language))
        await ada.page.reload()
        for what, act, there in (("banned", "ban", ".note.bad"), ("put out", "kick", ".note.warn")):
            room = await maya.shared_room(mine, name="Attic")
            await ada.go(f"room/{room}")
            await ada.composer.wait_for()
            away = {"user_id": mine.user_id, "reason": "Too loud after ten"}
            await maya.ok("POST", f"/rooms/{part(room)}/{act}", away)
            await ada.page.locator(there).wait_for()
            found += await violations(ada, f"{what} {language}")
    await ada.go(f"room/{council}")
    await ada.page.locator("form textarea").fill("the lift")
    await ada.page.get_by_role("button", name="Ask to join").click()
    await ada.page.get_by_text("You asked to join. Somebody will answer.").wait_for()
    return found + await both(ada, "asked", ".note.info")


async def _closed_composers(ada: Person, mine: Client, maya: Client) -> list[str]:
    """A room for reading, and one that goes on elsewhere."""
    found = []
    stage = await maya.shared_room(mine, name="Stage", power_level_content_override={"events_default": 50})
    old = await maya.shared_room(mine, name="Old hall")
    await maya.send(old, "the last word here")
    await maya.ok("POST", f"/rooms/{part(old)}/upgrade", {"new_version": "12"})
    for what, room, there in (("read only", stage, ".deny"), ("replaced", old, ".note.flat .btn")):
        await ada.go(f"room/{room}")
        await ada.page.locator(there).first.wait_for()
        found += await both(ada, what, there)
    return found


async def _what_did_not_go_out(ada: Person, room: str) -> list[str]:
    """A message and a change that were refused."""
    page = ada.page
    await ada.go(f"room/{room}")
    await ada.say("this one went")
    await ada.sent("this one went")
    await page.route("**/send/**", refuse)
    await ada.say("not to be said")
    await ada.message("not to be said").locator(".st.bad").wait_for()
    await ada.act("this one went", "More actions")
    await page.get_by_role("menuitem", name="Edit").click()
    await ada.say("this one changed")
    await page.locator(".st.bad").nth(1).wait_for()
    found = await both(ada, "not sent", "li.msg .st.bad")
    await page.unroute("**/send/**")
    return found


# Notes that can be pressed stay until they were looked at.
STAY = """(() => {
    const begin = setTimeout;
    globalThis.setTimeout = (run, wait, ...rest) => begin(run, wait === 15_000 ? 2 ** 30 : wait, ...rest);
})();"""
# Two days later, and whether one is told by now that the server has another build.
LATER = """() => {
    const now = Date.now;
    Date.now = () => now() + 48 * 3_600_000;
    document.dispatchEvent(new Event("visibilitychange"));
    return document.querySelector(".toast button") !== null;
}"""


async def _another(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(json={**await answer.json(), "build": "another"})


async def _notes_that_pass(ada: Person, maya: Client) -> list[str]:
    """What the server said to something that failed, and that there is another build."""
    page = ada.page
    garden = await maya.create_room(name="Garden", preset="public_chat")
    found = []
    for language, join in (("uk", "Приєднатись"), ("en", "Join")):
        await page.evaluate(SAYS.format(language))
        await ada.go(f"room/{garden}")
        await page.reload()
        await page.route("**/join/**", refuse)
        await page.get_by_role("button", name=join, exact=True).click()
        await page.locator(".toast summary").click()
        found += await violations(ada, f"failed {language}", ".toasts")
        await page.unroute("**/join/**")
        await page.route("**/_hromada/web/config", _another)
        await page.reload()
        await becomes(lambda: page.evaluate(LATER), True)
        found += await violations(ada, f"another build {language}")
        await page.unroute_all(behavior="wait")  # what is being answered is asked many times
    return found


@pytest.mark.timeout(400)  # each state four times: on a machine with much else to do that takes its time
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing_where_something_is_denied(browser: Browser, server: Server, anonymous: Client) -> None:
    ada = await person(browser, local(server), "ada", **WIDE)
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    room = await mine.shared_room(maya, name="Kitchen")
    await ada.page.add_init_script(STAY)
    await ada.sign_in()
    found = await _doors(ada, mine, maya)
    found += await _closed_composers(ada, mine, maya)
    found += await _what_did_not_go_out(ada, room)
    found += await _notes_that_pass(ada, maya)
    assert found == [], "\n".join(found)


LOST = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "ciphertext": "AwgAEnACgAkLmt6qF84IK++J7UDH2Za1YVchHyprqTqsg2yyOwAtHaZ",
    "sender_key": "x", "device_id": "NOWHERE", "session_id": "of no key that ever came",
}  # fmt: skip


async def _keys(ada: Person) -> list[str]:
    """The backup is switched off, and on again by a page that does not know the recovery key."""
    page, found = ada.page, []
    dialog, switch = page.locator("dialog[open]"), page.get_by_role("switch", name="Key backup")
    await ada.go("settings/encryption")
    await page.locator("input:checked[aria-label='Key backup']").wait_for()
    await switch.click()
    await dialog.wait_for()
    found += await violations(ada, "backup off", "dialog[open]")
    await dialog.get_by_role("button", name="Switch off").click()
    await page.locator("input:not(:checked)[aria-label='Key backup']").wait_for()
    await keep_recovery_key(ada)
    for language, label in (("uk", "Резервна копія ключів"), ("en", "Key backup")):
        await page.evaluate(SAYS.format(language))
        await ada.go("settings/encryption")
        await page.reload()
        await page.locator(f"input:not(:checked, :disabled)[aria-label='{label}']").click()
        await dialog.locator("input").fill("EsTx 1234")
        await dialog.locator("button[type=submit]").click()
        await dialog.locator("[aria-invalid=true]").wait_for()
        found += await violations(ada, f"backup on {language}", "dialog[open]")
        await page.keyboard.press("Escape")
        await dialog.wait_for(state="detached")
    return found


async def _identities(ada: Person, maya: Person) -> list[str]:
    """Somebody who is asked to be confirmed, has another identity once, and another one again."""
    page, chat = ada.page, ada.page.url
    await ada.message("here I am").locator("> button").click()
    await page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    await page.get_by_text(f"Waiting for {maya.name}").wait_for()
    await maya.sees(f"{ada.name} asked to confirm each other")
    found = await violations(ada, "waits for another") + await violations(maya, "asked to confirm")
    await maya.page.get_by_role("button", name="Compare").click()
    await compare(ada, maya)
    for each in (ada, maya):
        await each.page.get_by_role("heading", name="Confirmed").wait_for()
    found += await violations(ada, "confirmed")
    await page.get_by_role("button", name="Go to chats").click()
    await start_afresh(maya)
    await page.goto(chat)
    await page.locator(".note.warn[role=alert]").wait_for()
    await ada.say("is that you?")
    await ada.message("is that you?").locator(".st.bad").wait_for()
    found += await both(ada, "another identity, confirmed", ".note.warn[role=alert]")
    await page.get_by_role("button", name="Send anyway").click()
    await page.locator(".note.warn[role=alert]").wait_for(state="detached")
    await start_afresh(maya)
    await page.locator(".sys.row[role=status]").wait_for()
    return found + await both(ada, "another identity", ".sys.row[role=status]")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing_where_encryption_asks_for_something(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada, maya = await direct_chat(browser, server, **WIDE)
    await maya.say("here I am")
    await ada.sees("here I am")
    room = ada.page.url.split("/room/")[1].split("?")[0]
    await (await anonymous.anonymous().login(maya.name, PASSWORD)).send(room, LOST, "m.room.encrypted")
    await ada.page.get_by_text("Waiting for the key").wait_for()
    found = await both(ada, "waiting for a key", ".utd:not(:has(.bone))")
    # A device that is not confirmed: no key to what was, and no place to write in.
    phone = await second_device(browser, ada, "", **WIDE)
    await phone.page.get_by_role("button", name="Later").click()
    await phone.go(f"room/{room}")
    await phone.page.locator(".deny .btn").wait_for()
    found += await both(phone, "not confirmed", ".deny .btn")
    await ada.go("settings/devices")
    await ada.page.locator(".stranger").wait_for()
    found += await both(ada, "another device", ".stranger")
    await ada.go(f"room/{room}")
    await ada.sees("here I am")
    found += await _identities(ada, maya)
    found += await _keys(ada)
    assert found == [], "\n".join(found)


@pytest.mark.usefixtures("web_build")
@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing_beside_a_case(
    browser: Browser, server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    origin = "https://shop.example"
    frame = Frame(http, server, new_site(server, [origin], [agent.client.user_id]))
    desk = await agent.join_desk()
    await frame.begin(answers={"name": "Ada"}, page=f"{origin}/mugs", title="Blue mugs")
    await frame.say("is it blue?")
    card = await agent.card(desk, "is it blue?")
    room = await agent.enter(card)
    await agent.note(desk, card, "she asked last week, too")
    staff = await person(browser, local(server), "unused", **WIDE)
    staff.name = agent.client.user_id[1:].partition(":")[0]
    await staff.sign_in()
    found = []
    for status, act in (("new", ""), ("open", "Take"), ("resolved", "Resolve")):
        await staff.go(f"room/{room}?panel=details")
        case = staff.page.get_by_role("region", name="Case 1")
        await case.get_by_role("list", name="Notes").get_by_text("she asked last week, too").wait_for()
        if act:
            await case.get_by_role("button", name=act, exact=True).click()
            await case.get_by_text(status.title(), exact=True).wait_for()
        found += await both(staff, status, "aside ul .it")
    await staff.go(f"room/{desk}")
    await staff.page.locator("li.msg").first.wait_for()
    found += await both(staff, "desk", "li.msg")
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing_in_what_a_site_asks(browser: Browser, server: Server, anonymous: Client) -> None:
    admin = await administrator(anonymous)
    site_id = fresh("s").lower().replace("-", "")[:20]
    settings = {"name": "Teren", "origins": ["https://teren.example"]}
    assert (await admin.request("POST", f"{OWN}/sites", {"site_id": site_id, "settings": settings})).status == 201
    who = await sign_in(browser, server, admin, **WIDE)
    page, found = who.page, []
    texts = {
        "uk": ("Змінити", "Додати", "Новий ключ", "Прибрати сайт"),
        "en": ("Edit", "Add", "New key", "Remove the site"),
    }
    for language, names in texts.items():
        await page.evaluate(SAYS.format(language))
        await page.reload()
        await go(who, f"sites/{site_id}")
        await page.locator(".part-title").first.wait_for()
        for name in names:
            buttons = page.locator("main").get_by_role("button", name=name, exact=True)
            for at in range(await buttons.count()):
                await buttons.nth(at).click()
                dialog = page.locator("dialog[open]")
                await dialog.wait_for()
                for field in await dialog.locator("textarea.mono").all():
                    await field.fill("[{")  # what is no JSON is said to be none
                found += await violations(who, f"{name} {at}", "dialog[open]")
                await page.keyboard.press("Escape")
                await dialog.wait_for(state="detached")
            assert await buttons.count() > 0, name
    assert found == [], "\n".join(found)


async def _ways_in(route: Route) -> None:
    """A password, and two who vouch for one."""
    houses = [{"id": "house", "name": "House 14"}, {"id": "town", "name": "Town hall"}]
    flows = [{"type": "m.login.password"}, {"type": "m.login.sso", "identity_providers": houses}]
    await route.fulfill(json={"flows": flows})


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_axe_finds_nothing_before_one_is_in(browser: Browser, server: Server) -> None:
    found = []
    for language in ("uk", "en"):
        who = await person(browser, local(server), "visitor", **WIDE)
        page = who.page
        await page.add_init_script(SAYS.format(language))
        await page.route(
            re.compile(r"/login$"),
            lambda route: _ways_in(route) if route.request.method == "GET" else route.continue_(),
        )
        # Who comes back from there with a word that is not theirs.
        await page.goto(f"{who.url}/?loginToken=of-nobody")
        await page.locator("form [role=alert]").wait_for()
        await page.get_by_role("link", name="Town hall").wait_for()
        assert "loginToken" not in page.url.partition("#")[0]
        found += await violations(who, f"single sign-on {language}")
        await page.add_init_script("CSS.supports = () => false")
        await page.goto(f"{who.url}/#/login")
        await page.reload()
        await page.get_by_text("This browser is too old").wait_for()
        found += await violations(who, f"outdated {language}")
        await who.context.close()
    assert found == [], "\n".join(found)
