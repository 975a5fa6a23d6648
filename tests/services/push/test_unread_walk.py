"""Random walks: what memory says of unread events is what a recount says, whatever happened, after a restart too."""

from __future__ import annotations

import os
import random

import orjson
import pytest

from homeserver.core.errors import MatrixError
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
HIGHLIGHT = ["notify", {"set_tweak": "highlight"}]
ACTIONS = ["redact", "leave", "rules", "rules", "ignore", "kick", "ban", "name", "power", "upgrade"]


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
        action = self.chance.choice(["say"] * 8 + ["read"] * 5 + ACTIONS)
        membership = await self.world.membership(room, user)
        if membership != "join":
            action = "unban" if membership == "ban" else "join"
        try:
            await getattr(self, action)(room, user)
        except MatrixError as error:
            action += f" ({error.message})"  # rooms that were replaced, threads that an event is not in
        return f"{action} {user} {room}"

    async def say(self, room: str, user: str) -> None:
        self.number += 1
        content: dict[str, object] = {"msgtype": self.chance.choice(["m.text", "m.notice"]), "body": "cheese"}
        if self.chance.random() < 0.3:
            content["m.mentions"] = self.chance.choice([{"room": True}, {"user_ids": [BOB, CAROL]}])
        if self.said[room] and self.chance.random() < 0.3:
            root = self.chance.choice(self.said[room][:3])
            content["m.relates_to"] = {"rel_type": "m.thread", "event_id": root}
        txn = f"t{self.number}"
        event = await self.world.rooms.sending.send_message(room, (user, "DEV"), "m.room.message", txn, content)
        self.said[room].append(event)

    async def read(self, room: str, user: str) -> None:
        if not self.said[room]:
            return
        event = self.chance.choice(self.said[room])
        kind = self.chance.choice(["m.read", "m.read.private"])
        # Half of them unthreaded; a thread that the event is not in is refused.
        thread = self.chance.choice([None, None, None, "main", self.said[room][0], self.said[room][-1]])
        await self.receipts.set(user, room, kind, event, thread)

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

    async def kick(self, room: str, user: str) -> None:
        await self.world.rooms.memberships.kick(ALICE, room, user)

    async def ban(self, room: str, user: str) -> None:
        await self.world.rooms.memberships.ban(ALICE, room, user)

    async def unban(self, room: str, user: str) -> None:
        await self.world.rooms.memberships.unban(ALICE, room, user)

    async def name(self, room: str, user: str) -> None:
        """They are called what people write."""
        content = {"membership": "join", "displayname": self.chance.choice(["cheese", "bread"])}
        await self.world.rooms.sending.set_state(room, user, ("m.room.member", user), content)

    async def power(self, room: str, user: str) -> None:
        """Whether they may tell the whole room."""
        content = await self.world.state(room, "m.room.power_levels") or {}
        users = {**content.get("users", {}), user: self.chance.choice([0, 50])}
        if user != ALICE:
            key = ("m.room.power_levels", "")
            await self.world.rooms.sending.set_state(room, ALICE, key, {**content, "users": users})

    async def upgrade(self, room: str, user: str) -> None:
        if len(self.rooms) < 4:
            replacement = await self.world.rooms.upgrades.upgrade(ALICE, room, self.chance.choice(["11", "12"]), ())
            self.said[replacement] = []
            self.rooms.append(replacement)

    async def rules(self, room: str, user: str) -> None:
        rules = default_rules(user)
        notice = {"kind": "event_match", "key": "content.msgtype", "pattern": "m.notice"}
        for kind, rule_id, body in (
            ("content", "cheese", {"pattern": "cheese", "actions": HIGHLIGHT}),
            ("room", room, {"actions": self.chance.choice([[], ["notify"]])}),
            ("sender", self.chance.choice(USERS), {"actions": self.chance.choice([[], HIGHLIGHT])}),
            ("override", "notices", {"conditions": [notice], "actions": HIGHLIGHT}),
            ("override", "few", {"conditions": [{"kind": "room_member_count", "is": "2"}], "actions": []}),
        ):
            if self.chance.random() < 0.25:
                rules = rules.put(kind, parse_rule(kind, rule_id, body))
        await self._put(user, PUSH_RULES, {"global": rules.to_json()})

    async def set_rule(self, user: str, kind: str, rule_id: str, body: dict[str, object]) -> None:
        rules = default_rules(user).put(kind, parse_rule(kind, rule_id, body))
        await self._put(user, PUSH_RULES, {"global": rules.to_json()})

    async def ignore(self, room: str, user: str) -> None:
        await self.ignore_user(user, *([CAROL] if self.chance.random() < 0.5 and user != CAROL else []))

    async def ignore_user(self, user: str, *others: str) -> None:
        await self._put(user, IGNORED_USER_LIST, {"ignored_users": {other: {} for other in others}})

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


async def test_rules_of_ones_own_and_ignored_people_are_followed_without_a_recount(store: Database) -> None:
    """What is said in a busy room costs whoever has rules of their own no look into the database at each message."""
    async with running_world(store) as world:
        room = await world.create(ALICE, BOB, CAROL, preset="public_chat")
        walk = Walk(world, random.Random(1), [room])
        await walk.ignore_user(BOB, CAROL)
        await walk.set_rule(ALICE, "content", "cheese", {"pattern": "cheese", "actions": HIGHLIGHT})
        remembered = counting(world)
        await world.say(room, "first", BOB)
        await world.say(room, "first of Carol", CAROL)
        for user in (ALICE, BOB):
            await of(remembered, world, user, [room])
        for number, (sender, text) in enumerate([(BOB, "bread"), (CAROL, "cheese"), (CAROL, "bread"), (BOB, "cheese")]):
            await world.say(room, text, sender, txn=f"t{number}")
            for user in (ALICE, BOB):
                known = remembered.peek(user, room)
                assert known is not None
                assert known == (await of(counting(world), world, user, [room]))[room]
        known = remembered.peek(ALICE, room)
        assert known is not None and (known.total.notify, known.total.highlight) == (6, 2)
        await world.say(room, "mine", ALICE)
        assert remembered.peek(ALICE, room) == RoomUnread()
        await world.rooms.memberships.leave(CAROL, room)
        assert remembered.peek(ALICE, room) is None, "rules ask how many are there"
