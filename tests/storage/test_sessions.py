"""Sessions, their tokens, interactive sessions and registration tokens, on both databases."""

from __future__ import annotations

from dataclasses import replace

from homeserver.ports.accounts import InteractiveSession, RegistrationToken, Session, User
from homeserver.storage.unit import Database

ALICE = "@alice:hromada.test"
BOB = "@bob:hromada.test"
A, B, C = Session("A", ALICE, "D1", True), Session("B", ALICE, "D2", False, 3, 2**40), Session("C", BOB, "D1", True)


async def sessions(store: Database) -> None:
    async with store.write() as tx:
        await tx.users.create(User(ALICE, 1, "hash", is_admin=True))
        await tx.users.create(User(BOB, 2))
        for session in (A, B, C):
            await tx.sessions.create(session)
            await tx.sessions.issue(session.session_id, 1, session.session_id.encode(), expires_ms=10, keep=5)


async def test_a_session_comes_with_its_user(store: Database) -> None:
    await sessions(store)
    async with store.read() as tx:
        # As they print, since 1 is not True there.
        assert repr(await tx.sessions.get("A")) == repr((replace(A, issued=1), User(ALICE, 1, "hash", is_admin=True)))
        assert repr(await tx.sessions.get("B")) == repr((replace(B, issued=1), User(ALICE, 1, "hash", is_admin=True)))
        assert await tx.sessions.get("X") is None
        assert await tx.sessions.existing(["A", "X", "\0", "C"]) == {"A", "C"}
    async with store.write() as tx:
        assert await tx.sessions.lock("X") is None
        assert repr(await tx.sessions.lock("A")) == repr(replace(A, issued=1))


async def test_sessions_end_by_device_or_all_but_one(store: Database) -> None:
    await sessions(store)
    async with store.write() as tx:
        assert await tx.sessions.delete(ALICE, device_ids=[]) == []
        assert await tx.sessions.delete(ALICE, device_ids=["D1", "D2"], but="A") == [replace(B, issued=1)]
        assert await tx.sessions.delete(ALICE, but="A") == []
        assert await tx.sessions.delete(BOB, device_ids=["D2"]) == []
        assert await tx.sessions.existing(["A", "B", "C"]) == {"A", "C"}
        assert [await tx.sessions.by_refresh_token(token, 9) for token in (b"A", b"B")] == [("A", 1), None]
        assert await tx.sessions.delete(ALICE) == [replace(A, issued=1)]
        assert await tx.sessions.delete(BOB, device_ids=["D1"]) == [replace(C, issued=1)]
        assert await tx.sessions.by_refresh_token(b"A", 9) is None


async def test_using_a_generation_ends_those_beside_it(store: Database) -> None:
    await sessions(store)
    async with store.write() as tx:
        for generation in (2, 3, 4):
            await tx.sessions.issue("A", generation, bytes([generation]), expires_ms=10, keep=2)
        assert await tx.sessions.lock("A") == replace(A, issued=4)
        assert [await tx.sessions.by_refresh_token(token, 9) for token in (b"A", b"\2")] == [None, ("A", 2)]
        assert await tx.sessions.by_refresh_token(b"\2", 10) is None
        assert await tx.sessions.confirm("A", 3)
        assert not await tx.sessions.confirm("A", 4)
        assert await tx.sessions.confirm("A", 2)
        assert await tx.sessions.lock("A") == replace(A, issued=4, confirmed=3)
        assert await tx.sessions.by_refresh_token(b"C", 9) == ("C", 1)


async def test_a_login_token_is_good_once_and_in_time(store: Database) -> None:
    async with store.write() as tx:
        await tx.sessions.add_login_token(b"old", ALICE, 5, 0)
        await tx.sessions.add_login_token(b"good", ALICE, 6, 4)
        assert await tx.sessions.take_login_token(b"good", 5) == ALICE
        assert await tx.sessions.take_login_token(b"good", 5) is None
        assert await tx.sessions.take_login_token(b"old", 5) is None
        await tx.sessions.add_login_token(b"forgotten", ALICE, 5, 0)
        await tx.sessions.add_login_token(b"good", ALICE, 6, 5)
        assert await tx.sessions.take_login_token(b"forgotten", 0) is None


async def test_pruning_ends_sessions_with_their_last_refresh_token(store: Database) -> None:
    await sessions(store)
    async with store.write() as tx:
        await tx.sessions.issue("C", 2, b"later", expires_ms=20, keep=5)
        await tx.sessions.add_login_token(b"login", ALICE, 10, 0)
        assert await tx.sessions.prune(9, 100) == 0
        assert await tx.sessions.prune(10, 1) == 1
        assert await tx.sessions.prune(10, 100) == 3
        assert await tx.sessions.existing(["A", "B", "C"]) == {"B", "C"}, "B has no refresh tokens to run out"


async def test_interactive_sessions(store: Database) -> None:
    session = InteractiveSession(b"1", "login", None, None, {}, False, 2**40)
    async with store.write() as tx:
        await tx.interactive.create(session)
        await tx.interactive.create(replace(session, digest=b"2", user_id=ALICE, body_mac=b"mac"))
        assert repr(await tx.interactive.get(b"1")) == repr(session)
        assert await tx.interactive.get(b"3") is None
        assert await tx.interactive.save(b"1", {"m.login.dummy": "yes"}, b"mac", b"body")
        assert not await tx.interactive.save(b"3", {}, None, None)
        assert [await tx.interactive.claim(digest) for digest in (b"1", b"1", b"3")] == [True, False, False]
        assert not await tx.interactive.save(b"1", {}, None, None)
        saved = replace(session, body_mac=b"mac", body=b"body", completed={"m.login.dummy": "yes"}, used=True)
        assert repr(await tx.interactive.get(b"1")) == repr(saved)
        assert await tx.interactive.get(b"2") == replace(session, digest=b"2", user_id=ALICE, body_mac=b"mac")


async def test_old_interactive_sessions_are_purged_and_too_many(store: Database) -> None:
    async with store.write() as tx:
        assert await tx.interactive.purge(100, 0, limit=9) == []
        for number in range(1, 7):
            await tx.interactive.create(InteractiveSession(bytes([number]), "login", None, None, {}, False, number))

        async def purge(now_ms: int, keep: int, limit: int) -> set[int]:
            return {session.expires_ms for session in await tx.interactive.purge(now_ms, keep, limit=limit)}

        assert await purge(0, 6, 9) == set()
        assert await purge(3, 100, 2) == {1, 2}
        assert await purge(3, 2, 9) == {3, 4}
        assert await purge(5, 2, 9) == {5}


async def test_registration_tokens(store: Database) -> None:
    once, free = RegistrationToken("once", 1, 0, 0, 2**40), RegistrationToken("free")
    async with store.write() as tx:
        await tx.registration_tokens.put(once)
        await tx.registration_tokens.put(free)
        assert await tx.registration_tokens.all() == [free, once]
        assert await tx.registration_tokens.get("none") is None
        assert not await tx.registration_tokens.reserve("none", 0)
        assert not await tx.registration_tokens.reserve("once", 2**40)
        assert await tx.registration_tokens.reserve("once", 0)
        assert not await tx.registration_tokens.reserve("once", 0)
        await tx.registration_tokens.release("once", completed=False)
        assert await tx.registration_tokens.reserve("once", 0)
        await tx.registration_tokens.release("once", completed=True)
        await tx.registration_tokens.release("once", completed=True)
        assert not await tx.registration_tokens.reserve("once", 0)
        await tx.registration_tokens.put(RegistrationToken("once", 2, 7, 7, None))
        assert await tx.registration_tokens.get("once") == RegistrationToken("once", 2, 0, 1, None)
        assert [await tx.registration_tokens.reserve("free", 2**41) for _ in range(2)] == [True, True]
        assert await tx.registration_tokens.delete("once")
        assert not await tx.registration_tokens.delete("once")
