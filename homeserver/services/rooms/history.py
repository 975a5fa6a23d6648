"""Reading a room's past: pages of the timeline, the surroundings of an event, single events, jumps to a date.

Whatever is left out (invisible, filtered) never ends the walk early: `end` is there until the timeline ends.
spec: client-server-api#getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from homeserver.core.errors import ErrCode, MatrixError
from homeserver.core.filters import RoomEventFilter
from homeserver.ports.events import StoredEvent, order_of
from homeserver.ports.store import Transaction
from homeserver.services.rooms.access import RoomAccess, RoomWindow
from homeserver.services.rooms.filtered import ignores, lets_all_pass, select
from homeserver.services.rooms.present import Recipient, present
from homeserver.services.rooms.state import stated
from homeserver.services.rooms.tokens import timeline_order, timeline_token
from homeserver.services.rooms.visibility import Visible
from homeserver.services.rooms.writer import RoomMemory

_MAX_READ = 2_000
"""Events one request looks at, however few of them it may show."""
_BEGINNING = -(2**62)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What /messages asks for."""

    backwards: bool
    start: str | None = None
    stop: str | None = None
    limit: int = 10
    filter: RoomEventFilter = field(default_factory=RoomEventFilter)


@dataclass(frozen=True, slots=True)
class Page:
    """Rendered events with the tokens around them."""

    chunk: list[bytes]
    state: list[bytes]
    start: str
    end: str | None


@dataclass(frozen=True, slots=True)
class Context:
    """An event with its neighbours."""

    event: bytes
    before: list[bytes]
    after: list[bytes]
    state: list[bytes]
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What happened around an event, oldest last and oldest first, and (if asked for) who its people were then."""

    before: list[bytes]
    after: list[bytes]
    start: str
    end: str
    profiles: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Walk:
    """A stretch of timeline as walked: what may be shown, and where to go on (None: the timeline ends)."""

    events: list[Visible]
    end: int | None


class RoomHistory:
    """Timeline reads for a requester."""

    def __init__(self, memory: RoomMemory, access: RoomAccess, *, max_page: int, max_context: int) -> None:
        """`max_page` events at most make a page of the timeline, `max_context` stand around an event."""
        self._max_page = max_page
        self._max_context = max_context
        self._memory = memory
        self._access = access

    async def event(self, who: Recipient, room_id: str, event_id: str) -> bytes:
        """One event. Raises NOT_FOUND.  spec: client-server-api#get_matrixclientv3roomsroomideventeventid"""
        window, stored = await self._access.event(room_id, event_id, who.user_id)
        async with self._memory.store.read_committed() as tx:
            return (await present(tx, window, who, [stored]))[0]

    async def event_anywhere(self, who: Recipient, event_id: str) -> bytes:
        """As `event`, of whatever room it is in.  spec: client-server-api#get_matrixclientv3eventseventid"""
        return await self.event(who, await self._access.room_of(event_id), event_id)

    async def messages(self, who: Recipient, room_id: str, request: PageRequest) -> Page:
        """A page of the timeline.  spec: client-server-api#get_matrixclientv3roomsroomidmessages"""
        start = None if request.start is None else timeline_order(request.start)
        stop = None if request.stop is None else timeline_order(request.stop)
        if request.limit < 0:
            raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
        limit = min(request.limit, request.filter.limit or self._max_page, self._max_page)
        window = await self._access.window(room_id, who.user_id)
        if start is None:
            start = order_of(window.as_of) if request.backwards else _BEGINNING
        async with self._memory.store.read_committed() as tx:
            walk = await self._walk(tx, window, (start, stop), request.backwards, limit, request.filter, who.ignored)
            chunk = await present(tx, window, who, walk.events)
            state = await self._lazy_members(tx, window, walk.events) if request.filter.lazy_load_members else []
        end = None if walk.end is None else timeline_token(walk.end)
        return Page(chunk, stated(window.history, state), timeline_token(start), end)

    async def context(
        self, who: Recipient, room_id: str, event_id: str, limit: int, event_filter: RoomEventFilter
    ) -> Context:
        """An event and what happened around it.

        Raises MatrixError(NOT_FOUND).  spec: client-server-api#get_matrixclientv3roomsroomidcontexteventid
        """
        if limit < 0:
            raise MatrixError(ErrCode.INVALID_PARAM, "limit must not be negative")
        limit = min(limit, event_filter.limit or self._max_context, self._max_context)
        window, stored = await self._access.event(room_id, event_id, who.user_id)
        async with self._memory.store.read_committed() as tx:
            order = stored.order or 0
            before = await self._walk(tx, window, (order - 1, None), True, limit // 2, event_filter, who.ignored)
            after = await self._walk(tx, window, (order, None), False, limit - limit // 2, event_filter, who.ignored)
            shown = [*before.events, stored, *after.events]
            state = await self._state_after(tx, window, after.events[-1] if after.events else stored, event_filter)
            if event_filter.lazy_load_members:
                # Of the members only those who speak; the rest of the state stays.
                keys = {("m.room.member", one.event.sender) for one in shown}
                state = [item for item in state if item.event.type != "m.room.member" or item.event.key in keys]
            rendered = await present(tx, window, who, shown)
        count = len(before.events)
        first = before.events[-1].order if before.events else order
        last = after.events[-1].order if after.events else order
        return Context(
            event=rendered[count],
            before=rendered[:count],
            after=rendered[count + 1 :],
            state=stated(window.history, state),
            start=timeline_token((first or 0) - 1 if before.end is None else before.end),
            end=timeline_token((last or 0) if after.end is None else after.end),
        )

    async def neighbours(
        self, who: Recipient, window: RoomWindow, stored: Visible, around: tuple[int, int], *, profiles: bool
    ) -> Neighbours:
        """Up to so many events before and after one, for a result of a search.

        spec: client-server-api#post_matrixclientv3search (context)
        """
        order = stored.order or 0
        every = RoomEventFilter()
        async with self._memory.store.read_committed() as tx:
            before = await self._walk(tx, window, (order - 1, None), True, around[0], every, who.ignored)
            after = await self._walk(tx, window, (order, None), False, around[1], every, who.ignored)
            events = [*before.events, *after.events]
            rendered = await present(tx, window, who, events)
            members = await self._lazy_members(tx, window, [stored, *events]) if profiles else []
        first = before.events[-1].order if before.events else order
        last = after.events[-1].order if after.events else order
        return Neighbours(
            rendered[: len(before.events)],
            rendered[len(before.events) :],
            timeline_token((first or 0) - 1),
            timeline_token(last or 0),
            {one.event.state_key or "": _profile(one) for one in members},
        )

    async def event_by_timestamp(self, who: Recipient, room_id: str, ts: int, *, backwards: bool) -> StoredEvent:
        """The visible event closest to a time, in one direction. Raises MatrixError(NOT_FOUND), NotAllowed.

        Clocks of servers differ, but not so much that the timeline would not be nearly sorted by time: the place is
        found by halving. spec: client-server-api#get_matrixclientv1roomsroomidtimestamp_to_event
        """
        window = await self._access.window(room_id, who.user_id)
        async with self._memory.store.read() as tx:
            first = await tx.events.timeline(window.room_nid, start=None, stop=None, backwards=False, limit=1)
            low = high = order_of(window.as_of)
            if first.events and first.events[0].order is not None:
                low = first.events[0].order - 1
            bound = ts + 1 if backwards else ts
            sparse = True
            while low < high:
                middle = (low + high) // 2
                if sparse and high - low < order_of(1):
                    # Fetched history may stand between two live events; most often there is nothing to halve.
                    middle, sparse = low, False
                page = await tx.events.timeline(window.room_nid, start=middle, stop=high, backwards=False, limit=1)
                if page.events and page.events[0].event.origin_server_ts < bound:
                    low = page.events[0].order or high
                else:
                    high = middle
            # Up to `low` everything is before the bound, behind it nothing is.
            walk = await self._walk(tx, window, (low, None), backwards, 20, RoomEventFilter())
        for stored in walk.events:
            at = stored.event.origin_server_ts
            if (at <= ts) if backwards else (at >= ts):
                return stored
        raise MatrixError(ErrCode.NOT_FOUND, "There is no event on that side of the time")

    async def _walk(
        self,
        tx: Transaction,
        window: RoomWindow,
        between: tuple[int, int | None],
        backwards: bool,
        limit: int,
        event_filter: RoomEventFilter,
        ignored: frozenset[str] = frozenset(),
    ) -> _Walk:
        """Up to `limit` events that the user may see and wants to, in the order walked."""
        position, stop = between
        if backwards:
            position = min(position, window.end)
        shown: list[Visible] = []
        read = 0
        spare = 0 if event_filter.is_open else 10  # most events pass most filters
        takes_all = not spare and not ignored and lets_all_pass(event_filter)
        while len(shown) < limit and read < _MAX_READ:
            page = await tx.events.timeline(
                window.room_nid, start=position, stop=stop, backwards=backwards, limit=limit - len(shown) + spare
            )
            read += len(page.events)
            if takes_all and page.events and (backwards or (page.events[-1].order or 0) <= window.end):
                # No more of them than are wanted, and nothing to ask of each but whether it may be seen.
                shown.extend(window.shown(page.events))
                last = page.events[-1].order or 0
                position = last - 1 if backwards else last
                if page.end is None:
                    return _Walk(shown, None)
                continue
            for stored in page.events:
                order = stored.order or 0
                if not backwards and order > window.end:
                    return _Walk(shown, None if window.until is not None else position)
                if len(shown) == limit:
                    return _Walk(shown, position)
                position = order - 1 if backwards else order
                if not ignores(ignored, stored):
                    shown.extend(select(event_filter, window.shown([stored])))
            if page.end is None:
                return _Walk(shown, None)
        return _Walk(shown, position)

    async def _lazy_members(self, tx: Transaction, window: RoomWindow, events: Sequence[StoredEvent]) -> list[Visible]:
        """Member events of the senders, as they were at the newest of the events.

        spec: client-server-api#lazy-loading-room-members
        """
        if not events:
            return []
        newest = max(events, key=lambda stored: stored.order or 0)
        keys = {("m.room.member", stored.event.sender) for stored in events}
        found = await tx.rooms.state_at_filtered(newest.snapshot, keys)
        return window.history.known(await self._load(tx, found.values()))

    async def _state_after(
        self, tx: Transaction, window: RoomWindow, stored: StoredEvent, event_filter: RoomEventFilter
    ) -> list[Visible]:
        state = await self._load(tx, (await tx.rooms.state_at(stored.snapshot)).values())
        return window.history.known(select(event_filter, state))

    async def _load(self, tx: Transaction, event_ids: Iterable[str]) -> list[StoredEvent]:
        return list((await tx.events.get_many(list(event_ids))).values())


def _profile(member: Visible) -> dict[str, str]:
    names = {name: member.event.content.get(name) for name in ("displayname", "avatar_url")}
    return {name: value for name, value in names.items() if isinstance(value, str)}
