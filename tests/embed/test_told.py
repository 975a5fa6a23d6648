"""Notices of the browser, settings that follow the user, and a session that ends on a device that stays."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.embed.people import PASSWORD, Person, local, person, until
from tests.support.client import Client, part
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Response, Route

# The browser's own notices, with its own permission: which there were, and which were closed again, is noted. So is
# whether something sounded.
NOTED = """globalThis.shown = [];
globalThis.played = 0;
globalThis.AudioContext = class extends AudioContext {
    constructor(...given) {
        super(...given);
        played++;
    }
};
globalThis.Notification = class extends Notification {
    constructor(...given) {
        super(...given);
        shown.push(this);
    }
    close() {
        this.gone = true;
        super.close();
    }
};"""
WORDS = "MEGOLM SESSION DATA"
HIDDEN = """(hidden) => {
    const say = (name, value) => Object.defineProperty(document, name, { get: () => value, configurable: true });
    say("hidden", hidden);
    say("visibilityState", hidden ? "hidden" : "visible");
    document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOWN = "shown.map(({ title, body }) => `${title}: ${body}`)"
# Databases of encryption, and what is kept of the key that they lie under.
AT_REST = """async (user) => {
    const names = (await indexedDB.databases()).map(({ name }) => name);
    const kept = await new Promise((done) => {
        const open = indexedDB.open("hromada");
        open.onsuccess = () => {
            const got = open.result.transaction("kv").objectStore("kv").get(`crypto-key ${user}`);
            got.onsuccess = () => (open.result.close(), done(got.result));
        };
    });
    const read = await crypto.subtle.exportKey("raw", kept.key).then(() => "read", () => "refused");
    return [names.includes(`hromada-crypto:${user}::matrix-sdk-crypto-meta`), kept.key.extractable, read,
        kept.sealed.byteLength, Object.keys(kept).sort().join(" ")];
}"""
DEVICE = """() => new Promise((done) => {
    const open = indexedDB.open("hromada");
    open.onsuccess = () => {
        const got = open.result.transaction("kv").objectStore("kv").get("session");
        got.onsuccess = () => (open.result.close(), done(got.result?.deviceId));
    };
})"""


async def soft(route: Route) -> None:
    """Answer that the session has ended, and its device has not."""
    body = {"errcode": "M_UNKNOWN_TOKEN", "error": "Sign in again", "soft_logout": True}
    await route.fulfill(status=401, json=body)


async def _mentioned(page: Page, maya: Client, room: str, whom: str) -> None:
    """The client shows nothing in its first seconds: somebody calls until there is a notice."""
    count = await page.evaluate("shown.length")
    calls = 0
    while await page.evaluate("shown.length") == count:
        calls += 1
        body = {"msgtype": "m.text", "body": f"tea, call {calls}", "m.mentions": {"user_ids": [whom]}}
        await maya.send(room, body)
        await asyncio.sleep(0.3)


async def _notices_of_a_hidden_page(ada: Person, mine: Client, maya: Client, room: str) -> None:
    page = ada.page
    await page.goto(f"{ada.url}/#/settings/notifications")
    # What the browser allows may be changed beside the page, which says how it is.
    await page.get_by_role("button", name="Allow").wait_for()
    await ada.context.grant_permissions([], origin=ada.url)
    forbidden = page.get_by_text("The browser forbids notifications of this page")
    await forbidden.wait_for()
    assert await page.get_by_role("button", name="Allow").count() == 0
    await ada.context.grant_permissions(["notifications"], origin=ada.url)
    await forbidden.wait_for(state="detached")
    assert await page.get_by_role("button", name="Allow").count() == 0
    await page.get_by_role("button", name="Listen").click()
    assert await page.evaluate("played") == 1
    await page.get_by_label("Rooms", exact=True).select_option("no")
    rule = "/pushrules/global/underride/.m.rule.message/actions"
    async with asyncio.timeout(30):
        while "notify" in (await mine.ok("GET", rule))["actions"]:
            await asyncio.sleep(0.05)
    await page.evaluate(HIDDEN, True)
    await _mentioned(page, maya, room, mine.user_id)
    # What mentions nobody is not shown, now that such messages are.
    await maya.send(room, {"msgtype": "m.text", "body": "nothing for Ada"})
    await _mentioned(page, maya, room, mine.user_id)
    shown = await page.evaluate(SHOWN)
    assert all("· Garden: tea, call" in each for each in shown), shown
    # A click on it leads to the room, and what is read there takes it away.
    await page.evaluate("void shown.at(-1).dispatchEvent(new Event('click'))")
    await page.get_by_role("main", name="Garden").wait_for()
    await page.evaluate(HIDDEN, False)
    await ada.sees("nothing for Ada")
    await until(page, "shown.at(-1).gone === true")


async def _a_soft_logout_keeps_the_device(ada: Person, mine: Client) -> str:
    page = ada.page
    await ada.private_room("Cellar")
    await ada.say("a jar of honey")
    await ada.sent("a jar of honey")
    room = page.url.split("#/room/")[1].split("?")[0]
    device = await page.evaluate(DEVICE)
    # 32 bytes, and the mark by which they are known to be whole, under a key that stays in this browser.
    assert await page.evaluate(AT_REST, mine.user_id) == [True, False, "refused", 48, "iv key sealed"]
    before = await mine.ok("GET", "/devices")
    for pattern in ("**/send/**", "**/_hromada/web/session/token"):
        await page.route(pattern, soft)
    await ada.say("not lost")
    user = page.get_by_label("User name")
    await user.wait_for()
    assert await user.input_value() == ada.name
    await page.unroute_all()
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("navigation", name="Main").first.wait_for()
    assert await page.evaluate(DEVICE) == device
    assert len((await mine.ok("GET", "/devices"))["devices"]) == len(before["devices"])
    # The same keys: what was said opens, what was not sent goes out, and nobody asks to confirm the device.
    await page.evaluate("room => { location.hash = `#/room/${room}`; }", room)
    await ada.sees("a jar of honey")
    await ada.sent("not lost")
    await page.goto(f"{ada.url}/#/settings/devices")
    await page.get_by_text("Yours", exact=True).first.wait_for()
    return str(room)


async def _keys_go_to_a_file_and_come_back(ada: Person, room: str, folder: Path) -> None:
    page = ada.page
    await page.goto(f"{ada.url}/#/settings/encryption")
    await page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Password of the file", exact=True).fill("under the mat")
    async with page.expect_download() as downloading:
        await dialog.get_by_role("button", name="Continue").click()
    file = folder / "keys.txt"
    await (await downloading.value).save_as(file)
    [session, *_] = [each for each in _opened(file.read_text(), "under the mat") if each["room_id"] == room]
    assert session["algorithm"] == "m.megolm.v1.aes-sha2"
    async with page.expect_file_chooser() as chooser:
        await page.get_by_role("button", name="Import").click()
    await (await chooser.value).set_files(file)
    password = dialog.get_by_label("Password of the file", exact=True)
    await password.fill("under the stone")
    await dialog.get_by_role("button", name="Continue").click()
    await page.get_by_text("The file did not open").first.wait_for()
    await password.fill("under the mat")
    await dialog.get_by_role("button", name="Continue").click()
    await dialog.wait_for(state="detached")


def _opened(text: str, password: str) -> list[dict[str, Any]]:
    """The keys in an exported file. spec: client-server-api#key-exports"""
    head, *lines, foot = text.strip().splitlines()
    assert (head, foot) == (f"-----BEGIN {WORDS}-----", f"-----END {WORDS}-----")
    data = b64decode("".join(lines))
    salt, counter, rounds, sealed, mac = data[1:17], data[17:33], int.from_bytes(data[33:37]), data[37:-32], data[-32:]
    keys = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds, 64)
    assert data[0] == 1
    assert rounds >= 100_000
    assert hmac.digest(keys[32:], data[:-32], "sha256") == mac
    cipher = Cipher(algorithms.AES(keys[:32]), modes.CTR(counter)).decryptor()
    return list(json.loads(cipher.update(sealed) + cipher.finalize()))


def _settings_are_saved(reply: Response) -> bool:
    return reply.request.method == "PUT" and reply.url.endswith("/account_data/chat.hromada.web")


async def _settings_follow_the_user(ada: Person, mine: Client) -> None:
    page = ada.page
    await page.goto(f"{ada.url}/#/settings/privacy")
    path = f"/user/{part(mine.user_id)}/account_data/chat.hromada.web"
    typing = page.get_by_role("switch", name="Show that I am typing")
    async with page.expect_response(_settings_are_saved):
        await page.get_by_role("switch", name="Show what I have read").uncheck()
    # What is merely usual here goes nowhere.
    kept = await mine.ok("GET", path)
    assert kept == {"receipts": False}
    # Another device has chosen something.
    await mine.ok("PUT", path, {**kept, "typing": False, "theme": "dark", "sendWith": 3})
    await page.locator("input:not(:checked)[aria-label='Show that I am typing']").wait_for()
    assert not await typing.is_checked()
    here = await page.evaluate("JSON.parse(localStorage.getItem('hromada.settings'))")
    assert (here["typing"], here["theme"], here["sendWith"]) == (False, "", "enter")
    async with page.expect_response(_settings_are_saved):
        await typing.check()
    assert await mine.ok("GET", path) == {**kept, "typing": True, "theme": "dark", "sendWith": 3}


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_notices_and_a_soft_logout(browser: Browser, server: Server, anonymous: Client, tmp_path: Path) -> None:
    ada = await person(browser, local(server), "ada")
    mine = await anonymous.anonymous().register(ada.name, PASSWORD)
    maya = await anonymous.anonymous().register(f"maya.{ada.name}")
    noor = await anonymous.anonymous().register(f"noor.{ada.name}")
    room = await maya.shared_room(mine, noor, name="Garden")
    await ada.context.add_init_script(NOTED)
    await ada.sign_in()
    await _notices_of_a_hidden_page(ada, mine, maya, room)
    await _settings_follow_the_user(ada, mine)
    cellar = await _a_soft_logout_keeps_the_device(ada, mine)
    await _keys_go_to_a_file_and_come_back(ada, cellar, tmp_path)
    assert [fault for fault in ada.faults if "Failed to fetch" not in fault] == []
