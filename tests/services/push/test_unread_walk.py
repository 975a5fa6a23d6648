"""Random walks: what memory says of unread events is what a recount says, whatever happened, after a restart too."""

from __future__ import annotations

import os
import random

import orjson
import pytest

from homeserver.core.pushrules import default_rules, parse_rule
from homeserver.ports.accounts import AccountDataChanged
from homeserver.services.personal.account_data import SetAccountData
from homeserver.services.personal.edits import AccountDataEdits
from homeserver.services.personal.ignored import IGNORED_USER_LIST, IgnoredUsers
from homeserver.services.personal.pushrules import PUSH_RULES
from homeserver.services.personal.receipts import ReceiptService
from homeserver.services.push.unread import RoomUnread, UnreadCounts
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL, SteppingClock, World, running_world

WALKS = int(os.environ.get("WALKS", "3"))
STEPS = 40
USERS = (ALICE, BOB, CAROL)


class Walk:
    """One walk of three people through two rooms."""

    def __init__(self, world: World, chance: random.Random, rooms: list[str]) -> None:
        self.world = world
        self.chance = chance
        self.rooms = rooms
        self.said: dict[str, list[str]] = {room: [] for room in rooms}
        edits = AccountDataEdits(world.store, world.committer)
        self.receipts = ReceiptService(world.store, world.committer, edits, SteppingClock())
        self.number = 0

    async def step(self) -> str:
        """Do something; returns what."""
        room = self.chance.choice(self.rooms)
        user = self.chance.choice(USERS)
        action = self.chance.choice(["say"] * 6 + ["read"] * 3 + ["redact", "leave", "rules", "ignore"])
        if await self.world.membership(room, user) != "join":
            action = "join"
        await getattr(self, action)(room, user)
        return f"{action} {user} {room}"

    async def say(self, room: str, user: str) -> None:
        self.number += 1
        content: dict[str, object] = {"msgtype": self.chance.choice(["m.text", "m.notice"]), "body": "cheese"}
        if self.chance.random() < 0.3:
            content["m.mentions"] = self.chance.choice([{"room": True}, {"user_ids": [BOB, CAROL]}])
        if self.said[room] and self.chance.random() < 0.3:
            root = self.said[room][0]
            content["m.relates_to"] = {"rel_type": "m.thread", "event_id": root}
        txn = f"t{self.number}"
        event = await self.world.rooms.sending.send_message(room, (user, "DEV"), "m.room.message", txn, content)
        self.said[room].append(event)

    async def read(self, room: str, user: str) -> None:
        if not self.said[room]:
            return
        event = self.chance.choice(self.said[room])
        kind = self.chance.choice(["m.read", "m.read.private"])
        await self.receipts.set(user, room, kind, event, None)

    async def redact(self, room: str, user: str) -> None:
        if self.said[room]:
            self.number += 1
            target = self.chance.choice(self.said[room])
            await self.world.rooms.sending.redact(room, (ALICE, "DEV"), target, f"r{self.number}", None)

    async def leave(self, room: str, user: str) -> None:
        if user != ALICE:
            await self.world.rooms.memberships.leave(user, room)

    async def join(self, room: str, user: str) -> None:
        await self.world.rooms.memberships.join(user, room)

    async def rules(self, room: str, user: str) -> None:
        rules = default_rules(user)
        if self.chance.random() < 0.5:
            rule = parse_rule(
                "content", "cheese", {"pattern": "cheese", "actions": ["notify", {"set_tweak": "highlight"}]}
            )
            rules = rules.put("content", rule)
        await self._put(user, PUSH_RULES, {"global": rules.to_json()})

    async def ignore(self, room: str, user: str) -> None:
        ignored = {CAROL: {}} if self.chance.random() < 0.5 and user != CAROL else {}
        await self._put(user, IGNORED_USER_LIST, {"ignored_users": ignored})

    async def _put(self, user: str, kind: str, content: object) -> None:
        await self.world.committer.commit(SetAccountData(AccountDataChanged(user, None, kind, orjson.dumps(content))))


def counting(world: World) -> UnreadCounts:
    return UnreadCounts(world.store, world.log, IgnoredUsers(world.store, world.log))


async def of(counts: UnreadCounts, world: World, user: str, rooms: list[str]) -> dict[str, RoomUnread]:
    async with world.store.read() as tx:
        nids = await tx.rooms.room_nids(rooms)
    return await counts.of(user, nids)


@pytest.mark.parametrize("seed", range(WALKS))
async def test_memory_and_recount_agree(store: Database, seed: int) -> None:
    async with running_world(store) as world:
        rooms = [await world.create(ALICE, BOB, CAROL, preset="public_chat") for _ in range(2)]
        walk = Walk(world, random.Random(seed), rooms)
        remembered = counting(world)
        history: list[str] = []
        for _ in range(STEPS):
            history.append(await walk.step())
            for user in USERS:
                joined = [room for room in rooms if await world.membership(room, user) == "join"]
                known = await of(remembered, world, user, joined)
                assert known == await of(counting(world), world, user, joined), (user, history)
