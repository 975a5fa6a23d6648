"""The web client's session in a cookie: who may have a token for it, and what is left when answers are lost."""

from __future__ import annotations

from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from tests.support.client import Client, Reply
from tests.support.server import Server

SESSION = "/_hromada/web/session"
TOKEN = f"{SESSION}/token"
WHOAMI = "/account/whoami"
PAGE = {"X-Hromada-Web": "1", "Sec-Fetch-Site": "same-origin"}


class Browser:
    """What a browser does for the page: it keeps the cookie and sends it along."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.kept = ""

    async def ask(self, path: str, body: Any = None, **headers: str) -> Reply:
        """A request of the page, without its effect on the cookie."""
        sent = {**PAGE, **({"Cookie": f"other=1; hromada_web={self.kept}"} if self.kept else {}), **headers}
        return await self.client.request("POST", path, body, token=None, headers=sent)

    def take(self, reply: Reply) -> Any:
        """Keep what an answer sets; its body."""
        self.kept = given(reply).value
        return reply.ok()


def given(reply: Reply, name: str = "hromada_web") -> Morsel[str]:
    """The cookie that an answer sets."""
    for header in reply.headers.getall("Set-Cookie", []):
        if name in (found := SimpleCookie(header)):
            return found[name]
    raise AssertionError(f"no cookie {name}: {reply}")


@pytest.fixture
async def page(alice: Client) -> Browser:
    """A page that has just signed in."""
    return Browser(await alice.another_device(refresh_token=True))


async def keep(page: Browser, **headers: str) -> Reply:
    """Exchange the login for the cookie."""
    return await page.ask(SESSION, {"refresh_token": page.client.refresh_token}, **headers)


async def test_a_login_becomes_a_cookie_and_short_tokens(page: Browser) -> None:
    reply = await keep(page, Origin="http://localhost:8008")
    cookie = given(reply)
    assert cookie["path"] == SESSION
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert cookie["secure"] == ""
    assert reply.headers["Cache-Control"] == "no-store"
    assert page.take(reply) == {}, "the page gets nothing that lasts"
    reply = await page.ask(TOKEN)
    session = page.take(reply)
    assert reply.headers["Cache-Control"] == "no-store"
    assert set(session) == {"user_id", "device_id", "access_token", "expires_in_ms"}
    assert (session["user_id"], session["device_id"]) == (page.client.user_id, page.client.device_id)
    assert 0 < session["expires_in_ms"] <= 15 * 60 * 1000
    assert (await page.client.ok("GET", WHOAMI, token=session["access_token"]))["device_id"] == page.client.device_id
    # Each has another cookie and another token; of the tokens only the newest in use is good.
    first = page.kept
    again = page.take(await page.ask(TOKEN))
    assert first != page.kept
    await page.client.ok("GET", WHOAMI, token=again["access_token"])
    expired = await page.client.request("GET", WHOAMI, token=session["access_token"])
    assert expired.error(401, "M_UNKNOWN_TOKEN")["soft_logout"] is True


async def test_what_the_page_had_is_dead_with_the_first_token(page: Browser) -> None:
    page.take(await keep(page))
    session = page.take(await page.ask(TOKEN))
    await page.client.ok("GET", WHOAMI, token=session["access_token"])
    (await page.client.request("GET", WHOAMI)).error(401, "M_UNKNOWN_TOKEN")
    (await keep(page)).error(401, "M_UNKNOWN_TOKEN")
    # Somebody has it who should not: the session is over.
    (await page.ask(TOKEN)).error(401, "M_UNKNOWN_TOKEN")


async def test_lost_answers_end_no_session(page: Browser) -> None:
    await keep(page)
    page.take(await keep(page))
    for _ in range(2):
        # The browser heard neither the token nor the cookie.
        for _ in range(2):
            (await page.ask(TOKEN)).ok()
        session = page.take(await page.ask(TOKEN))
        await page.client.ok("GET", WHOAMI, token=session["access_token"])
    # It heard the cookie, and the page went before it used the token.
    page.take(await page.ask(TOKEN))
    session = page.take(await page.ask(TOKEN))
    await page.client.ok("GET", WHOAMI, token=session["access_token"])


async def test_a_browser_without_cookies_goes_on_with_what_it_had(page: Browser) -> None:
    (await keep(page)).ok()
    refused = (await page.ask(TOKEN)).error(401, "M_UNKNOWN_TOKEN")
    assert refused["soft_logout"] is True, "the device is still there"
    await page.client.ok("GET", WHOAMI)
    body = {"refresh_token": page.client.refresh_token}
    renewed = await page.client.ok("POST", "/refresh", body, token=None)
    await page.client.ok("GET", WHOAMI, token=renewed["access_token"])


@pytest.mark.parametrize("where", ["cross-site", "same-site", "none", ""])
async def test_only_pages_of_this_origin_are_served(page: Browser, where: str) -> None:
    page.take(await keep(page))
    kept = page.kept
    for path, body in ((TOKEN, None), (SESSION, {"refresh_token": page.client.refresh_token})):
        reply = await page.ask(path, body, **{"Sec-Fetch-Site": where})
        reply.error(403, "M_FORBIDDEN")
        assert "Set-Cookie" not in reply.headers
        (await page.ask(path, body, **{"X-Hromada-Web": ""})).error(403, "M_FORBIDDEN")
        preflight = await page.client.request(
            "OPTIONS", path, token=None,
            headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
        )  # fmt: skip
        assert "Access-Control-Allow-Origin" not in preflight.headers
    assert page.kept == kept
    page.take(await page.ask(TOKEN))


@pytest.mark.parametrize("kept", ["", "nonsense", "a" * 5_000, '"quoted"', "%00"])
async def test_what_is_no_session_gets_no_token(page: Browser, kept: str) -> None:
    page.kept = kept
    reply = await page.ask(TOKEN)
    reply.error(401, "M_UNKNOWN_TOKEN")
    assert "Set-Cookie" not in reply.headers
    for body in ({"refresh_token": kept or "x"}, {"refresh_token": 1}, {}):
        assert (await page.ask(SESSION, body)).status in (400, 401)


async def test_over_https_the_cookie_stays_there(page: Browser) -> None:
    reply = await keep(page, Origin="https://chat.example")
    assert given(reply)["secure"] is True
    page.take(reply)
    assert given(await page.ask(TOKEN, Origin="https://chat.example"))["secure"] is True


async def test_nothing_is_left_after_the_logout(page: Browser, server: Server) -> None:
    page.take(await keep(page))
    session = page.take(await page.ask(TOKEN))
    await page.client.ok("POST", "/logout", {}, token=session["access_token"])
    (await page.ask(TOKEN)).error(401, "M_UNKNOWN_TOKEN")
    reply = await page.client.request("DELETE", SESSION, token=None)
    for name, path in (("hromada_web", SESSION), ("hromada_media", "/_matrix/client/v1/media")):
        cookie = given(reply, name)
        assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", path)
