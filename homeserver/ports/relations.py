"""Relations between events as the store knows them.  spec: client-server-api#forming-relationships-between-events"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeserver.ports.events import TimelinePage


@dataclass(frozen=True, slots=True)
class RelationQuery:
    """Which children of an event are wanted. Orders bound them as in `EventRepo.timeline`."""

    target: str
    rel_type: str | None = None
    type: str | None = None
    depth: int = 1  # relations of relations up to this many steps
    start: int | None = None
    stop: int | None = None
    backwards: bool = True
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a room's timeline whose messages somebody may see: orders above `low`, up to `high`."""

    room_nid: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom relations are counted: children outside the spans and those of ignored users are not there."""

    user_id: str
    ignored: frozenset[str]
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a user may say of an event only once, as events of one type."""

    target: str
    type: str
    sender: str
    key: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What the children of one event with one relation type amount to, for one reader."""

    target: str
    rel_type: str
    count: int
    latest: str  # event id
    participated: bool  # the asking user sent one of them


class RelationRepo(Protocol):
    """Children of events. Redacted children relate to nothing any more."""

    async def children(self, room_nid: int, query: RelationQuery) -> TimelinePage:
        """Children of an event, in timeline order of the direction asked for."""
        ...

    async def aggregates(self, targets: Collection[str], reader: Reader) -> list[Aggregate]:
        """Threads (`m.thread`) and valid edits (`m.replace`) of many events, in one statement.

        Children in other rooms do not count. An edit is valid if sender and type are those of the event, and this one
        is no edit itself and not redacted.
        """
        ...

    async def references(self, targets: Collection[str], reader: Reader) -> dict[str, list[str]]:
        """Ids of the events that refer to each of `targets` by `m.reference`, in one statement."""
        ...

    async def thread_roots(
        self, room_nid: int, reader: Reader, *, participated: bool, start: int | None, limit: int
    ) -> list[tuple[str, int]]:
        """(root event id, order of its latest reply), the most recently active first, from order `start` down."""
        ...

    async def annotated(self, annotations: Collection[Annotation]) -> set[Annotation]:
        """Those of the annotations that have been made already, in one statement."""
        ...
