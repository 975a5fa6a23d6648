"""E-mail addresses of accounts, and passwords set anew by letter: what works, and what nobody may do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from homeserver.ports.accounts import RegistrationToken
from homeserver.ports.mail import Letter
from homeserver.services.accounts.register import Mode
from homeserver.storage.unit import Database
from tests.support.accounts import PASSWORD, Home, Options, password_auth, running
from tests.support.asgi import Answer, AsgiClient
from tests.support.store import SERVER_NAME

ALICE = f"@alice:{SERVER_NAME}"
BOB = f"@bob:{SERVER_NAME}"
MAIL = "alice@example.org"
NEW = "another long password"
HOUR_MS = 3_600_000
ASKS = {"add": "/account/3pid/email", "register": "/register/email", "password": "/account/password/email"}


class World:
    """A server with letters, and Alice and Bob on it."""

    def __init__(self, home: Home, letters: list[Letter]) -> None:
        self.home = home
        self.letters = letters
        self.alice = self.bob = ""

    async def ask(self, purpose: str, email: str = MAIL, *, token: str | None = None, **more: Any) -> Answer:
        body = {"email": email, "client_secret": "secret", "send_attempt": 1, **more}
        return await self.home.call("POST", f"{ASKS[purpose]}/requestToken", body, token=token)

    async def sid(self, purpose: str, email: str = MAIL, *, token: str | None = None, **more: Any) -> str:
        answer = await self.ask(purpose, email, token=token, **more)
        assert answer.status == 200, answer.body
        return str(answer.json["sid"])

    def link(self) -> str:
        """The path of the newest letter's link."""
        return link_of(self.letters[-1])

    async def follow(self, method: str = "POST", link: str | None = None) -> Answer:
        return await AsgiClient(self.home.app).request(method, link or self.link())

    async def add(self, token: str, user: str, sid: str, secret: str = "secret") -> Answer:
        """Add an address, with the password as soon as that is asked for."""
        body = {"sid": sid, "client_secret": secret}
        asked = await self.home.call("POST", "/account/3pid/add", body, token=token)
        if asked.status != 401:
            return asked
        auth = password_auth(user, asked.json["session"])
        return await self.home.call("POST", "/account/3pid/add", {**body, "auth": auth}, token=token)

    async def has_address(self, token: str, user: str, email: str = MAIL) -> None:
        """Add an address, as somebody who reads its letters."""
        sid = await self.sid("add", email, token=token)
        assert (await self.follow()).status == 200
        assert (await self.add(token, user, sid)).status == 200

    async def reset(self, sid: str, secret: str = "secret", *, new: str = NEW, **more: Any) -> Answer:
        body = {"new_password": new, "auth": identity(sid, secret), **more}
        return await self.home.call("POST", "/account/password", body)

    async def addresses(self, token: str) -> list[str]:
        found = await self.home.ok("GET", "/account/3pid", token=token)
        return [one["address"] for one in found["threepids"]]


def identity(sid: str, secret: str = "secret", session: str | None = None) -> dict[str, Any]:
    """The proof of the stage."""
    auth = {"type": "m.login.email.identity", "threepid_creds": {"sid": sid, "client_secret": secret}}
    return auth if session is None else {**auth, "session": session}


def link_of(letter: Letter) -> str:
    (link,) = re.findall(r"https://matrix\.hromada\.test(/_\S+)", letter.text)
    assert link in letter.html
    return str(link)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json.get("errcode", "")


@asynccontextmanager
async def world(store: Database, **options: Any) -> AsyncIterator[World]:
    letters: list[Letter] = []
    async with running(Home(store, Options(letters=letters, **options))) as home:
        made = World(home, letters)
        made.alice = (await home.register("alice"))["access_token"]
        made.bob = (await home.register("bob"))["access_token"]
        yield made


async def test_adding_and_removing(store: Database) -> None:
    async with world(store) as at:
        capabilities = {"email": "Alice@Example.ORG", "token": at.alice}
        sid = await at.sid("add", **capabilities)
        (letter,) = at.letters
        assert letter.to == MAIL and ALICE in letter.text
        assert code(await at.add(at.alice, "alice", sid)) == (403, "M_THREEPID_AUTH_FAILED")
        for _ in range(2):  # programs that look for harm follow links
            page = await at.follow("GET")
            assert page.status == 200 and b"<form method" in page.body
            assert "default-src 'none'" in page.headers["content-security-policy"]
        assert code(await at.add(at.alice, "alice", sid)) == (403, "M_THREEPID_AUTH_FAILED")
        for _ in range(2):
            done = await at.follow()
            assert done.status == 200 and b"<form" not in done.body
        at.home.clock.ms += 1_000
        body = {"sid": sid, "client_secret": "secret"}
        asked = await at.home.call("POST", "/account/3pid/add", body, token=at.alice)
        assert asked.status == 401 and asked.json["flows"] == [{"stages": ["m.login.password"]}]
        again = {**body, "auth": password_auth("alice", asked.json["session"])}
        for _ in range(2):  # the first answer was lost
            assert await at.home.ok("POST", "/account/3pid/add", again, token=at.alice) == {}
        (added,) = (await at.home.ok("GET", "/account/3pid", token=at.alice))["threepids"]
        now = at.home.clock.ms
        assert added == {"medium": "email", "address": MAIL, "validated_at": now - 1_000, "added_at": now}
        assert code(await at.add(at.alice, "alice", sid)) == (403, "M_THREEPID_AUTH_FAILED"), "used twice"
        assert code(await at.ask("add", token=at.alice, client_secret="x")) == (400, "M_THREEPID_IN_USE")
        for medium, address in (("msisdn", MAIL), ("email", "nul\0"), ("email", "b@example.org")):
            await at.home.ok("POST", "/account/3pid/delete", {"medium": medium, "address": address}, token=at.alice)
        await at.home.ok("POST", "/account/3pid/delete", {"medium": "email", "address": MAIL}, token=at.bob)
        assert await at.addresses(at.alice) == [MAIL]
        for _ in range(2):
            body = {"medium": "email", "address": MAIL.upper()}
            answer = await at.home.ok("POST", "/account/3pid/delete", body, token=at.alice)
            assert answer == {"id_server_unbind_result": "success"}
        assert await at.addresses(at.alice) == []


async def test_who_adds_an_address_need_not_say_so_at_first(store: Database) -> None:
    """matrix-js-sdk does not send its token along; whoever has the secret may then add the address."""
    async with world(store, guests=True) as at:
        sid = await at.sid("add")
        assert ALICE not in at.letters[0].text and "Somebody" in at.letters[0].text
        assert await at.sid("add", token=at.alice) != sid
        await at.follow(link=link_of(at.letters[0]))
        assert code(await at.add(at.bob, "bob", sid, "other")) == (403, "M_THREEPID_AUTH_FAILED")
        assert (await at.add(at.alice, "alice", sid)).status == 200
        assert code(await at.add(at.bob, "bob", sid)) == (403, "M_THREEPID_AUTH_FAILED")
        await at.sid("add", client_secret="x")
        assert ALICE in at.letters[-1].text and "https://" not in at.letters[-1].text, "it is taken"
        guest = (await at.home.call("POST", "/register?kind=guest", {})).json["access_token"]
        assert code(await at.ask("add", token=guest)) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        body = {"new_password": NEW}
        assert code(await at.home.call("POST", "/account/password", body, token=guest)) == (
            403,
            "M_GUEST_ACCESS_FORBIDDEN",
        )


async def test_what_is_no_request(store: Database) -> None:
    async with world(store) as at:
        wrong = (
            "nobody",
            "a@b@c",
            "a b@c",
            "a@b\r\nBcc: x@y",
            "a@b\n",
            "<a@b>",
            "ä@b",
            "a@\uff42.c",
            "a@b..c",
            "",
            "a\0@b",
        )
        for email in (*wrong, "a@" + "b." * 200 + "c", "\u0131@example.org", "a@b" + "c" * 2_000):
            for purpose, token in (("add", at.alice), ("register", None), ("password", None)):
                answer = await at.ask(purpose, email, token=token)
                assert code(answer) == (400, "M_INVALID_PARAM"), email
        for secret in ("", "a b", "ä", "x" * 256, "nul\0", "a/b"):
            assert code(await at.ask("password", client_secret=secret)) == (400, "M_INVALID_PARAM")
        for attempt in (-1, "1", None, 2**60, 1.5):
            assert (await at.ask("password", send_attempt=attempt)).status == 400
        for bad in ({}, {"sid": "a"}, {"sid": 1, "client_secret": "a"}, {"sid": "a", "client_secret": []}):
            assert (await at.home.call("POST", "/account/3pid/add", bad, token=at.alice)).status == 400
        for bad in ("nul\0", "", "x" * 5_000):
            body = {"sid": bad, "client_secret": "secret"}
            assert (await at.home.call("POST", "/account/3pid/add", body, token=at.alice)).status == 403
        assert at.letters == []
        for creds in (
            None,
            [],
            {},
            {"sid": "a"},
            {"sid": 1, "client_secret": "a"},
            {"sid": "\0", "client_secret": "a"},
        ):
            auth = {"type": "m.login.email.identity", "threepid_creds": creds}
            answer = await at.home.call("POST", "/account/password", {"new_password": NEW, "auth": auth})
            assert answer.status == 401 and "errcode" in answer.json
        path = "/_matrix/client/unstable/chat.hromada/mail/address"
        for token in ("", ".", "a.b", "x" * 3_000, "%C3%A4.%C3%A4"):
            for method in ("GET", "POST"):
                assert (await at.follow(method, f"{path}?token={token}")).status == 404
        assert (await at.follow("GET", path)).status == 400


async def test_a_letter_is_written_once_for_each_attempt(store: Database) -> None:
    async with world(store) as at:
        first = await at.sid("add", token=at.alice)
        assert await at.sid("add", token=at.alice) == first and len(at.letters) == 1
        assert await at.sid("add", token=at.alice, send_attempt=2) == first and len(at.letters) == 2
        assert await at.sid("add", token=at.alice, send_attempt=1) == first and len(at.letters) == 2
        assert link_of(at.letters[0]) == link_of(at.letters[1])
        assert await at.sid("add", token=at.alice, client_secret="other") != first
        assert await at.sid("add", token=at.bob) != first
        at.home.clock.ms += 24 * HOUR_MS
        assert (await at.follow("GET", link_of(at.letters[0]))).status == 404
        assert await at.sid("add", token=at.alice) != first
        before = len(at.letters)
        sids = await asyncio.gather(*(at.sid("add", "new@example.org", token=at.alice) for _ in range(4)))
        assert len(set(sids)) == 1 and len(at.letters) == before + 1


async def test_proofs_are_good_for_one_thing(store: Database) -> None:
    """Not with another secret, for another user, purpose or address, and not when they are old."""
    async with world(store) as at:
        sid = await at.sid("add", token=at.alice)
        await at.follow()
        assert code(await at.add(at.alice, "alice", sid, "other")) == (403, "M_THREEPID_AUTH_FAILED")
        assert code(await at.add(at.bob, "bob", sid)) == (403, "M_THREEPID_AUTH_FAILED")
        assert (await at.reset(sid)).json["errcode"] == "M_THREEPID_AUTH_FAILED"
        body = {"username": "carol", "password": PASSWORD, "auth": identity(sid)}
        assert (await at.home.call("POST", "/register", body)).json["errcode"] == "M_THREEPID_AUTH_FAILED"
        assert (await at.add(at.alice, "alice", sid)).status == 200
        sid = await at.sid("password")
        await at.follow()
        assert code(await at.add(at.alice, "alice", sid)) == (403, "M_THREEPID_AUTH_FAILED")
        at.home.clock.ms += 24 * HOUR_MS
        assert (await at.reset(sid)).json["errcode"] == "M_THREEPID_AUTH_FAILED"
        assert (await at.home.login("alice")).status == 200
        assert await at.home.api.addresses.expire() == 1


async def test_an_address_that_is_taken_meanwhile(store: Database) -> None:
    async with world(store) as at:
        mine = await at.sid("add", token=at.alice, client_secret="a")
        await at.follow()
        theirs = await at.sid("add", token=at.bob, client_secret="b")
        await at.follow()
        assert (await at.add(at.bob, "bob", theirs, "b")).status == 200
        assert code(await at.add(at.alice, "alice", mine, "a")) == (400, "M_THREEPID_IN_USE")
        assert await at.addresses(at.alice) == []
        # Nobody is told that an address is known, but its owner.
        at.letters.clear()
        await at.sid("add", token=at.alice, client_secret="c")
        await at.sid("register")
        assert [BOB in letter.text and "https://" not in letter.text for letter in at.letters] == [True, True]


async def test_bounds(store: Database) -> None:
    async with world(store) as at:
        for number in range(3):
            await at.has_address(at.alice, "alice", f"a{number}@example.org")
        assert code(await at.ask("add", token=at.alice)) == (403, "M_RESOURCE_LIMIT_EXCEEDED")
        await at.home.ok(
            "POST", "/account/3pid/delete", {"medium": "email", "address": "a0@example.org"}, token=at.alice
        )
        sids = [await at.sid("add", f"b{number}@example.org", token=at.alice) for number in range(2)]
        for letter in at.letters[-2:]:
            await at.follow(link=link_of(letter))
        answers = await asyncio.gather(*(at.add(at.alice, "alice", sid) for sid in sids))
        assert sorted(answer.status for answer in answers) == [200, 403]
        assert len(await at.addresses(at.alice)) == 3


async def test_floods(store: Database) -> None:
    """By who asks, and by where the letters go, whether anybody knows the address or not."""
    async with world(store, limits=True) as at:
        home = at.home
        for address in (MAIL, "nobody@example.org"):
            answers = []
            for number in range(6):
                body = {"email": address, "client_secret": f"s{number}", "send_attempt": 1}
                path = "/account/password/email/requestToken"
                answers.append((await home.call("POST", path, body, peer=f"192.0.2.{number}")).status)
            assert answers == [200] * 5 + [429]
        answers = [(await at.ask("password", f"a{number}@example.org")).status for number in range(6)]
        assert answers == [200] * 5 + [429]
        assert at.letters == []


async def test_a_lost_password(store: Database) -> None:
    async with world(store) as at:
        await at.has_address(at.alice, "alice")
        other = (await at.home.login("alice")).json["access_token"]
        at.letters.clear()
        sid = await at.sid("password", MAIL.upper())
        (letter,) = at.letters
        assert letter.to == MAIL and ALICE in letter.text
        asked = await at.home.call("POST", "/account/password", {"new_password": NEW})
        assert asked.status == 401 and asked.json["flows"] == [{"stages": ["m.login.email.identity"]}]
        session = asked.json["session"]
        body = {"new_password": NEW, "auth": identity(sid, session=session)}
        waiting = await at.home.call("POST", "/account/password", body)
        assert code(waiting) == (401, "M_THREEPID_AUTH_FAILED")
        assert (await at.follow("GET")).status == 200
        assert (await at.home.call("POST", "/account/password", body)).status == 401
        assert (await at.home.login("alice")).status == 200
        await at.follow()
        assert (await at.reset(sid, "wrong")).status == 401
        assert (await at.reset(sid, new="short")).json["errcode"] == "M_WEAK_PASSWORD"
        assert (
            await at.home.call("POST", "/account/password", {**body, "new_password": "an attacker's"})
        ).status == 403
        for _ in range(2):  # the first answer was lost
            assert await at.home.ok("POST", "/account/password", body) == {}
        assert (await at.reset(sid)).status == 401, "used twice"
        for token in (at.alice, other):
            assert (await at.home.call("GET", "/account/whoami", token=token)).status == 401
        assert (await at.home.login("alice")).status == 403
        assert (await at.home.login("alice", NEW)).status == 200


async def test_a_lost_password_may_leave_devices(store: Database) -> None:
    async with world(store) as at:
        await at.has_address(at.alice, "alice")
        sids = []
        for secret in ("a", "b"):
            sids.append((await at.sid("password", client_secret=secret), secret))
            await at.follow()
        assert (await at.reset(*sids[0], logout_devices=False)).status == 200
        assert (await at.home.call("GET", "/account/whoami", token=at.alice)).status == 200
        assert (await at.reset(*sids[1])).status == 401, "what was asked for before allows nothing"


async def test_whose_password_no_letter_sets(store: Database) -> None:
    async with world(store) as at:
        await at.sid("password", "nobody@example.org")
        assert at.letters == []
        await at.has_address(at.alice, "alice")
        sid = await at.sid("password")
        await at.follow()
        await at.home.ok("POST", "/account/3pid/delete", {"medium": "email", "address": MAIL}, token=at.alice)
        await at.has_address(at.bob, "bob")
        assert (await at.reset(sid)).json["errcode"] == "M_THREEPID_AUTH_FAILED"
        sid = await at.sid("password", client_secret="b")
        link = at.link()
        closed = await at.home.with_password("POST", "/account/deactivate", {}, token=at.bob, user="bob")
        assert closed.status == 200
        assert (await at.follow(link=link)).status == 404
        assert (await at.reset(sid, "b")).status == 401
        await at.has_address(at.alice, "alice")
        async with store.write() as tx:
            await tx.users.set_password(ALICE, None)  # as of somebody whose password is kept elsewhere
        at.letters.clear()
        await at.sid("password", client_secret="c")
        assert at.letters == []


async def test_logging_in_by_address(store: Database) -> None:
    async with world(store) as at:
        await at.has_address(at.alice, "alice")
        by_address = {"type": "m.id.thirdparty", "medium": "email", "address": "Alice@example.org"}
        login = {"type": "m.login.password", "identifier": by_address, "password": PASSWORD}
        assert (await at.home.ok("POST", "/login", login))["user_id"] == ALICE
        assert (await at.home.login(MAIL)).json["user_id"] == ALICE
        for change in ({"password": "wrong"}, {"identifier": {**by_address, "address": "bob@example.org"}}):
            assert code(await at.home.call("POST", "/login", {**login, **change})) == (403, "M_FORBIDDEN")
        phone = {**login, "identifier": {**by_address, "medium": "msisdn"}}
        assert (await at.home.call("POST", "/login", phone)).status == 403
        asked = await at.home.call("POST", "/account/deactivate", {}, token=at.bob)
        auth = {**login, "session": asked.json["session"]}
        assert (await at.home.call("POST", "/account/deactivate", {"auth": auth}, token=at.bob)).status == 401


async def test_registering_with_an_address(store: Database) -> None:
    async with world(store) as at:
        body = {"username": "carol", "password": PASSWORD}
        asked = await at.home.call("POST", "/register", body)
        assert asked.json["flows"] == [{"stages": ["m.login.dummy"]}, {"stages": ["m.login.email.identity"]}]
        sid = await at.sid("register", "carol@example.org")
        again = {**body, "auth": identity(sid, session=asked.json["session"])}
        assert (await at.home.call("POST", "/register", again)).status == 401
        await at.follow()
        answer = await at.home.ok("POST", "/register", again)
        assert await at.addresses(answer["access_token"]) == ["carol@example.org"]
        second = {"username": "dave", "password": PASSWORD, "auth": identity(sid)}
        assert (await at.home.call("POST", "/register", second)).status == 401, "used twice"
        first, other = [await at.sid("register", "erin@example.org", client_secret=secret) for secret in ("a", "b")]
        for letter in at.letters[-2:]:
            await at.follow(link=link_of(letter))
        erin = {"username": "erin", "password": PASSWORD, "auth": identity(first, "a")}
        await at.home.ok("POST", "/register", erin)
        frank = {"username": "frank", "password": PASSWORD, "auth": identity(other, "b")}
        assert (await at.home.call("POST", "/register", frank)).json["errcode"] == "M_THREEPID_IN_USE"
        assert (await at.home.call("GET", "/register/available?username=frank")).status == 200


async def test_registering_by_token_with_an_address(store: Database) -> None:
    letters: list[Letter] = []
    async with running(Home(store, Options(letters=letters, mode=Mode.TOKEN, first_user_admin=False))) as home:
        async with store.write() as tx:
            await tx.registration_tokens.put(RegistrationToken("open sesame", 1))
        at, body = World(home, letters), {"username": "carol", "password": PASSWORD}
        asked = await home.call("POST", "/register", body)
        token = "m.login.registration_token"
        assert asked.json["flows"] == [{"stages": [token]}, {"stages": ["m.login.email.identity", token]}]
        session = asked.json["session"]
        sid = await at.sid("register", "carol@example.org")
        await at.follow()
        proved = await home.call("POST", "/register", {**body, "auth": identity(sid, session=session)})
        assert proved.json["completed"] == ["m.login.email.identity"]
        auth = {"type": token, "token": "open sesame", "session": session}
        answer = await home.ok("POST", "/register", {**body, "auth": auth})
        assert await at.addresses(answer["access_token"]) == ["carol@example.org"]


async def test_an_address_beside_a_registration(store: Database) -> None:
    """The account is there at once; the address once its owner says so. Nothing of it ends a registration."""
    async with world(store) as at:
        made = await at.home.register("carol", **{"chat.hromada.email": "Carol@example.org"})
        (letter,) = at.letters
        assert letter.to == "carol@example.org" and f"@carol:{SERVER_NAME}" in letter.text
        assert (await at.follow("GET")).status == 200
        assert await at.addresses(made["access_token"]) == []
        for _ in range(2):
            assert (await at.follow()).status == 200
        assert await at.addresses(made["access_token"]) == ["carol@example.org"]
        await at.home.ok(
            "POST",
            "/account/3pid/delete",
            {"medium": "email", "address": "carol@example.org"},
            token=made["access_token"],
        )
        assert (await at.follow()).status == 200
        assert await at.addresses(made["access_token"]) == [], "a link adds an address once"
        await at.has_address(at.alice, "alice")
        await at.home.register("dave", **{"chat.hromada.email": MAIL})
        assert ALICE in at.letters[-1].text and "https://" not in at.letters[-1].text
        wrong = {"username": "erin", "password": PASSWORD, "chat.hromada.email": "no address"}
        assert code(await at.home.call("POST", "/register", wrong)) == (400, "M_INVALID_PARAM")
        frank = await at.home.register("frank", **{"chat.hromada.email": "f@example.org"})
        grace = await at.home.register("grace", **{"chat.hromada.email": "f@example.org"})
        links = [link_of(letter) for letter in at.letters[-2:]]
        assert b"could not be added" not in (await at.follow(link=links[1])).body
        assert b"could not be added" in (await at.follow(link=links[0])).body
        assert [await at.addresses(one["access_token"]) for one in (frank, grace)] == [[], ["f@example.org"]]


async def test_languages(store: Database) -> None:
    async with world(store) as at:
        body = {"email": MAIL, "client_secret": "secret", "send_attempt": 1}
        client = AsgiClient(at.home.app, token=at.alice)
        path = "/_matrix/client/v3/account/3pid/email/requestToken"
        await client.request("POST", path, json=body, headers={"accept-language": "uk-UA,uk;q=0.9,en;q=0.5"})
        (letter,) = at.letters
        assert "Вітаємо" in letter.text and 'lang="uk"' in letter.html
        assert "Це моя адреса".encode() in (await at.follow("GET")).body
        await at.has_address(at.alice, "alice")
        for purpose in ("password", "register"):
            await at.sid(purpose, client_secret="x")
        assert "Hello" in at.letters[-1].text


async def test_a_server_without_mail(store: Database) -> None:
    async with running(Home(store)) as home:
        token = (await home.register("alice", **{"chat.hromada.email": "no address"}))["access_token"]
        at = World(home, [])
        assert code(await at.ask("add", token=token)) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
        for purpose in ("register", "password"):
            assert code(await at.ask(purpose)) == (403, "M_THREEPID_DENIED")
        assert code(await home.call("POST", "/account/password", {"new_password": NEW})) == (401, "M_MISSING_TOKEN")
        assert (await home.call("POST", "/register", {"username": "bob"})).json["flows"] == [
            {"stages": ["m.login.dummy"]}
        ]
        assert await at.addresses(token) == []
        assert (await at.follow("GET", "/_matrix/client/unstable/chat.hromada/mail/address?token=a.b")).status == 404
