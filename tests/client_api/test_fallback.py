"""Fallback pages of interactive authentication.  (reliability: A12)"""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

from homeserver.ports.accounts import RegistrationToken
from homeserver.services.accounts.register import Mode
from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, V3, Home, Options, running
from tests.support.asgi import AsgiClient

PAGE = V3 + "/auth/{type}/fallback/web?session={session}"


async def test_a_stage_completed_on_its_page(store: Database) -> None:
    async with running(Home(store, Options(mode=Mode.TOKEN, first_user_admin=False))) as home:
        await home.api.admin.add_registration_token(RegistrationToken("once", uses_allowed=1))
        body = {"username": "alice", "password": PASSWORD}
        session = (await home.call("POST", "/register", body)).json["session"]
        client = AsgiClient(home.app)
        target = PAGE.format(type="m.login.registration_token", session=session)
        page = await client.request("GET", target)
        assert page.status == 200 and page.headers["content-type"].startswith("text/html")
        assert b'name="token"' in page.body
        wrong = await client.request("POST", target, body=b"token=wrong")
        assert wrong.status == 403 and b"not valid" in wrong.body
        waiting = await home.call("POST", "/register", {**body, "auth": {"session": session}})
        assert waiting.status == 401 and "completed" not in waiting.json
        done = await client.request("POST", target, body=b"token=once")
        assert done.status == 200 and b"onAuthDone" in done.body
        await home.ok("POST", "/register", {**body, "auth": {"session": session}})
        assert (await client.request("POST", target, body=b"token=once")).status == 403
        async with store.read() as tx:
            assert await tx.registration_tokens.get("once") == RegistrationToken("once", 1, 0, 1)


async def test_pages_escape_and_forbid(store: Database) -> None:
    policies = {"terms": {"version": "1", "en": {"name": "<b>Terms</b>", "url": "javascript:alert(1)"}}}
    async with running(Home(store, Options(policies=policies))) as home:
        attack = '"><script>alert(1)</script>'
        client = AsgiClient(home.app)
        for stage in ("m.login.terms", "m.login.dummy", "m.login.registration_token"):
            page = await client.request("GET", PAGE.format(type=stage, session=quote(attack)))
            assert page.status == 200 and b"<script>" not in page.body and b"javascript:" not in page.body
            assert b"<b>" not in page.body
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
            posted = await client.request("POST", PAGE.format(type=stage, session=quote(attack)), body=b"token=x")
            assert posted.status == 403 and b"<script>" not in posted.body
        unknown = await client.request("GET", PAGE.format(type="m.login.password", session="x"))
        assert unknown.status == 404


async def test_pages_speak_the_language_of_their_reader(store: Database) -> None:
    policies = {"terms": {"version": "1", "en": {"name": "Terms", "url": "https://a.example/en"},
                          "uk": {"name": "Умови", "url": "https://a.example/uk"}}}  # fmt: skip
    async with running(Home(store, Options(policies=policies))) as home:
        client = AsgiClient(home.app)
        target = PAGE.format(type="m.login.terms", session="x")
        for accepted, button, link in (
            ("uk-UA,uk;q=0.9,en;q=0.8", "Продовжити", "https://a.example/uk"),
            ("de, en;q=0.5", "Continue", "https://a.example/en"),
            ("", "Continue", "https://a.example/en"),
        ):
            page = await client.request("GET", target, headers={"Accept-Language": accepted})
            assert f"<button>{button}</button>" in page.body.decode()
            assert f'href="{link}"' in page.body.decode()


def test_a_start_imports_no_pages() -> None:
    code = "import sys, homeserver.boot, client_api.routes; print('quart' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
