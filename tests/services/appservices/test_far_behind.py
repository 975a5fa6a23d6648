"""A service that is so far behind that the log is not whole any more: it is told what there is still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import yaml

from homeserver.ports.accounts import AccountDataChanged
from homeserver.ports.events import Correction
from homeserver.ports.log import DeviceListEntry, LogEntry, StateEntry
from homeserver.ports.store import Transaction
from homeserver.services.appservices.interest import Interest
from homeserver.services.appservices.registration import parse_registration
from homeserver.services.appservices.transactions import TransactionDraft, TransactionLimits, TransactionMaker
from homeserver.services.personal.account_data import SetAccountData
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.receipts import ReceiptService
from homeserver.services.rooms.lists import RoomLists
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, SteppingClock, World, running_world
from tests.support.store import SERVER_NAME

GHOST = f"@_db_one:{SERVER_NAME}"
REGISTRATION = {
    "id": "db",
    "url": "http://127.0.0.1:9",
    "as_token": "a",
    "hs_token": "h",
    "sender_localpart": "_db_bot",
    "receive_ephemeral": True,
    "org.matrix.msc3202": True,
    "namespaces": {"users": [{"exclusive": True, "regex": "@_db_.*"}]},
}


@dataclass
class NewDevice:
    """A change of somebody's device list."""

    user_id: str

    async def prepare(self, _tx: Transaction) -> int:
        return 1

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        return [DeviceListEntry(first, self.user_id)]


@pytest.fixture
async def world(store: Database) -> AsyncIterator[World]:
    async with running_world(store) as running:
        yield running


@pytest.fixture
def maker(world: World) -> TransactionMaker:
    service = parse_registration(yaml.safe_dump(REGISTRATION), SERVER_NAME)
    histories, lists = world.rooms.memory.histories, RoomLists(world.store, world.log)
    interest = Interest(service, SERVER_NAME)
    return TransactionMaker(service, interest, world.store, histories, lists, SteppingClock(), TransactionLimits())


async def told(maker: TransactionMaker, draft: TransactionDraft) -> dict[str, Any]:
    """The transaction."""
    body = await maker.finish(draft)
    found: dict[str, Any] = {} if body is None else orjson.loads(body)
    return found


async def put_data(world: World) -> None:
    """Something that is in the log and of no interest to services."""
    await world.committer.commit(SetAccountData(AccountDataChanged(ALICE, None, "org.example", b"{}")))


async def test_what_is_not_pruned_is_told(world: World, maker: TransactionMaker) -> None:
    room = await world.create(ALICE, GHOST, BOB)
    await world.create(CAROL)
    low = world.log.position
    edits = AccountDataEdits(world.store, world.committer)
    receipts = ReceiptService(world.store, world.committer, edits, SteppingClock())
    await put_data(world)
    for user_id in (ALICE, ALICE, CAROL):
        await world.committer.commit(NewDevice(user_id))
    pruned = world.log.position
    said = await world.say(room, "hello")
    await world.committer.commit(NewDevice(BOB))
    await receipts.set(BOB, room, "m.read", said, None)
    async with world.store.write() as tx:
        assert await tx.log.prune(pruned + 1, 100) == 4
    draft = TransactionDraft(low, low)
    await maker.extend_from_store(draft, world.log.position)
    assert draft.position == world.log.position
    body = await told(maker, draft)
    assert [event["content"]["body"] for event in body["events"]] == ["hello"]
    assert body["device_lists"] == {"changed": [ALICE, BOB], "left": []}, "of what is pruned, the last change is known"
    assert [list(event["content"]) for event in body["ephemeral"]] == [[said]]


async def test_moves_without_an_event_change_device_lists(world: World, maker: TransactionMaker) -> None:
    room = await world.create(ALICE, GHOST, BOB)
    async with world.store.read() as tx:
        room_nid = (await tx.rooms.room_nids([room]))[room]
        (member,) = (await tx.rooms.member_events({room_nid: [BOB]}))[room_nid]
    position = world.log.position
    for holds, lists in ((member, {"changed": [BOB], "left": []}), (None, {"changed": [], "left": [BOB]})):
        draft = TransactionDraft(position, position)
        correction = Correction(position + 1, room, room_nid, {("m.room.member", BOB): holds})
        await maker.extend(draft, [StateEntry(position + 1, correction)])
        assert (await told(maker, draft))["device_lists"] == lists
