"""Events and rooms as the store knows them: stored events, room heads, appends and their repositories."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from homeserver.core.event import Event, StateKey
from homeserver.core.resolve.graph import AuthRow
from homeserver.core.versions import RoomVersion
from homeserver.ports.state import RoomState, Snapshot, StateChanges, StateMap

if TYPE_CHECKING:
    from homeserver.ports.log import LogEntry

MAX_POSITION = 2**63 - 1
"""No log position is beyond it."""
ORDER_BITS = 20
"""Between two live events there is room for 2^20 - 1 that are found later and belong there."""


def order_of(position: int) -> int:
    """The timeline order of a live event at a log position; also that of the newest event a reader at it may know."""
    return position << ORDER_BITS


class EventFlags(IntFlag):
    """What distinguishes a stored event from an ordinary part of the timeline."""

    NONE = 0
    OUTLIER = 1  # known only as part of an auth chain or a state; not in the timeline
    REJECTED = 2
    SOFT_FAILED = 4
    ASIDE = 8  # the state before it was not the state of the room's head
    GAP = 16  # an event that it names as previous is not here
    PARTIAL = 32  # accepted while the room's state was not fully known
    RELAY = 64  # a membership of another server's user that this server brought about and passes on
    APART = 128  # its own state says otherwise than the timeline who may see it (`NewEvent.views`)


HIDDEN = EventFlags.OUTLIER | EventFlags.REJECTED | EventFlags.SOFT_FAILED
"""Events with one of these flags are in no timeline, are no news and are shown to nobody."""


class Txn(NamedTuple):
    """The client transaction by which the event's sender made it; `key` identifies it durably
    (see `rooms.transactions`).
    """

    key: bytes  # 16-byte digest over user, device, room, event type and transaction id
    device_id: str
    txn_id: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """The state event that another one replaced: what the server decides by. A redaction leaves it as it is."""

    event_id: str
    order: int | None
    """Its place in the timeline; None while it is not stored, and for outliers."""
    membership: str | None = None
    """Of member events."""


@dataclass(slots=True, eq=False)
class StoredEvent:
    """A committed event with what the store adds to it. Shared by all readers: treat as immutable.

    `nid` is its row id; `position` its place in the log, None for what never was news (hidden events, fetched
    history); `order` its place in the room's timeline, None for hidden events. A live event has its position as row id
    and `order_of(position)` as order; others have negative row ids, and fetched history an order between those of live
    events. `unsigned` holds `prev_content` and `prev_sender` of state events, for those readers who may see
    what was replaced: nothing is decided by it, a redaction takes it away. `client_json` caches the client form.
    `is_related_to` may be true without need, never false wrongly: whether events relate to it that are told with it.
    """

    event: Event
    nid: int
    position: int | None
    order: int | None
    room_nid: int
    snapshot: int
    flags: EventFlags = EventFlags.NONE
    redacted_by: str | None = None  # event id of the redaction
    redaction_json: bytes | None = None  # client form of the redaction, for unsigned.redacted_because
    redaction_order: int | None = None
    unsigned: Mapping[str, Any] | None = None
    replaces: Replaced | None = None
    txn: Txn | None = None
    client_json: bytes | None = None
    is_related_to: bool = False
    push: int = 0  # `core.pushbits`

    def sent_from(self, user_id: str, device_id: str | None) -> Txn | None:
        """The transaction that made the event, if it was that user's on that device."""
        txn = self.txn
        return txn if txn is not None and txn.device_id == device_id and self.event.sender == user_id else None


class EventMemory(Protocol):
    """Committed events that the process has in memory; transactions that read answer from it and fill it."""

    def mark(self) -> int:
        """A mark of this moment, to be taken before a transaction's snapshot and given back to `keep`."""
        ...

    def at(self, nid: int) -> StoredEvent | None:
        """The event of a row id, if it is in memory."""
        ...

    def those_of(self, nids: Iterable[int]) -> dict[int, StoredEvent]:
        """The events of these row ids that are in memory, by row id."""
        ...

    def get(self, event_id: str) -> StoredEvent | None:
        """The event of an id, if it is in memory."""
        ...

    def keep(self, stored: StoredEvent, since: int) -> StoredEvent:
        """Remember an event as a transaction begun at mark `since` saw it; returns the object that all share.

        If events have changed since then, the snapshot may be older than the change: then nothing is remembered.
        """
        ...


class Extremity(NamedTuple):
    """An event that no other one of the room names as previous yet."""

    event_id: str
    depth: int
    snapshot: int
    """The room's state after it; 0 while it is not stored."""


def depth_on(extremities: Sequence[Extremity]) -> int:
    """Depth of an event that names `extremities` as previous.  spec: server-server-api#pdus"""
    return min(max((extremity.depth for extremity in extremities), default=0) + 1, 2**53 - 1)


@dataclass(frozen=True, slots=True)
class RoomHead:
    """The point a new event of the room is built on. `version_no` is the compare-and-set token.

    `state` is that of all `extremities`, resolved where they disagree. It is stored: `state.snapshot` is set.
    """

    room_nid: int
    room_id: str
    room_version: RoomVersion
    version_no: int
    extremities: tuple[Extremity, ...]  # mostly one; an event names 20 of them at most
    state: RoomState
    is_blocked: bool = False  # administrators let nobody in; blocking moves the head on

    @property
    def snapshot(self) -> Snapshot:
        """What is stored of the state."""
        if self.state.snapshot is None:
            raise ValueError("The state of a head is stored")
        return self.state.snapshot

    @property
    def depth(self) -> int:
        """Depth of a new event.  spec: server-server-api#pdus"""
        return depth_on(self.extremities)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event decided but not yet stored. `state_after` is the room's state after it, as made from that before it.

    `auth` are the row ids of its auth events, as far as they are known; `known_as` its own row id if it is stored
    already, as an outlier that now becomes part of the timeline.
    """

    event: Event
    state_after: RoomState
    flags: EventFlags = EventFlags.NONE
    unsigned: Mapping[str, Any] | None = None
    replaces: Replaced | None = None
    txn: Txn | None = None
    redacts_allowed: bool = False  # the redaction may take effect: the store prunes `event.redacts`
    awaits_target: bool = False  # `event.redacts` is not here yet
    redacted_by: StoredEvent | None = None  # the redaction that came before this event
    push: int = 0  # `core.pushbits`
    auth: Mapping[str, int] = field(default_factory=dict)
    known_as: int | None = None
    gaps: tuple[str, ...] = ()  # previous events that are not here
    fills_gap: bool = False  # others named it as previous before it came
    views: Mapping[str, str] = field(default_factory=dict)
    """Memberships by local user, and under "" the history visibility, just before it, where the room's current state
    says otherwise: what decides who may see an event of a fork."""

    @property
    def is_hidden(self) -> bool:
        """Whether it is rejected, soft-failed or an outlier."""
        return bool(self.flags and self.flags & HIDDEN)


@dataclass(frozen=True, slots=True)
class NewRoom:
    """A room that comes into being with its first batch; the store gives it a `room_nid`."""

    room_id: str
    room_version: RoomVersion
    creator: str
    is_public: bool
    aliases: tuple[str, ...] = ()
    max_aliases: int | None = None  # that its creator may have made; asked where they are committed


@dataclass(frozen=True, slots=True)
class RoomAppend:
    """All events of one room that one decision produced. Refused as a whole if the head has moved."""

    head: RoomHead  # the head the events were decided on; for a new room a head with room_nid 0 and version_no 0
    events: tuple[NewEvent, ...]
    extremities: tuple[Extremity, ...]  # after the batch; those that are new without a snapshot
    new_room: NewRoom | None = None
    state: RoomState | None = None  # made from the head's; None: the state after the last accepted event
    corrections: StateChanges = field(default_factory=dict)  # of current state, that none of the visible events says
    successor: RoomAppend | None = None  # the new room that takes this one's place: with these events, or not at all

    @property
    def positions(self) -> int:
        """How many log positions it takes without its successor: hidden events are no news, corrections one entry."""
        return sum(not item.is_hidden for item in self.events) + bool(self.corrections)


@dataclass(frozen=True, slots=True)
class Correction:
    """A change of a room's current state that no event says: state resolution brought an event back, or took one out.

    `changes` give for each key the event that holds it now; None if the room has no such state any more.
    """

    position: int
    room_id: str
    room_nid: int
    changes: Mapping[StateKey, StoredEvent | None]


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What became of a RoomAppend: the stored events and the new head; or `moved`, and nothing was written."""

    events: tuple[StoredEvent, ...] = ()
    head: RoomHead | None = None
    moved: bool = False
    correction: Correction | None = None
    successor: AppendResult | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """A local user's membership of a room, kept for fast room lists."""

    user_id: str
    room_id: str
    room_nid: int
    membership: str  # join, invite, knock, leave, ban
    event_id: str
    sender: str
    position: int  # of the log entry by which it came about
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """A slice of a room's timeline in the order asked for. `end` is the order to go on from; None at the end."""

    events: list[StoredEvent] = field(default_factory=list)
    end: int | None = None


class EventRepo(Protocol):
    """Events by id, and room timelines. Outliers, rejected and soft-failed events never appear in timelines."""

    async def prepare_append(self) -> None:
        """Have the database know on this connection what appends take: the first of them is as quick as others then."""
        ...

    async def append(self, appends: Sequence[RoomAppend], first: int) -> list[AppendResult]:
        """Store the batches at positions `first`…; at most four statements when no state changes.

        Heads were already locked and compared by `RoomRepo.advance`; this only writes.
        """
        ...

    async def get_many(self, event_ids: Collection[str]) -> dict[str, StoredEvent]:
        """Events by id, redacted where redacted. Unknown ids are absent. Callers must check the room."""
        ...

    async def by_nids(self, nids: Sequence[int]) -> list[StoredEvent]:
        """Events by their row ids, hidden ones too, in that order."""
        ...

    async def by_txns(self, keys: Collection[bytes]) -> dict[bytes, str]:
        """Event ids that the transactions `keys` made."""
        ...

    async def timeline(
        self, room_nid: int, *, start: int | None, stop: int | None, backwards: bool, limit: int
    ) -> TimelinePage:
        """Timeline between orders: forwards `start < order <= stop`, backwards `stop < order <= start`."""
        ...

    async def recent(self, rooms: Mapping[int, tuple[int, int]], limit: int) -> dict[int, list[StoredEvent]]:
        """The last `limit` events per room with `low < order <= high` given as rooms[room_nid] = (low, high).

        Two statements for all rooms, one if memory holds the events; each list is in timeline order.
        """
        ...

    async def after(self, position: int, limit: int, upto: int = MAX_POSITION) -> list[StoredEvent]:
        """Live events of all rooms after a log position up to another, in order: for followers older than the tail."""
        ...

    async def prune_txns(self, before_position: int, limit: int) -> int:
        """Forget at most `limit` transactions of events before a position; returns how many."""
        ...


class RoomRepo(Protocol):
    """Rooms, heads, memberships of local users, and state."""

    async def room_nids(self, room_ids: Collection[str]) -> dict[str, int]:
        """Internal ids of the rooms that exist."""
        ...

    async def head(self, room_id: str) -> RoomHead | None:
        """The room's head, or None if the room is unknown. Its state is whole if it has few keys (`MAX_WHOLE`)."""
        ...

    async def head_version(self, room_nid: int) -> int | None:
        """How often the room's head has moved, as `RoomHead.version_no`; None if there is no such room."""
        ...

    async def advance(self, appends: Sequence[RoomAppend]) -> set[int]:
        """Lock the rooms in id order and compare-and-set their heads in one statement.

        Returns the indexes of the appends that may be written. New rooms are inserted here.
        """
        ...

    async def auth_graph(self, room_nid: int) -> list[AuthRow[int]]:
        """The auth edges of all stored state events of a room, hidden ones too, by row ids."""
        ...

    async def current_nids(self, room_nid: int) -> list[int]:
        """Row ids of the events of the room's current state."""
        ...

    async def gaps(self, room_nid: int, event_ids: Collection[str]) -> set[str]:
        """Those of the events that others name as previous, and that were not here when they came."""
        ...

    async def redactions_waiting(self, room_nid: int, event_id: str) -> list[int]:
        """Row ids of redactions of an event that came before it, the oldest first; a few at most."""
        ...

    async def snapshots(self, nids: Collection[int]) -> dict[int, Snapshot]:
        """Stored states by row id; 0 is the empty one."""
        ...

    async def differences(self, snapshots: Collection[int]) -> dict[StateKey, dict[int, str | None]]:
        """The keys on which stored states of one room may differ, with what each of them says.

        Costs what their histories differ in, not the size of the states.
        """
        ...

    async def state_at(self, snapshot: int) -> StateMap:
        """The whole state of a snapshot."""
        ...

    async def state_at_filtered(self, snapshot: int, keys: Collection[StateKey]) -> dict[StateKey, str]:
        """Some keys of a snapshot's state."""
        ...

    async def newest_state_filtered(self, snapshot: int, keys: Collection[StateKey]) -> dict[StateKey, str]:
        """The same, and cheaper, of a snapshot that is most likely its room's newest."""
        ...

    async def current_state(
        self, room_nids: Collection[int], *, types: Collection[str] | None = None, not_types: Collection[str] = ()
    ) -> dict[int, list[StoredEvent]]:
        """Current state events of many rooms in two statements, one if memory holds the events."""
        ...

    async def current_members(self, room_nid: int, memberships: Collection[str] | None = None) -> list[StoredEvent]:
        """Current m.room.member events, optionally of some memberships only."""
        ...

    async def current_member_nids(self, room_nid: int, memberships: Collection[str] | None = None) -> list[int]:
        """The row ids of what `current_members` returns, in its order."""
        ...

    async def member_events(self, room_nids: Mapping[int, Collection[str]]) -> dict[int, list[StoredEvent]]:
        """Current m.room.member events of some users in many rooms (lazy loading), statements as `current_state`."""
        ...

    async def member_counts(self, room_nids: Collection[int]) -> dict[int, dict[str, int]]:
        """Number of members by membership, for many rooms in one statement."""
        ...

    async def heroes(self, room_nids: Collection[int], exclude: str) -> dict[int, list[str]]:
        """Up to five user ids per room for its summary, `exclude` left out, in one statement.

        spec: client-server-api#get_matrixclientv3sync (RoomSummary)
        """
        ...

    async def memberships(self, user_id: str) -> list[Membership]:
        """All memberships of a local user, forgotten rooms included."""
        ...

    async def joined_local_users(self, room_nid: int) -> list[str]:
        """Local users joined to the room."""
        ...

    async def joined_guests(self, room_nid: int) -> list[str]:
        """Guests of this server joined to the room."""
        ...

    async def joined_members(self, room_nids: Collection[int]) -> set[str]:
        """Users joined to any of the rooms, in one statement."""
        ...

    async def joined_pairs(self, room_nids: Collection[int], users: Collection[str]) -> list[tuple[int, str]]:
        """(room, user) for those of the users who are joined to one of the rooms, in one statement."""
        ...

    async def set_forgotten(self, user_id: str, room_nid: int) -> None:
        """Hide a left room from the user for good (until they come back)."""
        ...

    async def set_public(self, room_nid: int, public: bool) -> None:
        """Publish the room in the directory or remove it."""
        ...

    async def public_rooms(self) -> list[tuple[int, str]]:
        """(room_nid, room_id) of published rooms."""
        ...

    async def recently_active(self, after: int, limit: int) -> list[str]:
        """Ids of the rooms in which something happened after this position, the latest first."""
        ...


class LogRepo(Protocol):
    """The counter row, and what is kept of entries so that they can be read back."""

    async def reserve(self, count: int) -> int:
        """Take `count` positions inside the transaction; returns the first. Call last: it locks the log."""
        ...

    async def position(self) -> int:
        """The last committed position."""
        ...

    async def record(self, entries: Sequence[LogEntry]) -> None:
        """Keep what it takes to read these entries back; an event says all that by itself."""
        ...

    async def between(self, low: int, high: int) -> list[LogEntry] | None:
        """The entries with `low < position <= high`, a constant number of statements; None if some are gone.

        Account data and receipts are as they are now: an entry may hold what a later one set.
        """
        ...

    async def remaining(self, low: int, high: int) -> list[LogEntry]:
        """As `between`, of a stretch in which some entries are gone: what there is still, in order.

        Events and corrections of state are all there. Of changes of device lists that were pruned each user's last
        one is: who was told of it needs no other.
        """
        ...

    async def prune(self, before_position: int, limit: int) -> int:
        """Forget at most `limit` entries before a position; returns how many."""
        ...

    async def mark(self, day: int) -> None:
        """Remember the position of now under a day's number, unless the day has one."""
        ...

    async def marked(self, day: int) -> int | None:
        """The position remembered for the newest day up to and including `day`; older marks are forgotten."""
        ...
