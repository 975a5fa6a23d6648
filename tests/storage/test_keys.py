"""Queues of one-time keys, on both databases."""

from __future__ import annotations

import asyncio

import orjson

from homeserver.ports.accounts import Device
from homeserver.ports.e2e import KeyStanding
from homeserver.ports.store import Transaction
from homeserver.storage.dialect import Sql
from homeserver.storage.unit import Database

ALICE = "@alice:hromada.test"
DEVICE = (ALICE, "PHONE")
ALGORITHM = "signed_curve25519"
_WAITING = Sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
_ROWS = Sql("SELECT first, last FROM one_time_keys ORDER BY first")
_IDS = Sql("SELECT ids FROM one_time_key_ids")
_CLAIM_ALL = Sql("UPDATE key_queues SET claimed = last")


async def standing(tx: Transaction, *names: str) -> KeyStanding:
    found = await tx.keys.standing(DEVICE, [(ALGORITHM, name) for name in names])
    assert found is not None
    return found


async def upload(tx: Transaction, *names: str) -> None:
    keys = {(ALGORITHM, name): name.encode() for name in names}
    await tx.keys.add_one_time_keys(DEVICE, keys, (await standing(tx)).queues)


async def claim(store: Database) -> list[bytes]:
    async with store.write() as tx:
        return [json for _, json in (await tx.keys.claim([(DEVICE, ALGORITHM)])).values()]


async def with_device(store: Database) -> None:
    async with store.write() as tx:
        await tx.devices.create(Device(*DEVICE, 1))


async def test_the_next_upload_leaves_of_claimed_keys_the_ids(store: Database) -> None:
    await with_device(store)
    async with store.write() as tx:
        await upload(tx, "b", "a")
        await upload(tx, "c")
    assert [await claim(store) for _ in range(2)] == [[b"a"], [b"b"]]
    async with store.write() as tx:
        assert (await standing(tx, "a", "c")).known == {(ALGORITHM, "a"): None, (ALGORITHM, "c"): b"c"}
        await upload(tx, "d")
    async with store.write() as tx:
        assert await _ROWS.rows(tx._connection) == [(3, 3), (4, 4)]
        found = await standing(tx, "a", "b", "d", "e")
        assert found.known == {(ALGORITHM, "a"): None, (ALGORITHM, "b"): None, (ALGORITHM, "d"): b"d"}
        assert (found.queues[ALGORITHM].last, found.queues[ALGORITHM].claimed) == (4, 2)
    assert [await claim(store) for _ in range(3)] == [[b"c"], [b"d"], []]
    async with store.write() as tx:
        await tx.keys.delete_devices(ALICE, ["PHONE"])
        assert [*await _ROWS.rows(tx._connection), *await _IDS.rows(tx._connection)] == []
        await upload(tx, "a")
    assert await claim(store) == [b"a"], "another device of this name begins anew"


async def test_keys_that_share_rows_are_claimed_one_by_one(store: Database) -> None:
    await with_device(store)
    odd = ["\n", "\t", '"', "\\", "é", "a\tb\nc", "x" * 200]
    batches = [sorted(odd), sorted(f"1-{number:02}" for number in range(40)), ["2"], ["3-0", "3-1"]]
    for batch in batches:
        async with store.write() as tx:
            keys = {(ALGORITHM, name): orjson.dumps({"key": name * 3, "": "k" * 200}) for name in batch}
            await tx.keys.add_one_time_keys(DEVICE, keys, (await standing(tx)).queues)
    names = [name for batch in batches for name in batch]
    for taken, name in enumerate(names):
        async with store.write() as tx:
            known = (await standing(tx, *names)).known
            assert {key for (_, key), json in known.items() if json is None} == set(names[:taken])
            claimed = await tx.keys.claim([(DEVICE, ALGORITHM)])
            assert claimed == {DEVICE: ((ALGORITHM, name), orjson.dumps({"key": name * 3, "": "k" * 200}))}
    assert await claim(store) == []
    async with store.read() as tx:
        rows = await _ROWS.rows(tx._connection)
        assert [first for first, _ in rows] == [1, *[last + 1 for _, last in rows[:-1]]]
        assert len(batches) < len(rows) < len(names) / 2


async def test_deleting_a_device_that_no_database_could_hold_deletes_nothing(store: Database) -> None:
    await with_device(store)
    async with store.write() as tx:
        [(*_, queue)] = await tx.to_device.queues([ALICE])
        await tx.to_device.add(1, b"", [queue], [b"{}"])
        await tx.keys.delete_devices(ALICE, ["PH\0NE", "\ud800"])
        assert len(await tx.to_device.waiting(DEVICE, 0, 1, 10)) == 1
        await tx.keys.delete_devices(ALICE, ["PHONE"])
        assert await tx.to_device.waiting(DEVICE, 0, 1, 10) == []


async def test_ids_of_claimed_keys_are_remembered_up_to_a_bound(store: Database) -> None:
    await with_device(store)
    for batch in range(3):
        async with store.write() as tx:
            await upload(tx, *[f"{batch}-{number:04}" for number in range(1000)])
            await _CLAIM_ALL.run(tx._connection)
    async with store.write() as tx:
        await upload(tx, "new")
        found = await standing(tx, "0-0999", "1-0000", "2-0999", "new")
        gone = {(ALGORITHM, "1-0000"): None, (ALGORITHM, "2-0999"): None}
        assert found.known == {**gone, (ALGORITHM, "new"): b"new"}
        assert len(found.queues[ALGORITHM].ids) == 2001
        assert await _ROWS.rows(tx._connection) == [(3001, 3001)]


async def test_a_claim_that_waited_for_another_process_takes_what_that_one_has_uploaded(store: Database) -> None:
    await with_device(store)
    async with store.write() as tx:
        await upload(tx, "a")
    async with store.write() as tx:
        assert list((await tx.keys.claim([(DEVICE, ALGORITHM)])).values()) == [((ALGORITHM, "a"), b"a")]
        await upload(tx, "b")
        waiting = asyncio.create_task(claim(store))
        while not store.engine.is_sqlite:
            async with store.engine.read_committed() as connection:
                if (await _WAITING.rows(connection))[0][0]:
                    break
    assert await waiting == [b"b"]
    assert await claim(store) == []
