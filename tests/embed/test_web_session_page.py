"""What of a session lies in the browser: a cookie that no script reads, and nothing else that outlives the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.embed.people import PASSWORD, Person, local, person, until
from tests.support.client import Client, becomes
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp
    from playwright.async_api import Browser, Page, Response, Route

TOKEN = "**/_hromada/web/session/token"
SESSION = "**/_hromada/web/session"

# Everything that scripts of the page find on the disk, as text.
KEPT = """async () => {
    const request = (from) => new Promise((done, fail) => {
        from.onsuccess = () => done(from.result);
        from.onerror = () => fail(from.error);
    });
    const found = [document.cookie, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage })];
    for (const { name } of await indexedDB.databases()) {
        const db = await request(indexedDB.open(name));
        for (const store of db.objectStoreNames) {
            found.push(JSON.stringify(await request(db.transaction(store).objectStore(store).getAll())));
        }
        db.close();
    }
    return found.join("\\n");
}"""
RECORD = """(value) => new Promise((done) => {
    const open = indexedDB.open("hromada");
    open.onsuccess = () => {
        const write = value !== undefined && value !== null;
        const kv = open.result.transaction("kv", write ? "readwrite" : "readonly").objectStore("kv");
        const asked = write ? kv.put(value, "session") : kv.get("session");
        asked.onsuccess = () => (open.result.close(), done(asked.result));
    };
})"""

# What the SDK keeps belongs to the device that was here.
FORGET = """async () => {
    const names = (await indexedDB.databases()).map(({ name }) => name).filter((name) => name !== "hromada");
    await Promise.all(names.map((name) => new Promise((done) => (indexedDB.deleteDatabase(name).onsuccess = done))));
}"""


async def cookies(who: Person) -> dict[str, Any]:
    """The browser's cookies by their names."""
    return {cookie["name"]: cookie for cookie in await who.context.cookies(f"{who.url}/_hromada/web/session/token")}


def listen(page: Page) -> list[Response]:
    """The answers with tokens that come to the page from here on."""
    heard: list[Response] = []

    def hear(answer: Response) -> None:
        if any(word in answer.url for word in ("/register", "/session/token")) and answer.ok:
            heard.append(answer)

    page.on("response", hear)
    return heard


def lose_first() -> Callable[[Route], Awaitable[None]]:
    """A route by which the server gives a token, and the page gets no answer: once. The cookie has come."""
    lost: list[Route] = []

    async def answer(route: Route) -> None:
        # Browsers say where a request comes from only after it has gone through here.
        answer = await route.fetch(headers={**route.request.headers, "sec-fetch-site": "same-origin"})
        if answer.ok and not lost:
            lost.append(route)
            return await route.abort()
        await route.fulfill(response=answer)

    return answer


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_no_script_finds_what_signs_one_in(browser: Browser, server: Server, http: aiohttp.ClientSession) -> None:
    ada = await person(browser, local(server), "ada")
    page = ada.page
    heard = listen(page)
    await ada.sign_up()
    name = f"Hut {ada.name}"
    await ada.create_room(name)
    answers = [await answer.json() for answer in heard]
    tokens = [answer[name] for answer in answers for name in ("access_token", "refresh_token") if name in answer]
    assert len(tokens) >= 3, "both of the login, and one for the cookie"
    kept = await page.evaluate(KEPT)
    assert ada.name in kept
    assert [token for token in tokens if token in kept] == []
    cookie = (await cookies(ada))["hromada_web"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert cookie["value"] not in kept

    # The page begins anew, and the first answer is lost.
    await page.route(TOKEN, lose_first())
    await page.reload()
    await ada.say("after a lost answer")
    await ada.sent("after a lost answer")
    await page.unroute(TOKEN)

    # A second tab has its token from the first, whose own stays good.
    token = await ada.token()
    second = await ada.context.new_page()
    await second.goto(f"{ada.url}/")
    await second.get_by_role("link", name=name).click()
    await second.locator("#composer").fill("from the second tab")
    await second.locator("#composer").press("Enter")
    await ada.sent("from the second tab")
    await Client(http, server.url).ok("GET", "/account/whoami", token=token)
    await second.close()

    # What ends the token ends no session: another one is fetched.
    stolen = Client(http, server.url)
    headers = {"Cookie": f"hromada_web={(await cookies(ada))['hromada_web']['value']}",
               "X-Hromada-Web": "1", "Sec-Fetch-Site": "same-origin"}  # fmt: skip
    reply = await stolen.request("POST", "/_hromada/web/session/token", token=None, headers=headers)
    await ada.context.add_cookies([{**cookie, "value": _set(reply.headers["Set-Cookie"])}])
    await stolen.ok("GET", "/account/whoami", token=reply.ok()["access_token"])
    await ada.say("with a token of later")
    await ada.sent("with a token of later")

    await page.goto(f"{ada.url}/#/settings/devices")
    await page.get_by_text("This device").first.wait_for()
    assert await page.get_by_text("keeps no cookies").count() == 0
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Sign in").wait_for()
    await becomes(lambda: cookies(ada), {})
    assert ada.faults == []


def _set(header: str) -> str:
    return header.split(";", maxsplit=1)[0].partition("=")[2]


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_old_sessions_are_taken_over_and_browsers_without_cookies_served(
    browser: Browser, server: Server, http: aiohttp.ClientSession
) -> None:
    ada = await person(browser, local(server), "ada")
    page = ada.page
    # A browser that drops the cookie: the page hears that it was set, and the server never sees it.
    await page.route(SESSION, _drop)
    await ada.sign_up()
    record = await page.evaluate(RECORD)
    assert record["access"]
    assert record["refresh"]
    await page.reload()
    await ada.create_room(f"Hut {ada.name}")
    await page.goto(f"{ada.url}/#/settings/devices")
    await page.get_by_text("keeps no cookies").wait_for()
    assert (await page.evaluate(RECORD))["userId"] == record["userId"]

    # Some day it keeps them: this is also how sessions of earlier versions lie there.
    await page.unroute(SESSION)
    old = await Client(http, server.url).login(ada.name, PASSWORD, refresh_token=True)
    fields = {"userId": old.user_id, "deviceId": old.device_id, "access": old.token, "refresh": old.refresh_token}
    await page.goto("about:blank")
    await page.goto(f"{ada.url}/manifest.webmanifest")
    await page.evaluate(FORGET)
    await page.evaluate(RECORD, {**fields, "expires": 4_000_000_000_000})
    # The answer that brings the first token is lost on the way.
    await page.route(TOKEN, lose_first())
    await page.goto(f"{ada.url}/#/settings/devices")
    await ada.arrive()
    await page.goto(f"{ada.url}/#/settings/devices")
    await page.get_by_text("This device").first.wait_for()
    await until(page, f"async () => (await ({RECORD})()).cookie === true")
    record = await page.evaluate(RECORD)
    assert record == {"userId": old.user_id, "deviceId": old.device_id, "cookie": True}
    assert "hromada_web" in await cookies(ada)
    (await old.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    assert ada.faults == []


async def _drop(route: Route) -> None:
    if route.request.method == "POST":
        await route.fulfill(json={})
    else:
        await route.fallback()
