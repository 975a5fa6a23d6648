"""Who a visitor is on the word of the site: tokens of all kinds, one history everywhere, handing over."""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.embed.support_chat import Agent, Frame, new_site, site_command
from tests.support.client import becomes, part
from tests.support.fixtures import MakeUser, fresh
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("web_build")
ORIGIN = "https://shop.example"


def claims(site: str, sub: str = "u1", **more: Any) -> dict[str, Any]:
    """What a site signs."""
    now = int(time.time())
    return {"aud": site, "sub": sub, "iat": now, "exp": now + 300, "jti": fresh("jti"), "name": "Ada", **more}


def keyed(server: Server, site: str) -> tuple[str, str]:
    """A new HS256 key of the site: kid and secret."""
    printed = site_command(server, "rotate-key", site)
    kid, secret = re.search(r"kid +(\S+)", printed), re.search(r"secret +(\S+)", printed)
    assert kid is not None
    assert secret is not None
    return kid[1], secret[1]


def signed(key: tuple[str, Any], given: dict[str, Any], alg: str = "HS256", **header: Any) -> str:
    """A token."""
    return jwt.encode(given, key[1], algorithm=alg, headers={"kid": key[0], **header})


async def refused(frame: Frame, token: str) -> str:
    """Why a token is refused."""
    body = {"nonce": await frame.nonce(), "key": fresh("key"), "jwt": token}
    return str((await frame.ask("session", body)).error(403, "M_FORBIDDEN")["reason"])


async def test_bad_tokens_are_refused(server: Server, http: aiohttp.ClientSession) -> None:
    site, other = new_site(server, [ORIGIN], []), new_site(server, [ORIGIN], [])
    key, foreign = keyed(server, site), keyed(server, other)
    frame = Frame(http, server, site)
    now = int(time.time())
    good = signed(key, claims(site))
    head, payload, signature = good.split(".")
    bad = {
        "of another site's key": signed(foreign, claims(site)),
        "of another key by this kid": signed((key[0], foreign[1]), claims(site)),
        "for another site": signed(key, claims(other)),
        "for nobody": signed(key, {k: v for k, v in claims(site).items() if k != "aud"}),
        "not signed": jwt.encode(claims(site), None, algorithm="none", headers={"kid": key[0]}),
        "signed otherwise": jwt.encode(claims(site), key[1] * 2, algorithm="HS512", headers={"kid": key[0]}),
        "living long": signed(key, claims(site, exp=now + 3600)),
        "of the future": signed(key, claims(site, iat=now + 3600, exp=now + 3700)),
        "without an end": signed(key, {k: v for k, v in claims(site).items() if k != "exp"}),
        "without an id": signed(key, {k: v for k, v in claims(site).items() if k != "jti"}),
        "of nobody": signed(key, claims(site, sub="")),
        "of a number": jwt.encode({**claims(site), "exp": 1e300}, key[1], headers={"kid": key[0]}),
        "changed": f"{head}.{payload[:-4]}AAAA.{signature}",
        "cut": f"{head}.{payload}.",
        "nonsense": "x.y.z",
    }
    for what, token in bad.items():
        assert await refused(frame, token) == "identity_invalid", what
    assert await refused(frame, signed(key, claims(site, iat=now - 900, exp=now - 600))) == "identity_expired"
    await frame.begin(jwt=good)
    again = Frame(http, server, site)
    assert await refused(again, good) == "identity_invalid"  # used before
    # Two keys serve at once, a new one from its first moment on; a third ends the first.
    second = keyed(server, site)
    for each in (key, second):
        await Frame(http, server, site).begin(jwt=signed(each, claims(site)))
    keyed(server, site)

    async def serves_still() -> bool:
        stranger = Frame(http, server, site)
        body = {"nonce": await stranger.nonce(), "key": fresh("key"), "jwt": signed(key, claims(site)), "begin": False}
        return (await stranger.ask("session", body)).status == 200

    await becomes(serves_still, False)  # as soon as the server has looked at the site anew
    assert await refused(Frame(http, server, site), signed(key, claims(site))) == "identity_invalid"


@pytest.mark.parametrize("alg", ["EdDSA", "ES256"])
async def test_public_keys(server: Server, http: aiohttp.ClientSession, tmp_path: Any, alg: str) -> None:
    site = new_site(server, [ORIGIN], [])
    private = Ed25519PrivateKey.generate() if alg == "EdDSA" else ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    file = tmp_path / "key.pem"
    file.write_bytes(public)
    kid = re.search(r"kid +(\S+)", site_command(server, "rotate-key", site, "--alg", alg, "--public-key", str(file)))
    assert kid is not None
    frame = Frame(http, server, site)
    session = await frame.begin(jwt=signed((kid[1], private), claims(site), alg))
    assert (session["verified"], session["name"]) == (True, "Ada")
    # The public key is no secret, whatever a token says of its algorithm.
    forged = _hs256_with(kid[1], public, claims(site))
    assert await refused(Frame(http, server, site), forged) == "identity_invalid"


def _hs256_with(kid: str, secret: bytes, given: dict[str, Any]) -> str:
    """PyJWT does not sign with a public key; whoever forges does."""

    def encoded(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    text = f"{encoded(json.dumps({'alg': 'HS256', 'kid': kid}).encode())}.{encoded(json.dumps(given).encode())}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


async def test_one_history_everywhere_and_no_merging_by_address(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    site = new_site(server, [ORIGIN], [agent.client.user_id])
    desk = await agent.join_desk()
    key = keyed(server, site)
    anonymous = Frame(http, server, site)
    await anonymous.begin(answers={"name": "Somebody", "email": "ada@shop.example"})
    await anonymous.say("before signing in")
    card = await agent.card(desk, "not verified")
    # Nobody has been here by that name; asking makes nothing, and uses the token up as little.
    token = signed(key, claims(site, email="ada@shop.example"))
    phone = Frame(http, server, site)
    body = {"nonce": await phone.nonce(), "key": fresh("key"), "jwt": token, "begin": False}
    (await phone.ask("session", body)).error(404, "M_NOT_FOUND")
    # Another browser that says who it is has a history of its own, though the address is the same.
    first = await phone.begin(jwt=token)
    assert first["room_id"] != anonymous.room
    await phone.say("from the phone")
    # The browser that holds the anonymous session gives it over.
    before = anonymous.client.user_id
    after = await anonymous.begin(jwt=signed(key, claims(site)))
    assert after["user_id"] == first["user_id"] != before
    assert set(after["rooms"]) == {first["room_id"], card["chat.hromada.support.case"]["room_id"]}
    handed = card["chat.hromada.support.case"]["room_id"]
    page = await anonymous.client.ok("GET", f"/rooms/{part(handed)}/messages", params={"dir": "b", "limit": 50})
    assert "before signing in" in str(page)
    text = (await anonymous.client.request("GET", f"/_embed/v1/sites/{site}/transcript")).raw.decode()
    lines = [line.partition("] ")[2] for line in text.splitlines()]
    assert lines[0].endswith(": before signing in")  # the rooms of all cases, as they are scrolled through
    assert lines[1:] == ["Ada: from the phone"]
    await agent.card(desk, "before signing in", "verified by the site")
    await agent.enter(card)
    members = await agent.client.ok("GET", f"/rooms/{part(handed)}/joined_members")
    assert after["user_id"] in members["joined"]
    assert before not in members["joined"]
    # Somebody else's token gives nothing of it.
    eve = Frame(http, server, site)
    session = await eve.begin(jwt=signed(key, claims(site, sub="u2", email="ada@shop.example")))
    assert session["user_id"] != after["user_id"]
    (await eve.client.request("GET", f"/rooms/{part(handed)}/messages", params={"dir": "b"})).error(403)


async def test_a_site_may_want_everybody_to_be_known(server: Server, http: aiohttp.ClientSession) -> None:
    site = new_site(server, [ORIGIN], [])
    key = keyed(server, site)
    site_command(server, "edit", site, "--file", "-", stdin='{"identity": {"mode": "required"}}')
    frame = Frame(http, server, site)

    async def why() -> str | None:
        body = {"nonce": await frame.nonce(), "key": fresh("key")}
        reply = await frame.ask("session", body)
        return None if reply.status == 200 else str(reply.error(403)["reason"])

    await becomes(why, "identity_required")  # until the server has seen the change, anybody may come
    first = await frame.begin(jwt=signed(key, claims(site)))
    assert first["verified"] is True
    assert (await frame.begin())["room_id"] == first["room_id"]  # the session is known, and says so without a token


async def test_what_known_visitors_fill_in_is_asked_for_and_kept(
    server: Server, http: aiohttp.ClientSession, make_user: MakeUser
) -> None:
    agent = Agent(await make_user("agent"))
    fields = [{"name": "name", "required": True}, {"name": "order", "required": True}, {"name": "size"}]
    form = {"fields": fields, "consent_url": "https://shop.example/privacy"}
    site = new_site(server, [ORIGIN], [agent.client.user_id], form=form)
    desk = await agent.join_desk()
    key = keyed(server, site)
    token = signed(key, claims(site, attrs={"plan": "pro"}))
    frame = Frame(http, server, site)
    body = {"nonce": await frame.nonce(), "key": fresh("key"), "jwt": token, "answers": {"size": "XL"}}
    assert (await frame.ask("session", body)).error(400, "M_MISSING_PARAM")["field"] == "consent"
    body["consent"] = True
    assert (await frame.ask("session", body)).error(400, "M_MISSING_PARAM")["field"] == "order"
    # The token serves still; the name is the site's word, and is not asked for again.
    body["answers"] = {"size": "XL", "order": "A-1042"}
    frame.take((await frame.ask("session", body)).ok())
    await frame.say("where is it?")
    await agent.card(desk, "Ada", "A-1042", "XL", "pro")
    # Signed anew, with less to say: what they answered stays, what the site does not sign any more goes.
    await frame.begin(jwt=signed(key, claims(site, attrs={"tier": "gold"})))
    await frame.say("still waiting")
    await agent.note(desk, await agent.card(desk, "where is it?"), "!priority high")
    card = await agent.card(desk, "priority high", "A-1042", "XL", "gold")
    assert "pro" not in card["body"].replace("priority", "").split()
    # Who was somebody else before takes along what they answered.
    anonymous = Frame(http, server, site)
    await anonymous.begin(answers={"name": "Eva", "order": "B-7"}, consent=True)
    await anonymous.say("and mine?")
    await agent.card(desk, "Eva", "B-7")
    await anonymous.begin(jwt=signed(key, claims(site, sub="u2", name="")))
    await agent.card(desk, "Eva", "B-7", "verified by the site")


async def test_cookies_last_as_long_as_what_they_stand_for(server: Server, http: aiohttp.ClientSession) -> None:
    site = new_site(server, [ORIGIN], [])
    anonymous, known = Frame(http, server, site), Frame(http, server, site)
    await anonymous.begin()
    await known.begin(jwt=signed(keyed(server, site), claims(site)))
    for frame, days in ((anonymous, 30), (known, 180)):
        # Each use gives it the whole time again.
        resumed = await frame.ask("session/resume")
        assert f"Max-Age={days * 86_400}" in resumed.headers["Set-Cookie"].split("; ")
