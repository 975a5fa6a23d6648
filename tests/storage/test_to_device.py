"""Queues of messages to devices, on both databases. What shares a row is given out and deleted one by one."""

from __future__ import annotations

import pytest

from homeserver.ports.accounts import Device
from homeserver.ports.e2e import DeviceName
from homeserver.services.maintenance import Maintenance
from homeserver.storage.dialect import Sql
from homeserver.storage.repos import to_device
from homeserver.storage.unit import Database
from homeserver.system import SystemClock

ALICE, BOB = "@alice:hromada.test", "@bob:hromada.test"
HEAD = b'{"type":"t","sender":"@carol:hromada.test","content":'
PHONE, LAPTOP, TABLET = (ALICE, "PHONE"), (ALICE, "LAPTOP"), (BOB, "TABLET")
_PACKS = Sql("SELECT count(*) FROM to_device_packs")
_WAITING = Sql("SELECT count(*) FROM to_device")
_BLOCKS = Sql("SELECT block, waiting FROM to_device_blocks")


async def with_devices(store: Database, *devices: DeviceName) -> None:
    async with store.write() as tx:
        for user_id, device_id in devices:
            await tx.devices.create(Device(user_id, device_id, 1))


async def send(store: Database, position: int, *devices: DeviceName, size: int = 1) -> None:
    """To each of the devices a message that says its name and the position."""
    async with store.write() as tx:
        found = await tx.to_device.queues({user_id for user_id, _ in devices})
        queues = {(user_id, device_id): queue for user_id, device_id, queue in found}
        contents = [b'{"%b":%d,"fill":"%b"}' % (device[1].encode(), position, b"x" * size) for device in devices]
        await tx.to_device.add(position, HEAD, [queues[device] for device in devices], contents)


async def positions(store: Database, device: DeviceName) -> list[int]:
    """Of the messages that wait for a device, whose own they must be."""
    async with store.read() as tx:
        found = await tx.to_device.waiting(device, 0, 1_000_000, 1_000)
    for message in found:
        assert message.json.startswith(HEAD + b'{"%b":%d,' % (device[1].encode(), message.position))
        assert message.json.endswith(b'"}}')
    return [message.position for message in found]


async def check_rows(store: Database, waiting: int, packs: range) -> None:
    """So many messages wait, and so many packs there are where there are any."""
    async with store.read() as tx:
        blocks = await _BLOCKS.rows(tx._connection)
        assert all(bits for _, bits in blocks)
        counts = [sum(bits.bit_count() for _, bits in blocks), (await _WAITING.first(tx._connection))[0]]
        assert counts == ([waiting, 0] if store.engine.is_sqlite else [0, waiting])
        assert (await _PACKS.first(tx._connection))[0] in (packs if store.engine.is_sqlite else range(1))


async def acknowledge(store: Database, **upto: int) -> None:
    names = {"phone": PHONE, "laptop": LAPTOP, "tablet": TABLET}
    async with store.write() as tx:
        await tx.to_device.delete_acknowledged({names[name]: position for name, position in upto.items()})


async def test_a_pack_goes_with_the_last_of_its_messages(store: Database) -> None:
    await with_devices(store, PHONE, LAPTOP, TABLET)
    for position in (1, 2, 5):
        await send(store, position, PHONE, LAPTOP, TABLET)
    await check_rows(store, 9, range(3, 4))
    await acknowledge(store, phone=2)
    assert await positions(store, PHONE) == [5]
    assert await positions(store, LAPTOP) == await positions(store, TABLET) == [1, 2, 5]
    await check_rows(store, 7, range(3, 4))
    await acknowledge(store, laptop=1, tablet=4)
    assert [await positions(store, device) for device in (PHONE, LAPTOP, TABLET)] == [[5], [2, 5], [5]]
    await check_rows(store, 4, range(2, 3))  # the first pack is gone, the second has one left
    await acknowledge(store, phone=9, laptop=9, tablet=9)
    await check_rows(store, 0, range(0, 1))


async def test_many_messages_and_large_ones_are_split(store: Database) -> None:
    devices = [(ALICE, f"D{number:03}") for number in range(100)]
    await with_devices(store, *devices)
    for position, size in enumerate((1, 300, 20_000), 1):
        await send(store, position, *devices, size=size)
    await check_rows(store, 300, range(105, 130))  # each of the large ones has its own pack, the others share
    for device in devices:
        assert await positions(store, device) == [1, 2, 3]


async def test_neighbours_are_told_apart(store: Database) -> None:
    devices = [(ALICE, f"D{number:03}") for number in range(40)]
    await with_devices(store, *devices)
    await send(store, 1, *devices[::-1])
    await send(store, 2, *devices[::3])
    await send(store, 3, *devices[20:], *devices[:20])
    async with store.write() as tx:
        await tx.to_device.delete_acknowledged({device: 1 + number % 3 for number, device in enumerate(devices[::2])})
        await tx.devices.delete(ALICE, [device_id for _, device_id in devices[1::7]])
    left = 0
    for number, device in enumerate(devices):
        upto = 3 if number % 7 == 1 else 0 if number % 2 else 1 + number // 2 % 3
        expected = [position for position in (1, 2, 3) if position > upto and (position != 2 or number % 3 == 0)]
        assert await positions(store, device) == expected
        left += len(expected)
    async with store.read() as tx:
        queues = [queue for *_, queue in await tx.to_device.queues([ALICE])]
        assert sum((await tx.to_device.lengths(queues, 10)).values()) == left
    await check_rows(store, left, range(2, 4))


async def test_devices_take_their_messages_along(store: Database) -> None:
    await with_devices(store, PHONE, LAPTOP, TABLET)
    await send(store, 1, PHONE, LAPTOP, TABLET)
    await send(store, 2, PHONE)
    async with store.write() as tx:
        await tx.devices.delete(ALICE, ["PHONE"])
    await check_rows(store, 2, range(1, 2))
    await with_devices(store, PHONE)
    assert await positions(store, PHONE) == [], "another device of this name begins anew"
    assert await positions(store, LAPTOP) == [1]
    async with store.write() as tx:
        await tx.devices.delete(ALICE, None)
    assert await positions(store, TABLET) == [1]
    async with store.write() as tx:
        await tx.devices.delete(BOB, ["TABLET"])
    await check_rows(store, 0, range(0, 1))


async def test_a_long_queue_is_deleted_piece_by_piece(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_device, "_AT_ONCE", 3)
    await with_devices(store, PHONE, LAPTOP, TABLET)
    for position in range(1, 8):
        await send(store, position, PHONE, LAPTOP)
    await acknowledge(store, phone=5, laptop=6)
    assert [await positions(store, device) for device in (PHONE, LAPTOP)] == [[6, 7], [7]]
    await check_rows(store, 3, range(2, 3))
    async with store.write() as tx:
        await tx.devices.delete(ALICE, None)
    await check_rows(store, 0, range(0, 1))


async def test_who_is_told_of_a_stretch_are_those_for_whom_something_waits(store: Database) -> None:
    await with_devices(store, PHONE, LAPTOP, TABLET)
    await send(store, 1, PHONE, TABLET)
    await send(store, 3, LAPTOP, TABLET)
    await send(store, 4, LAPTOP)
    await acknowledge(store, tablet=1)
    async with store.read() as tx:
        assert await tx.to_device.between(0, 9, 2) == {1: {PHONE}, 3: {LAPTOP, TABLET}}
        assert await tx.to_device.between(1, 3, 9) == {3: {LAPTOP, TABLET}}
        assert await tx.to_device.between(3, 9, 9) == {4: {LAPTOP}}


async def test_what_is_sent_while_its_device_is_deleted_does_not_stay(store: Database) -> None:
    await with_devices(store, PHONE, LAPTOP, TABLET)
    await send(store, 1, PHONE, TABLET)
    maintenance = Maintenance(store, SystemClock(), transaction_days=2, report_days=1)
    if store.engine.is_sqlite:
        assert await maintenance.once() == 0
        return
    async with store.write() as sender:
        queues = {device_id: queue for _, device_id, queue in await sender.to_device.queues([ALICE])}
        async with store.write() as tx:
            await tx.devices.delete(ALICE, ["PHONE"])
        await sender.to_device.add(2, HEAD, [queues["PHONE"], queues["LAPTOP"]], [b"{}", b"{}"])
    await check_rows(store, 3, range(1))
    assert await maintenance.once() == 1
    await check_rows(store, 2, range(1))
    assert await positions(store, TABLET) == [1]
