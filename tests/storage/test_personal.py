"""Profiles, account data and filters, on both databases."""

from __future__ import annotations

import pytest

from homeserver.ports.accounts import AccountDataChanged, User
from homeserver.ports.store import UniqueViolation
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, make_event, make_room

ALICE = "@alice:hromada.test"
BOB = "@bob:hromada.test"


async def test_profile_fields(store: Database) -> None:
    async with store.write() as tx:
        await tx.profiles.put(ALICE, "displayname", b'"A"')
        await tx.profiles.put(ALICE, "displayname", b'"Alice"')
        await tx.profiles.put(ALICE, "m.tz", b'"Europe/Kyiv"')
        await tx.profiles.put(BOB, "m.tz", b'"UTC"')
        assert await tx.profiles.get(ALICE) == {"displayname": b'"Alice"', "m.tz": b'"Europe/Kyiv"'}
        assert await tx.profiles.get_many([ALICE, BOB, "\0"], ["m.tz"]) == {
            ALICE: {"m.tz": b'"Europe/Kyiv"'},
            BOB: {"m.tz": b'"UTC"'},
        }
        assert await tx.profiles.get_many([ALICE], []) == {}
        await tx.profiles.delete(ALICE, "m.tz")
        assert await tx.profiles.get(ALICE) == {"displayname": b'"Alice"'}
        await tx.profiles.delete(ALICE, None)
        assert await tx.profiles.get(ALICE) == {}
        assert await tx.profiles.get(BOB) == {"m.tz": b'"UTC"'}


@pytest.mark.parametrize("deleted", ["displayname", None])
async def test_searches_find_a_user_by_the_present_display_name(store: Database, deleted: str | None) -> None:
    async def found(word: str) -> list[str]:
        async with store.read() as tx:
            return await tx.people.search(BOB, [word], 9)

    head = await make_room(store, "!a")
    await commit(store, decide(head, make_event("!a", "m.room.member", {"membership": "join"}, state_key=BOB)))
    async with store.write() as tx:
        await tx.users.create(User(ALICE, 1))
        await tx.profiles.put(ALICE, "displayname", '"ZOË"'.encode())
    assert await found("zo") == [ALICE]
    async with store.write() as tx:
        await tx.profiles.delete(ALICE, deleted)
    assert await found("zo") == []
    assert await found("alice") == [ALICE]


async def test_account_data_follows_the_log(store: Database) -> None:
    tags = AccountDataChanged(ALICE, "!a", "m.tag", b'{"tags":{}}')
    everywhere = AccountDataChanged(ALICE, None, "m.tag", b"{}")
    async with store.write() as tx:
        await tx.account_data.put(AccountDataChanged(ALICE, "!a", "m.tag", b"{}"), 1)
        await tx.account_data.put(everywhere, 2**40)
        await tx.account_data.put(tags, 2**40 + 1)
        assert await tx.account_data.get(ALICE, "!a", "m.tag") == tags.content
        assert await tx.account_data.get(ALICE, None, "m.tag") == b"{}"
        assert await tx.account_data.get(BOB, None, "m.tag") is None
        assert await tx.account_data.after(ALICE, 0) == [everywhere, tags]
        assert await tx.account_data.after(ALICE, 2**40) == [tags]
        await tx.account_data.delete_all(BOB)
        assert len(await tx.account_data.after(ALICE, 0)) == 2
        await tx.account_data.delete_all(ALICE)
        assert await tx.account_data.after(ALICE, 0) == []


async def test_filters_are_numbered_for_each_user(store: Database) -> None:
    async with store.write() as tx:
        assert await tx.filters.add(ALICE, b"1", b"{}") == 0
        assert await tx.filters.add(ALICE, b"2", b'{"room":{}}') == 1
        assert await tx.filters.add(BOB, b"2", b'{"room":{}}') == 0
        assert await tx.filters.get(ALICE, 1) == b'{"room":{}}'
        assert await tx.filters.get(BOB, 1) is None
        assert await tx.filters.find(ALICE, b"2") == 1
        assert await tx.filters.find(BOB, b"1") is None
    with pytest.raises(UniqueViolation):
        async with store.write() as tx:
            await tx.filters.add(ALICE, b"1", b"{}")
