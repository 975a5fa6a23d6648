"""What the scenarios find: users, rooms and messages, all made over HTTP before anything is measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from benchmarks.matrix import Account, Matrix
from benchmarks.measure import Bounds, each
from benchmarks.servers import Homeserver

AT_ONCE = 8
SENDERS = 10
IN_TURN = 20  # who come to the large room one at a time


class Need(Enum):
    """What a scenario has to find."""

    SENDERS = auto()  # ten users, each with a room
    CLUB = auto()  # a room of 50, the senders among them
    LISTENERS = auto()  # a room of 200 who listen to one sender
    HALL = auto()  # a room of 2,000
    SHELVES = auto()  # a user in 200 rooms
    HISTORY = auto()  # a room with pages of messages


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the prepared rooms are, and how long the scenarios run."""

    hall: int
    listeners: int
    club: int
    shelves: int
    history_pages: int
    fanout_messages: int
    keyholders: int
    repeats: int
    seconds: float

    def bounds(self, operations: int) -> Bounds:
        """At most so many operations, within this scale's time."""
        return Bounds(operations, self.seconds)


FULL = Scale(
    hall=2000,
    listeners=200,
    club=50,
    shelves=200,
    history_pages=20,
    fanout_messages=30,
    keyholders=500,
    repeats=40,
    seconds=20.0,
)
QUICK = Scale(
    hall=500,
    listeners=200,
    club=50,
    shelves=100,
    history_pages=5,
    fanout_messages=8,
    keyholders=60,
    repeats=16,
    seconds=5.0,
)


@dataclass
class World:
    """The server, a client of it, and what was prepared on it."""

    server: Homeserver
    matrix: Matrix
    scale: Scale
    turns: int = 1
    """How often each scenario is run: those that use things up need as many times as much."""
    senders: list[Account] = field(default_factory=list)
    rooms: list[str] = field(default_factory=list)
    club: str = ""
    listeners: list[Account] = field(default_factory=list)
    lecture: str = ""
    hall: str = ""
    visitors: list[Account] = field(default_factory=list)
    librarian: Account | None = None
    history: str = ""

    async def prepare(self, needs: Iterable[Need]) -> None:
        """Make what is needed."""
        wanted = set(needs)
        steps = {
            Need.SENDERS: self._make_senders,
            Need.CLUB: self._make_club,
            Need.LISTENERS: self._make_listeners,
            Need.HALL: self._make_hall,
            Need.SHELVES: self._make_shelves,
            Need.HISTORY: self._make_history,
        }
        # The senders, who come first, take part in every other step.
        for need, step in steps.items():
            if need in wanted or need is Need.SENDERS:
                say(f"  preparing {need.name.lower()}")
                await step()

    async def _users(self, prefix: str, count: int) -> list[Account]:
        names = [f"{prefix}{number}" for number in range(count)]
        return await each(names, self.matrix.register_by_secret, AT_ONCE)

    async def _fill(self, room: str, members: list[Account]) -> None:
        await each(members, lambda member: self.matrix.join(member, room), AT_ONCE)

    async def _make_senders(self) -> None:
        self.senders = await self._users("sender", SENDERS)
        self.rooms = await each(self.senders, lambda owner: self.matrix.create_room(owner, owner.name), AT_ONCE)

    async def _make_club(self) -> None:
        others = await self._users("clubber", self.scale.club - SENDERS)
        self.club = await self.matrix.create_room(self.senders[0], "club")
        await self._fill(self.club, self.senders[1:] + others)

    async def _make_listeners(self) -> None:
        self.listeners = await self._users("listener", self.scale.listeners)
        self.lecture = await self.matrix.create_room(self.senders[0], "lecture")
        await self._fill(self.lecture, self.listeners)

    async def _make_hall(self) -> None:
        crowd = await self._users("member", self.scale.hall - 1)
        self.visitors = await self._users("visitor", (self.scale.repeats + IN_TURN) * self.turns)
        self.hall = await self.matrix.create_room(self.senders[0], "hall")
        await self._fill(self.hall, crowd)

    async def _make_shelves(self) -> None:
        self.librarian = await self.matrix.register_by_secret("librarian")
        librarian = self.librarian

        async def shelf(number: int) -> None:
            room = await self.matrix.create_room(librarian, f"shelf {number}")
            await self.matrix.send(librarian, room, f"This is shelf {number}.")

        await each(range(self.scale.shelves), shelf, AT_ONCE)

    async def _make_history(self) -> None:
        writer = self.senders[0]
        self.history = await self.matrix.create_room(writer, "history")

        async def write(number: int) -> None:
            await self.matrix.send(writer, self.history, f"What happened in the year {number}")

        await each(range(self.scale.history_pages * 100), write, AT_ONCE)


def say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(text, file=sys.stderr, flush=True)
