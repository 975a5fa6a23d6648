"""What one user may keep has a bound in items and in bytes, checked where it is stored."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.ports.accounts import User
from homeserver.ports.requester import Requester
from homeserver.services.accounts.profile import ProfileLimits, Profiles
from homeserver.services.personal.account_data import AccountData
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.filters import Filters
from homeserver.services.personal.pushrules import PushRules
from homeserver.services.personal.quota import AccountDataQuota
from homeserver.services.personal.tags import Tags
from homeserver.storage.unit import Database
from tests.support.accounts import Home, RecordingRooms, running

ALICE, BOB, ROOM = "@alice:hs.test", "@bob:hs.test", "!room:hs.test"


async def made(store: Database, data: AccountData, names: list[str], size: int) -> int:
    """How many of these items could be made, all at once."""
    content = {"x": "y" * size}
    results = await asyncio.gather(*(data.put(ALICE, None, name, content) for name in names), return_exceptions=True)
    errors = [error for error in results if error is not None]
    assert all(isinstance(error, MatrixError) and error.code is ErrCode.RESOURCE_LIMIT_EXCEEDED for error in errors)
    async with store.read() as tx:
        items, _ = await tx.account_data.usage(ALICE)
    assert items == len(names) - len(errors)
    return items


async def test_items_are_counted_where_they_are_stored(store: Database) -> None:
    async with running(Home(store)) as home:
        data = AccountData(store, home.committer, quota=AccountDataQuota(items=10))
        assert await made(store, data, [f"org.example.{number}" for number in range(30)], 10) == 10


async def test_bytes_are_counted_where_they_are_stored(store: Database) -> None:
    async with running(Home(store)) as home:
        data = AccountData(store, home.committer, quota=AccountDataQuota(total_bytes=100_000))
        assert await made(store, data, [f"org.example.{number}" for number in range(30)], 9_900) == 10
        await data.put(ALICE, None, "org.example.0", {})  # less is always possible
        async with store.read() as tx:
            assert (await tx.account_data.usage(ALICE))[1] < 100_000


async def test_edits_are_counted_too(store: Database) -> None:
    async with running(Home(store)) as home:
        tags = Tags(AccountDataEdits(store, home.committer, AccountDataQuota(items=3)), max_tags=5)
        for number in range(3):
            await tags.put(ALICE, f"!{number}:hs.test", "u.x", {})
        with pytest.raises(MatrixError) as refused:
            await tags.put(ALICE, "!more:hs.test", "u.x", {})
        assert refused.value.code is ErrCode.RESOURCE_LIMIT_EXCEEDED
        for number in range(4):
            await tags.put(ALICE, "!0:hs.test", f"u.{number}", {})
        with pytest.raises(MatrixError) as refused:
            await tags.put(ALICE, "!0:hs.test", "u.more", {})
        assert refused.value.code is ErrCode.TOO_LARGE


async def test_push_rules_have_a_number_and_a_size(store: Database) -> None:
    async with running(Home(store)) as home:
        rules = PushRules(AccountDataEdits(store, home.committer), max_rules=3)
        for number in range(3):
            await rules.put(ALICE, "content", f"r{number}", {"actions": [], "pattern": "x"}, None, None)
        with pytest.raises(MatrixError) as refused:
            await rules.put(ALICE, "content", "more", {"actions": [], "pattern": "x"}, None, None)
        assert refused.value.code is ErrCode.TOO_LARGE
        await rules.delete(ALICE, "content", "r0")
        small = PushRules(AccountDataEdits(store, home.committer), max_bytes=4_000)
        with pytest.raises(MatrixError):
            await small.put(ALICE, "content", "large", {"actions": [], "pattern": "x" * 900}, None, None)


async def test_filters_have_a_size_together(store: Database) -> None:
    filters = Filters(store, max_total=3_000)
    big = {"room": {"rooms": [f"!{number}:{'x' * 50}" for number in range(20)]}}
    first = await filters.define(ALICE, big)
    assert await filters.define(ALICE, big) == first, "the same one takes nothing"
    await filters.define(ALICE, {**big, "event_fields": ["content"]})
    with pytest.raises(MatrixError) as refused:
        await filters.define(ALICE, {**big, "event_fields": ["sender"]})
    assert refused.value.code is ErrCode.RESOURCE_LIMIT_EXCEEDED
    await filters.define(BOB, big)


async def test_profiles_have_a_number_of_fields(store: Database) -> None:
    profiles = Profiles(store, RecordingRooms(), "hs.test", ProfileLimits(fields=3))
    async with store.write() as tx:
        await tx.users.create(User(ALICE, 0))
    who = Requester(ALICE, "DEV", "session")
    for number in range(3):
        await profiles.put_field(who, ALICE, f"org.example.f{number}", number)
    with pytest.raises(MatrixError) as refused:
        await profiles.put_field(who, ALICE, "displayname", "Alice")
    assert refused.value.code is ErrCode.PROFILE_TOO_LARGE
    await profiles.put_field(who, ALICE, "org.example.f0", "changed")
    await profiles.delete_field(who, ALICE, "org.example.f1")
    await profiles.put_field(who, ALICE, "displayname", "Alice")
