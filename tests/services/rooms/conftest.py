"""A room world: the rooms services on a real store, as the composition root wires them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from homeserver.core.build import Signer
from homeserver.core.signatures import SigningKey
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.services.rooms import RoomsConfig, RoomServices, build_rooms
from homeserver.services.rooms.create import EncryptByDefault, RoomRequest
from homeserver.storage.unit import Database
from tests.support.store import SERVER_NAME

ALICE, BOB, CAROL, DAVE = (f"@{name}:{SERVER_NAME}" for name in ("alice", "bob", "carol", "dave"))


class SteppingClock:
    """Time that moves by a millisecond per look, or by `step`."""

    def __init__(self, step: int = 1) -> None:
        self._now = itertools.count(1_700_000_000_000, step)

    def now_ms(self) -> int:
        return next(self._now)

    def monotonic(self) -> float:
        return next(self._now) / 1000


class CountingEntropy:
    """Unique, not random."""

    def __init__(self, prefix: str = "", start: int = 0) -> None:
        self._next = itertools.count(start)
        self._prefix = prefix

    def token(self, n_bytes: int) -> str:
        return f"{self._prefix}{next(self._next):0{n_bytes}d}"

    def letters(self, length: int) -> str:
        return "".join(chr(ord("A") + int(digit)) for digit in f"{next(self._next):0{length}d}")


class FakeProfiles:
    """Display names as given; everybody else has none."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.avatars: dict[str, str] = {}

    async def member_profile(self, user_id: str) -> Mapping[str, str]:
        given = {"displayname": self.names.get(user_id), "avatar_url": self.avatars.get(user_id)}
        return {key: value for key, value in given.items() if value is not None}


@dataclass
class World:
    """The services and what they stand on."""

    store: Database
    log: Log
    rooms: RoomServices
    profiles: FakeProfiles
    committer: Committer

    async def create(self, creator: str = ALICE, /, *members: str, **request: Any) -> str:
        """A room of `creator`, public unless `preset` says otherwise, with `members` joined."""
        request.setdefault("preset", "public_chat")
        room_id = await self.rooms.creation.create_room(creator, RoomRequest(**request))
        for member in members:
            await self.rooms.memberships.join(member, room_id)
        return room_id

    async def say(self, room_id: str, body: str, sender: str = ALICE, txn: str | None = None) -> str:
        """Send a text message from the sender's device DEV."""
        content = {"msgtype": "m.text", "body": body}
        return await self.rooms.sending.send_message(room_id, (sender, "DEV"), "m.room.message", txn or body, content)

    async def state(self, room_id: str, event_type: str, state_key: str = "") -> dict[str, Any] | None:
        """Current content of a piece of state, straight from the store."""
        async with self.store.read() as tx:
            head = await tx.rooms.head(room_id)
            key = (event_type, state_key)
            event_id = None if head is None else (await tx.rooms.state_at_filtered(head.snapshot.nid, [key])).get(key)
            if event_id is None:
                return None
            return (await tx.events.get_many([event_id]))[event_id].event.content

    async def membership(self, room_id: str, user_id: str) -> str | None:
        content = await self.state(room_id, "m.room.member", user_id)
        return None if content is None else content["membership"]

    async def timeline(self, room_id: str) -> list[Any]:
        """All events of a room in order, straight from the store."""
        async with self.store.read() as tx:
            nids = await tx.rooms.room_nids([room_id])
            page = await tx.events.timeline(nids[room_id], start=None, stop=None, backwards=False, limit=10_000)
        return [stored.event for stored in page.events]


async def members_of(world: World, user_id: str, room_id: str, **more: Any) -> list[bytes]:
    """All pages of a room's members."""
    return [event async for page in await world.rooms.state.members(user_id, room_id, **more) for event in page]


@contextlib.asynccontextmanager
async def running_world(
    store: Database,
    *,
    entropy: CountingEntropy | None = None,
    clock: SteppingClock | None = None,
    encrypt: EncryptByDefault = "off",
    aliases_per_user: int = 50,
) -> AsyncIterator[World]:
    """A world on `store`; opening a second one is a restart."""
    async with store.read() as tx:
        log = Log(await tx.log.position())
    committer = Committer(store, log)
    profiles = FakeProfiles()
    signer = Signer(SERVER_NAME, SigningKey("ed25519:test", bytes(32)))
    config = RoomsConfig(
        signer,
        clock or SteppingClock(),
        entropy or CountingEntropy(),
        encrypt_by_default=encrypt,
        aliases_per_user=aliases_per_user,
    )
    rooms = build_rooms(store, log, committer, profiles, config)
    task = asyncio.create_task(committer.run())
    try:
        yield World(store, log, rooms, profiles, committer)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world(store: Database) -> AsyncIterator[World]:
    async with running_world(store) as running:
        yield running
