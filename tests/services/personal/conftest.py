"""The services of one user's affairs on a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from homeserver.core.event import Event
from homeserver.ports.log import LogEntry
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.receipts import ReceiptService
from homeserver.storage.unit import Database
from tests.storage.rooms import commit, decide, make_event, make_room

ALICE = "@alice:hromada.test"
BOB = "@bob:hromada.test"
ROOM = "!room:hromada.test"


class ManualClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class World:
    """The services and what they stand on."""

    store: Database
    log: Log
    committer: Committer
    clock: ManualClock
    edits: AccountDataEdits
    receipts: ReceiptService

    def entries(self, since: int) -> list[LogEntry]:
        """What was committed after a position."""
        found = self.log.since(since)
        assert found is not None
        return found

    async def room(self, *events: Event) -> None:
        """The room with these events."""
        await commit(self.store, decide(await make_room(self.store, ROOM), *events))

    async def account_data(self, room_id: str | None, type_: str, user_id: str = ALICE) -> bytes | None:
        """Stored content."""
        async with self.store.read() as tx:
            return await tx.account_data.get(user_id, room_id, type_)


def event(content: dict[str, Any]) -> Event:
    """A message of any content."""
    return make_event(ROOM, "m.room.message", content)


def related(rel_type: str | None, to: Event) -> Event:
    """A message that relates to another one."""
    relation = {"event_id": to.event_id} if rel_type is None else {"event_id": to.event_id, "rel_type": rel_type}
    return event({"body": "related", "m.relates_to": relation})


@pytest.fixture
async def world(store: Database) -> AsyncIterator[World]:
    clock = ManualClock()
    async with store.read() as tx:
        log = Log(await tx.log.position())
    committer = Committer(store, log)
    edits = AccountDataEdits(store, committer)
    task = asyncio.create_task(committer.run())
    yield World(store, log, committer, clock, edits, ReceiptService(store, committer, edits, clock))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
