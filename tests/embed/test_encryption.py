"""Encrypted conversations in the web client: devices confirmed by emoji and by the recovery key; files under keys."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.embed.people import PASSWORD, Person, held_back, local, person
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, FilePayload, Response, Route, WebSocketRoute


async def second_device(browser: Browser, of: Person, script: str = "", **options: object) -> Person:
    """The same user on another device, which asks to be confirmed. `script` runs there before the page's own."""
    device = await person(browser, of.url, "again", **options)
    await device.page.add_init_script(script)
    device.name = of.name
    await device.page.goto(f"{of.url}/#/login")
    await device.page.get_by_label("User name").fill(of.name)
    await device.page.get_by_label("Password", exact=True).fill(PASSWORD)
    await device.page.get_by_role("button", name="Sign in").click()
    await device.page.get_by_text("Open your encrypted messages").wait_for()
    return device


async def direct_chat(browser: Browser, server: Server, **options: object) -> tuple[Person, Person]:
    """Two people in an encrypted direct chat, in browsers of that kind."""
    ada, maya = [await person(browser, local(server), word, **options) for word in ("ada", "maya")]
    await ada.sign_up()
    await maya.sign_up()
    await ada.write_to(maya.name)
    await ada.say("a secret")
    await maya.accept()
    await maya.sees("a secret")
    return ada, maya


async def create_private(who: Person, name: str) -> None:
    """An encrypted room."""
    page = who.page
    await page.get_by_role("button", name="New conversation").first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Room", exact=True).click()
    await dialog.get_by_label("Name").fill(name)
    await dialog.get_by_role("button", name="Create room").click()
    await who.composer.wait_for()
    await page.get_by_role("heading", name=name).first.wait_for()


async def compare(one: Person, other: Person) -> None:
    """Both screens show the same emoji, and both say so."""
    emoji = [device.page.get_by_role("list") for device in (one, other)]
    for each in emoji:
        await each.wait_for()
    names = [await each.get_by_role("listitem").all_inner_texts() for each in emoji]
    assert len(names[0]) == 7
    assert names[0] == names[1]
    for device in (one, other):
        await device.page.get_by_role("button", name="They match").click()


async def confirm(device: Person, by: Person) -> None:
    """Another device of the same user is confirmed by one that is."""
    await device.page.get_by_text("Another device of mine").click()
    await by.page.get_by_role("button", name="Compare").click()
    await compare(by, device)
    await device.page.get_by_text("Done, this device is yours").wait_for()
    await device.page.get_by_role("button", name="Go to chats").click()


async def keep_recovery_key(who: Person) -> None:
    """Make a recovery key and say that it is saved."""
    await who.go("recovery")
    await who.page.locator(".key:not(:has(.bone))").wait_for()
    await who.page.get_by_role("checkbox").check()
    await who.page.get_by_role("button", name="Continue").click()
    await who.page.get_by_role("navigation", name="Main").first.wait_for()


async def start_afresh(who: Person) -> None:
    """A new identity, as somebody has who lost every key."""
    page = who.page
    await page.goto(f"{who.url}/#/settings/encryption")
    await page.get_by_role("button", name="Reset").click()
    await page.get_by_role("dialog").get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("dialog").get_by_role("button", name="Start afresh").click()
    await page.get_by_role("button", name="Remind me later").click()


async def test_a_direct_chat_is_encrypted_and_opens_on_confirmed_devices(browser: Browser, server: Server) -> None:
    ada, maya = await direct_chat(browser, server)
    await maya.say("safe with me")
    await ada.sees("safe with me")
    phone = await second_device(browser, maya)
    await confirm(phone, maya)
    await phone.page.get_by_role("link", name=ada.name).click()
    await ada.say("for both devices")
    await phone.sees("for both devices")
    await phone.sees("safe with me")
    assert ada.faults + maya.faults + phone.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_device_that_was_passed_over_asks_again_for_the_key_to_the_backup(
    browser: Browser, server: Server
) -> None:
    ada, maya = await direct_chat(browser, server)
    phone = await second_device(browser, maya)
    asked: set[str] = set()

    async def pass_over(route: Route) -> None:
        # As where the other device learns of it before it learns that this one is confirmed.
        names = set(re.findall(r'"name":"([\w.]+)"', route.request.post_data or ""))  # none where one is taken back
        if names <= asked:
            await route.continue_()
        else:
            asked.update(names)
            await route.fulfill(json={})

    await phone.page.route("**/sendToDevice/m.secret.request/**", pass_over)
    await confirm(phone, maya)
    await phone.page.get_by_role("link", name=ada.name).click()
    await phone.sees("a secret")
    assert "m.megolm_backup.v1" in asked
    assert ada.faults + maya.faults + phone.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_what_is_said_before_the_account_has_keys_goes_out_with_them(
    browser: Browser, server: Server, anonymous: Client
) -> None:
    ada = await person(browser, local(server), "ada")
    await anonymous.anonymous().register(ada.name, PASSWORD)
    let = await held_back(ada.page, "**/keys/device_signing/upload")
    await ada.sign_in()
    await create_private(ada, "Cellar")
    await ada.say("a jar of honey")
    await ada.message("a jar of honey").get_by_text("Sending").wait_for()
    let.set()
    await ada.sent("a jar of honey")
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_who_is_invited_late_reads_what_was_said_before(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    page = ada.page
    dialog = page.get_by_role("dialog")
    await create_private(ada, "Kitchen")
    await ada.say("the key is under the mat")
    await ada.sent("the key is under the mat")
    noor = await person(browser, local(server), "noor")
    await noor.sign_up()
    room = page.url.split("/room/")[1].split("?")[0]
    await page.goto(f"{ada.url}/#/room/{room}?panel=members")
    await page.get_by_role("button", name="Invite").first.click()
    await dialog.get_by_role("combobox").fill(noor.name)
    await dialog.get_by_role("option", name=noor.name).first.click()
    await dialog.get_by_role("button", name="Invite").click()
    await noor.accept()
    await noor.sees("the key is under the mat")
    await noor.say("found it")
    await ada.sees("found it")
    assert ada.faults + noor.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_person_is_confirmed_and_nothing_is_sent_to_their_new_identity_unasked(
    browser: Browser, server: Server
) -> None:
    ada, maya = await direct_chat(browser, server)
    await maya.say("here I am")
    await ada.sees("here I am")
    chat = maya.page.url
    await ada.message("here I am").locator("> button").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    await ada.page.get_by_text(f"Waiting for {maya.name}").wait_for()
    await maya.sees(f"{ada.name} asked to confirm each other")
    await maya.page.get_by_role("button", name="Compare").click()
    # What both have confirmed comes from the server: a card that is opened before that learns of it.
    let = await held_back(ada.page, "**/keys/query")
    await compare(ada, maya)
    for each in (ada, maya):
        await each.page.get_by_role("heading", name="Confirmed").wait_for()
        await each.page.get_by_role("button", name="Go to chats").click()
    await ada.message("here I am").locator("> button").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Confirm").wait_for()
    let.set()
    await ada.page.get_by_role("dialog").get_by_text("You have compared emoji").wait_for()
    await ada.page.keyboard.press("Escape")
    await ada.page.evaluate("location.hash = location.hash.split('?')[0] + '?panel=members'")
    members = ada.page.get_by_role("complementary").get_by_role("button", name=maya.name)
    await members.get_by_role("img", name="Confirmed").wait_for()

    await start_afresh(maya)
    await members.get_by_role("img", name="A new identity").wait_for()
    await ada.page.evaluate("location.hash = location.hash.split('?')[0]")
    held = ada.page.get_by_role("alert").filter(has_text="It is not the one you confirmed")
    await held.wait_for()
    await ada.say("is that you?")
    await ada.message("is that you?").get_by_text("identity has changed").wait_for()
    await held.get_by_role("button", name="Send anyway").click()
    await maya.page.goto(chat)
    await maya.sees("is that you?")
    await held.wait_for(state="detached")

    # Of somebody who is not confirmed it is only told.
    await start_afresh(maya)
    told = ada.page.get_by_role("status").filter(has_text="A new phone, most likely")
    await told.wait_for()
    await ada.say("a new phone?")
    await ada.sent("a new phone?")
    await told.get_by_role("button", name="It is all right").click()
    await told.wait_for(state="detached")
    assert ada.faults + maya.faults == []


# A camera that sees what `show` is given, since the machines that run this have none.
CAMERA = """
const canvas = document.createElement("canvas");
[canvas.width, canvas.height] = [800, 600];
let seen;
globalThis.show = async (url) => {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    seen = picture;
};
if (navigator.mediaDevices) {
    const camera = { kind: "videoinput", deviceId: "", label: "", groupId: "" };
    navigator.mediaDevices.enumerateDevices = async () => [camera];
    navigator.mediaDevices.getUserMedia = async () => {
        const context = canvas.getContext("2d");
        setInterval(() => {
            context.fillStyle = "#777";
            context.fillRect(0, 0, 800, 600);
            if (seen) context.drawImage(seen, 170, 60, 470, 470);
        }, 50);
        return canvas.captureStream();
    };
}
"""


async def scan(phone: Person, other: Person) -> None:
    """Hold the phone's camera to the code on the other screen."""
    code = other.page.get_by_role("img", name="Code for the other device")
    picture = base64.b64encode(await code.screenshot()).decode()
    await phone.page.evaluate("url => show(url)", f"data:image/png;base64,{picture}")
    await phone.page.get_by_text("Now confirm on the other device").wait_for()


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_code_on_one_screen_confirms_the_device_that_scans_it(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    phone = await second_device(browser, ada, CAMERA)
    await phone.page.get_by_text("Another device of mine").click()
    await ada.page.get_by_role("button", name="Compare").click()
    await phone.page.get_by_role("heading", name="Scan the other screen").wait_for()
    await scan(phone, ada)
    await ada.page.get_by_role("button", name="Yes, it does").click()
    for device in (phone, ada):
        await device.page.get_by_text("Done, this device is yours").wait_for()
    await phone.page.goto(f"{ada.url}/#/settings/devices")
    await phone.page.get_by_text("Yours").nth(1).wait_for()
    assert ada.faults + phone.faults == []


def _reminders_begin(answer: Response) -> bool:
    """The account has noted that it is without a recovery key."""
    return "recovery_reminders" in answer.url and answer.request.method == "PUT"


async def _type(phone: Person, key: str, unsaved: str) -> None:
    """A recovery key with slips in it, another one, and then the right one, from the file that it was saved in."""
    field, alert = phone.page.get_by_label("Key"), phone.page.get_by_role("alert")
    await field.fill(key[:7] + "0" + key[8:])
    await alert.get_by_text("Group 2 cannot be right").wait_for()
    await field.fill(key[:-1] + chr(ord(key[-1]) + (-1 if key[-1] in "9HNZkz" else 1)))
    await alert.get_by_text("is not as it was written down").wait_for()
    await field.fill(unsaved)
    await phone.page.get_by_role("button", name="Open my history").click()
    await alert.get_by_text("does not fit").wait_for()
    async with phone.page.expect_file_chooser() as chooser:
        await phone.page.get_by_role("button", name="File").click()
    saved: FilePayload = {"name": "key.txt", "mimeType": "text/plain", "buffer": f"{key}\n".encode()}
    await (await chooser.value).set_files(saved)
    await becomes(field.input_value, key)
    await phone.page.get_by_role("button", name="Open my history").click()
    await phone.page.get_by_text("Done, this device is yours").first.wait_for()


async def _proofs(ada: Person, phone: Person, text: str) -> None:
    """What its key proves is among the details of a message."""
    await ada.page.get_by_role("link", name="Kitchen").click()
    for device, proof in ((ada, "own device has encrypted it"), (phone, "nothing proves who sent it")):
        row = device.message(text).locator(".b")
        await row.focus()
        await row.press("Enter")
        await device.page.get_by_role("menuitem", name="Details").click()
        await device.page.get_by_role("dialog").get_by_text(proof).wait_for()


# The clock of who comes back in a week.
WEEK_LATER = "const now = Date.now; Date.now = () => now() + 8 * 24 * 3_600_000;"


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_the_recovery_key_is_offered_kept_once_it_is_saved_and_opens_a_device(
    browser: Browser, server: Server
) -> None:
    ada = await person(browser, local(server), "ada")
    page = ada.page
    async with page.expect_response(_reminders_begin):
        await ada.sign_up()
    await create_private(ada, "Kitchen")
    await ada.say("the key is under the mat")
    await ada.say("water the seedlings")
    await ada.sent("water the seedlings")
    # Keys are kept on the server from the first day; of the recovery key one is reminded, and before leaving for good.
    await page.goto(f"{ada.url}/#/settings/encryption")
    await page.get_by_text("Keys of your messages are kept on the server").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("dialog").get_by_text("This is your last confirmed device").wait_for()
    await page.get_by_role("dialog").get_by_role("button", name="Save key first").click()
    await page.locator(".key:not(:has(.bone))").wait_for()
    unsaved = await page.locator(".key").inner_text()
    await page.add_init_script(WEEK_LATER)
    await page.reload()
    await page.get_by_role("button", name="Remind me later").click()
    card = page.get_by_role("status").filter(has_text="You have no recovery key yet")
    await card.get_by_role("link", name="Save a key").click()
    await page.locator(".key:not(:has(.bone))").wait_for()
    key = await page.locator(".key").inner_text()
    assert key != unsaved
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("navigation", name="Main").first.wait_for()
    await card.wait_for(state="detached")
    # Who looks at another one and goes away has the key of before.
    await page.goto(f"{ada.url}/#/recovery")
    await page.locator(".key:not(:has(.bone))").wait_for()
    await page.get_by_role("button", name="Cancel").click()

    # A device that is not confirmed says once what is closed there, and how it opens.
    phone = await second_device(browser, ada)
    await phone.page.get_by_role("button", name="Later").click()
    await phone.page.get_by_role("link", name="Kitchen").click()
    await phone.sees("2 messages from before you signed in here")
    await phone.page.get_by_role("button", name="Open them").click()
    await phone.page.get_by_role("button", name="Recovery key").click()
    await _type(phone, key, unsaved)
    await phone.page.goto(f"{ada.url}/#/settings/devices")
    await phone.page.get_by_text("Yours").nth(1).wait_for()
    await phone.page.get_by_role("link", name="Chats").first.click()
    await phone.page.get_by_role("link", name="Kitchen").click()
    await phone.sees("the key is under the mat")
    await _proofs(ada, phone, "the key is under the mat")
    assert ada.faults + phone.faults == []


MEDIA = Path(__file__).parent / "media"
# The page itself can neither open nor close files of encrypted rooms.
NO_FILES = """() => {
    for (const name of ["encrypt", "decrypt"]) {
        const real = crypto.subtle[name];
        SubtleCrypto.prototype[name] = function (how, ...rest) {
            return how.name === "AES-CTR" ? Promise.reject(new Error("on the page")) : real.call(this, how, ...rest);
        };
    }
}"""


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_page_that_has_not_heard_of_the_recovery_key_asks_for_it(browser: Browser, server: Server) -> None:
    ada = await person(browser, local(server), "ada")
    await ada.sign_up()
    page = ada.page
    dialog = page.locator("dialog[open]")
    await ada.go("settings/encryption")
    await page.locator("input:checked[aria-label='Key backup']").click()
    await dialog.get_by_role("button", name="Switch off").click()
    await page.locator("input:not(:checked)[aria-label='Key backup']").wait_for()
    await keep_recovery_key(ada)
    # What the SDK has on the disk is minutes old, and nothing newer comes for now.
    mute: list[WebSocketRoute] = []

    def wire(socket: WebSocketRoute) -> None:
        if mute:
            socket.connect_to_server()
        else:
            mute.append(socket)

    await page.route_web_socket("**/stream", wire)
    await page.goto(f"{ada.url}/#/settings/encryption")
    await page.reload()
    async with page.expect_response("**/account_data/m.key_backup"):
        await page.locator("input:not(:checked, :disabled)[aria-label='Key backup']").click()
    await mute[0].close()
    await dialog.get_by_label("Key").wait_for()
    assert ada.faults == []


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_pictures_and_films_are_sent_plain_and_encrypted(browser: Browser, server: Server) -> None:
    ada, maya = await direct_chat(browser, server)
    # What is made smaller is so beside the page, which could not do it.
    await ada.page.evaluate("delete globalThis.OffscreenCanvas")
    # So are files opened and closed.
    await ada.page.evaluate(NO_FILES)
    await maya.page.evaluate(NO_FILES)
    await _exchange(ada, maya)
    await ada.create_room(f"Garden {ada.name}")
    await maya.join(f"#garden-{ada.name}:{server.name}")
    await _exchange(ada, maya)
    assert ada.faults + maya.faults == []


async def _exchange(ada: Person, maya: Person) -> None:
    await ada.attach(MEDIA / "picture.jpg", MEDIA / "clip.webm", MEDIA / "note.txt")
    await ada.composer.fill("look at this")
    await ada.composer.press("Enter")
    await maya.sees("look at this")
    picture = maya.page.locator("li.msg .img > img")
    drawn = "imgs => imgs.at(-1)?.complete && imgs.at(-1).naturalWidth > 0"
    await becomes(lambda: picture.evaluate_all(drawn), True)
    await maya.page.get_by_role("button", name="Play clip.webm").last.click()
    played = "videos => videos.at(-1)?.currentTime > 0.2"
    await becomes(lambda: maya.page.locator("video").evaluate_all(played), True)
    async with maya.page.expect_download() as download:
        await maya.page.get_by_role("button", name="Download note.txt").last.click()
    assert (await (await download.value).path()).read_bytes() == (MEDIA / "note.txt").read_bytes()
    # The picture opens alone, and Esc closes it.
    await maya.page.get_by_role("button", name="Open look at this").last.click()
    viewer = maya.page.get_by_role("dialog", name="Photo")
    await viewer.locator("img").wait_for()
    await maya.page.keyboard.press("Escape")
    await viewer.wait_for(state="detached")


# Who looks for a store finds one, so the one that is made has no key: this is how it was before there were keys.
BEFORE_KEYS = """(() => {
    if (localStorage.getItem("keys")) return;
    const open = indexedDB.open.bind(indexedDB);
    indexedDB.open = (...given) => {
        if (!given[0].endsWith("::matrix-sdk-crypto")) return open(...given);
        indexedDB.open = open;
        return open("hromada");
    };
})()"""
DATABASES = "indexedDB.databases().then((all) => all.map(({ name }) => name.split('::')[1]).filter(Boolean).sort())"


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_store_from_before_there_were_keys_opens_until_its_session_ends(
    browser: Browser, server: Server
) -> None:
    ada = await person(browser, local(server), "ada")
    page = ada.page
    await page.add_init_script(BEFORE_KEYS)
    await ada.sign_up()
    await ada.private_room("Cellar")
    await ada.say("a jar of honey")
    await ada.sent("a jar of honey")
    assert await page.evaluate(DATABASES) == ["matrix-sdk-crypto"]
    room = await page.evaluate("location.hash")
    fingerprint = page.locator(".mono-s").filter(has_text=re.compile(r"(\S{4} ){9}"))
    await page.goto(f"{ada.url}/#/settings/encryption")
    before = await fingerprint.inner_text()
    await page.evaluate("localStorage.setItem('keys', 'yes')")
    await page.reload()
    assert await fingerprint.inner_text() == before
    await page.goto(f"{ada.url}/{room}")
    await ada.sees("a jar of honey")
    await ada.say("and a spoon")
    await ada.sent("and a spoon")
    await page.goto(f"{ada.url}/#/settings/profile")
    await page.get_by_role("button", name="Sign out").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Sign out").click()
    await page.get_by_label("User name").wait_for()
    # The next one has a key.
    await page.get_by_label("User name").fill(ada.name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("Open your encrypted messages").wait_for()
    assert await page.evaluate(DATABASES) == ["matrix-sdk-crypto", "matrix-sdk-crypto-meta"]
    assert ada.faults == []
