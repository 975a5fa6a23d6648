"""Letters about unread messages, over SMTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiohttp
import pytest

from tests.support.client import Client, part
from tests.support.fixtures import StartServer, fresh
from tests.support.mailserver import MailServer, environment, running_mail_server, text_of
from tests.support.pushgateway import ENVIRONMENT, running_gateway
from tests.support.server import Server

pytestmark = pytest.mark.all_only

CONFIRMED = "chat.hromada.confirmed"
PLACE = "/_matrix/client/unstable/chat.hromada/mail"


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    """A mail server."""
    async with running_mail_server() as running:
        yield running


async def people(server: Server, http: aiohttp.ClientSession, *names: str) -> list[Client]:
    return [await Client(http, server.url).register(fresh(name)) for name in names]


def pusher(address: str, **change: Any) -> dict[str, Any]:
    return {
        "pushkey": address,
        "kind": "email",
        "app_id": "m.email",
        "app_display_name": "Email Notifications",
        "device_display_name": address,
        "lang": "en",
        "data": {"brand": "App"},
        **change,
    }


def links(letter: EmailMessage) -> list[str]:
    """The addresses of this server in a letter, without its name."""
    return re.findall(r"https://hromada\.test(/_\S+)", text_of(letter))


async def post(client: Client, link: str) -> int:
    reply = await client.request("POST", link, data=b"List-Unsubscribe=One-Click", token=None)
    return reply.status


async def wants_letters(client: Client, mail: MailServer, address: str, **change: Any) -> None:
    """Set a pusher, and agree to it as the owner of the address."""
    await client.ok("POST", "/pushers/set", pusher(address, **change))
    await mail.until(lambda: bool(mail.to(address)))
    (link,) = links(mail.to(address)[0])
    assert await post(client, link) == 200
    mail.letters.clear()


def told(letters: list[EmailMessage]) -> int:
    """How many messages letters are about, all together."""
    return sum(int(str(letter["Subject"]).split()[0]) for letter in letters)


async def test_letters_to_those_who_agree(
    start_server: StartServer, http: aiohttp.ClientSession, mail: MailServer, database: str
) -> None:
    server = start_server(database, environment=environment(mail.port))
    alice, bob = await people(server, http, "alice", "bob")
    room = await alice.create_room(name="Mission <Control>", invite=[bob.user_id])
    await bob.join(room)
    await bob.ok("POST", "/pushers/set", pusher("bob@example.org"))
    await mail.until(lambda: bool(mail.letters))
    (asked,) = mail.letters
    assert (asked["From"], asked["To"]) == ("Matrix <matrix@hromada.test>", "bob@example.org")
    assert asked["Auto-Submitted"] == "auto-generated" and bob.user_id in text_of(asked)
    (link,) = links(asked)
    await alice.send(room, "before anybody agreed")
    for _ in range(2):  # programs that look for harm follow links
        page = await bob.request("GET", link, token=None)
        assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
        assert b"<form method" in page.raw and b"frame-ancestors 'none'" in str(page.headers).encode()
    assert [one[CONFIRMED] for one in (await bob.ok("GET", "/pushers"))["pushers"]] == [False]
    assert await post(bob, link) == 200
    assert await post(bob, link) == 200
    assert [one[CONFIRMED] for one in (await bob.ok("GET", "/pushers"))["pushers"]] == [True]
    mail.letters.clear()
    for number in range(3):
        await alice.send(room, f"secret {number}")
    await mail.until(lambda: told(mail.letters) >= 3)
    assert told(mail.letters) == 3, "nothing twice, and nothing from before the owner agreed"
    letter = mail.letters[0]
    assert "on hromada.test" in letter["Subject"] and "Mission" not in letter["Subject"]
    assert "Mission <Control>" in text_of(letter) and "Mission &lt;Control&gt;" in text_of(letter, "html")
    assert "secret" not in letter.as_string(), "private unless the operator wants otherwise"
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert letter["List-Unsubscribe"] == f"<https://hromada.test{links(letter)[-1]}>"
    assert await post(bob, links(letter)[-1]) == 200
    assert await post(bob, links(letter)[-1]) == 404
    assert (await bob.ok("GET", "/pushers"))["pushers"] == []


async def test_what_letters_show(start_server: StartServer, http: aiohttp.ClientSession, mail: MailServer) -> None:
    """In Ukrainian, with text where it is not encrypted, as the operator wants it; never of encrypted rooms."""
    server = start_server(environment=environment(mail.port, HROMADA_MAIL_SHOW_TEXT="true"))
    alice, bob, carol = await people(server, http, "alice", "bob", "carol")
    await alice.ok("PUT", f"/profile/{part(alice.user_id)}/displayname", {"displayname": "Аліса"})
    plain = await alice.create_room(name="Кімната", invite=[bob.user_id, carol.user_id])
    sealed = await alice.create_room(name="Таємниця", invite=[bob.user_id])
    await alice.set_state(sealed, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    for room in (plain, sealed):
        await bob.join(room)
    await carol.join(plain)
    ignored = {"ignored_users": {carol.user_id: {}}}
    await bob.ok("PUT", f"/user/{part(bob.user_id)}/account_data/m.ignored_user_list", ignored)
    await wants_letters(bob, mail, "bob@example.org", lang="uk-UA")
    await carol.send(plain, "from somebody who is ignored")
    await alice.send(plain, "<script>alert('привіт')</script>")
    await alice.send(sealed, "a client that forgot to encrypt")
    await alice.send(sealed, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA"}, "m.room.encrypted")
    await carol.create_room(name="Elsewhere", invite=[bob.user_id])
    dave = (await people(server, http, "dave"))[0]
    await dave.create_room(name="Elsewhere", invite=[bob.user_id])
    await mail.until(lambda: told(mail.letters) >= 4)
    texts, pages = ("\n".join(text_of(one, kind) for one in mail.letters) for kind in ("plain", "html"))
    assert "непрочитан" in str(mail.letters[0]["Subject"]) and "Вітаємо" in texts and 'lang="uk"' in pages
    assert "<script>alert('привіт')</script>" in texts and "<script>" not in pages and "Аліса" in texts
    assert "Таємниця" in texts and "forgot" not in texts + pages and "AAAA" not in texts + pages
    assert "ignored" not in texts and carol.user_id not in texts
    assert f"{dave.user_id} запрошує" in texts


async def test_whoever_reads_gets_no_letter(
    start_server: StartServer, http: aiohttp.ClientSession, mail: MailServer
) -> None:
    server = start_server(environment=environment(mail.port, HROMADA_MAIL_QUIET_SECONDS="3"))
    alice, bob, carol = await people(server, http, "alice", "bob", "carol")
    room = await alice.shared_room(bob, carol)
    for client, address in ((bob, "bob@example.org"), (carol, "carol@example.org")):
        await wants_letters(client, mail, address)
    event = await alice.send(room, "hello")
    await bob.ok("POST", f"/rooms/{part(room)}/receipt/m.read/{part(event)}", {})
    await mail.until(lambda: bool(mail.to("carol@example.org")))
    assert mail.to("bob@example.org") == []


async def test_a_mail_server_that_is_away_costs_nothing_else(
    start_server: StartServer, http: aiohttp.ClientSession
) -> None:
    """Nobody listens, then letters are refused, the server is killed: what is unread is told once all is well."""
    async with running_mail_server() as mail, running_gateway() as gateway:
        server = start_server(environment={**ENVIRONMENT, **environment(mail.port)})
        alice, bob = await people(server, http, "alice", "bob")
        room = await alice.create_room(invite=[bob.user_id])
        await bob.join(room)
        await wants_letters(bob, mail, "bob@example.org")
        body = {**pusher("key"), "kind": "http", "app_id": "app", "data": gateway.data()}
        await bob.ok("POST", "/pushers/set", body)
        mail.refuse = "451 later"
        sent = [await alice.send(room, "one")]
        await mail.until(lambda: mail.asked > 2)
        assert mail.letters == []
        port = mail.port
        server.kill()
        await asyncio.to_thread(server.start)
        alice.base_url = bob.base_url = server.url
    async with running_gateway() as gateway:
        await bob.ok("POST", "/pushers/set", {**body, "data": gateway.data()})
        sent = [await alice.send(room, f"{number}") for number in range(2)]
        await gateway.until(lambda: [one["event_id"] for one in gateway.of("key")][-2:] == sent)
        async with running_mail_server(port) as mail:
            await mail.until(lambda: told(mail.letters) >= 3)
            assert told(mail.letters) == 3


async def test_bad_addresses_and_links(
    start_server: StartServer, http: aiohttp.ClientSession, mail: MailServer, anonymous: Client
) -> None:
    server = start_server(environment=environment(mail.port, HROMADA_MAIL_PUSHERS_PER_USER="2"))
    alice, bob = await people(server, http, "alice", "bob")
    for address in ("nobody", "a@b@c", "a b@c", "a@b\nBcc: x@y", "<a@b>", "a@" + "b" * 64, "ä@b", "a@b..c", "@b", "a@"):
        (await alice.request("POST", "/pushers/set", pusher(address))).error(400, "M_INVALID_PARAM")
    for number in range(2):
        await alice.ok("POST", "/pushers/set", pusher(f"a{number}@example.org"))
        await alice.ok("POST", "/pushers/set", pusher(f"a{number}@example.org", lang="uk"))
    reply = await alice.request("POST", "/pushers/set", pusher("a2@example.org"))
    assert reply.errcode == "M_RESOURCE_LIMIT_EXCEEDED"
    await bob.ok("POST", "/pushers/set", pusher("a0@example.org", append=False))
    assert len((await alice.ok("GET", "/pushers"))["pushers"]) == 2, "nobody ends the letters of others"
    await mail.until(lambda: bool(mail.to("a1@example.org")))
    (link,) = links(mail.to("a1@example.org")[0])[:1]
    token = link.partition("token=")[2]
    for wrong in (
        f"{PLACE}/unsubscribe?token={token}",
        f"{PLACE}/confirm?token={token[:-2]}xx",
        f"{PLACE}/confirm?token={token.replace('.', '')}",
        f"{PLACE}/confirm?token=.",
        f"{PLACE}/confirm?token={'a' * 3000}",
        f"{PLACE}/confirm?token=%00.%C3%A4",
    ):
        for method in ("GET", "POST"):
            assert (await bob.request(method, wrong, token=None)).error((400, 404))
    (await bob.request("GET", f"{PLACE}/confirm", token=None)).error(400, "M_MISSING_PARAM")
    (await anonymous.request("GET", link, token=None)).error(404)


async def test_a_server_without_mail_refuses(alice: Client) -> None:
    (await alice.request("POST", "/pushers/set", pusher("a@example.org"))).error(400, "M_INVALID_PARAM")
