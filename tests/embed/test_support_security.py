"""The security rules of support chats: who may show a frame, begin a session, and what a visitor may ask for."""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from client_api.routes import ROUTES as CLIENT_ROUTES
from client_api.visitors import ALLOWED
from embed.routes import ROUTES as EMBED_ROUTES
from homeserver.config.model import RateLimits
from homeserver.services.support.work import is_done
from homeserver.web.route import Auth, Route
from media_repo.routes import ROUTES as MEDIA_ROUTES
from tests.embed.support_chat import Agent, Frame, new_site, site_command
from tests.embed.test_support_identity import claims, keyed, signed
from tests.support.client import Client, becomes, part
from tests.support.fixtures import MakeUser, StartServer, fresh
from tests.support.media import upload, upload_reply
from tests.support.server import Server
from tests.support.stream import connected, streaming

pytestmark = pytest.mark.usefixtures("web_build")
ORIGIN = "https://shop.example"

# Whoever asks, with a token or without, gets the same: nothing of a visitor's rights is in it.
OPEN = (Auth.NONE, Auth.OPTIONAL)
MEDIA_ALLOWED = {"get_content_authed", "get_content_override_name_authed", "get_content_thumbnail_authed",
                 "upload_content", "get_config_authed"}  # fmt: skip
OWN = {"get_transcript", "mail_transcript", "erase_visitor", "tell_context"}


def table() -> list[tuple[Route[Any], bool]]:
    """Every route that looks at who asks, and whether visitors may come there."""
    rows: list[tuple[Route[Any], bool]] = []
    for route in [*CLIENT_ROUTES, *MEDIA_ROUTES, *EMBED_ROUTES]:
        if route.auth not in OPEN:
            rows.append((route, route.visitors is not None))
    return rows


def test_the_table_is_the_documented_one() -> None:
    allowed = {(route.method, route.path): route.handler.__name__ for route, may in table() if may}
    others = {name for key, name in allowed.items() if key not in ALLOWED}
    assert others == MEDIA_ALLOWED | OWN
    # What must never be there, whatever is added.
    forbidden = ("createRoom", "/join/", "/invite", "/state", "publicRooms", "/directory", "user_directory", "/search",
                 "/profile", "hierarchy", "pushers", "/account/", "/admin/", "openid", "/devices",
                 "/knock", "/ban", "/kick", "/upgrade", "/presence", "preview_url")  # fmt: skip
    named = [path for _, path in allowed if path != "/_matrix/client/v3/account/whoami"]
    assert not [path for path in named for word in forbidden if word in path]


async def test_a_visitor_tries_every_endpoint(server: Server, http: aiohttp.ClientSession) -> None:
    frame = Frame(http, server, new_site(server, [ORIGIN], []))
    await frame.begin()
    known = {"roomId": frame.room, "userId": frame.client.user_id, "eventType": "m.room.message", "txnId": "t"}
    wrong: list[str] = []
    for route, may in table():
        if route.handler.__name__ in ("erase_visitor", "sync", "peek_events"):
            continue  # ends what the test works with, or waits
        path = re.sub(r"\{(\w+)\}", lambda name: part(known.get(name[1], "x")), route.path)
        path = path.replace("/sites/x/", f"/sites/{frame.site}/")
        body = None if route.method in ("GET", "DELETE") else {}
        reply = await frame.client.request(route.method, path, body)
        refused = reply.status == 403 and b"Visitors of a support chat may not do this" in reply.raw
        if refused is may or reply.status >= 500:
            wrong.append(f"{route.method} {route.path}: {reply}")
    assert not wrong, "\n".join(wrong)


async def test_a_visitor_has_three_sockets(server: Server, http: aiohttp.ClientSession) -> None:
    frame = Frame(http, server, new_site(server, [ORIGIN], []))
    await frame.begin()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(streaming(frame.client))
        fourth = await stack.enter_async_context(connected(frame.client))
        await fourth.send(op="auth", access_token=frame.client.token)
        assert await fourth.closed() == 4008


async def test_a_visitor_reaches_no_other_room_and_says_no_other_things(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    site = new_site(server, [ORIGIN], [agent.client.user_id])
    desk = await agent.join_desk()
    ada, eve = Frame(http, server, site), Frame(http, server, site)
    await ada.begin()
    await eve.begin()
    await ada.say("mine")
    secret = await agent.client.ok("POST", "/createRoom", {"preset": "public_chat"})
    for room in (ada.room, desk, secret["room_id"]):
        where = f"/rooms/{part(room)}"
        (await eve.client.request("GET", f"{where}/messages", params={"dir": "b"})).error(403, "M_FORBIDDEN")
        (await eve.client.request("GET", f"{where}/members")).error(403, "M_FORBIDDEN")
        content = {"msgtype": "m.text", "body": "let me in"}
        (await eve.client.request("PUT", f"{where}/send/m.room.message/x", content)).error(403, "M_FORBIDDEN")
    own = f"/rooms/{part(eve.room)}"
    (await eve.client.request("PUT", f"{own}/send/m.room.encryption/x", {})).error(403, "M_FORBIDDEN")
    (await eve.client.request("PUT", f"{own}/send/com.example.any/x", {})).error(403, "M_FORBIDDEN")
    long = {"msgtype": "m.text", "body": "x" * 9000}
    (await eve.client.request("PUT", f"{own}/send/m.room.message/y", long)).error(413, "M_TOO_LARGE")
    # Another site's session opens nothing here, nor does the token of an account.
    other = Frame(http, server, new_site(server, [ORIGIN], []))
    other.handle = eve.handle
    (await other.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    path = f"/_embed/v1/sites/{other.site}"
    (await eve.client.request("GET", f"{path}/transcript")).error(403, "M_FORBIDDEN")
    (await agent.client.request("GET", f"/_embed/v1/sites/{site}/transcript")).error(403, "M_FORBIDDEN")


async def test_a_visitor_keeps_keys_and_nothing_else(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server("sqlite", environment={"HROMADA_ENCRYPTION_VISITOR_BACKUP_KEYS": "100"})
    frame = Frame(http, server, new_site(server, [ORIGIN], []))
    await frame.begin()
    ada = frame.client
    data = f"/user/{part(ada.user_id)}/account_data"
    await ada.ok("PUT", f"{data}/m.cross_signing.master", {"encrypted": {"chat.hromada.site": {"iv": "x"}}})
    assert (await ada.ok("GET", f"{data}/m.cross_signing.master"))["encrypted"]
    for type_ in ("m.direct", "m.push_rules", "m.secret_storage.key.other", "com.example.notes"):
        (await ada.request("PUT", f"{data}/{type_}", {"a": "b"})).error(403, "M_FORBIDDEN")
        (await ada.request("GET", f"{data}/{type_}")).error(403, "M_FORBIDDEN")
    large = {"encrypted": {"chat.hromada.site": {"ciphertext": "x" * 2_048}}}
    (await ada.request("PUT", f"{data}/m.cross_signing.master", large)).error(413, "M_TOO_LARGE")
    room = f"/user/{part(ada.user_id)}/rooms/{part(frame.room)}/account_data/m.cross_signing.master"
    (await ada.request("PUT", room, {})).error(403, "M_FORBIDDEN")
    about = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}
    version = (await ada.ok("POST", "/room_keys/version", about))["version"]

    def keys(count: int) -> dict[str, Any]:
        key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": True, "session_data": {"ciphertext": "x"}}
        return {"rooms": {frame.room: {"sessions": {f"s{number}": key for number in range(count)}}}}

    where = {"version": version}
    (await ada.request("PUT", "/room_keys/keys", keys(101), params=where)).error(403, "M_RESOURCE_LIMIT_EXCEEDED")
    assert (await ada.ok("PUT", "/room_keys/keys", keys(100), params=where))["count"] == 100


AGAIN = ("session/resume", "session/renew")


async def test_another_device_takes_the_place_of_the_one_before(server: Server, http: aiohttp.ClientSession) -> None:
    site, other = new_site(server, [ORIGIN], []), new_site(server, [ORIGIN], [])
    frame = Frame(http, server, site)
    before = await frame.begin()
    stranger = Frame(http, server, other)
    stranger.handle = frame.handle
    (await stranger.ask("session/renew")).error(401, "M_UNKNOWN_TOKEN")
    after = (await frame.ask("session/renew")).ok()
    assert after["user_id"] == before["user_id"]
    assert after["device_id"] != before["device_id"]
    (await frame.client.request("GET", "/account/whoami", token=before["access_token"])).error(401, "M_UNKNOWN_TOKEN")
    (await frame.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    who = await frame.client.request("GET", "/account/whoami", token=after["access_token"])
    assert who.ok()["device_id"] == after["device_id"]


async def test_a_visitor_s_cookie_reads_media_in_our_own_frame_and_does_nothing_else(
    server: Server, http: aiohttp.ClientSession
) -> None:
    site, other = new_site(server, [ORIGIN], []), new_site(server, [ORIGIN], [])
    frame = Frame(http, server, site)
    session = await frame.begin()
    uri = await upload(frame.client, b"x" * 100, "image/png", "x.png")
    path, here = f"/_matrix/client/v1/media/download/{uri}", {"chat.hromada.site": site}
    own = {"Sec-Fetch-Site": "same-origin"}
    cookie = {"Cookie": f"a=b; __Host-hromada-{site}={session['handle']}", **own}

    async def ask(params: dict[str, str], headers: dict[str, str], where: str = path, method: str = "GET") -> Any:
        return await frame.client.request(method, where, token=None, params=params, headers=headers)

    reply = await ask(here, {**cookie, "Range": "bytes=10-19"})
    assert (reply.status, len(reply.raw)) == (206, 10)
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert reply.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; script-src 'none';")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    # Not for pages of others, not for another site, and not under the name of the web client's cookie.
    for site_of_page in ("cross-site", "same-site", "none"):
        (await ask(here, {**cookie, "Sec-Fetch-Site": site_of_page})).error(401, "M_MISSING_TOKEN")
    (await ask({}, cookie)).error(401, "M_MISSING_TOKEN")
    (await ask({"chat.hromada.site": other}, cookie)).error(401, "M_MISSING_TOKEN")
    forged = {"Cookie": f"__Host-hromada-{other}={session['handle']}", **own}
    (await ask({"chat.hromada.site": other}, forged)).error(403, "M_FORBIDDEN")
    (await ask({}, {"Cookie": f"hromada_media={session['handle']}", **own})).error(401, "M_UNKNOWN_TOKEN")
    token = {"Cookie": f"__Host-hromada-{site}={session['access_token']}", **own}
    (await ask(here, token)).error(401, "M_UNKNOWN_TOKEN")
    # Nothing else is read or written by it.
    (await ask(here, cookie, "/account/whoami")).error(401, "M_MISSING_TOKEN")
    (await ask(here, cookie, "/_matrix/media/v3/upload", "POST")).error(401, "M_MISSING_TOKEN")
    (await frame.ask("session/end")).ok()
    (await ask(here, cookie)).error(401, "M_UNKNOWN_TOKEN")


async def test_sessions_begin_only_in_our_own_frame(server: Server, http: aiohttp.ClientSession) -> None:
    site, other = new_site(server, [ORIGIN], []), new_site(server, [ORIGIN], [])
    frame = Frame(http, server, site)
    good = {"nonce": await frame.nonce(), "key": fresh("key")}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"X-Hromada-Embed": "0"}):
        (await frame.ask("session", good, **headers)).error(403, "M_FORBIDDEN")
        for again in AGAIN:
            (await frame.ask(again, **headers)).error(403, "M_FORBIDDEN")
    until, _, signature = good["nonce"].partition(".")
    foreign = await Frame(http, server, other).nonce()
    for nonce in ("", "1.x", f"{int(until) + 1}.{signature}", f"1.{signature}", foreign, "9" * 150, "\u0664.x"):
        reply = await frame.ask("session", {**good, "nonce": nonce})
        assert reply.error(403, "M_FORBIDDEN")["reason"] == "nonce"
    # No other page may ask: there is no CORS here, also not for what it asks first.
    for what in ("session", *AGAIN):
        path = f"/_embed/v1/sites/{site}/{what}"
        for method in ("OPTIONS", "POST"):
            reply = await frame.client.request(method, path, token=None, headers={"Origin": "https://evil.example"})
            assert "Access-Control-Allow-Origin" not in reply.headers
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJAYSJ9."
    for handle in (token, "x", "a.b.c", ""):
        frame.handle = handle
        for again in AGAIN:
            (await frame.ask(again)).error(401, "M_UNKNOWN_TOKEN")
    # An access token is no handle, and a handle is no access token.
    frame.handle = ""
    session = await frame.begin()
    frame.handle = session["access_token"]
    for again in AGAIN:
        (await frame.ask(again)).error(401, "M_UNKNOWN_TOKEN")
    (await frame.client.request("GET", "/account/whoami", token=session["handle"])).error(401, "M_UNKNOWN_TOKEN")


async def test_a_handle_that_pages_keep_ends_whatever_is_got_for_it(
    server: Server, http: aiohttp.ClientSession
) -> None:
    site, other = new_site(server, [ORIGIN], [], persist="host"), new_site(server, [ORIGIN], [])
    assert "keep" not in await Frame(http, server, other).begin()  # only where the site allows it
    frame = Frame(http, server, site)
    begun = await frame.begin()
    ends = _claims(begun["keep"])["exp"]
    assert 29 * 86_400 < ends - _claims(begun["keep"])["iat"] <= 30 * 86_400
    assert "exp" not in _claims(begun["handle"])  # the one that is kept in memory
    thief = Frame(http, server, site)
    thief.handle = begun["keep"]
    body = {"nonce": await thief.nonce(), "key": fresh("key")}
    for action, said in (("session/resume", {}), ("session", body), ("session/renew", {})):
        reply = await thief.ask(action, said)
        got = reply.ok()
        assert got["user_id"] == begun["user_id"]
        cookie = reply.headers["Set-Cookie"].split("; ")
        for handle in (got["keep"], got["handle"], cookie[0].partition("=")[2]):
            assert _claims(handle)["exp"] == ends
        assert int(cookie[2].removeprefix("Max-Age=")) <= 30 * 86_400
        thief.take(got)
    # It is a handle and nothing else, of this site only; and it ends with the session.
    (await frame.client.request("GET", "/account/whoami", token=got["keep"])).error(401, "M_UNKNOWN_TOKEN")
    elsewhere = Frame(http, server, other)
    elsewhere.handle = got["keep"]
    (await elsewhere.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")
    (await thief.ask("session/end")).ok()
    (await thief.ask("session/resume")).error(401, "M_UNKNOWN_TOKEN")


def _claims(handle: str) -> dict[str, int]:
    """What a handle says, for whoever can read it."""
    part_ = handle.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part_ + "=" * (-len(part_) % 4))))


async def test_what_frame_and_loader_are_served_with(server: Server, http: aiohttp.ClientSession) -> None:
    site = new_site(server, [ORIGIN, "https://*.teren.example"], [])
    anybody = Client(http, server.url)
    reply = await anybody.request("GET", f"/_embed/frame/{site}", token=None)
    policy = dict(item.split(" ", 1) for item in reply.headers["Content-Security-Policy"].split("; "))
    assert policy["frame-ancestors"] == f"{ORIGIN} https://*.teren.example"
    assert policy["default-src"] == policy["form-action"] == "'none'"
    assert policy["style-src"] == "'self'"
    assert "unsafe-inline" not in reply.headers["Content-Security-Policy"]
    assert "unsafe-eval'" not in policy["script-src"].replace("wasm-unsafe-eval'", "")
    assert "X-Frame-Options" not in reply.headers
    assert reply.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in reply.headers
    for name in ("embed.js", "embed.mjs"):
        async with http.get(f"{server.url}/{name}") as loader:
            assert loader.status == 200
        assert loader.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert loader.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert loader.headers["Access-Control-Allow-Origin"] == "*"
        assert "max-age=300" in loader.headers["Cache-Control"]
        assert "Set-Cookie" not in loader.headers
    frame = Frame(http, server, site)
    body = {"nonce": await frame.nonce(), "key": fresh("key")}
    cookie = (await frame.ask("session", body)).headers["Set-Cookie"]
    assert cookie.startswith(f"__Host-hromada-{site}=")
    for attribute in ("Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"):
        assert attribute in cookie.split("; ")


async def test_the_frame_says_nothing_that_is_secret(server: Server, http: aiohttp.ClientSession) -> None:
    hostile = "</script><script>alert(1)</script><!--"
    settings = {"words": {"en": {"greeting": hostile}}, "canned": {"vip": "SECRET REPLY"}}
    site = new_site(server, [ORIGIN], [], name=hostile[:90], **settings)
    secret = re.search(r"secret +(\S+)", site_command(server, "rotate-key", site))
    assert secret is not None
    page = (await Client(http, server.url).request("GET", f"/_embed/frame/{site}", token=None)).raw.decode()
    assert secret[1] not in page
    assert "SECRET REPLY" not in page
    assert "alert(1)" in page  # as a text
    assert "<script>alert" not in page
    assert secret[1] not in site_command(server, "show", site)


async def test_a_site_that_is_off_shows_nothing(server: Server, http: aiohttp.ClientSession) -> None:
    site = new_site(server, [ORIGIN], [])
    frame = Frame(http, server, site)
    await frame.begin()
    site_command(server, "edit", site, "--disable")
    await _until_off(frame)
    for gone in (site, "nobody"):  # people see this page, in a frame, and its loader takes the launcher away
        reply = await frame.client.request("GET", f"/_embed/frame/{gone}", token=None)
        assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert b'"off": true' in reply.raw
        ancestors = ORIGIN if gone == site else "*"
        assert f"frame-ancestors {ancestors};" in reply.headers["Content-Security-Policy"]
        assert "X-Frame-Options" not in reply.headers
    (await frame.ask("session/resume")).error(403, "M_FORBIDDEN")
    site_command(server, "remove", site)

    async def why() -> str:
        return (await frame.client.request("GET", "/account/whoami")).errcode

    await becomes(why, "M_UNKNOWN_TOKEN")  # another process has ended the session: noticed within a second or so


async def _until_off(frame: Frame) -> None:
    async def status() -> int:
        return (await frame.client.request("GET", f"/_embed/frame/{frame.site}", token=None)).status

    await becomes(status, 404)


async def test_floods_meet_their_limits(start_server: StartServer, http: aiohttp.ClientSession, database: str) -> None:
    server = start_server(database, rate_limits="on", environment={"HROMADA_RATE_LIMITS_SUPPORT_CASES": "0.00014/4"})
    # A site may have tighter ones of its own. Who is turned away there has not used up anything elsewhere.
    tight = Frame(http, server, new_site(server, [ORIGIN], [], limits={"visitors_per_hour": 1, "files_per_day": 2}))
    await tight.begin()
    stranger = Frame(http, server, tight.site)
    for _ in range(10):
        body = {"nonce": await stranger.nonce(), "key": fresh("key")}
        assert (await stranger.ask("session", body)).error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] > 3_000_000
    replies = [await upload_reply(tight.client, b"x", "image/png") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    # All visitors of a site together, however many there are.
    quiet = new_site(server, [ORIGIN], [], limits={"messages_per_minute": 1})
    both = [Frame(http, server, quiet) for _ in range(2)]
    for frame in both:
        await frame.begin()
    replies = [await _say(frame, "one") for frame in both]
    assert [reply.status for reply in replies] == [200, 429]
    assert replies[1].error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] <= 60_000
    site = new_site(server, [ORIGIN], [])
    frames = [Frame(http, server, site) for _ in range(3)]
    await frames[0].begin()
    # With those above four conversations of this address; then five visitors.
    for frame, least_s in ((frames[1], 3_600), (frames[2], 60)):
        reply = await frame.ask("session", {"nonce": await frame.nonce(), "key": fresh("key")})
        assert reply.error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"] > least_s * 1_000
        assert int(reply.headers["Retry-After"]) > least_s
    while (reply := await frames[0].client.request("GET", f"/_embed/frame/{site}", token=None)).status == 200:
        pass  # two of them are free each second
    assert (reply.status, reply.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert b'"off": false' in reply.raw
    assert ORIGIN.encode() in reply.raw
    began, sent = time.monotonic(), 0
    while (reply := await _say(frames[0], str(sent))).status == 200:
        sent += 1
    reply.error(429, "M_LIMIT_EXCEEDED")
    assert 20 <= sent <= 21 + (time.monotonic() - began) / 5  # ten more each minute


def test_the_limits_are_the_designed_ones() -> None:
    """Of an address 5 visitors an hour and 6 conversations in 12; of a visitor 10 messages a minute, 20 files a day."""
    limits = RateLimits()
    found = (limits.support_visitors_address, limits.support_cases, limits.support_messages, limits.support_uploads)
    seconds = (3_600, 12 * 3_600, 60, 24 * 3_600)
    rates = [(int(rate.per_second * each), rate.burst) for rate, each in zip(found, seconds, strict=True)]
    assert rates == [(5, 5), (6, 6), (10, 20), (20, 20)]


async def _say(frame: Frame, txn: str) -> Any:
    content = {"msgtype": "m.text", "body": "again"}
    return await frame.client.request("PUT", f"/rooms/{part(frame.room)}/send/m.room.message/{txn}", content)


def solved(nonce: str, key: str, bits: int) -> str:
    """The work that a browser does."""
    numbers = itertools.count()
    return next(str(n) for n in numbers if is_done(nonce, key, str(n), bits))


async def test_new_visitors_work_where_the_site_asks_for_it(server: Server, http: aiohttp.ClientSession) -> None:
    bits = 10
    site = new_site(server, [ORIGIN], [], proof_of_work=bits)
    frame = Frame(http, server, site)
    nonce, key = await frame.nonce(), fresh("key")
    work = solved(nonce, key, bits)
    good = {"nonce": nonce, "key": key, "work": work}
    # Worth nothing: none, another's, of another page, and what is too long to be looked at.
    later, other = await frame.nonce(), fresh("key")
    wrong = next(str(n) for n in itertools.count() if not is_done(nonce, key, str(n), bits))
    for bad in (
        {**good, "work": ""},
        {**good, "work": wrong},
        {**good, "key": next(k for k in (other, other + "x", other + "y") if not is_done(nonce, k, work, bits))},
    ):
        assert (await frame.ask("session", bad)).error(403, "M_FORBIDDEN")["reason"] == "work"
    if not is_done(later, key, work, bits):
        assert (await frame.ask("session", {**good, "nonce": later})).error(403)["reason"] == "work"
    (await frame.ask("session", {**good, "work": "0" * 21})).error(400)
    first = frame.take((await frame.ask("session", good)).ok())
    # It serves for one visitor: again it finds the same one. Who is here already works no more.
    again = Frame(http, server, site)
    assert again.take((await again.ask("session", good)).ok())["user_id"] == first["user_id"]
    assert (await frame.begin())["user_id"] == first["user_id"]


async def test_names_and_pages_are_made_harmless(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    form = {"fields": [{"name": "name"}, {"name": "message"}]}
    site = new_site(server, [ORIGIN], [agent.client.user_id], form=form)
    desk = await agent.join_desk()
    frame = Frame(http, server, site)
    name = "\u202e<img src=x onerror=alert(1)> @room\n\u2066Eve\u200b" + "x" * 300
    await frame.begin(answers={"name": name}, page="javascript:alert(1)", title="t\u202e")
    await frame.say("<b>bold</b> \u202egnp.exe")
    card = await agent.card(desk, "bold")
    shown = card["formatted_body"]
    assert "<img" not in shown
    assert "<b>bold" not in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b]", card["body"].replace("gnp.exe", ""))
    assert "javascript:" not in card["body"]
    room = await agent.enter(card)
    member = await agent.client.ok("GET", f"/rooms/{part(room)}/state/m.room.member/{part(frame.client.user_id)}")
    assert len(member["displayname"]) <= 60
    assert "\n" not in member["displayname"]


async def test_files_are_those_that_the_site_takes(server: Server, http: aiohttp.ClientSession) -> None:
    site = new_site(server, [ORIGIN], [], files={"max_bytes": 2000, "types": ["image/png"]})
    frame = Frame(http, server, site)
    await frame.begin()

    async def upload(data: bytes, kind: str) -> Any:
        path = "/_matrix/media/v3/upload"
        return await frame.client.request("POST", path, data=data, headers={"Content-Type": kind})

    assert (await upload(b"x" * 100, "image/png")).ok()["content_uri"]
    (await upload(b"<svg/>", "image/svg+xml")).error(403, "M_FORBIDDEN")
    (await upload(b"x", "text/html")).error(403, "M_FORBIDDEN")
    (await upload(b"x" * 3000, "image/png")).error(413, "M_TOO_LARGE")


async def test_logs_hold_no_secret(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server("sqlite", log_level="debug")
    site = new_site(server, [ORIGIN], [], identity={"mode": "optional"})
    key = keyed(server, site)
    ada, maya = Frame(http, server, site), Frame(http, server, site)
    secrets = {key[1]}
    token = signed(key, claims(site))
    for frame, more in ((ada, {}), (maya, {"jwt": token})):
        nonce = await frame.nonce()
        await frame.begin(nonce=nonce, **more)
        await frame.say("the blue mug, please 5f1c")
        secrets |= {nonce, frame.handle, str(frame.client.token)}
        resumed = (await frame.ask("session/resume")).ok()
        secrets |= {str(resumed["access_token"]), str(resumed["handle"])}
        frame.take(resumed)
        wrong = {"nonce": "wrong-nonce-71", "key": "wrong-key-of-71-signs", "jwt": token}
        assert (await frame.ask("session", wrong)).status == 403
    secrets |= {token, "wrong-nonce-71", "wrong-key-of-71-signs", "the blue mug"}
    secrets |= {cookie.value for cookie in http.cookie_jar}
    assert (await ada.ask("erase", Authorization=f"Bearer {ada.client.token}")).status == 200
    server.stop()
    log = server.log.read_text()
    assert "stopped" in log
    found = [secret for secret in secrets if secret and secret in log]
    assert found == []
