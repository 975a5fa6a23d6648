"""A second writer feeds arrivals into rooms that this server writes to as well.

Forks, late and missing previous events, events that are rejected or soft-failed, the same one twice, state that
resolution takes back. Every step is compared with an oracle of whole states, and readers must learn of everything once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from homeserver.core.content import MAX_PREV_EVENTS
from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.event import Event
from homeserver.core.versions import ROOM_VERSIONS
from homeserver.ports import state as states
from homeserver.ports.log import EventEntry, LogEntry, StateEntry
from homeserver.services.log import Log
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.push.unread import UnreadCounts
from homeserver.services.rooms import arrivals
from homeserver.services.rooms.arrivals import Arrival, ArrivalOutcome
from homeserver.services.sync.body import STATE_AFTER, STATE_BEFORE
from homeserver.storage.dialect import Sql
from homeserver.storage.repos import rooms as room_repo
from homeserver.storage.unit import Database
from tests.services.rooms.conftest import ALICE, BOB, CAROL
from tests.services.sync.conftest import Client, SyncWorld, syncing_world
from tests.simulation.oracle import Oracle, State
from tests.simulation.peer import USERS, Peer
from tests.support.postgres import PostgresCluster
from tests.support.store import open_store

pytestmark = pytest.mark.timeout(7200)  # thousands of seeds on a busy machine

LOCALS = [ALICE, BOB, CAROL]
STEPS = 24
SEEDS_EACH = 5


class Reader:
    """A client that must be told everything once, and know the state that there is."""

    def __init__(self, client: Client, oracles: Sequence[Oracle]) -> None:
        self.client = client
        self.told: set[str] = set()
        self.oracles = oracles
        self.sharing: set[str] | None = None

    def check_device_lists(self, body: dict[str, Any]) -> None:
        """Whose keys to ask for: everybody who shares a room now and did not at the last sync; and the other way.

        Only of this server's users: keys of others come with federation.
        """
        who = self.client.user_id
        joined = [oracle.joined() & set(LOCALS) for oracle in self.oracles]
        now = {user_id for members in joined if who in members for user_id in members} - {who}
        lists = body.get("device_lists", {"changed": [], "left": []})
        if self.sharing is not None:
            assert now - self.sharing <= set(lists["changed"])
            assert self.sharing - now <= set(lists["left"])
        assert not now & set(lists["left"])
        self.sharing = now

    async def check_unread(self, room_id: str) -> None:
        """What memory says of unread events is what a recount says."""
        world, who = self.client.on, self.client.user_id
        store, nowhere = world.world.store, Log(world.world.log.position)
        recounting = UnreadCounts(store, nowhere, IgnoredUsers(store, nowhere))
        lists = world.sync.rooms.peek(who)
        assert lists is not None
        rooms = {room_id: lists[room_id].room_nid}
        assert await world.unread.of(who, rooms) == await recounting.of(who, rooms)

    async def sync(self, room_id: str, oracle: Oracle) -> None:
        body = await self.client.sync()
        self.check_device_lists(body)
        room = body.get("rooms", {}).get("join", {}).get(room_id)
        if room is not None:
            events = [event["event_id"] for event in room["timeline"]["events"]]
            assert all(oracle.outcomes[event_id] is ArrivalOutcome.ACCEPTED for event_id in events), (
                "hidden events are hidden"
            )
            assert all(oracle.may_see(event_id, self.client.user_id) for event_id in events), "an event is not theirs"
            if is_told_whole(room, self.client.state_field.name):
                self.told.clear()  # who came back begins the room anew
            assert not self.told & set(events), "an event came twice"
            self.told.update(events)
        member = oracle.state.get(("m.room.member", self.client.user_id))
        is_joined = member is not None and oracle.events[member].membership == "join"
        assert (room_id in self.client.rooms) == is_joined
        if is_joined:
            await self.check_unread(room_id)
            known = self.client.rooms[room_id]
            # That a key is gone altogether cannot be said in /sync.
            assert {key: known.get(key) for key in oracle.state} == oracle.state
        fresh = Client(self.client.on, self.client.user_id, self.client.filter, self.client.state_field)
        await fresh.sync()
        assert (room_id in fresh.rooms) == is_joined
        if is_joined:
            assert fresh.rooms[room_id] == oracle.state
            assert fresh.summaries[room_id] == self.client.summaries[room_id]


def is_told_whole(room: dict[str, Any], state_name: str) -> bool:
    """Whether a room's section begins with its beginning: for those who were not in it before."""
    return any(event["type"] == "m.room.create" for event in (*room[state_name]["events"], *room["timeline"]["events"]))


class Simulation:
    """One room, one seed."""

    def __init__(self, syncing: SyncWorld, version: str, seed: int, others: Sequence[Oracle] = ()) -> None:
        """`others` are the rooms of seeds that were played on this server before."""
        self.syncing = syncing
        self.world = syncing.world
        self.random = Random(f"{version} {seed}")
        self.oracle = Oracle(ROOM_VERSIONS[version])
        self.oracles = [*others, self.oracle]
        self.room_id = ""
        self.held: list[Event] = []
        self.sent: list[tuple[Event, State | None]] = []
        self.numbers = itertools.count()
        self.readers: list[Reader] = []
        self.begun = self.world.log.position
        self.followed: list[LogEntry] = []
        self.world.log.listen(self.followed.extend, lambda: None)

    async def begin(self) -> None:
        world = self.world
        power = {"users_default": 0, "events_default": 0, "state_default": 50, "users": {BOB: 50, USERS[0]: 50}}
        if not self.oracle.version.auth.privileged_creators:
            power["users"][ALICE] = 100  # type: ignore[index]
        self.room_id = await world.create(
            ALICE, BOB, room_version=self.oracle.version.id, power_level_content_override=power
        )
        for event in await world.timeline(self.room_id):
            if event.type == "m.room.create":
                self.oracle.know(event)
                self.oracle.after[event.event_id] = self.oracle.state = {event.key: event.event_id}
                self.oracle.outcomes[event.event_id] = ArrivalOutcome.ACCEPTED
                self.oracle.extremities = [event.event_id]
            else:
                self.oracle.sent(event)
        self.peer = Peer(self.oracle, self.room_id, self.random)
        for user in USERS[:3]:
            prevs = list(self.oracle.extremities)
            join = self.peer.make(prevs, self.oracle.before(prevs), user, "m.room.member", {"membership": "join"}, user)
            await self.deliver(join)
        for user, field in ((ALICE, STATE_BEFORE), (BOB, STATE_AFTER), (BOB, STATE_BEFORE), (CAROL, STATE_BEFORE)):
            self.readers.append(Reader(self.syncing.client(user, state_field=field), self.oracles))

    async def run(self) -> None:
        await self.begin()
        for _ in range(STEPS):
            await self.step()
            await self.compare()
            if self.random.random() < 0.4:
                if self.random.random() < 0.4:
                    self.syncing.forget_tail()
                for reader in self.readers:
                    await reader.sync(self.room_id, self.oracle)
        for event in self.held:
            await self.deliver(event)
        await self.compare()
        await self.compare_history()
        for reader in self.readers:
            await reader.sync(self.room_id, self.oracle)

    async def step(self) -> None:
        chance = self.random.random()
        if chance < 0.25:
            await self.write_here()
        elif chance < 0.35 and self.sent:
            event, told = self.random.choice(self.sent)
            before = self.oracle.outcomes[event.event_id]
            assert await self.arrive(event, told=told) is before, "nothing happens twice"
        elif chance < 0.45 and self.held:
            await self.deliver(self.held.pop(0))
        elif chance < 0.6:
            await self.leave_a_gap()
        elif chance < 0.7:
            await asyncio.gather(*(self.deliver(event, only=True) for event in self.several()))
            await self.catch_up()
        else:
            prevs = self.peer.prevs()
            await self.deliver(self.peer.any_event(prevs, self.oracle.before(prevs), LOCALS))

    def several(self) -> list[Event]:
        """Events that come in one batch; they stand on what is here."""
        made = []
        for _ in range(self.random.randint(2, 4)):
            prevs = self.peer.prevs()
            made.append(self.peer.any_event(prevs, self.oracle.before(prevs), LOCALS))
        self.batch = list(made)
        return made

    async def catch_up(self) -> None:
        for event in self.batch:
            self.oracle.arrived(event)
            self.sent.append((event, None))

    async def leave_a_gap(self) -> None:
        """Hold one event back and send the one behind it, with the state that the peer says was there."""
        prevs = self.peer.prevs()
        first = self.peer.any_event(prevs, self.oracle.before(prevs), LOCALS)
        scratch = self.oracle.copy()
        scratch.arrived(first)
        told = scratch.after[first.event_id]
        oracle = self.peer.oracle
        self.peer.oracle = scratch
        second = self.peer.any_event([first.event_id], told, LOCALS)
        self.peer.oracle = oracle
        with pytest.raises(MatrixError) as refused:
            await self.arrive(second)
        assert refused.value.code is ErrCode.NOT_FOUND
        if first.is_state:
            # Its state names it, so it comes as an outlier first.
            assert await self.arrive(first, outlier=True) is scratch_outlier(self.oracle, first)
        await self.deliver(second, told=told)
        self.held.append(first)
        self.oracle.held.append(first.event_id)

    async def write_here(self) -> None:
        world, random = self.world, self.random
        who = random.choice(LOCALS)
        try:
            match random.randrange(6):
                case 0 | 1:
                    await world.say(self.room_id, f"message {next(self.numbers)}", who)
                case 2:
                    topic = {"topic": f"topic {next(self.numbers)}"}
                    await world.rooms.sending.set_state(self.room_id, who, ("m.room.topic", ""), topic)
                case 3:
                    await world.rooms.memberships.join(who, self.room_id)
                case 4:
                    await world.rooms.memberships.kick(who, self.room_id, random.choice(USERS))
                case _:
                    await world.rooms.memberships.invite(who, self.room_id, random.choice([*USERS, CAROL]))
        except MatrixError:
            pass  # they may not
        await self.follow()

    async def follow(self) -> None:
        """Tell the oracle what was written here."""
        for event in await self.world.timeline(self.room_id):
            if event.event_id not in self.oracle.after:
                self.oracle.sent(event)

    async def deliver(self, event: Event, *, told: State | None = None, only: bool = False) -> None:
        outcome = await self.arrive(event, told=told)
        if only:
            return
        self.oracle.arrived(event, told)
        self.sent.append((event, told))
        assert outcome is self.oracle.outcomes[event.event_id], event.pdu

    async def arrive(self, event: Event, *, told: State | None = None, outlier: bool = False) -> ArrivalOutcome:
        return await self.world.rooms.writer.arrive(self.room_id, Arrival(event, outlier=outlier, told=told))

    async def compare(self) -> None:
        """The head is what the oracle says, in memory and in the database."""
        async with self.world.store.read() as tx:
            head = await tx.rooms.head(self.room_id)
            assert head is not None
            assert {extremity.event_id for extremity in head.extremities} == set(self.oracle.extremities)
            if head.state.whole is not None:
                assert dict(head.state.whole) == self.oracle.state
            assert dict(await tx.rooms.state_at(head.snapshot.nid)) == self.oracle.state
        known = self.world.rooms.memory.heads.peek(self.room_id)
        assert known is None or known == head

    async def compare_history(self) -> None:
        """Every event has its outcome and the state after it; every accepted one is in the timeline, once."""
        async with self.world.store.read() as tx:
            stored = await tx.events.get_many(self.oracle.outcomes)
            for event_id, state in self.oracle.after.items():
                assert dict(await tx.rooms.state_at(stored[event_id].snapshot)) == state
        assert {event_id: ArrivalOutcome.of(item.flags) for event_id, item in stored.items()} == self.oracle.outcomes
        async with self.world.store.read() as tx:
            again = await tx.log.between(self.begun, self.world.log.position)
        assert again is not None
        assert list(map(_told, again)) == list(map(_told, self.followed)), "what others read back is what was told here"
        redacted = {
            event_id
            for event_id, item in stored.items()
            if item.redacted_by is not None and self.oracle.outcomes[event_id] is ArrivalOutcome.ACCEPTED
        }
        assert redacted == self.oracle.redacted()
        timeline = [event.event_id for event in await self.world.timeline(self.room_id)]
        assert len(timeline) == len(set(timeline))
        accepted = {
            event_id for event_id, outcome in self.oracle.outcomes.items() if outcome is ArrivalOutcome.ACCEPTED
        }
        assert set(timeline) == accepted


def _told(entry: LogEntry) -> tuple[object, ...]:
    """What an entry says, comparable."""
    if isinstance(entry, StateEntry):
        changes = entry.correction.changes
        held = {key: None if stored is None else stored.event.event_id for key, stored in changes.items()}
        return entry.position, entry.room_id, entry.correction.room_nid, held
    assert isinstance(entry, EventEntry)
    return entry.position, entry.stored.event.event_id, entry.stored.order, entry.stored.snapshot, entry.stored.flags


def scratch_outlier(oracle: Oracle, event: Event) -> ArrivalOutcome:
    """What becomes of an outlier."""
    oracle.outlier(event)
    return oracle.outcomes[event.event_id]


@asynccontextmanager
async def simulated(url: str) -> AsyncIterator[SyncWorld]:
    """A server on a database of its own."""
    store: Database = await open_store(url)
    try:
        async with syncing_world(store) as syncing:
            yield syncing
    finally:
        await store.engine.dispose()


async def play(url: str, version: str, seeds: range, seen: Counter[str]) -> None:
    """Play some seeds on one server, and count what they had in them."""
    oracles: list[Oracle] = []
    async with simulated(url) as syncing:
        for seed in seeds:
            simulation = Simulation(syncing, version, seed, oracles)
            oracles.append(simulation.oracle)
            try:
                await simulation.run()
            except Exception as error:
                error.add_note(f"room version {version}, seed {seed}")
                raise
            seen["resolutions"] += simulation.oracle.resolutions
            seen.update(outcome.value for outcome in simulation.oracle.outcomes.values())
        async with syncing.world.store.engine.read_committed() as connection:
            for what, count in _COUNTS.items():
                (number,) = await count.first(connection)
                seen[what] += number


async def simulate(url: str, version: str, seeds: range) -> None:
    """Play the seeds, and see to it that they had everything in them that they are for.

    A few on each server, for every reader reads all rooms anew at each step. On PostgreSQL they are few.
    """
    seen: Counter[str] = Counter()
    each = SEEDS_EACH if url.startswith("sqlite") else len(seeds)
    for number, first in enumerate(range(seeds.start, seeds.stop, each)):
        here = url.replace(".db", f"-{number}.db") if url.startswith("sqlite") else url
        await play(here, version, range(first, min(first + each, seeds.stop)), seen)
    if len(seeds) >= 20:
        outcomes = (ArrivalOutcome.ACCEPTED, ArrivalOutcome.REJECTED, ArrivalOutcome.SOFT_FAILED)
        wanted = {"resolutions", *_COUNTS, *(outcome.value for outcome in outcomes)}
        assert not {what for what in wanted if not seen[what]}


_COUNTS = {
    "corrections": Sql("SELECT count(*) FROM state_changes"),
    "late": Sql("SELECT count(*) FROM late_events"),
    "aside": Sql("SELECT count(*) FROM events WHERE flags = 8 AND ord IS NOT NULL"),
    "apart": Sql("SELECT count(*) FROM events WHERE flags >= 128 AND ord IS NOT NULL"),
}


@pytest.mark.contributor
@pytest.mark.parametrize(("version", "first", "count"), [("1", 1, 3), ("6", 1, 3), ("12", 1, 3), ("8", 249, 1)])
async def test_a_few_seeds(version: str, first: int, count: int, tmp_path: Path) -> None:
    # The last one invites by power levels that were redacted.
    await simulate(f"sqlite:///{tmp_path / 'simulation.db'}", version, range(first, first + count))


@pytest.mark.parametrize("version", list(ROOM_VERSIONS))
async def test_a_second_writer(version: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seeds: int = request.config.getoption("--simulation-seeds")
    first: int = request.config.getoption("--simulation-seed")
    share = -(-seeds // len(ROOM_VERSIONS))
    await simulate(f"sqlite:///{tmp_path / 'simulation.db'}", version, range(first, first + share))


@pytest.mark.parametrize("version", ["1", "10", "12"])
async def test_a_second_writer_in_rooms_that_are_not_held_whole(
    version: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "MAX_WHOLE", 0)
    monkeypatch.setattr(room_repo, "MAX_WHOLE", 0)
    seeds: int = request.config.getoption("--simulation-seeds")
    first: int = request.config.getoption("--simulation-seed")
    url = f"sqlite:///{tmp_path / 'simulation.db'}"
    await simulate(url, version, range(first, first + max(seeds // 50, 1)))


@pytest.mark.parametrize("version", ["1", "2", "12"])
async def test_a_second_writer_on_postgres(
    version: str, postgres_cluster: PostgresCluster, request: pytest.FixtureRequest
) -> None:
    seeds: int = request.config.getoption("--simulation-seeds")
    first: int = request.config.getoption("--simulation-seed")
    await simulate(postgres_cluster.make_database(), version, range(first, first + max(seeds // 100, 1)))


@pytest.mark.contributor
async def test_who_came_meanwhile_is_not_told_of_the_fork(tmp_path: Path) -> None:
    """An event from before somebody's join that comes after it, where only those who are in the room may see it."""
    async with simulated(f"sqlite:///{tmp_path / 'simulation.db'}") as syncing:
        simulation = Simulation(syncing, "11", 1)
        await simulation.begin()
        world, room_id, oracle = simulation.world, simulation.room_id, simulation.oracle
        shown = {"history_visibility": "joined"}
        await world.rooms.sending.set_state(room_id, ALICE, ("m.room.history_visibility", ""), shown)
        await simulation.follow()
        fork, before = list(oracle.extremities), oracle.state
        await world.rooms.memberships.join(CAROL, room_id)
        alice, carol, again, fresh = (syncing.client(user) for user in (ALICE, CAROL, CAROL, CAROL))
        await alice.sync()
        await carol.sync()
        await again.sync()
        message = simulation.peer.make(fork, before, USERS[0], "m.room.message", {"body": "aside"})
        oracle.know(message)
        name = simulation.peer.make([message.event_id], before, USERS[0], "m.room.name", {"name": "aside"}, "")
        assert [await simulation.arrive(event) for event in (message, name)] == [ArrivalOutcome.ACCEPTED] * 2
        told, also = [(await client.sync())["rooms"]["join"][room_id] for client in (alice, carol)]
        assert [event["event_id"] for event in told["timeline"]["events"]] == [message.event_id, name.event_id]
        assert also["timeline"]["events"] == []
        assert carol.rooms[room_id][("m.room.name", "")] == name.event_id, "the state is told all the same"
        whole = (await again.sync(full_state=True))["rooms"]["join"][room_id]
        assert whole["timeline"]["events"] == []
        section = (await fresh.sync())["rooms"]["join"][room_id]
        assert not {message.event_id, name.event_id} & {event["event_id"] for event in section["timeline"]["events"]}
        assert fresh.rooms[room_id][("m.room.name", "")] == name.event_id


@pytest.mark.contributor
@pytest.mark.parametrize(("version", "seed"), [("1", 1), ("6", 2), ("12", 3)])
async def test_a_room_with_more_ends_than_an_event_names_comes_together(
    version: str, seed: int, tmp_path: Path
) -> None:
    """The next events name the deepest twenty, then the others, and the state of none of them is lost meanwhile."""
    async with simulated(f"sqlite:///{tmp_path / 'simulation.db'}") as syncing:
        simulation = Simulation(syncing, version, seed)
        await simulation.begin()
        world, room_id, oracle, peer = simulation.world, simulation.room_id, simulation.oracle, simulation.peer
        fork = list(oracle.extremities)
        while len(oracle.extremities) <= 2 * MAX_PREV_EVENTS:
            made = peer.any_event(fork, oracle.before(fork), LOCALS)
            await simulation.deliver(made)
            if simulation.random.random() < 0.3 and made.event_id in oracle.extremities:
                deeper = [made.event_id]
                await simulation.deliver(peer.any_event(deeper, oracle.before(deeper), LOCALS))
        await simulation.compare()
        for reader in simulation.readers:
            await reader.sync(room_id, oracle)
        ends = len(oracle.extremities)
        for _ in range(2):
            who = next(user for user in LOCALS if user in oracle.joined())  # some may be banned by now
            await asyncio.gather(*(world.say(room_id, f"{ends} {number}", who) for number in range(2)))
            await simulation.follow()
            await simulation.compare()
            assert len(oracle.extremities) < ends
            ends = len(oracle.extremities)
        assert ends == 1
        for reader in simulation.readers:
            await reader.sync(room_id, oracle)
        await simulation.compare_history()


@pytest.mark.contributor
async def test_of_too_many_ends_one_is_given_up_whose_state_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "MAX_EXTREMITIES", 3)
    async with simulated(f"sqlite:///{tmp_path / 'simulation.db'}") as syncing:
        simulation = Simulation(syncing, "11", 1)
        await simulation.begin()
        world, room_id, oracle, peer = simulation.world, simulation.room_id, simulation.oracle, simulation.peer
        name = "kept"
        levels = {**(await world.state(room_id, "m.room.power_levels") or {}), "state_default": 0}
        await world.rooms.sending.set_state(room_id, ALICE, ("m.room.power_levels", ""), levels)
        await simulation.follow()
        fork, before = list(oracle.extremities), oracle.state
        topic = peer.make(fork, before, USERS[0], "m.room.topic", {"topic": name}, "")
        lowest = [topic, *(peer.make(fork, before, USERS[0], "m.room.message", {"body": str(n)}) for n in range(4))]
        for event in lowest:
            assert await simulation.arrive(event) is ArrivalOutcome.ACCEPTED
        async with world.store.read() as tx:
            head = await tx.rooms.head(room_id)
        assert head is not None and len(head.extremities) == 3
        assert topic.event_id in {end.event_id for end in head.extremities}
        assert await world.state(room_id, "m.room.topic") == {"topic": name}
