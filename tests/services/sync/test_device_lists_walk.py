"""Random walks: device lists in sync, from the tail and from the database, are what a naive recount says."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.filters import Filter
from homeserver.ports.log import DeviceListEntry, LogEntry
from homeserver.ports.store import Transaction
from homeserver.services.e2e.devicelists import DeviceLists
from homeserver.services.following import LogFollower
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.sync import positions
from homeserver.services.sync.keychanges import KeyChanges
from homeserver.services.sync.positions import SyncToken
from homeserver.services.sync.render import encode_for
from homeserver.services.sync.request import SyncRequest
from tests.services.rooms.conftest import ALICE, BOB, CAROL, DAVE
from tests.services.sync.conftest import SyncWorld

WALKS = int(os.environ.get("WALKS", "3"))
STEPS = 40
USERS = (ALICE, BOB, CAROL, DAVE)


@dataclass(frozen=True, slots=True)
class NewKeys:
    """A change of somebody's device list."""

    user_id: str

    async def prepare(self, _tx: Transaction) -> int:
        return 1

    async def write(self, _tx: Transaction, first: int) -> Sequence[LogEntry]:
        return [DeviceListEntry(first, self.user_id)]


@dataclass
class Recount:
    """Everything that has happened, as a naive server would keep it."""

    joined: list[tuple[int, frozenset[tuple[str, str]]]] = field(default_factory=list)  # (position, who is where)
    changes: list[tuple[int, str]] = field(default_factory=list)

    def shared(self, user: str, position: int) -> set[str]:
        """Who shares a room with the user at a position."""
        now = [state for at, state in self.joined if at <= position][-1]
        rooms = {room for room, who in now if who == user}
        return {who for room, who in now if room in rooms} - {user}

    def expected(self, user: str, low: int, high: int) -> dict[str, list[str]]:
        now, then = self.shared(user, high), self.shared(user, low)
        touched = {who for position, who in self.changes if low < position <= high}
        changed = (touched & (now | then)) | (now - then) | (touched & {user})
        return {"changed": sorted(changed), "left": sorted(then - now)}


class Walk:
    def __init__(self, syncing: SyncWorld, chance: random.Random, rooms: list[str]) -> None:
        self.syncing = syncing
        self.world = syncing.world
        self.chance = chance
        self.rooms = rooms
        self.recount = Recount()

    async def note(self) -> None:
        state = {
            (room, user) for room in self.rooms for user in USERS if await self.world.membership(room, user) == "join"
        }
        self.recount.joined.append((self.world.log.position, frozenset(state)))

    async def step(self) -> None:
        room, user = self.chance.choice(self.rooms), self.chance.choice(USERS)
        action = self.chance.choice(
            ["join"] * 4 + ["leave"] * 3 + ["keys"] * 3 + ["say", "ban", "ban", "unban", "kick", "name", "upgrade"]
        )
        memberships = self.world.rooms.memberships
        try:
            match action:
                case "join":
                    await memberships.join(user, room)
                case "leave":
                    await memberships.leave(user, room)
                case "ban":
                    await memberships.ban(ALICE, room, user)
                case "unban":
                    await memberships.unban(ALICE, room, user)
                case "kick":
                    await memberships.kick(ALICE, room, user)
                case "upgrade":
                    if len(self.rooms) < 5:
                        self.rooms.append(await self.world.rooms.upgrades.upgrade(user, room, "11", ()))
                case "say":
                    await self.world.say(room, "x", sender=user, txn=f"t{self.world.log.position}")
                case "name":
                    content = {"membership": "join", "displayname": f"n{self.world.log.position}"}
                    await self.world.rooms.sending.set_state(room, user, ("m.room.member", user), content)
                case "keys":
                    await self.world.committer.commit(NewKeys(user))
                    self.recount.changes.append((self.world.log.position, user))
        except MatrixError:
            pass
        await self.note()

    async def told(self, reader: str, since: int) -> dict[str, list[str]]:
        token = SyncToken(since, self.syncing.typing.serial)
        request = SyncRequest(user_id=reader, device_id="DEV", filter=Filter(), since=token)
        answer = await self.syncing.sync.respond(request)
        body = orjson.loads(encode_for(request, answer.body))
        lists: dict[str, list[str]] = body.get("device_lists", {"changed": [], "left": []})
        return lists


@pytest.mark.parametrize("seed", range(WALKS))
async def test_device_lists_and_recount_agree(syncing: SyncWorld, seed: int) -> None:
    chance = random.Random(seed)
    rooms = [await syncing.world.create(user, preset="public_chat") for user in (ALICE, ALICE, BOB)]
    walk = Walk(syncing, chance, rooms)
    await walk.note()
    follower = LogFollower(syncing.world.store, syncing.world.log)
    lists = RoomLists(syncing.world.store, syncing.world.log)
    changes = KeyChanges(syncing.world.store, follower, lists, DeviceLists(lists))
    start = syncing.world.log.position
    for reader in USERS:
        await walk.told(reader, start)  # their room lists are in memory from here on
    for number in range(STEPS):
        await walk.step()
        if number % 4:
            continue
        high = syncing.world.log.position
        for reader in USERS:
            low = chance.randint(start, high)
            expected = walk.recount.expected(reader, low, high)
            assert await walk.told(reader, low) == expected, (seed, number, reader, low, high)
            asked = await changes.between(reader, str(positions.SyncToken(low)), str(positions.SyncToken(high)))
            if low < high:
                assert {"changed": list(asked.changed), "left": list(asked.left)} == expected
