"""E-mail addresses of accounts, with letters over SMTP and as administrators see them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.api.test_accounts import password_auth, with_password
from tests.support.admin import V2, acts, administrator
from tests.support.client import PASSWORD, Client, Json, part
from tests.support.fixtures import StartServer, fresh
from tests.support.mailserver import MailServer, environment, running_mail_server, text_of

USERS = f"{V2}/users"
NEW = "a new and long password"


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    """A mail server."""
    async with running_mail_server() as running:
        yield running


async def follow(client: Client, mail: MailServer, address: str) -> None:
    """Say yes behind the link of the newest letter to an address."""
    (link,) = re.findall(r"https://hromada\.test(/_\S+)", text_of(mail.to(address)[-1]))
    assert (await client.request("GET", link, token=None)).status == 200
    assert (await client.request("POST", link, data=b"", token=None)).status == 200


async def ask(client: Client, path: str, address: str, **more: object) -> str:
    body = {"email": address, "client_secret": fresh("secret"), "send_attempt": 1, **more}
    return str((await client.ok("POST", f"{path}/email/requestToken", body))["sid"])


async def test_addresses_over_smtp(
    start_server: StartServer, http: aiohttp.ClientSession, mail: MailServer, database: str
) -> None:
    """Registering with an address, a new password by letter, another address, and what administrators see of it."""
    server = start_server(database, environment=environment(mail.port))
    admin = await administrator(Client(http, server.url))
    assert (await admin.ok("GET", "/capabilities"))["capabilities"]["m.3pid_changes"] == {"enabled": True}
    first, second = f"{fresh('first')}@example.org", f"{fresh('second')}@example.org"
    alice = await Client(http, server.url).register(fresh("alice"), **{"chat.hromada.email": first})
    await mail.until(lambda: bool(mail.to(first)))
    letter = mail.to(first)[0]
    assert alice.user_id in text_of(letter) and letter["From"] == "Matrix <matrix@hromada.test>"
    await follow(alice, mail, first)

    secret = fresh("secret")
    sid = await ask(alice, "/account/3pid", second, client_secret=secret)
    await mail.until(lambda: bool(mail.to(second)))
    await follow(alice, mail, second)
    await with_password(alice, "POST", "/account/3pid/add", {"sid": sid, "client_secret": secret})
    listed = (await alice.ok("GET", "/account/3pid"))["threepids"]
    assert [(one["medium"], one["address"]) for one in listed] == [("email", first), ("email", second)]

    anonymous = alice.anonymous()
    mail.letters.clear()
    await ask(anonymous, "/account/password", f"{fresh('nobody')}@example.org")
    sid = await ask(anonymous, "/account/password", second, client_secret=secret)
    await mail.until(lambda: bool(mail.letters))
    assert [one["To"] for one in mail.letters] == [second]
    await follow(alice, mail, second)
    creds = {"sid": sid, "client_secret": secret}
    reset = {"new_password": NEW, "auth": {"type": "m.login.email.identity", "threepid_creds": creds}}
    await anonymous.ok("POST", "/account/password", reset)
    (await alice.request("GET", "/account/whoami")).error(401, "M_UNKNOWN_TOKEN")
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": first}
    login: Json = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    (await anonymous.request("POST", "/login", login)).error(403, "M_FORBIDDEN")
    alice.adopt(await anonymous.ok("POST", "/login", {**login, "password": NEW}))

    path = f"{USERS}/{part(alice.user_id)}"
    shown = await admin.ok("GET", path)
    assert [one["address"] for one in shown["threepids"]] == [first, second]
    found = await admin.ok("GET", USERS, params={"name": second.upper()})
    assert [one["name"] for one in found["users"]] == [alice.user_id] and found["total"] == 1
    kept = {"threepids": shown["threepids"][:1]}
    for body in ({"threepids": shown["threepids"]}, {}, kept, kept):
        assert (await admin.request("PUT", path, body)).status == 200
    assert [one["address"] for one in (await admin.ok("GET", path))["threepids"]] == [first]
    stranger = {"threepids": [{"medium": "email", "address": "bob@example.org"}]}
    (await admin.request("PUT", path, stranger)).error(400, "M_INVALID_PARAM")
    assert [act["action"] for act in await acts(admin, target=alice.user_id)] == ["user.addresses"]

    asked = await alice.request("POST", "/account/deactivate", {})
    auth = password_auth(alice, asked.body["session"], NEW)
    await alice.ok("POST", "/account/deactivate", {"auth": auth})
    assert (await admin.ok("GET", path))["threepids"] == []
    assert (await admin.ok("GET", USERS, params={"name": first, "deactivated": "true"}))["users"] == []
