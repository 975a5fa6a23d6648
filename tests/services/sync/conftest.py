"""A syncing world: the rooms world with the sync service on top, and a client that folds responses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from homeserver.core.filters import Filter
from homeserver.services.commit import Committer
from homeserver.services.e2e import DeviceUpdates
from homeserver.services.e2e.counts import KeyCountsCache
from homeserver.services.e2e.devicelists import DeviceLists
from homeserver.services.e2e.todevice import ToDevice, ToDeviceLimits
from homeserver.services.following import LogFollower
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.personal.typing import TypingTracker
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms.lists import RoomLists
from homeserver.services.sync import positions
from homeserver.services.sync.body import STATE_BEFORE, StateField
from homeserver.services.sync.fanout import audience
from homeserver.services.sync.held import HeldOpen
from homeserver.services.sync.reads import RoomMemoryReads
from homeserver.services.sync.render import encode_for
from homeserver.services.sync.request import SyncLimits, SyncRequest
from homeserver.services.sync.service import SyncService
from homeserver.services.sync.wishes import RoomWish
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import SteppingClock, World, running_world


@dataclass
class SyncWorld:
    """Rooms and sync."""

    world: World
    sync: SyncService
    typing: TypingTracker
    held: HeldOpen
    unread: UnreadCounts
    shared: int = 0  # how many answers could have been shared

    def client(self, user_id: str, **options: Any) -> Client:
        return Client(self, user_id, **options)

    def forget_tail(self) -> None:
        """Make the tail too short for every token, as after a restart."""
        log = self.world.log
        log._entries.clear()
        log._start = log.position


@dataclass
class Client:
    """A client that keeps what /sync tells, the way the specification says a client should."""

    on: SyncWorld
    user_id: str
    filter: Filter = field(default_factory=Filter)
    state_field: StateField = STATE_BEFORE
    ignored: frozenset[str] = frozenset()
    limits: SyncLimits = field(default_factory=SyncLimits)
    since: str | None = None
    rooms: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)  # joined room → state
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    timelines: dict[str, list[str]] = field(default_factory=dict)
    invites: set[str] = field(default_factory=set)
    knocks: set[str] = field(default_factory=set)
    account_data: dict[tuple[str, str], Any] = field(default_factory=dict)
    wishes: dict[str, RoomWish] = field(default_factory=dict)

    async def sync(self, *, timeout_ms: int = 0, full_state: bool = False) -> dict[str, Any]:
        """One request; returns the parsed response after folding it in."""
        service = self.on.sync
        request = SyncRequest(
            user_id=self.user_id,
            device_id="DEV",
            filter=self.filter,
            since=None if self.since is None else positions.decode(self.since),
            full_state=full_state,
            state_field=self.state_field,
            wishes=self.wishes,
            ignored=self.ignored,
            limits=self.limits,
        )
        shared = None if request.since is None else service.shared(request, request.since, audience(request))
        answer = await service.poll(request, timeout_ms)
        body: dict[str, Any] = orjson.loads(encode_for(request, answer.body))
        if shared is not None and timeout_ms == 0:
            # What many get alike is what this one would have got alone: so every test of sync is a test of that, too.
            self.on.shared += 1
            assert str(shared.token) == answer.body.next_batch
            assert (orjson.loads(shared.json) if shared.json else None) == (None if answer.body.is_empty else body)
        self._fold(body)
        return body

    def _fold(self, body: dict[str, Any]) -> None:
        self.since = body["next_batch"]
        rooms = body.get("rooms", {})
        for item in body.get("account_data", {}).get("events", []):
            self.account_data["", item["type"]] = item["content"]
        for room_id, room in rooms.get("join", {}).items():
            self.invites.discard(room_id)
            self.knocks.discard(room_id)
            state = self.rooms.setdefault(room_id, {})
            name = self.state_field.name
            for event in room[name]["events"]:
                state[event["type"], event["state_key"]] = event["event_id"]
            timeline = self.timelines.setdefault(room_id, [])
            if room["timeline"]["limited"]:
                timeline.clear()
            for event in room["timeline"]["events"]:
                timeline.append(event["event_id"])
                if "state_key" in event and not self.state_field.is_after:
                    state[event["type"], event["state_key"]] = event["event_id"]
            self.summaries.setdefault(room_id, {}).update(room["summary"])
            for item in room["account_data"]["events"]:
                self.account_data[room_id, item["type"]] = item["content"]
        for section, known in (("invite", self.invites), ("knock", self.knocks)):
            known.update(rooms.get(section, {}))
            self._are_left(rooms.get(section, {}))  # a room is in one section: who is invited is not in it any more
        self._are_left(rooms.get("leave", {}))
        self.invites.difference_update(rooms.get("leave", {}))
        self.knocks.difference_update(rooms.get("leave", {}))

    def _are_left(self, room_ids: Iterable[str]) -> None:
        for room_id in room_ids:
            self.rooms.pop(room_id, None)
            self.summaries.pop(room_id, None)
            self.timelines.pop(room_id, None)

    def view(self) -> tuple[Any, ...]:
        """What the client knows, comparable with another client's."""
        return (self.rooms, self.summaries, self.invites, self.knocks, self.account_data)


async def assert_law(client: Client) -> Client:
    """initial(t0) + delta(t0 → t1) = initial(t1), for this client and a fresh one of the same user."""
    await client.sync()
    fresh = Client(client.on, client.user_id, client.filter, client.state_field, client.ignored)
    await fresh.sync()
    assert client.view() == fresh.view()
    for room_id, timeline in fresh.timelines.items():
        known = client.timelines[room_id]
        shorter = min(len(known), len(timeline))
        assert known[len(known) - shorter :] == timeline[len(timeline) - shorter :]
    return fresh


@contextlib.asynccontextmanager
async def syncing_world(store: Database) -> AsyncIterator[SyncWorld]:
    """Rooms and sync on a store."""
    async with running_world(store) as world:
        held = HeldOpen()
        typing = TypingTracker(SteppingClock())
        reads = RoomMemoryReads(store, world.rooms.memory)
        follower = LogFollower(store, world.log)
        lists = RoomLists(store, world.log)
        to_device = ToDevice(store, Committer(store, world.log), world.log, "hromada.test", ToDeviceLimits())
        devices = DeviceUpdates(KeyCountsCache(store, world.log), DeviceLists(lists), to_device)
        unread = UnreadCounts(store, world.log, IgnoredUsers(store, world.log))
        sync = SyncService(store, follower, lists, reads, devices, unread, typing, SteppingClock(), held=held)
        yield SyncWorld(world, sync, typing, held, unread)


@pytest.fixture
async def syncing(store: Database) -> AsyncIterator[SyncWorld]:
    async with syncing_world(store) as world:
        yield world
