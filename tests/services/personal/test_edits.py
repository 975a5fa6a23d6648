"""Changes of account data that depend on what is stored."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.log import AccountDataEntry
from homeserver.services.personal.account_data import SetAccountData
from homeserver.services.personal.edits import AccountDataEdits
from tests.services.personal.conftest import ALICE, World

COUNT = "test.count"


async def increase(stored: bytes | None) -> bytes:
    return orjson.dumps(0 if stored is None else orjson.loads(stored) + 1)


async def test_no_change_is_lost(world: World) -> None:
    """Two services, as two processes have them: their locks know nothing of each other."""
    other = AccountDataEdits(world.store, world.committer)
    edits = [edits.edit(ALICE, None, COUNT, increase) for edits in (world.edits, other) for _ in range(10)]
    await asyncio.gather(*edits)
    assert await world.account_data(None, COUNT) == b"19"


async def test_an_edit_is_one_entry_of_the_log(world: World) -> None:
    start = world.log.position
    await world.edits.edit(ALICE, None, COUNT, increase)
    (entry,) = world.entries(start)
    assert isinstance(entry, AccountDataEntry) and (entry.data.user_id, entry.data.content) == (ALICE, b"0")


async def test_the_slower_change_is_decided_again(world: World) -> None:
    seen: list[bytes | None] = []

    async def edit(stored: bytes | None) -> bytes:
        seen.append(stored)
        if len(seen) == 1:
            await world.committer.commit(SetAccountData(AccountDataChanged(ALICE, None, COUNT, b"7")))
        return await increase(stored)

    start = world.log.position
    await world.edits.edit(ALICE, None, COUNT, edit)
    assert seen == [None, b"7"]
    assert [entry.data.content for entry in world.entries(start) if isinstance(entry, AccountDataEntry)] == [
        b"7",
        b"7",
        b"8",
    ]
    assert world.log.position == start + 3


async def test_nothing_is_written_without_a_change(world: World) -> None:
    async def keep(stored: bytes | None) -> None:
        return None

    async def refuse(stored: bytes | None) -> bytes:
        raise ValueError

    start = world.log.position
    await world.edits.edit(ALICE, None, COUNT, keep)
    with pytest.raises(ValueError):
        await world.edits.edit(ALICE, None, COUNT, refuse)
    assert world.log.position == start
